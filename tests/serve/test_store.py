"""What the server keeps: traces on disk, the newest in memory, uploads as long as they are used."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from omnitrace import Tracer
from omnitrace.serve import ServeOptions
from omnitrace.serve.errors import MissingError
from omnitrace.serve.jobs import Job
from omnitrace.serve.store import JobStore
from omnitrace.serve.uploads import UploadStore
from omnitrace.trace.trace import Trace
from tests.serve.client import ASKED
from tests.serve.test_safety import png


@pytest.fixture(scope="module")
def trace(reference: Tracer) -> Trace:
    return reference.trace(ASKED["messages"])


def done(trace: Trace, owner: str = "somebody") -> Job:
    job = Job(owner, lambda job: trace)
    job.run()
    assert job.state == "done"
    return job


def kept(store: JobStore, trace: Trace, owner: str = "somebody") -> Job:
    job = done(trace, owner)
    store.add(job)
    writing = store.keep(job)
    assert writing is not None
    writing.result()
    return job


def test_a_finished_trace_is_read_from_disk_again(trace: Trace) -> None:
    store = JobStore(ServeOptions())
    job = kept(store, trace)
    path = store.path(job)
    assert path is not None
    assert Trace.load(path).text == trace.text
    assert job.trace is not None
    assert job.trace is not trace
    assert job.trace.text == trace.text
    assert job.trace is job.trace
    memory, disk = store.sizes
    assert memory > 0
    assert disk == path.stat().st_size
    store.remove(job)
    assert not path.exists()
    assert store.of("somebody") == []
    with pytest.raises(MissingError):
        store.get("somebody", job.id)
    store.close()


def test_the_oldest_runs_go_first_and_the_newest_stay_in_memory(trace: Trace) -> None:
    probe = JobStore(ServeOptions())
    job = kept(probe, trace)
    _ = job.trace
    memory, disk = probe.sizes
    probe.close()
    options = ServeOptions(kept_disk_bytes=int(disk * 2.5), kept_bytes=int(memory * 1.5))
    store = JobStore(options)
    jobs = [kept(store, trace, owner) for owner in ("a", "b", "a")]
    assert store.of("a") == [jobs[2]]
    assert store.of("b") == [jobs[1]]
    for job in jobs[1:]:
        assert job.trace is not None
    assert store.sizes[0] <= options.kept_bytes
    assert store.sizes[1] <= options.kept_disk_bytes
    store.close()


def test_so_many_runs_are_kept(trace: Trace) -> None:
    store = JobStore(ServeOptions(kept_runs=2))
    jobs = [kept(store, trace) for _ in range(4)]
    assert store.of("somebody") == [jobs[3], jobs[2]]
    assert store.path(jobs[0]) is None
    store.close()


def test_uploads_stay_while_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    options = dataclasses.replace(ServeOptions(), upload_seconds=0.001)
    store = UploadStore(options)
    with (tmp_path / "a.png").open("rb") as file:
        upload = store.add("somebody", "a.png", file)
    store.hold([upload])
    store.sweep()
    assert upload.path.is_file()
    store.remove("somebody", upload.id)
    assert upload.path.is_file()
    store.release([upload])
    assert not upload.path.exists()
    with (tmp_path / "a.png").open("rb") as file:
        upload = store.add("somebody", "a.png", file)
    upload.used -= 1
    store.sweep()
    assert not upload.path.exists()
    store.close()
    assert not store.folder.exists()

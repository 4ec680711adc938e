"""A run folder at a URL holds what one on the disk holds."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from omnitrace_ray import FsspecFolder

from omnitrace import Tracer
from omnitrace.errors import GivenUpError, RunError
from omnitrace.runs import LocalFolder, RequestDone, asked_of, open_run, run_requests
from omnitrace.sources import RequestEntry, RequestProblem
from omnitrace.trace.trace import Trace


@pytest.fixture
def memory() -> Iterator[FsspecFolder]:
    yield FsspecFolder("memory://runs/one")
    fsspec.filesystem("memory").store.clear()


def test_small_files(memory: FsspecFolder) -> None:
    assert memory.read("run.json") is None
    memory.write("run.json", b"one")
    memory.write("run.json", b"other")
    assert (memory.read("run.json"), memory.exists("run.json")) == (b"other", True)
    memory.write("b.omnitrace", b"")
    memory.write("a.omnitrace", b"")
    assert list(memory.names(".omnitrace")) == ["a.omnitrace", "b.omnitrace"]
    assert list(pickle.loads(pickle.dumps(memory)).names(".json")) == ["run.json"]
    assert str(memory) == "memory://runs/one"


def test_lines_of_several_processes(memory: FsspecFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.append("failures.jsonl", "one")
    memory.append("failures.jsonl", "two")
    monkeypatch.setattr("omnitrace_ray.folder._PROCESS", "another")
    memory.append("failures.jsonl", "three")
    assert sorted((memory.read("failures.jsonl") or b"").splitlines()) == [b"one", b"three", b"two"]


def test_claims(memory: FsspecFolder) -> None:
    first = memory.claim("attempts/a")
    assert first.lines() == []
    first.add("died")
    second = memory.claim("attempts/a")
    second.add("stopped")
    assert memory.claim("attempts/a").lines() == ["died", "stopped"]
    second.withdraw()
    assert memory.claim("attempts/a").lines() == ["died"]
    memory.claim("attempts/a").withdraw()  # it added nothing
    assert memory.claim("attempts/a").lines() == ["died"]
    third = memory.claim("attempts/a")
    third.add("stopped")
    memory.claim("attempts/a").drop()  # by another process
    assert memory.claim("attempts/a").lines() == ["died"]
    second.remove()
    second.remove()
    assert not memory.exists("attempts/a")
    second.withdraw()  # as where somebody stopped the process while it removed the file
    assert not memory.exists("attempts/a")
    memory.claim("attempts/b").add("stopped")
    fresh = memory.claim("attempts/c")
    fresh.add("stopped")
    fresh.withdraw()
    assert not memory.exists("attempts/c")


def test_what_cannot_be_reached_is_named() -> None:
    with pytest.raises(RunError, match=r"cannot use 'nowhere://x'.*s3://bucket"):
        FsspecFolder("nowhere://x")


def test_a_run_is_the_same(tracer: Tracer, tmp_path: Path) -> None:
    options = {"max_new_tokens": 3}
    asked = asked_of(tracer.setup, generation=options)
    content = [{"type": "text", "text": "The cup is red."}, {"type": "text", "text": "Which?"}]
    entries = [
        RequestEntry("a b", [{"role": "user", "content": content}], tmp_path),
        RequestProblem("bad", RunError("no request")),
    ]
    folders = (LocalFolder(tmp_path / "disk"), FsspecFolder(f"file://{tmp_path}/url"))
    runs = [open_run(folder, asked) for folder in folders]
    for run in runs:
        events = [*run_requests(tracer, entries, run, **options)]
        assert [type(each) for each in events].count(RequestDone) == 1
    one, other = (
        [each.relative_to(folder) for each in sorted(folder.rglob("*.omnitrace"))]
        for folder in (tmp_path / "disk", tmp_path / "url")
    )
    assert one == other
    disk, url = (Trace.load(tmp_path / place / one[0]) for place in ("disk", "url"))
    assert disk.spans == url.spans
    assert runs[0].summary().done == runs[1].summary().done == 1
    assert [each.id for each in runs[1].summary().failed] == ["bad"]
    again = open_run(folders[1], asked)
    assert [*run_requests(tracer, entries[:1], again, **options)] == []


def test_what_ends_its_process_is_given_up(memory: FsspecFolder, tracer: Tracer) -> None:
    entry = RequestEntry("a", [{"role": "user", "content": "Which?"}], Path())
    for _ in range(2):  # processes that begin and end without a word
        run = open_run(memory, asked_of(tracer.setup, generation={}), attempts=2)
        run.bind(tracer.adapter)
        assert run.begin(entry)
    with pytest.raises(GivenUpError):
        run.begin(entry)

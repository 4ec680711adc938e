"""The requests of all clients while the server lives: a list for each, within memory and disk.

A finished trace goes to disk, with the media that it shows, and is read from there again: what was
decoded for the model is not kept in memory. The traces read last stay there.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from omnitrace.serve.errors import MissingError
from omnitrace.serve.jobs import Job
from omnitrace.serve.logs import LOGGER, describe_defect, one_line
from omnitrace.serve.options import ServeOptions
from omnitrace.trace.trace import Trace

__all__ = ["JobStore"]


class JobStore:
    """All jobs that clients can still ask for.

    Parameters
    ----------
    options:
        How much memory and disk they may take.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._disk: dict[str, int] = {}  # bytes of each trace there
        self._memory: OrderedDict[str, tuple[Trace, int]] = OrderedDict()  # read last, at the end
        # It goes with the process even where nothing closes the server.
        self._temporary = tempfile.TemporaryDirectory(
            prefix="omnitrace-runs-", ignore_cleanup_errors=True
        )
        self._folder: Final = Path(self._temporary.name).resolve()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="omnitrace-keep")

    def add(self, job: Job) -> None:
        """Take a job in."""
        with self._lock:
            self._jobs[job.id] = job
        self._trim()

    def get(self, owner: str, job: str) -> Job:
        """Return a job of this client.

        Raises
        ------
        MissingError
            If there is none of this id, or it is another client's.
        """
        with self._lock:
            found = self._jobs.get(job)
        if found is None or found.owner != owner:
            raise MissingError(
                f"there is no run {one_line(job, 40)!r}",
                legal="a run of this client that the server still keeps",
            )
        return found

    def of(self, owner: str) -> list[Job]:
        """Return the jobs of a client, the newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.owner == owner]

    def keep(self, job: Job) -> Future[None] | None:
        """Write the trace of a job that has ended to disk, in a thread of its own."""
        if not job.unsaved or job.id not in self._jobs:
            return None
        return self._writer.submit(self._write, job)

    def path(self, job: Job) -> Path | None:
        """Return the file of a job's trace, if it is written."""
        with self._lock:
            return self._path(job.id) if job.id in self._disk else None

    def remove(self, job: Job) -> None:
        """Forget a job."""
        with self._lock:
            self._forget(job.id)

    def shorten_logs(self) -> None:
        """Forget the events of requests that have been done, and unwatched, for a while."""
        with self._lock:
            done = [job for job in self._jobs.values() if not job.active]
        now = time.monotonic()
        for job in done:
            if now - job.log.watched > self._options.abandoned_seconds:
                job.log.shorten()

    def close(self) -> None:
        """Forget everything."""
        self._writer.shutdown(wait=True)
        with self._lock:
            self._jobs.clear()
            self._memory.clear()
        self._temporary.cleanup()

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the traces that are held in memory, and of those on disk."""
        with self._lock:
            return sum(size for _, size in self._memory.values()), sum(self._disk.values())

    # --- inside -------------------------------------------------------------------------------

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.omnitrace"

    def _write(self, job: Job) -> None:
        trace = job.trace
        if trace is None:
            return
        draft = self._folder / f"{job.id}.new.omnitrace"
        try:
            trace.save(draft, media=True)
            with self._lock:
                if job.id not in self._jobs:
                    draft.unlink()
                    return
                draft.replace(self._path(job.id))
                self._disk[job.id] = self._path(job.id).stat().st_size
                self._memory.pop(job.id, None)
            job.keep_elsewhere(lambda: self._read(job.id))
            self._trim()
        except Exception as error:  # the trace stays in memory
            draft.unlink(missing_ok=True)
            words = describe_defect(error, content=self._options.log_content)
            LOGGER.error("the trace of %s… cannot be kept on disk: %s", job.id[:6], words)

    def _read(self, job: str) -> Trace:
        with self._lock:
            if job in self._memory:
                self._memory.move_to_end(job)
                return self._memory[job][0]
            path = self._path(job)
        if not path.is_file():
            raise MissingError("the run is not kept any more")
        trace = Trace.load(path)
        size = trace.scores.nbytes + path.stat().st_size
        with self._lock:
            self._memory[job] = trace, size
            total = sum(each for _, each in self._memory.values())
            while total > self._options.kept_bytes and self._memory:
                _, (_, freed) = self._memory.popitem(last=False)
                total -= freed
        return trace

    def _trim(self) -> None:
        """Let the oldest jobs go for which there is no room; those that run or wait stay."""
        with self._lock:
            disk = sum(self._disk.values())
            done = [job for job in self._jobs.values() if not job.active]
            for job in done:
                if (
                    disk <= self._options.kept_disk_bytes
                    and len(self._jobs) <= self._options.kept_runs
                ):
                    break
                disk -= self._disk.get(job.id, 0)
                self._forget(job.id)

    def _forget(self, job: str) -> None:
        self._jobs.pop(job, None)
        self._memory.pop(job, None)
        self._disk.pop(job, None)
        with contextlib.suppress(OSError):
            self._path(job).unlink(missing_ok=True)

"""Whether a run of a thousand requests stays as it began: memory, threads, file handles, objects.

Requests with texts, an image, audio and video are streamed from the reference model in one process,
with a few tokens each, verified as by default, and written to a run folder. What the process holds
is read after every tenth of the run; the first tenth fills caches and is not judged.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import gc
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.report import Bar, Result, Table, fill_in, parser, run_benchmark

if TYPE_CHECKING:
    from omnitrace.sources import RequestEntry

REQUESTS: Final = 1000
_QUICK: Final = 50
_TOKENS: Final = 4
_SAMPLES: Final = 8
_ORDERS: Final = (("text",), ("text", "image"), ("audio",), ("text", "image", "audio", "video"))
_COLUMNS: Final = ("requests", "seconds", "RSS MB", "threads", "file handles", "objects")


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """What this process holds: bytes, threads of the system, open files, objects of Python."""

    rss: int
    threads: int
    handles: int
    objects: int

    @classmethod
    def now(cls) -> Held:
        """Read it, after everything that can go has gone."""
        gc.collect()
        with contextlib.suppress(OSError):  # another libc: what is free stays with the process
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            int(status["VmRSS"].split()[0]) * 1024,
            int(status["Threads"]),
            len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - the handle that lists them
            len(gc.get_objects()),
        )


def requests(folder: Path, count: int) -> Iterator[RequestEntry]:
    """Write a few samples with media, and yield their requests again and again, each its own id."""
    from omnitrace.reference.files import write_sample
    from omnitrace.reference.world import held_out_seed, make_sample
    from omnitrace.sources import RequestEntry, read_requests

    written = []
    for number in range(_SAMPLES):
        order: Any = _ORDERS[number % len(_ORDERS)]
        sample = make_sample(held_out_seed(number), questions=2, order=order, long=False)
        path = write_sample(sample, folder / str(number))
        (entry,) = read_requests(path)
        assert isinstance(entry, RequestEntry)
        written.append(entry)
    for number, entry in enumerate(itertools.islice(itertools.cycle(written), count)):
        yield dataclasses.replace(entry, id=f"{entry.id}-{number}")


def watch(count: int, every: int, folder: Path) -> list[tuple[int, float, Held]]:
    """Trace the requests; return what the process held after each ``every`` of them."""
    from omnitrace import Tracer
    from omnitrace.runs import RequestDone, RequestFailed, asked_of, open_run, run_requests

    options = {"max_new_tokens": _TOKENS}
    tracer = Tracer.from_pretrained("reference")
    run = open_run(folder / "run", asked_of(tracer.setup, generation=options))
    found: list[tuple[int, float, Held]] = []
    begun, done = time.monotonic(), 0
    for event in run_requests(tracer, requests(folder, count), run, live=True, **options):
        if isinstance(event, RequestFailed):
            raise event.error
        if isinstance(event, RequestDone):
            done += 1
            if done % every == 0:
                del event
                found.append((done, time.monotonic() - begun, Held.now()))
                print(f"{done} of {count}: {found[-1][2]}", flush=True)
    return found


def measure(given: argparse.Namespace) -> Result:
    """Run, and compare the end with the first tenth."""
    with tempfile.TemporaryDirectory() as name:
        found = watch(given.requests, max(1, given.requests // 10), Path(name))
    (first, _, before), (last, _, after) = found[0], found[-1]
    return Result(
        name="long_run",
        title=f"What a run of {given.requests:,} requests holds",
        quick=given.quick,
        table=Table(
            _COLUMNS,
            [
                [
                    f"{done:,}",
                    f"{seconds:.0f}",
                    f"{held.rss / 1e6:.1f}",
                    str(held.threads),
                    str(held.handles),
                    f"{held.objects:,}",
                ]
                for done, seconds, held in found
            ],
        ),
        notes=[
            f"the reference model, {_TOKENS} tokens a response, verified, streamed, written to a "
            f"folder; {_SAMPLES} samples with texts, images, audio and video in turn",
            "read after a garbage collection and after the allocator gave back what it could",
            f"bars: from request {first:,} to request {last:,}",
        ],
        bars=[
            Bar("growth of RSS, MB", (after.rss - before.rss) / 1e6, 30.0),
            Bar("more threads", float(after.threads - before.threads), 0.0),
            Bar("more file handles", float(after.handles - before.handles), 0.0),
            Bar("more objects, in thousands", (after.objects - before.objects) / 1e3, 2.0),
        ],
        settings={"requests": given.requests},
        values={
            "held": [
                {"requests": done, "seconds": seconds, **dataclasses.asdict(held)}
                for done, seconds, held in found
            ]
        },
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Watch what a long run holds.")
    made.add_argument("--requests", type=int, help=f"by default {REQUESTS:,}, quick {_QUICK}")
    given = made.parse_args(arguments)
    fill_in(given, {"requests": _QUICK if given.quick else REQUESTS})
    if given.requests < 2:
        made.error(f"--requests is {given.requests}: at least 2")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())

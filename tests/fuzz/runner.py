"""Run cases in forked groups, and watch time, memory and how they end.

This process loads the reference model once. A group of cases runs in one child after the other; a
child that hangs, grows too large or dies is ended with all that it started, and the next one goes
on behind the case at which that was.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tests.fuzz.case import Case
from tests.fuzz.good import Good
from tests.fuzz.use_trace import LOADED_THEN_FAILED, use_trace

__all__ = ["LIMIT_BYTES", "Outcome", "load_everything", "run_cases"]

#: Memory of one case, and of what it starts, that is too much.
LIMIT_BYTES: Final = 2 * 1024**3
_STOPPED_AT: Final = 3 * 1024**3
_GROUP: Final = 300
_KEPT_ERROR: Final = 4000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended: ``problem`` is "" where all is well.

    ``seconds`` are those of the clock, ``computed`` those of the processor, also for its files.
    """

    case: Case
    problem: str
    code: int
    seconds: float
    peak: int
    error: str
    computed: float = 0.0


def load_everything() -> None:
    """Load what the cases need, and let ``--model reference`` name the copy in memory."""
    import torch

    torch.set_num_threads(1)
    import omnitrace.cli.commands.trace as _trace  # noqa: F401
    import omnitrace.tracer as facade
    from omnitrace import Tracer
    from omnitrace.models.base import LoadOptions

    load = facade.load_adapter
    adapter = load("reference", LoadOptions(device="cpu"))
    hello = [{"role": "user", "content": "The lamp is blue. What colour is it?"}]
    Tracer(adapter=adapter, signal="attention-mean").trace(hello, max_new_tokens=2)
    Tracer(adapter=adapter).trace(hello, max_new_tokens=2)

    def load_adapter(name: str, options: LoadOptions | None = None) -> Any:
        usual = options is None or str(options.device) == "cpu"
        return adapter if name == "reference" and usual else load(name, options)

    facade.load_adapter = load_adapter


def run_cases(
    cases: Iterable[Case], good: Good, folder: Path, *, seconds: float = 30.0
) -> Iterator[Outcome]:
    """Run the cases and yield how each ends.

    Parameters
    ----------
    cases:
        What is run, in order.
    good:
        The inputs that they are made of.
    folder:
        Where they work; each case's own folder is removed behind it.
    seconds:
        After which a case hangs.
    """
    left = list(cases)
    while left:
        group = left[:_GROUP]
        done = 0
        for outcome in _run_group(group, good, folder, seconds):
            done += 1
            yield outcome
        left = left[done:]


def _run_group(
    group: Sequence[Case], good: Good, folder: Path, seconds: float
) -> Iterator[Outcome]:
    """Yield the outcomes of cases up to the end of the group, or of the child."""
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _child(group, good, folder, theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb", buffering=0) as pipe:
            yield from _watched(group, child, pipe, folder, seconds)
    finally:
        _end(child)


def _watched(
    group: Sequence[Case], child: int, pipe: IO[bytes], folder: Path, seconds: float
) -> Iterator[Outcome]:
    started, peak, at, rest = time.monotonic(), 0, 0, b""
    running = False
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while at < len(group):
            ready = selector.select(timeout=0.05)
            if running:
                peak = max(peak, _memory(child))
            data = pipe.read(1 << 16) if ready else b""
            *lines, rest = (rest + data).split(b"\n")
            for line in map(json.loads, lines):
                if "code" in line:
                    used = max(peak, line["peak"])
                    took = time.monotonic() - started
                    problem = _judged(group[at], line["code"], used, line["error"])
                    yield Outcome(
                        *(group[at], problem, line["code"], took, used),
                        error=line["error"],
                        computed=line["computed"],
                    )
                    at += 1
                started, peak, running = time.monotonic(), 0, "code" not in line
            took = time.monotonic() - started
            ended = ""
            if ready and not data:
                ended = "died"
            elif took > (seconds if running else 120.0):
                ended = "hung"
            elif running and peak > _STOPPED_AT:
                ended = "over 2 GB"
            if ended:
                if at < len(group):
                    error = _tail(folder / "stderr")
                    yield Outcome(group[at], ended, -1, took, peak, error)
                return


def _end(child: int) -> None:
    """End a child and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _judged(case: Case, code: int, peak: int, error: str) -> str:
    if "Traceback (most recent call last)" in error and code != LOADED_THEN_FAILED:
        return "traceback"
    if code == LOADED_THEN_FAILED:
        return "loaded, then failed"
    if peak > LIMIT_BYTES:
        return "over 2 GB"
    if code not in (0, 2):
        return "wrong exit code"
    if case.expected == "refused" and code == 0:
        return "passed without a word"
    if case.expected == "accepted" and code != 0:
        return "refused, though good"
    if code == 2 and not error.strip():
        return "refused without a word"
    return ""


# --- the child ----------------------------------------------------------------------------------


def _child(group: Sequence[Case], good: Good, folder: Path, pipe: int) -> None:
    os.setsid()
    try:
        shutil.rmtree(folder / "work", ignore_errors=True)
        _stand_in(Path(os.devnull), 0)
        for case in group:
            work = folder / "work"
            work.mkdir()
            os.chdir(work)
            # Opened for each case: one that could not print has let its output go nowhere.
            _stand_in(folder / "stdout", 1)
            _stand_in(folder / "stderr", 2)
            began = time.process_time()
            arguments = case.build(work, good)
            _forget_peak()
            _say(pipe, {"started": case.id})
            code = _run(case, arguments)
            error = _tail(folder / "stderr")
            computed = time.process_time() - began
            _say(pipe, {"code": code, "peak": _peak(), "error": error, "computed": computed})
            os.chdir(folder)
            shutil.rmtree(work, ignore_errors=True)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _stand_in(path: Path, number: int) -> None:
    """Let an empty file, or a device, take the place of a standard stream."""
    opened = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    os.dup2(opened, number)
    os.close(opened)


def _say(pipe: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def _run(case: Case, arguments: list[str]) -> int:
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    try:
        if case.tool == "trace":
            code = use_trace(*arguments)
        else:
            from omnitrace.cli.app import main

            sys.argv = ["omnitrace", *arguments]
            main()
            code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Return the most memory that this process has held since :func:`_forget_peak`, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _memory(process: int) -> int:
    """Return the memory that a process and all that it started hold, in bytes."""
    total = 0
    waiting = [process]
    while waiting:
        each = waiting.pop()
        try:
            pages = int(Path(f"/proc/{each}/statm").read_text(encoding="ascii").split()[1])
            for task in Path(f"/proc/{each}/task").iterdir():
                children = (task / "children").read_text(encoding="ascii")
                waiting += map(int, children.split())
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _tail(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return (
        data[:1000].decode("utf-8", "replace")
        if len(data) < 1000
        else (
            data[:600].decode("utf-8", "replace")
            + "\n…\n"
            + data[-_KEPT_ERROR:].decode("utf-8", "replace")
        )
    )

"""The memory of this machine and this process: what is free, and how far a run's peak goes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable
from pathlib import Path

from common.report import BenchmarkError

__all__ = ["available_bytes", "offer_to_be_killed_first", "peak_bytes", "peak_growth"]


def available_bytes() -> int:
    """Memory that can be had without swapping; a very large number where Linux does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 1 << 62
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return found[0] * 1024 if found else 1 << 62


def offer_to_be_killed_first() -> None:
    """Ask Linux to end this process before any other if memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError(f"/proc/self/status has no {field}; memory is measured on Linux only")


def peak_bytes() -> int:
    """Return the most resident bytes that this process has had."""
    return _status("VmHWM")


def peak_growth(run: Callable[[], object]) -> tuple[int, int]:
    """Return the resident bytes before ``run``, and how far its peak went beyond them.

    The kernel's own high-water mark is used where it can be reset; else memory is polled.
    """
    gc.collect()
    with contextlib.suppress(OSError):  # another libc: nothing to give back
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return before, _polled_peak(run) - before
    run()
    return before, _status("VmHWM") - before


def _polled_peak(run: Callable[[], object]) -> int:
    peak = _status("VmRSS")
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _status("VmRSS"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        run()
    finally:
        done.set()
        thread.join()
    return peak

"""The peak of memory of a piece of work: of the accelerator, or of this process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any, Final

import torch

from omnitrace._utils.process_memory import resident

__all__ = ["peak_memory"]

_EVERY: Final = 0.002


def peak_memory(run: Callable[[], Any], device: torch.device) -> int | None:
    """Return the largest memory while ``run`` runs, in bytes; None where none is told."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device))
    if resident() is None:
        run()
        return None
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident() or 0)
            if done.wait(_EVERY):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return peak

"""What this machine has free."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["available_bytes"]


def available_bytes(device: str, process: int) -> int | None:
    """Return what a process on ``device`` may hold in all; None where that cannot be asked.

    ``process`` are the bytes that this one holds: another one like it can have them too.
    """
    if device == "auto":
        return None
    place = torch.device(device)
    if place.type == "cpu":
        free = _free()
        return None if free is None else free + process
    if place.type == "cuda" and (place.index or 0) < torch.cuda.device_count():
        return int(torch.cuda.mem_get_info(place)[0])
    return None


def _free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return found[0] if found else None

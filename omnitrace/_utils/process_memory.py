"""How much memory this process holds, by what Linux says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["resident"]

_STATUS: Final = Path("/proc/self/status")


def resident(field: str = "VmRSS") -> int | None:
    """Return the bytes of this process that are in memory; ``VmHWM`` of its life's peak.

    None where the system does not say.
    """
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{field}:")), None)
    return None if found is None else 1024 * int(found.split()[1])

"""What Python allocates while something is read, and a file that must not be held whole."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["at_most", "endless_line"]


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Demand that Python never holds more than ``size`` bytes that are new."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def endless_line(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Return a file of 50 MiB without a line's end, where lines may have 1 MiB."""
    path = folder / "zeros.jsonl"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    patch.setattr("omnitrace._utils.lines.MAX_TEXT_BYTES", 1 << 20)
    return path

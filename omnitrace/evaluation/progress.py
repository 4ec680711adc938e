"""What long evaluations call while they work, so that a caller can show how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["PassesCallback", "ProgressCallback", "no_passes", "no_progress"]

ProgressCallback: TypeAlias = Callable[[str], None]
"""Called with what is being done, in a few words."""

PassesCallback: TypeAlias = Callable[[int, int], None]
"""Called with the forward passes done and those in all, first with 0 before any of them."""


def no_progress(text: str) -> None:
    """Show nothing."""


def no_passes(done: int, total: int) -> None:
    """Show nothing."""

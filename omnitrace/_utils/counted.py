"""Numbers with what they count."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, what: str) -> str:
    """Write a number with what it counts: ``1 request``, ``2,000 requests``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

"""File names for what users name as they like."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe_name", "within_bytes"]

_LENGTH: Final = 60
_BYTES: Final = 120  # a system's limit is 255, also for the endings and the names of drafts
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return a file name, without ending, that is safe on every system."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:_LENGTH]
    safe = within_bytes(safe, _BYTES).rstrip("._-")
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe or "request"


def within_bytes(text: str, limit: int) -> str:
    """Return the beginning of ``text`` that has at most ``limit`` bytes in UTF-8."""
    return text.encode("utf-8", "surrogatepass")[:limit].decode("utf-8", "ignore")

"""File names for what users name as they like."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe_name"]

_LENGTH: Final = 60
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return a file name, without ending, that is safe on every system."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:_LENGTH].rstrip("._-")
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe or "request"

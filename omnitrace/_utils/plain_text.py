"""Text of users and models, made harmless to a terminal and to files that people read."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["plain", "without_controls"]

# C0 and C1 controls, and the marks that turn the direction of all text after them.
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Put a text on one line, with control characters shown instead of obeyed."""
    return without_controls(" ".join(text.split()))


def without_controls(line: str) -> str:
    """Return the line with its control characters shown, white space as it is."""
    return _UNSAFE.sub(_escape, line)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

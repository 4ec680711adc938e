"""What formats share: steps between versions of a JSON document, cells of a table."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["inert_cell", "rename_member"]

_FORMULA: Final = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def rename_member(document: dict[str, Any], part: str, before: str, now: str) -> dict[str, Any]:
    """Return a copy in which a member of the object ``part`` has another name, if it is there."""
    inner = document.get(part)
    if not isinstance(inner, dict) or before not in inner:
        return document
    rest = {name: value for name, value in inner.items() if name != before}
    return document | {part: rest | {now: inner[before]}}


def inert_cell(value: Any) -> Any:
    """Return the value of a CSV cell such that no spreadsheet computes it; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value

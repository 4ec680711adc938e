"""Steps from one version of a JSON document to the next, which formats share."""

from __future__ import annotations

from typing import Any

__all__ = ["rename_member"]


def rename_member(document: dict[str, Any], part: str, before: str, now: str) -> dict[str, Any]:
    """Return a copy in which a member of the object ``part`` has another name, if it is there."""
    inner = document.get(part)
    if not isinstance(inner, dict) or before not in inner:
        return document
    rest = {name: value for name, value in inner.items() if name != before}
    return document | {part: rest | {now: inner[before]}}

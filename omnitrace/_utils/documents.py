"""JSON documents of bounded size, and steps from one version of them to the next."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field

__all__ = ["MAX_COORDINATE", "MAX_COUNT", "Count", "check_size", "parse_json", "rename_member"]

#: Numbers, strings, lists and objects of one document: a short one may take much memory.
MAX_VALUES: Final = 6_000_000
#: Lists and objects within each other.
MAX_DEPTH: Final = 100
#: Largest count, index or identifier in a file.
MAX_COUNT: Final = 2**53
#: Largest pixel or second in a file: 30 years, or more pixels than any picture has.
MAX_COORDINATE: Final = 1e9

Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A whole number from 0 that fits wherever numbers are kept."""


def parse_json(text: str) -> Any:
    """Return what a JSON text says, as the standard has it: without NaN, infinity and bombs.

    Raises
    ------
    ValueError
        If it is no JSON, holds too much, or a number that none can hold. A ``JSONDecodeError``
        says where.
    """
    check_size(text)
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def check_size(text: str, most: int = MAX_VALUES) -> None:
    """Raise ``ValueError`` where a JSON text may hold more than ``most`` values."""
    if sum(map(text.count, ",:[{")) > most:
        raise ValueError(f"it holds more than {most} values")


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is not finite")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


def rename_member(document: dict[str, Any], part: str, before: str, now: str) -> dict[str, Any]:
    """Return a copy in which a member of the object ``part`` has another name, if it is there."""
    inner = document.get(part)
    if not isinstance(inner, dict) or before not in inner:
        return document
    rest = {name: value for name, value in inner.items() if name != before}
    return document | {part: rest | {now: inner[before]}}

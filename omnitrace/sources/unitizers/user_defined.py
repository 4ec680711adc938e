"""Units that the user drew: ``part["units"]`` as ranges, boxes or seconds, with optional ids."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from omnitrace.errors import InputError
from omnitrace.sources.formats import checked_name
from omnitrace.sources.parts import Part, TextPart

__all__ = ["boxes", "intervals", "name_of"]


def name_of(part: Part) -> str:
    """Name a part as the user sees it."""
    return f'messages[{part.message}]["content"][{part.part}]'


def _numbers(
    part: Part, index: int, raw: Any, keys: tuple[str, ...], form: str
) -> tuple[list[float], str | None]:
    unit_id: str | None = None
    values: Any = raw
    if isinstance(raw, Mapping):
        boxed = "box" in raw and len(keys) == 4
        _check_keys(part, index, raw, ("box",) if boxed else keys, form)
        unit_id = checked_name(raw.get("id"), f"{name_of(part)}, unit {index}, has the 'id'")
        values = raw["box"] if boxed else [raw.get(key) for key in keys]
    legal = isinstance(values, Sequence) and not isinstance(values, str)
    found = [_number(value) for value in values] if legal else []
    if len(found) != len(keys) or not all(map(math.isfinite, found)):
        raise InputError(f"{name_of(part)} has the unit {index} {_shown(raw)}", legal=form)
    return found, unit_id


def _number(value: Any) -> float:
    """Return a number, NaN for what is none or too large to be counted with."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _shown(raw: Any) -> str:
    try:
        return repr(raw)
    except (ValueError, RecursionError):  # whole numbers of more digits than Python writes
        return f"of type {type(raw).__name__}"


def _check_keys(
    part: Part, index: int, raw: Mapping[str, Any], keys: tuple[str, ...], form: str
) -> None:
    unknown = [key for key in raw if key not in ("id", *keys)]
    if unknown:
        said = "pass what is said as 'transcript': [{'start': …, 'end': …, 'text': …}]"
        raise InputError(
            f"{name_of(part)} has the unit {index} {_shown(raw)} "
            f"with the unknown key {unknown[0]!r}",
            legal=form,
            fix=said if unknown[0] == "text" else "leave the key out",
        )


def intervals(part: Part, limit: float, what: str) -> list[tuple[float, float, str | None]]:
    """Return the user's half-open ranges within ``[0, limit]``, with their ids, in order of start.

    Raises
    ------
    InputError
        If a range is malformed, empty, outside the part, splits a character, or overlaps another.
    """
    form = (
        f"[start, end] or {{'start': …, 'end': …, 'id': …}} with 0 ≤ start < end ≤ {limit:g} {what}"
    )
    found: list[tuple[float, float, str | None]] = []
    for index, raw in enumerate(part.units or ()):
        (start, end), unit_id = _numbers(part, index, raw, ("start", "end"), form)
        split = isinstance(part, TextPart) and not (start.is_integer() and end.is_integer())
        if not 0 <= start < end <= limit or split:
            raise InputError(f"{name_of(part)} has the unit {index} {_shown(raw)}", legal=form)
        found.append((start, end, unit_id))
    ordered = sorted(found, key=lambda item: item[:2])
    for before, after in itertools.pairwise(ordered):
        if after[0] < before[1]:
            raise InputError(
                f"{name_of(part)} has units that overlap: {before[:2]} and {after[:2]}",
                legal="ranges that do not overlap, so that each token belongs to one unit",
            )
    return ordered


def boxes(
    part: Part, width: int, height: int
) -> list[tuple[tuple[float, float, float, float], str | None]]:
    """Return the user's boxes in pixels of the image as displayed, with their ids.

    Raises
    ------
    InputError
        If a box is malformed, empty or outside the image.
    """
    form = (
        f"[x0, y0, x1, y1] or {{'box': […], 'id': …}} in pixels, 0 ≤ x0 < x1 ≤ {width} and "
        f"0 ≤ y0 < y1 ≤ {height}"
    )
    found = []
    for index, raw in enumerate(part.units or ()):
        (x0, y0, x1, y1), unit_id = _numbers(part, index, raw, ("x0", "y0", "x1", "y1"), form)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(f"{name_of(part)} has the unit {index} {_shown(raw)}", legal=form)
        found.append(((x0, y0, x1, y1), unit_id))
    return found

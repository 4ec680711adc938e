"""Where a source unit is in its part, in words."""

from __future__ import annotations

from typing import Final

from omnitrace.types import ImageRegion, Locator, TextRange

__all__ = ["place_of", "seconds"]

_TO: Final = "\N{EN DASH}"


def place_of(locator: Locator) -> str:
    """Say a place: ``characters 5–20``, ``x 0–56, y 0–56 px``, ``2–3.5 s``."""
    if isinstance(locator, TextRange):
        return f"characters {locator.start}{_TO}{locator.end}"
    if isinstance(locator, ImageRegion):
        x0, y0, x1, y1 = (f"{value:.0f}" for value in locator.box)
        return f"x {x0}{_TO}{x1}, y {y0}{_TO}{y1} px"
    return f"{seconds(locator.start)}{_TO}{seconds(locator.end)} s"


def seconds(value: float) -> str:
    """Write seconds with as many digits as they need, up to two."""
    return f"{value:.2f}".rstrip("0").rstrip(".")

"""Checks of options that several packages take."""

from __future__ import annotations

from omnitrace.errors import InputError

__all__ = ["check_whole"]


def check_whole(name: str, value: object, least: int) -> None:
    """Raise InputError unless the option ``name`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}", legal=f"a whole number of at least {least}")

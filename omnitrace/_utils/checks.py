"""Checks of options that several packages take."""

from __future__ import annotations

from collections.abc import Iterable

from omnitrace.errors import InputError, did_you_mean

__all__ = ["check_options", "check_whole"]


def check_options(of: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that there are not, which a ``**options`` would take without a word.

    Parameters
    ----------
    of:
        What takes the options, for the error.
    given, known:
        Names of the options.

    Raises
    ------
    InputError
        That names the first unknown option, those that there are, and the nearest of them.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            raise InputError(
                f"{of} has no option {name!r}",
                legal=", ".join(names),
                fix=did_you_mean(name, names),
            )


def check_whole(name: str, value: object, least: int) -> None:
    """Raise InputError unless the option ``name`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}", legal=f"a whole number of at least {least}")

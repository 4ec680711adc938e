"""Checks of options that several packages take."""

from __future__ import annotations

from collections.abc import Iterable

from omnitrace.errors import InputError, did_you_mean

__all__ = ["check_options", "check_text", "check_whole"]


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


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Raise InputError unless the option ``name`` is a whole number of ``least`` to ``most``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):  # type: ignore[operator]
        return
    legal = f"a whole number of at least {least}" if most is None else f"{least} to {most}"
    raise InputError(f"{name} is {value!r}", legal=legal)


def check_text(text: str, where: str) -> None:
    """Refuse half of a surrogate pair, which no tokenizer takes.

    Raises
    ------
    InputError
        That names the character.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} holds half of a surrogate pair, {error.object[error.start]!r}, at "
            f"character {error.start}",
            legal="text that can be written as UTF-8",
            fix="write the whole character, or use text.encode('utf-8', 'ignore').decode()",
        ) from error

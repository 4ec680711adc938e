"""The errors a user can meet.

Every error here is a mistake that its reader can fix, so its text has three parts: what was
found, what is legal, and what to do. The command line prints that text and exits with 2; any other
exception is a bug in Omnitrace and exits with 1.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = [
    "ConformanceError",
    "GivenUpError",
    "InputError",
    "MediaError",
    "ModelError",
    "NotSupportedError",
    "OmnitraceError",
    "PluginError",
    "RunError",
    "SourceWarning",
    "TraceFileError",
    "unknown_name",
]

# Longer runs without white space are no words, and no paths that a system would take.
_PAYLOAD: Final = re.compile(r"\S{400,}")
_LONGEST: Final = 4000


class OmnitraceError(Exception):
    """Base of every error that a user can fix.

    Parameters
    ----------
    found:
        What is wrong, naming the offending value.
    legal:
        What would have been accepted.
    fix:
        What to do about it.

    Attributes
    ----------
    text:
        All that the model had written when the error came; empty where it had not begun.
    """

    text: str = ""

    def __init__(self, found: str, *, legal: str = "", fix: str = "") -> None:
        found, legal, fix = map(_shortened, (found, legal, fix))
        self.found = found
        self.legal = legal
        self.fix = fix
        parts = [found.rstrip(".") + "."]
        if legal:
            parts.append(f"Legal: {legal.rstrip('.')}.")
        if fix:
            parts.append(f"Fix: {fix}" if fix.endswith("?") else f"Fix: {fix.rstrip('.')}.")
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        # From another process as it was there: no class is called with the text of its parts.
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[OmnitraceError], args: tuple[Any, ...]) -> OmnitraceError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _shortened(text: str) -> str:
    """Leave out the middle of what is no word but a payload, and of a text that nobody reads."""
    text = _PAYLOAD.sub(lambda match: f"{match[0][:80]}…{match[0][-20:]}", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 200]} … {text[-190:]}"


class InputError(OmnitraceError):
    """A request, message, option or label that cannot be used as it is."""


class MediaError(InputError):
    """An image, audio or video that is missing, broken or over a limit, or kills its decoder."""


class RunError(InputError):
    """A run folder, or a request in it, that is not what the run was begun with."""


class GivenUpError(RunError):
    """A request that ended its process so often that it is not tried again."""


class ModelError(OmnitraceError):
    """A model, processor or checkpoint that cannot be loaded or traced."""


class NotSupportedError(OmnitraceError):
    """A combination that would make attributions wrong, refused instead of guessed."""


class PluginError(OmnitraceError):
    """A plugin, signal or adapter that is unknown, duplicated or broken."""


class ConformanceError(PluginError):
    """A signal or adapter that violates the contract of its protocol.

    Parameters
    ----------
    subject:
        What violates it: "the signal 'x' of the package 'y'".
    contract:
        The requirement, in words.
    found:
        What it did instead, with the offending value.

    Attributes
    ----------
    text:
        All that the model wrote meanwhile: a broken signal loses no response.
    """

    def __init__(self, subject: str, contract: str, found: str) -> None:
        self.subject = subject
        self.contract = contract
        super().__init__(f"{subject} {found}", legal=contract)


class TraceFileError(OmnitraceError):
    """A trace file that is corrupt, foreign or of a newer version."""


class SourceWarning(UserWarning):
    """What is a source was guessed, or nothing can be one; the text says how to mark it."""


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return the question for the nearest of the ``known`` names, "" where none is near.

    Parameters
    ----------
    name, known:
        What was given, and what there is.
    most, cutoff:
        How many names are offered, and how near they must be, in [0, 1].
    """
    near = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> PluginError:
    """Build the error for an unknown ``name`` of a ``kind``, with near matches first."""
    names = sorted(known)
    fix = did_you_mean(name, names, most=3, cutoff=0.5)
    listing = ", ".join(repr(n) for n in names) or "(none registered)"
    return PluginError(
        f"unknown {kind} {name!r}",
        legal=listing,
        fix=fix or f"run `omnitrace list {kind}s` to see what is installed",
    )

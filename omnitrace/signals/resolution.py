"""From the name or object that a user gives to the signals."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from omnitrace.errors import ConformanceError, PluginError
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import LiveSpanSignal, Signal, SpanSignal, TokenSignal, subject_of
from omnitrace.signals.describe import DESCRIBES_ITSELF, violation_of_description

__all__ = ["SIGNAL_MEMBERS", "Resolved", "resolve"]

SIGNAL_MEMBERS: Final = (
    "an object with name, parameters and needs, and with layers() and score(), with effects(), or "
    "with layers(), reduce() and effects_of()"
)

# Where a span signal chooses the supports, this one gives the token scores.
_TOKEN_SIGNAL: Final = "attention-mean"


class Resolved(NamedTuple):
    """What scores tokens and, if one was asked for, the span signal, live or not.

    Each comes with the package that registered it, where that is known.
    """

    token: TokenSignal
    token_package: str | None
    span: SpanSignal | LiveSpanSignal | None = None
    span_package: str | None = None


def resolve(signal: str | Signal) -> Resolved:
    """Make or take the signals for a name or an object.

    Raises
    ------
    PluginError
        If the name is unknown, the signal cannot be made, or the object is no signal.
    ConformanceError
        If its description cannot be stored in a trace, or it needs what does not exist.
    """
    package: str | None = None
    made: Any = signal
    if isinstance(signal, str):
        entry = registry().signal(signal)
        package, made = entry.package, entry.make()
    if isinstance(made, TokenSignal | SpanSignal | LiveSpanSignal):
        found = violation_of_description(made)
        if found is not None:
            raise ConformanceError(subject_of(made, package), DESCRIBES_ITSELF, found)
    if isinstance(made, TokenSignal):
        return Resolved(made, package)
    if isinstance(made, SpanSignal | LiveSpanSignal):
        entry = registry().signal(_TOKEN_SIGNAL)
        return Resolved(entry.make(), entry.package, made, package)
    raise PluginError(
        f"{signal!r} is no signal",
        legal=SIGNAL_MEMBERS,
    )

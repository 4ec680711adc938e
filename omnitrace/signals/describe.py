"""What a signal needs and costs, read from the signal itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from omnitrace.signals.base import LiveSpanSignal, Need, Signal, SpanSignal, TokenSignal

if TYPE_CHECKING:
    from omnitrace.plugins.registry import Entry

__all__ = [
    "COSTS",
    "DESCRIBES_ITSELF",
    "KNOWN_NEEDS",
    "SignalFacts",
    "cost_of",
    "describe",
    "violation_of_description",
]

DESCRIBES_ITSELF: Final = "a signal has a name, JSON-ready parameters, and needs that exist"
KNOWN_NEEDS: Final[tuple[str, ...]] = get_args(Need)

_PLAIN: Final = "1× decoding"  # noqa: RUF001
_BACKWARD: Final = "≈2.5× decoding"  # noqa: RUF001

_LIVE_NEEDS: Final = frozenset(KNOWN_NEEDS) - {"forwards"}

# The most expensive need of a signal decides what a response costs with it.
COSTS: Final[dict[str, str]] = {
    "forwards": "many forwards",
    "logprob-gradients": _BACKWARD,
    "logit-gradients": _BACKWARD,
    "values": _PLAIN,
    "rows": _PLAIN,
}


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """One line of the list of signals.

    ``streams`` says whether scores or effects come while the model writes. Where the signal cannot
    be made, ``problem`` says why, and ``needs``, ``cost`` and ``streams`` are not known.
    """

    name: str
    package: str
    summary: str
    needs: tuple[str, ...] = ()
    cost: str = ""
    streams: bool | None = None
    problem: str = ""


def violation_of_description(signal: Signal) -> str | None:
    """Check what a signal says of itself; None if nothing is wrong with it."""
    if not isinstance(signal.name, str) or not signal.name:
        return f"has the name {signal.name!r}"
    try:
        json.dumps(dict(signal.parameters), allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"has parameters that are no JSON: {error}"
    if not isinstance(signal.needs, Set):
        return f"has needs that are no set: {signal.needs!r}"
    unknown = sorted(map(str, signal.needs - set(KNOWN_NEEDS)))
    if unknown:
        return f"needs {unknown[0]!r}, which is none of {', '.join(KNOWN_NEEDS)}"
    more = sorted(signal.needs - _LIVE_NEEDS)
    if more and isinstance(signal, LiveSpanSignal):
        return f"needs {more[0]!r}; a live span signal sees what the model shows while it writes"
    return None


def cost_of(needs: Collection[str]) -> str:
    """Return the cost class of a signal with these needs."""
    return next((cost for need, cost in COSTS.items() if need in needs), "unknown")


def describe(entry: Entry) -> SignalFacts:
    """Make the signal of ``entry`` with its default parameters and describe it."""
    try:
        signal = entry.factory()
        streams = isinstance(signal, TokenSignal | LiveSpanSignal)
        if not streams and not isinstance(signal, SpanSignal):
            raise TypeError(f"{type(signal).__name__} is no signal")
        needs = tuple(sorted(map(str, signal.needs), key=_order))
    except Exception as error:  # a plugin may raise anything
        problem = f"{type(error).__name__}: {error}"
        return SignalFacts(entry.name, entry.package, entry.summary, problem=problem)
    return SignalFacts(
        entry.name, entry.package, entry.summary, needs, cost_of(needs), streams=streams
    )


def _order(need: str) -> int:
    return KNOWN_NEEDS.index(need) if need in KNOWN_NEEDS else len(KNOWN_NEEDS)

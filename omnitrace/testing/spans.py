"""The contract of a span signal: each requirement, with the function that checks it."""

from __future__ import annotations

from typing import Final

from omnitrace.attribution.effects import EFFECTS, checked_effects
from omnitrace.errors import ConformanceError
from omnitrace.testing.contract import Requirement, requirements
from omnitrace.testing.harness import SEED, SignalHarness, settings
from omnitrace.testing.tokens import description_violation, tokens_violation
from omnitrace.types import Effect

__all__ = ["SPAN_REQUIREMENTS"]

_SAME: Final = 1e-4
_TOKENS: Final = 6


def _effects(harness: SignalHarness) -> list[dict[str, Effect]]:
    """Measure a response; raises ConformanceError where the signal raises or returns nonsense.

    The spans are those that attention gives: only the effects are the signal's.
    """
    tracer = harness.plain_tracer
    options = settings(tracer.adapter, _TOKENS, sampled=False)
    response = tracer.trace(harness.messages, **options)
    scorer = harness.tracer.scorer(harness.messages, response.token_ids)
    try:
        with harness.watched():
            measured = harness.signal.effects(scorer, response.spans)
    except Exception as error:  # a plugin may raise anything
        found = f"raised {type(error).__name__}: {error}"
        raise ConformanceError(harness.subject, EFFECTS, found) from error
    try:
        return checked_effects(measured, len(response.spans), scorer.units)
    except ValueError as error:
        raise ConformanceError(harness.subject, EFFECTS, f"returned {error}") from error


def _describes_itself(harness: SignalHarness) -> str | None:
    found = description_violation(harness)
    if found is None and set(harness.signal.needs) != {"forwards"}:
        return f"needs {sorted(harness.signal.needs)}; a span signal needs 'forwards' alone"
    return found


def _well_formed(harness: SignalHarness) -> str | None:
    _effects(harness)
    return None


def _deterministic(harness: SignalHarness) -> str | None:
    for number, (first, second) in enumerate(
        zip(_effects(harness), _effects(harness), strict=True)
    ):
        scale = max((abs(effect.value) for effect in first.values()), default=0.0)
        for unit in first.keys() | second.keys():
            if unit not in first or unit not in second:
                return f"gave {unit!r} an effect on span {number} only once"
            if abs(first[unit].value - second[unit].value) > _SAME * scale:
                values = f"{first[unit].value:g} and {second[unit].value:g}"
                return f"gave {unit!r} the effects {values} on span {number}"
    return None


def _undisturbed(harness: SignalHarness) -> str | None:
    options = {"seed": SEED, **settings(harness.tracer.adapter, _TOKENS, sampled=True)}
    # The effects of the first response must not show in the second.
    for _ in range(2):
        written = harness.tracer.trace(harness.messages, **options).token_ids
        found = tokens_violation(harness.untraced(sampled=True)[:_TOKENS], written)
        if found is not None:
            return found
    return None


def _restored(harness: SignalHarness) -> str | None:
    _effects(harness)
    change = harness.change()
    return None if change is None else f"left something changed: {change}"


SPAN_REQUIREMENTS: Final[tuple[Requirement[SignalHarness], ...]] = requirements(
    {
        "a span signal has a name, JSON-ready parameters, and needs forwards": _describes_itself,
        EFFECTS: _well_formed,
        "the same response has the same effects": _deterministic,
        "the response is that of the untraced model": _undisturbed,
        "the model and torch's settings stay as they were": _restored,
    }
)

"""What a span signal promises, each promise with what finds out whether it is kept."""

from __future__ import annotations

from typing import Final

from omnitrace.attribution.effects import EFFECTS, checked_effects
from omnitrace.errors import ConformanceError
from omnitrace.testing.contract import Promise, promises
from omnitrace.testing.harness import SEED, SignalBench, settings
from omnitrace.testing.tokens import description_breach, tokens_breach
from omnitrace.types import Effect

__all__ = ["SPAN_PROMISES"]

_SAME: Final = 1e-4
_TOKENS: Final = 6


def _effects(bench: SignalBench) -> list[dict[str, Effect]]:
    """Measure an answer; raises ConformanceError if the signal raises or returns what it must not.

    The spans are those that attention gives: only the effects are the signal's.
    """
    tracer = bench.plain_tracer
    options = settings(tracer.adapter, _TOKENS, sampled=False)
    answer = tracer.trace(bench.messages, **options)
    scorer = bench.tracer.scorer(bench.messages, answer.token_ids)
    try:
        with bench.watched():
            measured = bench.signal.effects(scorer, answer.spans)
    except Exception as error:  # a plugin may raise anything
        found = f"raised {type(error).__name__}: {error}"
        raise ConformanceError(bench.subject, EFFECTS, found) from error
    try:
        return checked_effects(measured, len(answer.spans), scorer.units)
    except ValueError as error:
        raise ConformanceError(bench.subject, EFFECTS, f"returned {error}") from error


def _describes_itself(bench: SignalBench) -> str | None:
    found = description_breach(bench)
    if found is None and set(bench.signal.needs) != {"forwards"}:
        return f"needs {sorted(bench.signal.needs)}; a span signal needs 'forwards' alone"
    return found


def _well_formed(bench: SignalBench) -> str | None:
    _effects(bench)
    return None


def _deterministic(bench: SignalBench) -> str | None:
    for number, (first, second) in enumerate(zip(_effects(bench), _effects(bench), strict=True)):
        scale = max((abs(effect.value) for effect in first.values()), default=0.0)
        for unit in first.keys() | second.keys():
            if unit not in first or unit not in second:
                return f"gave {unit!r} an effect on span {number} only once"
            if abs(first[unit].value - second[unit].value) > _SAME * scale:
                values = f"{first[unit].value:g} and {second[unit].value:g}"
                return f"gave {unit!r} the effects {values} on span {number}"
    return None


def _undisturbed(bench: SignalBench) -> str | None:
    options = {"seed": SEED, **settings(bench.tracer.adapter, _TOKENS, sampled=True)}
    # The effects of the first answer must not show in the second.
    for _ in range(2):
        written = bench.tracer.trace(bench.messages, **options).token_ids
        found = tokens_breach(bench.untraced(sampled=True)[:_TOKENS], written)
        if found is not None:
            return found
    return None


def _restored(bench: SignalBench) -> str | None:
    _effects(bench)
    change = bench.change()
    return None if change is None else f"left its mark: {change}"


SPAN_PROMISES: Final[tuple[Promise[SignalBench], ...]] = promises(
    {
        "a span signal has a name, JSON-ready parameters, and needs forwards": _describes_itself,
        EFFECTS: _well_formed,
        "the same answer has the same effects": _deterministic,
        "the answer is that of the untraced model": _undisturbed,
        "the model and torch's settings stay as they were": _restored,
    }
)

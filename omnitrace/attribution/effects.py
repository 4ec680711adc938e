"""From the effects that a span signal gives to the units that support a span.

A unit supports a span if ablating it makes the span less likely, and if that is more than noise:
its effect is positive, and so is the lower end of its interval where it has one. Supports are
ranked by effect, down to ``effect_min`` of the largest of them, and up to ``coverage`` of the sum
of all positive effects: a few strong effects are evidence, and many weak ones are noise, however
many they are. Verified effects say themselves which units support the span: these are ranked, and
there is no source where the strongest is below ``verdict_min``. Of the selection's options only
these and ``max_supports`` apply: there are no votes, no runs and no fallback, so a span on which no
unit has such an effect is ungrounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import ConformanceError
from omnitrace.signals.base import raising_only_ours, subject_of
from omnitrace.types import Effect, SourceUnit, Span, SpanEffects, Verdict

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.signals.base import LiveSpanSignal, SpanSignal

__all__ = [
    "EFFECTS",
    "EFFECTS_OF",
    "SupportingUnit",
    "checked_effects",
    "live_effects",
    "measured_effects",
    "select_by_effect",
    "strongest_effect",
    "verdict_of",
]

EFFECTS: Final = (
    "effects(scorer, spans) returns one dict a span, from ids of scorer.units to finite "
    "effects, with low <= value <= high where they are given"
)
EFFECTS_OF: Final = (
    "effects_of(reduced, units) returns a dict from ids of units to finite effects, with "
    "low <= value <= high where they are given"
)
_SLACK: Final = 1e-9
_TENTHS: Final = 1  # digits


class SupportingUnit(NamedTuple):
    """A unit that supports a span: its index, effect in nats, share of all positive effects."""

    unit_index: int
    effect: float
    share: float


def select_by_effect(
    effects: Mapping[str, Effect], units: Sequence[SourceUnit], config: SelectionConfig
) -> list[SupportingUnit]:
    """Choose the supports of one span, strongest first; equal effects keep the units' order.

    Parameters
    ----------
    effects:
        By unit id; a unit without one has no effect.
    units:
        All units of the request, in the layout's order.
    config:
        Its ``effect_min``, ``coverage`` and ``max_supports`` apply; of verified effects
        ``verdict_min`` and ``max_supports``.
    """
    if isinstance(effects, SpanEffects):
        return _verified_supports(effects, units, config)
    positive = {
        index: found
        for index, unit in enumerate(units)
        if (found := effects.get(unit.id)) is not None and found.value > 0
    }
    if not positive:
        return []
    largest = max(found.value for found in positive.values())
    total = math.fsum(found.value / largest for found in positive.values())  # cannot overflow
    chosen: list[SupportingUnit] = []
    covered = 0.0
    for index in sorted(positive, key=lambda i: -positive[i].value):
        found = positive[index]
        if found.low is not None and found.low <= 0:
            continue
        if chosen and found.value < config.effect_min * chosen[0].effect * (1 - _SLACK):
            break
        share = found.value / largest / total
        chosen.append(SupportingUnit(index, found.value, share))
        covered += share
        if covered >= config.coverage - _SLACK:
            break
    return chosen[: config.max_supports]


def strongest_effect(effects: Mapping[str, Effect]) -> float:
    """Return the largest verified effect of a unit that supports the span, 0 where none does."""
    return max((each.value for each in effects.values() if each.kind is not None), default=0.0)


def verdict_of(effects: Mapping[str, Effect] | None, config: SelectionConfig) -> Verdict | None:
    """Say what verification found of a span; None where its effects are not verified."""
    if not isinstance(effects, SpanEffects):
        return None
    if strongest_effect(effects) >= config.verdict_min:
        return "supported"
    return "against-sources" if effects.total <= -config.verdict_min else "no-source"


def _verified_supports(
    effects: SpanEffects, units: Sequence[SourceUnit], config: SelectionConfig
) -> list[SupportingUnit]:
    if verdict_of(effects, config) != "supported":
        return []
    place = {unit.id: index for index, unit in enumerate(units)}
    found = [(place[unit], each.value) for unit, each in effects.items() if each.kind is not None]
    # Units that show the same thing give the same back: then the signal's own order decides.
    found.sort(key=lambda each: -round(each[1], _TENTHS))
    total = math.fsum(max(value, 0.0) for _, value in found) or 1.0
    return [
        SupportingUnit(index, value, max(value, 0.0) / total)
        for index, value in found[: config.max_supports]
    ]


def measured_effects(
    signal: SpanSignal,
    scorer: ResponseScorer,
    spans: Sequence[Span],
    *,
    package: str | None = None,
) -> list[dict[str, Effect]]:
    """Ask a span signal for the effects on ``spans``, and check its contract.

    Parameters
    ----------
    signal, scorer, spans:
        The signal, and what it is given.
    package:
        The package that registered the signal, where that is known.

    Raises
    ------
    ConformanceError
        If the signal raises anything but Omnitrace's own errors, or returns an invalid value.
    """
    subject = subject_of(signal, package)
    with raising_only_ours(subject, EFFECTS):
        found = signal.effects(scorer, spans)
    try:
        return checked_effects(found, len(spans), scorer.units)
    except ValueError as error:
        raise ConformanceError(subject, EFFECTS, f"returned {error}") from error


def live_effects(
    signal: LiveSpanSignal,
    reduced: torch.Tensor,
    units: Sequence[SourceUnit],
    number: int,
    *,
    subject: str,
) -> dict[str, Effect]:
    """Ask a live span signal for its effects on one span, and check its contract.

    Parameters
    ----------
    signal, reduced, units:
        The signal, and what it is given.
    number:
        Index of the span.
    subject:
        What the signal is called in errors.

    Raises
    ------
    ConformanceError
        If the signal raises anything but Omnitrace's own errors, or returns an invalid value.
    """
    with raising_only_ours(subject, EFFECTS_OF):
        found = signal.effects_of(reduced, units)
    try:
        return _checked(found, {unit.id for unit in units}, number)
    except ValueError as error:
        raise ConformanceError(subject, EFFECTS_OF, f"returned {error}") from error


def checked_effects(found: Any, count: int, units: Sequence[str]) -> list[dict[str, Effect]]:
    """Return the effects on ``count`` spans as plain numbers; ``ValueError`` says what is wrong."""
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != count:
        size = f" of {len(found)}" if isinstance(found, Sequence) else ""
        raise ValueError(f"a {type(found).__name__}{size} for {count} spans")
    known = set(units)
    return [_checked(each, known, number) for number, each in enumerate(found)]


def _checked(found: Any, known: set[str], number: int) -> dict[str, Effect]:
    if not isinstance(found, Mapping):
        raise ValueError(f"a {type(found).__name__} for span {number}")
    result: dict[str, Effect] = {}
    for unit, effect in found.items():
        if unit not in known:
            raise ValueError(f"an effect of the unknown unit {unit!r} for span {number}")
        if not isinstance(effect, Effect):
            raise ValueError(f"{effect!r} as the effect of {unit!r} on span {number}")
        try:
            value = float(effect.value)
            low = None if effect.low is None else float(effect.low)
            high = None if effect.high is None else float(effect.high)
        except (TypeError, ValueError):
            raise ValueError(f"{effect!r} as the effect of {unit!r} on span {number}") from None
        bounds = [each for each in (low, value, high) if each is not None]
        if not all(map(math.isfinite, bounds)) or bounds != sorted(bounds):
            raise ValueError(f"{effect!r} as the effect of {unit!r} on span {number}")
        result[unit] = Effect(value, low, high, effect.kind)
    if not isinstance(found, SpanEffects):
        return result
    if not math.isfinite(found.total):
        raise ValueError(f"a total effect of {found.total} on span {number}")
    return SpanEffects(result, total=float(found.total))

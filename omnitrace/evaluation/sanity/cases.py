"""The responses that are checked, and what every signal says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.bootstrap import Estimate, bootstrap_mean
from omnitrace.evaluation.metrics.faithfulness import control_scores, spearman
from omnitrace.evaluation.model_access import check_same_prompt
from omnitrace.evaluation.unit_scores import span_scores
from omnitrace.signals.base import Signal
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Message, Span

__all__ = [
    "CONTROL",
    "DEFAULT",
    "Case",
    "Draws",
    "alike",
    "all_scores",
    "beyond_size",
    "case_of",
    "case_of_trace",
    "same_everywhere",
    "scorer_of_case",
    "tracers_of",
]

CONTROL: Final = "unit-size"
"""The control beside the signals: how many tokens each unit has. It never looks at the model."""

DEFAULT: Final = "default"
"""What stands for a tracer's default, with no signal named: its supports are verified."""

# What rounding leaves of 1 - r² where a ranking is by size alone.
_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Draws:
    """How intervals over examples are drawn; see :mod:`omnitrace.evaluation.metrics.bootstrap`."""

    level: float = 0.95
    draws: int = 1000
    seed: int = 0

    def mean(self, groups: Sequence[np.ndarray]) -> Estimate:
        """Average the values of all examples, float ``[spans]`` each; NaN is left out, counted."""
        return bootstrap_mean(
            [each.tolist() for each in groups], level=self.level, draws=self.draws, seed=self.seed
        )

    def difference(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Estimate:
        """Average ``first − second``, paired span by span, with its interval."""
        return self.mean([a - b for a, b in zip(first, second, strict=True)])


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One response that is checked.

    Attributes
    ----------
    name:
        Of the example.
    trace:
        A replay of the response: its spans and units are those of ``scores``.
    messages, media_root, template:
        The request; ``template`` has its ``tools`` and ``chat_template_kwargs``.
    scores:
        By signal, and :data:`CONTROL`: float64 ``[S, K]``.
    spans:
        By signal: its ``S`` spans with the supports that it selects.
    """

    name: str
    trace: Trace
    messages: Sequence[Message]
    media_root: Path | None
    scores: Mapping[str, np.ndarray]
    spans: Mapping[str, tuple[Span, ...]]
    template: Mapping[str, Any] = field(default_factory=dict)


def tracers_of(tracer: Tracer, signals: Iterable[str | Signal]) -> dict[str, Tracer]:
    """Return a tracer of the same model and options for each signal, by the signal's name.

    Parameters
    ----------
    tracer:
        Of the model.
    signals:
        Names or signals; :data:`DEFAULT` stands for none.

    Raises
    ------
    PluginError
        If a signal is unknown.
    InputError
        If there is none, or two have one name, or that of the control.
    """
    found: dict[str, Tracer] = {}
    for signal in signals:
        made = tracer.with_options(signal=None if signal == DEFAULT else signal)
        chosen = made.setup.signals.span or made.setup.signals.token
        name = DEFAULT if signal == DEFAULT else chosen.name
        if name in found or name == CONTROL:
            raise InputError(f"two signals are named {name!r}", legal="each signal once")
        found[name] = made
    if not found:
        raise InputError("no signal is named", legal="at least one")
    return found


def case_of(
    tracers: Mapping[str, Tracer],
    name: str,
    messages: Sequence[Message],
    response: str | Sequence[int],
    *,
    media_root: Path | None = None,
    template: Mapping[str, Any] | None = None,
) -> Case:
    """Replay a response with every signal.

    Parameters
    ----------
    tracers:
        By signal, from :func:`tracers_of`.
    name, messages, media_root, template:
        The example and its request; ``template`` has ``tools`` and ``chat_template_kwargs``.
    response:
        The response, as text or as token ids.

    Raises
    ------
    InputError
        If the response has no span or the request no two units: then nothing can be ranked.
    """
    traces = {
        signal: tracer.replay(messages, response, media_root=media_root, **(template or {}))
        for signal, tracer in tracers.items()
    }
    trace = next(iter(traces.values()))
    if not trace.spans or len(trace.units) < 2:
        raise InputError(
            f"the response has {len(trace.spans)} spans and the request {len(trace.units)} units",
            legal="at least one span, and two units",
        )
    spans = {signal: each.spans for signal, each in traces.items()}
    scores = all_scores(traces)
    return Case(name, trace, messages, media_root, scores, spans, template or {})


def case_of_trace(tracers: Mapping[str, Tracer], name: str, trace: Trace) -> Case:
    """Replay the response of a trace with every signal.

    Raises
    ------
    InputError
        If the trace does not hold its media, or its request is of other tokens with this model.
    """
    template = trace.provenance.template
    case = case_of(tracers, name, trace.request(), trace.token_ids, template=template)
    check_same_prompt(case.trace, trace)
    return case


def all_scores(traces: Mapping[str, Trace]) -> dict[str, np.ndarray]:
    """Return float64 ``[S, K]`` of every signal and of the control, from one trace each."""
    found = {signal: span_scores(trace) for signal, trace in traces.items()}
    trace = next(iter(traces.values()))
    sizes = np.array([len(unit.positions) for unit in trace.units])
    return found | {CONTROL: control_scores(sizes, len(trace.spans))[CONTROL]}


def scorer_of_case(tracer: Tracer, case: Case) -> ResponseScorer:
    """Return what measures the response under changed inputs."""
    return tracer.scorer_of(case.trace, messages=case.messages, media_root=case.media_root)


def alike(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare two attributions of one example, float ``[S, K]`` each, span by span.

    Returns
    -------
    tuple
        Spearman's rank correlation over the units, float ``[S]`` in [-1, 1], and whether the unit
        of highest score is the same, float ``[S]`` of 0 and 1. Both are NaN where one of the two
        gives all units the same score, so that nothing is ranked.
    """
    correlation = np.array([spearman(a, b) for a, b in zip(first, second, strict=True)])
    if not first.shape[1]:
        return correlation, correlation
    top = (first.argmax(axis=1) == second.argmax(axis=1)).astype(np.float64)
    top[same_everywhere(first) | same_everywhere(second)] = np.nan
    return correlation, top


def beyond_size(first: np.ndarray, second: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of two attributions with unit sizes held fixed, ``[S]``.

    ``(r_ab - r_as r_bs) / sqrt((1 - r_as²)(1 - r_bs²))``, the partial rank correlation (Kendall
    1942), in [-1, 1]: what two attributions, float ``[S, K]`` each, have in common beside growing
    with the size of a unit, ``[S, K]`` too. NaN where one of them ranks nothing, or by size alone;
    where all sizes are equal it is the plain correlation.
    """
    both = [spearman(a, b) for a, b in zip(first, second, strict=True)]
    with_size = [
        [
            spearman(row, size) if np.ptp(size) else 0.0
            for row, size in zip(rows, sizes, strict=True)
        ]
        for rows in (first, second)
    ]
    r, a, b = np.array(both), *map(np.array, with_size)
    left = (1 - a**2) * (1 - b**2)
    left[~(left > _SLACK)] = np.nan
    return np.asarray(np.clip((r - a * b) / np.sqrt(left), -1, 1))


def same_everywhere(scores: np.ndarray) -> np.ndarray:
    """Return bool ``[S]``: where all of ``[S, K]`` units score the same."""
    return np.asarray(np.ptp(scores, axis=1) == 0)

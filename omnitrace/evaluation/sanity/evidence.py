"""Shuffled evidence: scores must get worse when they are assigned to other units.

The scores of each span are assigned to the units again, at random. Everything about them except
which unit has which stays: their distribution, and how many units they name. A signal that names
the units that support a span must then be worse ones: ablating those named now must cost less.

The evidence could also be shuffled in the request, by exchanging the texts of the units, to see
whether the scores follow. We do not: it exists for text alone; sentences that point at each other
lose what they mean; and whether the old response is still right is then unknown, so that there is
no truth to compare with. Handing out the scores works for every modality, and effects evaluate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnitrace.ablation.masks import generator
from omnitrace.ablation.measurement import Operators, measure
from omnitrace.errors import InputError
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.metrics.faithfulness import without_top_masks
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import Case, Draws, same_everywhere, scorer_of_case
from omnitrace.tracer import Tracer

__all__ = ["Shuffled", "shuffled_evidence"]


@dataclass(frozen=True, slots=True)
class Shuffled:
    """What one signal loses when its scores are shuffled.

    ``real`` is the top-k drop in nats (``f(1) - f(1 - 1_{top-k})``), ``shuffled`` its mean over
    shuffles, ``difference`` the first less the second, paired by span; all are means over spans
    with intervals over examples. A span is undefined where all units score the same, or where there
    are no more than ``k`` of them.
    """

    signal: str
    k: int
    real: Estimate
    shuffled: Estimate
    difference: Estimate


def shuffled_evidence(
    tracer: Tracer,
    cases: Sequence[Case],
    *,
    ks: Sequence[int] = (1, 3),
    shuffles: int = 8,
    operator: Operators = "attention",
    interval: Draws | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> tuple[Shuffled, ...]:
    """Measure the top-k drops of real and of shuffled scores, on the same responses.

    Parameters
    ----------
    tracer:
        Holds the model.
    cases:
        The responses, with the scores of every signal, from ``case_of``.
    ks:
        How many of the highest units are ablated.
    shuffles:
        How often the scores of each span are shuffled, at least 1.
    operator:
        How units are ablated; see :func:`omnitrace.ablation.measure`.
    interval, seed:
        Of the estimates; of the shuffles.
    progress:
        Called before each response.

    Returns
    -------
    tuple of Shuffled
        For each signal and the control "unit-size", by k.

    Raises
    ------
    InputError
        If there is no case, no shuffle, or a k below 1; and as :func:`omnitrace.ablation.measure`.
    """
    if shuffles < 1 or not cases:
        raise InputError(
            f"{shuffles} shuffles of {len(cases)} responses", legal="at least 1 of each"
        )
    interval = interval or Draws(seed=seed)
    found: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    for case in cases:
        progress(f"{case.name}: shuffled evidence")
        drops = _drops(tracer, case, ks, shuffles, operator, seed)
        for (signal, k), values in drops.items():
            found.setdefault((signal, k), []).append((values[0], values[1:].mean(axis=0)))
    results = []
    for (signal, k), pairs in found.items():
        real, shuffled = zip(*pairs, strict=True)
        difference = interval.difference(real, shuffled)
        means = interval.mean(real), interval.mean(shuffled)
        results.append(Shuffled(signal, k, *means, difference))
    return tuple(results)


def _drops(
    tracer: Tracer, case: Case, ks: Sequence[int], shuffles: int, operator: Operators, seed: int
) -> dict[tuple[str, int], np.ndarray]:
    """Return float ``[1 + shuffles, S]`` in nats, the real scores first, by signal and k."""
    masks: dict[tuple[str, int], np.ndarray] = {}
    for signal, scores in case.scores.items():
        draws = generator(seed, case.name, signal, "shuffle")
        every = [scores, *(draws.permuted(scores, axis=1) for _ in range(shuffles))]
        for k in ks:
            masks[signal, k] = np.stack([without_top_masks(each, k) for each in every])
    flat = np.concatenate([each.reshape(-1, each.shape[-1]) for each in masks.values()])
    measured = measure(scorer_of_case(tracer, case), case.trace.spans, flat, operator=operator)
    drops = measured.drops.reshape(len(masks), 1 + shuffles, len(case.trace.spans), -1)
    # Every span has masks of its own; what they cost the other spans is not asked for.
    own = dict(zip(masks, np.diagonal(drops, axis1=2, axis2=3), strict=True))
    return {
        (signal, k): np.where(
            same_everywhere(case.scores[signal]) | (k >= len(case.trace.units)), np.nan, values
        )
        for (signal, k), values in own.items()
    }

"""Metrics of labelled spans that ask the model: what really happens when units are taken away.

They are registered beside those that labels alone decide, and mean nothing where no model measures;
the formulas are in :mod:`omnitrace.evaluation.faithfulness`. All methods of one example are judged
by the same masks, and so are two evaluations of the same labels with the same seed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from omnitrace.evaluation.baselines import Prediction
from omnitrace.evaluation.faithfulness import is_size_controlled, lds, without_top_masks
from omnitrace.evaluation.items import Item

if TYPE_CHECKING:  # the ablation waits for torch, of which judging by labels has no need
    from omnitrace.ablation.effects import Operators
    from omnitrace.evaluation.span_metrics import Metric
    from omnitrace.scoring import ResponseScorer
    from omnitrace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["CAUSAL_METRICS", "MeasureOf", "Measured", "measure_by"]

_MASKS: Final = 64


class Measured:
    """The log-probabilities of one response under masks, measured when first asked for.

    Parameters
    ----------
    run:
        From bool ``[m, K]`` to float ``[m, T]``: the log-probability of each token, in nats. It is
        asked again for masks that it was asked for, and should remember them.
    sizes:
        Tokens of each unit.
    example, seed:
        What settles the masks.
    masks:
        How many masks for LDS and for its size-controlled form; where the units do not allow of so
        many, a half, a quarter and so on.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], np.ndarray],
        sizes: Sequence[int],
        example: str,
        *,
        seed: int = 0,
        masks: int = _MASKS,
    ) -> None:
        from omnitrace.ablation.masks import MaskDealer, as_many

        self._run = run
        self.sizes = np.array(sizes, dtype=np.int64)
        self.plain = self.sized = np.zeros((0, len(sizes)), dtype=bool)
        if len(sizes):
            dealer = MaskDealer(self.sizes, seed=seed, example=example)
            self.plain = as_many(dealer.evaluation, masks, len(sizes))
            self.sized = as_many(dealer.sized_evaluation, masks, len(sizes))

    def logprobs(self, masks: np.ndarray, tokens: tuple[int, int]) -> np.ndarray:
        """Return float64 ``[m]``: ``f(v)`` of the tokens ``[first, last)`` for bool ``[m, K]``."""
        # What every method asks for comes along, so that it runs in one go.
        rows = self._run(np.concatenate([masks, self.plain, self.sized]))[: len(masks)]
        return np.asarray(rows[:, slice(*tokens)].sum(axis=1, dtype=np.float64))


#: What measures the response of a trace, by the name of the example.
MeasureOf: TypeAlias = "Callable[[str, Trace], Measured]"


def measure_by(
    tracer: Tracer, *, operator: Operators = "attention", masks: int = _MASKS, seed: int = 0
) -> MeasureOf:
    """Return what measures traces with the model that wrote them.

    Parameters
    ----------
    tracer:
        Of that model, with the options under which the requests were traced.
    operator:
        How units are taken away; see :func:`omnitrace.ablation.effects`.
    masks, seed:
        As for :class:`Measured`.
    """
    from omnitrace.ablation.effects import lazy_scorer_of, measure
    from omnitrace.ablation.store import Cache

    cache = Cache()
    newest: dict[str, ResponseScorer] = {}

    def of(example: str, trace: Trace) -> Measured:
        lazy = lazy_scorer_of(tracer, trace)

        def make() -> ResponseScorer:
            if example not in newest:  # one at a time: each keeps the embeddings of its request
                newest.clear()
                newest[example] = lazy.make()
            return newest[example]

        remembering = dataclasses.replace(lazy, make=make)

        def run(keep: np.ndarray) -> np.ndarray:
            return measure(remembering, (), keep, operator=operator, cache=cache).tokens

        sizes = [len(unit.positions) for unit in trace.units]
        return Measured(run, sizes, example, seed=seed, masks=masks)

    return of


def _lds(item: Item, prediction: Prediction) -> float | None:
    if item.measured is None:
        return None
    return _correlated(item, prediction, item.measured, item.measured.plain)


def _size_controlled_lds(item: Item, prediction: Prediction) -> float | None:
    measured = item.measured
    if measured is None or not is_size_controlled(measured.sized, measured.sizes):
        return None
    return _correlated(item, prediction, measured, measured.sized)


def _correlated(
    item: Item, prediction: Prediction, measured: Measured, masks: np.ndarray
) -> float | None:
    if not len(masks):
        return None
    logprobs = measured.logprobs(masks, item.tokens)
    value = float(lds(prediction.scores[None], masks, logprobs[:, None])[0])
    return None if math.isnan(value) else value


def _top_drop(item: Item, prediction: Prediction, *, k: int) -> float | None:
    if item.measured is None or not item.units:
        return None
    masks = np.concatenate(
        [np.ones((1, len(item.units)), dtype=bool), without_top_masks(prediction.scores[None], k)]
    )
    full, without = item.measured.logprobs(masks, item.tokens)
    return float(full - without)


#: Metrics by name; the numbers are those of :mod:`omnitrace.evaluation.measured`.
CAUSAL_METRICS: Final[Mapping[str, Metric]] = {
    "lds": _lds,
    "size-controlled-lds": _size_controlled_lds,
    **{f"top-{k}-drop": functools.partial(_top_drop, k=k) for k in (1, 3, 5)},
}

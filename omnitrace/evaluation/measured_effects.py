"""What the model says of a response without some of its units: the ground of all causal metrics.

The metrics are in :mod:`omnitrace.evaluation.metrics.causal`. All methods of one example are
evaluated by the same masks, and so are two evaluations of the same labels with the same seed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:  # the ablation waits for torch, of which labels alone have no need
    from omnitrace.ablation.measurement import Operators
    from omnitrace.ablation.operators import Operator
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = [
    "FIT_MASKS",
    "MASKS",
    "MaskedLogprobs",
    "MeasureResponse",
    "MeasuredResponse",
    "measure_by",
]

#: Masks for LDS, and as many of equal size.
MASKS: Final = 64
#: Masks that the oracle and the calibration are fitted on; twice the unknowns where that is more.
FIT_MASKS: Final = 256


class MaskedLogprobs:
    """What a model says under masks, measured when first asked for, and no mask twice.

    Parameters
    ----------
    run:
        From bool ``[m, K]`` to float ``[m, T]``: log-probabilities in nats.
    known:
        What is known already, by the bytes of a mask; what is measured is added.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], np.ndarray],
        known: dict[bytes, np.ndarray] | None = None,
    ) -> None:
        self._run = run
        self._known = {} if known is None else known

    @property
    def count(self) -> int:
        """How many different masks are known."""
        return len(self._known)

    def missing(self, masks: np.ndarray) -> np.ndarray:
        """Return what would have to be measured for bool ``[m, K]``, each mask once."""
        different = np.unique(masks, axis=0)
        return different[[mask.tobytes() not in self._known for mask in different]]

    def prepare(self, masks: np.ndarray) -> None:
        """Measure bool ``[m, K]`` in one go, as far as they are not known."""
        missing = self.missing(masks)
        if len(missing):
            rows = self._run(missing)
            self._known.update(
                (mask.tobytes(), row) for mask, row in zip(missing, rows, strict=True)
            )

    def logprobs(self, masks: np.ndarray, tokens: tuple[int, int]) -> np.ndarray:
        """Return float64 ``[m]``: ``f(v)``, summed over ``[first, last)`` of ``T``."""
        keys = [mask.tobytes() for mask in masks]
        if any(key not in self._known for key in keys):
            self.prepare(masks)
        rows = (self._known[key][slice(*tokens)] for key in keys)
        return np.array([row.sum(dtype=np.float64) for row in rows])


class MeasuredResponse(MaskedLogprobs):
    """The log-probabilities of one response under masks, and the masks that evaluate it.

    Parameters
    ----------
    run:
        As for :class:`MaskedLogprobs`: the log-probability of each token.
    sizes:
        Tokens of each unit.
    example, seed:
        What settles the masks.
    masks:
        How many masks for LDS and for its size-controlled form; where the units do not allow so
        many, a half, a quarter and so on.
    known:
        As for :class:`MaskedLogprobs`.
    fitted:
        bool ``[m, K]``: masks that what the trace says was fitted on, as by a perturbation method.
        They do not evaluate it.
    about:
        How it is measured, in JSON values, to be written beside the figures.

    Attributes
    ----------
    plain, sized:
        bool ``[m, K]``: the masks of LDS and of its size-controlled form.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], np.ndarray],
        sizes: Sequence[int],
        example: str,
        *,
        seed: int = 0,
        masks: int = MASKS,
        known: dict[bytes, np.ndarray] | None = None,
        fitted: np.ndarray | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        from omnitrace.ablation.masks import MaskDealer, as_many

        super().__init__(run, known)
        self._fitted = set() if fitted is None else {mask.tobytes() for mask in fitted}
        self.about = dict(about or {})
        self.sizes = np.array(sizes, dtype=np.int64)
        self.plain = self.sized = np.zeros((0, len(sizes)), dtype=bool)
        if len(sizes):
            self._dealer = MaskDealer(self.sizes, seed=seed, example=example)
            self.plain = as_many(self._dealer.evaluation, masks, len(sizes))
            self.sized = as_many(self._dealer.sized_evaluation, masks, len(sizes))

    @functools.cached_property
    def fit(self) -> np.ndarray:
        """Return bool ``[m, K]`` to fit the oracle and the calibration on, none of them of LDS.

        There are at least twice as many as the oracle's ``K + 1`` unknowns, or none.
        """
        from omnitrace.ablation.masks import as_many

        units = len(self.sizes)
        if not units:
            return np.zeros((0, 0), dtype=bool)
        fewest = 2 * (units + 1)
        return as_many(self._dealer.fit, max(FIT_MASKS, fewest), units, fewest=fewest)

    def not_fitted(self, masks: np.ndarray) -> np.ndarray:
        """Return bool ``[m]``: on which of bool ``[m, K]`` what the trace says was not fitted."""
        return np.array([mask.tobytes() not in self._fitted for mask in masks], dtype=bool)

    def missing(self, masks: np.ndarray) -> np.ndarray:
        """Return what would have to be measured for bool ``[m, K]``, each mask once.

        The masks that keep all and nothing are always among it, until they are known.
        """
        ends = np.array([[True], [False]]).repeat(len(self.sizes), axis=1)
        return super().missing(np.concatenate([masks, ends]))


MeasureResponse: TypeAlias = "Callable[[str, Trace], MeasuredResponse]"
"""What measures the response of a trace, by the name of the example."""


def measure_by(
    tracer: Tracer,
    *,
    operator: Operators = "attention",
    masks: int = MASKS,
    seed: int = 0,
    cache: str | Path | None = None,
    fitted: Mapping[str, np.ndarray] | None = None,
) -> MeasureResponse:
    """Return what measures traces with the model that wrote them.

    Parameters
    ----------
    tracer:
        Of that model, with the options under which the requests were traced.
    operator:
        How units are ablated; see :func:`omnitrace.ablation.measure`.
    masks, seed:
        As for :class:`MeasuredResponse`.
    cache:
        A folder in which measured values are kept, and found again by another run.
    fitted:
        By the name of the example, bool ``[m, K]``: masks that the signal of the trace was fitted
        on; looked up when the trace is measured.
    """
    from omnitrace.ablation.cache import Cache
    from omnitrace.ablation.measurement import measure

    kept = Cache(cache)
    newest: dict[object, ResponseScorer] = {}
    # Several signals attribute one response: what one asked for is known to the others.
    known: dict[object, dict[bytes, np.ndarray]] = {}

    about = {"operator": _named(operator), "masks": masks, "seed": seed}

    def of(example: str, trace: Trace) -> MeasuredResponse:
        lazy = tracer.lazy_scorer_of(trace)
        positions = tuple(unit.positions for unit in trace.units)
        response = (example, trace.prompt_ids, trace.token_ids, positions)

        def make() -> ResponseScorer:
            if response not in newest:  # one at a time: each keeps the embeddings of its request
                newest.clear()
                newest[response] = lazy.make()
            return newest[response]

        remembering = dataclasses.replace(lazy, make=make)

        nothing = np.zeros((1, len(trace.units)), dtype=bool)

        def run(keep: np.ndarray) -> np.ndarray:
            # What is kept is named after the modalities that the masks ablate: always all.
            every = np.concatenate([keep, nothing])
            return measure(remembering, (), every, operator=operator, cache=kept).tokens[:-1]

        return MeasuredResponse(
            run,
            [len(each) for each in positions],
            example,
            seed=seed,
            masks=masks,
            known=known.setdefault(response, {}),
            fitted=None if fitted is None else fitted.get(example),
            about=about,
        )

    return of


def _named(operators: Operators) -> str | dict[str, str]:
    """Name an operator, or the one of each modality."""
    if isinstance(operators, Mapping):
        return {str(kind): _name(each) for kind, each in operators.items()}
    return _name(operators)


def _name(operator: str | Operator) -> str:
    return operator if isinstance(operator, str) else operator.name

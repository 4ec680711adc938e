"""Measure the log-probability of a response when source units are ablated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from omnitrace.ablation.cache import Cache, Store, digest_of
from omnitrace.ablation.execute import Spent, run_sequences
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.mask_sequences import sequences_of
from omnitrace.ablation.operators import Operator, OperatorsByModality, choose_operators
from omnitrace.ablation.scorer import ResponseScorer, check_spans
from omnitrace.errors import InputError
from omnitrace.types import Modality, Span

__all__ = [
    "Effects",
    "Operators",
    "Progress",
    "ablated_logprobs",
    "checked_masks",
    "measure",
    "span_logprobs",
]

Progress: TypeAlias = Callable[[int, int], None]
Operators: TypeAlias = "str | Operator | Mapping[Modality, str | Operator]"
"""How units are ablated: a registered name, an operator, or one of these for each modality."""


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Teacher-forced log-probabilities of one response under keep-masks, in nats.

    Attributes
    ----------
    masks:
        bool ``[m, K]``: which of the ``K`` units each mask keeps.
    tokens:
        float32 ``[m, T]``: ``log p(y_t | what is left, y_<t)``; with foils the difference to the
        foil's.
    full:
        float32 ``[T]``: the same with every unit kept.
    spans:
        Spans of the response; their token ranges are ``[token_start, token_end)``.
    units:
        Ids of the units, in the layout's order.
    sizes:
        int64 ``[K]``: tokens of each unit.
    operators:
        Name of the operator of each modality that was ablated.
    seconds, rows, run_tokens, naive_tokens:
        What it cost: time, forward passes, tokens that ran, and tokens that a loop with one whole
        forward pass a mask would have run. Masks found in the cache cost nothing.
    """

    masks: np.ndarray
    tokens: np.ndarray
    full: np.ndarray
    spans: tuple[Span, ...]
    units: tuple[str, ...]
    sizes: np.ndarray
    operators: Mapping[Modality, str]
    seconds: float = 0.0
    rows: int = 0
    run_tokens: int = 0
    naive_tokens: int = 0

    @property
    def span_logprobs(self) -> np.ndarray:
        """float64 ``[m, S]``: ``f(v)``, the sum over each span's tokens."""
        return self._summed(self.tokens)

    @property
    def full_spans(self) -> np.ndarray:
        """float64 ``[S]``: ``f(1)``, with every unit kept."""
        full: np.ndarray = self._summed(self.full[None])[0]
        return full

    @property
    def drops(self) -> np.ndarray:
        """float64 ``[m, S]``: ``f(1) - f(v)``; positive where ablated units support the span."""
        drops: np.ndarray = self.full_spans - self.span_logprobs
        return drops

    @property
    def span_tokens(self) -> np.ndarray:
        """int64 ``[S]``: tokens of each span."""
        lengths = [span.token_end - span.token_start for span in self.spans]
        return np.array(lengths, dtype=np.int64)

    def _summed(self, values: np.ndarray) -> np.ndarray:
        sums = [
            values[:, span.token_start : span.token_end].sum(axis=1, dtype=np.float64)
            for span in self.spans
        ]
        return np.stack(sums, axis=1) if sums else np.zeros((len(values), 0))


def measure(
    scorer: ResponseScorer | LazyScorer,
    spans: Sequence[Span],
    masks: np.ndarray | torch.Tensor,
    *,
    operator: Operators = "attention",
    cache: str | Path | Cache | None = None,
    progress: Progress | None = None,
    share: bool = True,
) -> Effects:
    """Measure a response under keep-masks.

    Parameters
    ----------
    scorer:
        Of the response, from ``Tracer.scorer`` or ``Tracer.scorer_of``; or one that is made only
        where a mask is new (``Tracer.lazy_scorer_of``).
    spans:
        Spans of the response.
    masks:
        bool ``[m, K]``; False ablates a unit. Masks may repeat: equal ones are run once.
    operator:
        How: a registered name, an operator, or one of these for each modality.
    cache:
        A folder in which measured values are kept by content digest and found again; or a
        :class:`~omnitrace.ablation.cache.Cache`, which remembers without a folder too.
    progress:
        Called with the masks done and the masks in all.
    share:
        Whether work is shared between masks; if False, each runs alone and whole.

    Raises
    ------
    InputError
        If the masks have the wrong width or type, or the operator does not act on a unit's
        modality.
    PluginError
        If the operator is unknown.
    NotSupportedError
        If the operator cannot act on this model or request.
    """
    units = tuple(unit.id for unit in scorer.source_units)
    keep = checked_masks(masks, len(units))
    check_spans(spans, len(scorer.response))
    every = np.concatenate([keep, np.ones((1, len(units)), dtype=bool)])
    chosen = choose_operators(scorer, operator, keep)
    names = {modality: each.name for modality, each in chosen.items()}
    store = _store_of(scorer, chosen, names, cache)
    started = time.perf_counter()
    spent, naive = _fill(store, scorer, every, chosen, progress, share)
    seconds = time.perf_counter() - started
    found = [store.get(mask) for mask in every]
    tokens = np.stack([each for each in found if each is not None])
    return Effects(
        masks=keep,
        tokens=tokens[:-1],
        full=tokens[-1],
        spans=tuple(spans),
        units=units,
        sizes=np.array([len(unit.positions) for unit in scorer.source_units], dtype=np.int64),
        operators=names,
        seconds=seconds,
        rows=spent.rows,
        run_tokens=spent.tokens,
        naive_tokens=naive,
    )


def _store_of(
    scorer: ResponseScorer | LazyScorer,
    chosen: OperatorsByModality,
    names: Mapping[Modality, str],
    cache: str | Path | Cache | None,
) -> Store:
    source = scorer.model if isinstance(scorer, LazyScorer) else scorer.adapter.source
    about = {"operators": names, "model": source, "response": scorer.response}
    sizes = len(scorer.source_units), len(scorer.response)
    if cache is None:
        return Store(None, *sizes, about)
    cache = cache if isinstance(cache, Cache) else Cache(cache)
    return cache.store(digest_of(scorer, chosen), *sizes, about)


def ablated_logprobs(
    scorer: ResponseScorer,
    masks: np.ndarray | torch.Tensor,
    *,
    operator: Operators = "attention",
    progress: Progress | None = None,
) -> torch.Tensor:
    """Return float32 ``[m, T]`` on the CPU: the response's log-probabilities under each mask."""
    keep = checked_masks(masks, len(scorer.units))
    chosen = choose_operators(scorer, operator, keep)
    store = Store(None, len(scorer.units), scorer.tokens, {})
    _fill(store, scorer, keep, chosen, progress, share=True)
    found = [values for mask in keep if (values := store.get(mask)) is not None]
    return torch.from_numpy(np.stack(found)) if found else torch.zeros((0, scorer.tokens))


def span_logprobs(
    scorer: ResponseScorer,
    keep: torch.Tensor,
    spans: Sequence[Span],
    *,
    operator: str = "attention",
    max_forwards: int | None = None,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Return the log-probability of each span with only some units left, in nats.

    One forward pass a row of ``keep`` gives the values of all spans; what rows share from the
    beginning on runs once (:mod:`omnitrace.ablation.prefix_sharing`).

    Parameters
    ----------
    scorer:
        Of the response.
    keep:
        bool ``[m, units]``.
    spans:
        Spans of the response.
    operator:
        Name of the operator that ablates the units; by default as effects are measured.
    max_forwards:
        Refuse more rows than this; None for no limit.
    progress:
        Called with the rows done and the rows in all; equal rows run once.

    Returns
    -------
    torch.Tensor
        float32 ``[m, spans]``, without gradients.

    Raises
    ------
    InputError
        If ``keep`` has the wrong shape or more rows than ``max_forwards``.
    """
    keep = scorer.checked_keep(keep)
    if max_forwards is not None and len(keep) > max_forwards:
        raise InputError(
            f"{len(keep)} forward passes are more than max_forwards={max_forwards}",
            legal=f"at most {max_forwards} rows",
            fix="raise max_forwards, or draw fewer rows",
        )
    found = ablated_logprobs(scorer, keep, operator=operator, progress=progress)
    return scorer.summed(found.to(scorer.embeddings.device), spans)


def checked_masks(masks: np.ndarray | torch.Tensor, units: int) -> np.ndarray:
    """Return keep-masks as bool ``[m, units]``.

    Raises
    ------
    InputError
        If they have another shape or type.
    """
    array = masks.detach().cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks)
    if array.ndim != 2 or array.shape[1] != units or array.dtype != np.bool_:
        raise InputError(
            f"keep is {array.dtype} of shape {array.shape}",
            legal=f"bool of shape [masks, {units} units], True where a unit is kept",
            fix="masks[None] makes one mask a batch, masks > 0.5 makes numbers a mask"
            if array.shape[-1:] == (units,)
            else "one column for each of the layout's units, in its order",
        )
    return array


def _fill(
    store: Store,
    scorer: ResponseScorer | LazyScorer,
    masks: np.ndarray,
    chosen: OperatorsByModality,
    progress: Progress | None,
    share: bool,
) -> tuple[Spent, int]:
    """Measure the masks that the store does not hold yet; also count the tokens of a plain loop."""
    measured = None if isinstance(scorer, LazyScorer) else scorer.measured
    if measured is not None:
        measured(masks)
    spent = Spent()
    if not len(_unknown(store, masks)):
        return spent, 0
    scorer = scorer.made() if isinstance(scorer, LazyScorer) else scorer
    every = np.ones(len(scorer.units), dtype=bool)
    if store.get(every) is None:
        store.add(every, scorer.full)
    missing = _unknown(store, masks)
    done = 0
    try:
        for indices, rows in sequences_of(scorer, missing, chosen):

            def found(
                batch: Sequence[int], values: torch.Tensor, of: Sequence[int] = indices
            ) -> None:
                nonlocal done
                for row, value in zip(batch, values.float().numpy(), strict=True):
                    store.add(missing[of[row]], value.copy())
                done += len(batch)
                if progress is not None:
                    progress(done, len(missing))

            part = run_sequences(scorer, rows, found, share=share)
            spent.rows += part.rows
            spent.tokens += part.tokens
    finally:
        store.save()  # also what was measured before Ctrl-C
    return spent, len(missing) * scorer.embeddings.shape[1]


def _unknown(store: Store, masks: np.ndarray) -> np.ndarray:
    """Return the masks that the store does not hold, each once."""
    unknown = np.array([store.get(mask) is None for mask in masks], dtype=bool)
    missing: np.ndarray = np.unique(masks[unknown], axis=0)
    return missing

"""Measure what a response's log-probability is when source units are taken away."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from omnitrace.ablation.cache import Cache, Store, digest_of, model_digest
from omnitrace.ablation.execute import Spent, run_rows
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.mask_rows import rows_of
from omnitrace.ablation.operators import Chosen, Operator, choose_operators
from omnitrace.ablation.scorer import check_spans
from omnitrace.errors import InputError
from omnitrace.trace.provenance import source_options_of
from omnitrace.types import Message, Modality, Span

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = [
    "Effects",
    "Operators",
    "ablated_logprobs",
    "effects",
    "lazy_scorer_of",
    "measure",
    "noted_masks",
    "scorer_of",
]

Operators: TypeAlias = "str | Operator | Mapping[Modality, str | Operator]"


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
        Name of the operator of each modality that was taken away.
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
        """float64 ``[m, S]``: ``f(1) - f(v)``; positive where what is gone supported the span."""
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


def effects(
    tracer: Tracer,
    trace: Trace,
    masks: np.ndarray | torch.Tensor,
    *,
    operator: Operators = "attention",
    messages: Sequence[Message] | None = None,
    media_root: str | Path | None = None,
    cache: str | Path | None = None,
    progress: bool = False,
    share: bool = True,
) -> Effects:
    """Measure the effects of taking units of a trace's request away.

    Parameters
    ----------
    tracer:
        Holds the model, and the options under which the request was traced.
    trace:
        The response and its spans.
    masks:
        bool ``[m, K]``; False takes a unit away. Masks may repeat: equal ones are run once.
    operator:
        How: a registered name, an operator, or one of these for each modality.
    messages, media_root:
        The request, where the trace does not remember its media or was cut into units of one's
        own.
    cache:
        A folder in which measured values are kept by content digest and found again.
    progress:
        Whether to show a progress bar on stderr.
    share:
        Whether work is shared between masks; without, each runs alone and whole.

    Raises
    ------
    InputError
        If the masks have the wrong width or type, the operator does not act on a unit's modality,
        or the request is not that of the trace.
    PluginError
        If the operator is unknown.
    NotSupportedError
        If the operator cannot act on this model or request.
    """
    scorer = scorer_of(tracer, trace, messages=messages, media_root=media_root)
    return measure(
        scorer, trace.spans, masks, operator=operator, cache=cache, progress=progress, share=share
    )


def scorer_of(
    tracer: Tracer,
    trace: Trace,
    *,
    messages: Sequence[Message] | None = None,
    media_root: str | Path | None = None,
) -> ResponseScorer:
    """Return the scorer of a trace's response; arguments and errors are those of :func:`effects`.

    Making one costs two forward passes: keep it where effects are measured more than once. The
    request is cut as it was for the trace, whatever the tracer's own options.
    """
    request = trace.request() if messages is None else messages
    scorer = _cutting_alike(tracer, trace).scorer(request, trace.token_ids, media_root=media_root)
    own = [(unit.id, unit.positions) for unit in trace.units]
    if own != [(unit.id, unit.positions) for unit in scorer.source_units]:
        raise InputError(
            f"the request has {len(scorer.units)} units that are not the {len(own)} of the trace",
            legal="the request, the model and the SourceOptions of the trace",
            fix="pass messages= with the units that were traced, to a tracer with the same sources",
        )
    return scorer


def lazy_scorer_of(tracer: Tracer, trace: Trace) -> LazyScorer:
    """Return the scorer of a trace's response, made when it is needed; see :func:`scorer_of`.

    What is measured with it is kept by the tokens of prompt and response, the digests of the media
    and the model.
    """
    key = {
        "model": model_digest(tracer.adapter.model),
        "prompt": trace.prompt_ids,
        "media": [each.sha256 for each in trace.media],
    }
    return LazyScorer(
        lambda: scorer_of(tracer, trace),
        trace.units,
        trace.token_ids,
        key,
        str(tracer.adapter.source),
    )


def _cutting_alike(tracer: Tracer, trace: Trace) -> Tracer:
    """Return the tracer with the source options of the trace, where that knows them."""
    if trace.provenance.segmentation.get("sources") == tracer.sources.record():
        return tracer
    options = source_options_of(trace)
    if options is None:
        return tracer
    alike = copy.copy(tracer)
    alike.sources = options
    return alike


def measure(
    scorer: ResponseScorer | LazyScorer,
    spans: Sequence[Span],
    masks: np.ndarray | torch.Tensor,
    *,
    operator: Operators = "attention",
    cache: str | Path | Cache | None = None,
    progress: bool | Callable[[int, int], None] = False,
    share: bool = True,
) -> Effects:
    """Measure effects with a scorer of one's own; see :func:`effects`.

    Parameters
    ----------
    scorer:
        Of the response, from :func:`scorer_of` or ``Tracer.scorer``; or one that is made only
        where a mask is new.
    spans:
        Spans of the response.
    cache:
        Also a :class:`~omnitrace.ablation.cache.Cache`, which remembers without a folder too.
    progress:
        Also a function that is called with the masks done and the masks in all.
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
    chosen: Chosen,
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
    progress: bool | Callable[[int, int], None] = False,
) -> torch.Tensor:
    """Return float32 ``[m, T]`` on the CPU: the response's log-probabilities under each mask."""
    keep = checked_masks(masks, len(scorer.units))
    chosen = choose_operators(scorer, operator, keep)
    store = Store(None, len(scorer.units), scorer.tokens, {})
    _fill(store, scorer, keep, chosen, progress, share=True)
    found = [values for mask in keep if (values := store.get(mask)) is not None]
    return torch.from_numpy(np.stack(found)) if found else torch.zeros((0, scorer.tokens))


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


_NOTES: contextvars.ContextVar[list[np.ndarray] | None] = contextvars.ContextVar(
    "omnitrace_noted_masks", default=None
)


@contextlib.contextmanager
def noted_masks() -> Iterator[list[np.ndarray]]:
    """Note the masks, bool ``[m, K]`` each, that anybody measures in this thread meanwhile.

    So one learns what a span signal was fitted on: such masks must not judge it.
    """
    notes: list[np.ndarray] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def _fill(
    store: Store,
    scorer: ResponseScorer | LazyScorer,
    masks: np.ndarray,
    chosen: Chosen,
    progress: bool | Callable[[int, int], None],
    share: bool,
) -> tuple[Spent, int]:
    """Measure the masks that the store does not hold yet; return also the tokens of a loop."""
    if (notes := _NOTES.get()) is not None:
        notes.append(masks)
    wanted = np.array([store.get(mask) is None for mask in masks], dtype=bool)
    missing = np.unique(masks[wanted], axis=0)
    spent = Spent()
    if not len(missing):
        return spent, 0
    scorer = scorer.made() if isinstance(scorer, LazyScorer) else scorer
    try:
        with _bar(progress, len(missing)) as advance:
            for indices, rows in rows_of(scorer, missing, chosen):

                def found(
                    batch: Sequence[int], values: torch.Tensor, of: Sequence[int] = indices
                ) -> None:
                    for row, value in zip(batch, values.float().numpy(), strict=True):
                        store.add(missing[of[row]], value.copy())
                    advance(len(batch))

                part = run_rows(scorer, rows, found, share=share)
                spent.rows += part.rows
                spent.tokens += part.tokens
    finally:
        store.save()  # also what was measured before Ctrl-C
    return spent, len(missing) * scorer.embeddings.shape[1]


@contextlib.contextmanager
def _bar(
    progress: bool | Callable[[int, int], None], total: int
) -> Iterator[Callable[[int], None]]:
    if progress is False:
        yield lambda done: None
        return
    if callable(progress):
        so_far = 0

        def tell(done: int) -> None:
            nonlocal so_far
            so_far += done
            progress(so_far, total)

        yield tell
        return
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("ablating", total=total)
        yield lambda done: bar.advance(task, done)

"""From a request to an example: let the model respond, read the attention, ablate units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import torch

import omnitrace
from omnitrace._utils.files import make_folder
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.ablation.masks import MaskDealer, as_many, leave_one_out
from omnitrace.ablation.measurement import Effects, measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.attribution.effects import measured_effects, select_by_effect
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError
from omnitrace.estimator.examples import Example, HeldOut, load_example, save_example
from omnitrace.estimator.features import FeatureRecipe, RowReducer, pooled, with_mask_gradient
from omnitrace.estimator.store import sources_record
from omnitrace.evaluation.metrics.faithfulness import is_size_controlled
from omnitrace.evaluation.sanity.cases import tracers_of
from omnitrace.evaluation.unit_scores import span_scores
from omnitrace.plugins.registry import registry
from omnitrace.signals.attention import AttentionMean
from omnitrace.signals.mask_gradient import mask_gradients
from omnitrace.signals.shared_pass import averaged_and_read
from omnitrace.signals.verified.signal import Verified
from omnitrace.sources.messages import Conversation
from omnitrace.sources.parts import TextPart
from omnitrace.sources.request_files import RequestEntry
from omnitrace.sources.responses.given import Response, record_of
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

__all__ = ["CollectOptions", "Collector", "FeatureReader", "Target"]

#: What an estimator learns to predict.
Target: TypeAlias = Literal["masks", "verified"]

_FEWEST: Final = 2  # masks of an example of two units


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """What is measured of each request.

    Attributes
    ----------
    recipe:
        How features are made.
    masks, keep_rates:
        Masks to learn from, and the probabilities with which they keep a unit, in turns; every mask
        is followed by its complement. A request of few units has fewer.
    evaluation_masks:
        Masks that evaluate a held-out example, for either form of LDS.
    operator:
        Name of the operator that ablates units.
    target:
        What is learnt: ``"masks"``, the log-probability under masks; or ``"verified"``, the effects
        that verification finds of the units that support a span, and that a span has no source. No
        masks are then drawn to learn from.
    max_new_tokens:
        Longest response, where the request has none.
    seed:
        Of the masks, beside the request's id.
    """

    recipe: FeatureRecipe = field(default_factory=FeatureRecipe)
    masks: int = 64
    keep_rates: tuple[float, ...] = (0.5, 0.7)
    evaluation_masks: int = 64
    operator: str = "attention"
    target: Target = "masks"
    max_new_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("masks", 2), ("evaluation_masks", 4), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}", legal=f"at least {least}")
        if not self.keep_rates or not all(0 < rate < 1 for rate in self.keep_rates):
            raise InputError(
                f"the keep rates are {list(self.keep_rates)}",
                legal="numbers above 0 and below 1, at least one",
            )
        registry().operator(self.operator)
        if self.target not in get_args(Target):
            raise InputError(f"target is {self.target!r}", legal=", ".join(get_args(Target)))


class Collector:
    """Makes examples of requests, and finds those that were made before.

    Parameters
    ----------
    tracer:
        Holds the model, and how requests are cut into units and responses into spans.
    options:
        What is measured.
    cache:
        Folder in which examples and measured effects are kept, by the digest of all that they
        depend on; None keeps nothing.

    Attributes
    ----------
    tracer, options:
        As given.
    fingerprint:
        Of the model.
    layers:
        The decoder layers whose rows are read.

    Raises
    ------
    InputError
        If the model has not the layers that the recipe reads, or the folder cannot be made.
    """

    def __init__(
        self, tracer: Tracer, options: CollectOptions | None = None, *, cache: Path | None = None
    ) -> None:
        self.tracer = tracer
        self.options = options or CollectOptions()
        self.fingerprint = model_fingerprint(tracer.adapter.model)
        self.layers = tuple(self.options.recipe.chosen(sorted(tracer.setup.layers)))
        self._cache = None if cache is None else make_folder(cache)
        self._reader = FeatureReader(self.options.recipe, self.layers)
        self._writer = tracer.with_options(verify=False)  # only its responses are needed
        # Salience weighs votes, which nothing is learnt from.
        unweighted = tracer.with_options(salience=None)
        (self._replayer,) = tracers_of(unweighted, [self._reader]).values()

    def example(self, request: RequestEntry) -> Example:
        """Return what is learnt from a request; errors are those of :meth:`held_out`."""
        asked = self._read(request)
        path = self._path(request, asked, held_out=False)
        found = None if path is None else load_example(path)
        if isinstance(found, Example):
            return found
        seen = self._look(request, asked)
        options = self.options
        if options.target == "verified":
            made = seen.example(*_alone(self._verified(seen)))
        else:
            masks = as_many(
                lambda count: seen.dealer.fit(count, rates=options.keep_rates),
                options.masks,
                seen.dealer.units,
                fewest=_FEWEST,
            )
            made = seen.example(masks, self._measured(seen, masks).span_logprobs)
        if path is not None:
            save_example(path, made)
        return made

    def held_out(self, request: RequestEntry) -> HeldOut:
        """Return what evaluates and calibrates an estimator that never saw the request.

        Raises
        ------
        OmnitraceError
            If the request cannot be read, or the model cannot respond to it.
        InputError
            If it has fewer than two units, or its response no word.
        """
        asked = self._read(request)
        path = self._path(request, asked, held_out=True)
        found = None if path is None else load_example(path)
        if isinstance(found, HeldOut):
            return found
        seen = self._look(request, asked)
        dealer, count = seen.dealer, self.options.evaluation_masks
        alone = leave_one_out(dealer.units)
        dealer.fitted(alone)  # they calibrate, and so must not evaluate
        plain = as_many(dealer.evaluation, count, dealer.units)
        sized = as_many(dealer.sized_evaluation, count, dealer.units)
        if not is_size_controlled(sized, dealer.sizes):
            sized = sized[:0]
        measured = self._measured(seen, np.concatenate([plain, sized, alone]))
        ends = [len(plain), len(plain) + len(sized)]
        evaluated, same, single = np.split(measured.span_logprobs, ends)
        made = HeldOut(
            example=seen.example(plain, evaluated),
            sized_masks=sized,
            sized_logprobs=same,
            sizes=dealer.sizes,
            effects=self._verified(seen)
            if self.options.target == "verified"
            else (measured.full_spans - single).T,
            baseline=span_scores(seen.trace)[seen.spoken],
        )
        if path is not None:
            save_example(path, made)
        return made

    def _read(self, request: RequestEntry) -> Conversation:
        return self.tracer.read(request.messages, media_root=request.media_root, **request.template)

    def _look(self, request: RequestEntry, asked: Conversation) -> _Seen:
        """Get the response to the request, and read it again."""
        response = self._response(request, asked)
        scorer = self.tracer.scorer(asked, response)
        if len(scorer.units) < 2:
            raise InputError(
                f"the request has {len(scorer.units)} units to ablate",
                legal="at least 2",
                fix="cut the sources finer, or leave the request out",
            )
        self._reader.start([unit.positions for unit in scorer.source_units])
        trace = self._replayer.replay(asked, response)
        reduced = self._reader.finish()
        spoken = [i for i, s in enumerate(trace.spans) if s.token_end > s.token_start]
        if not spoken:
            raise InputError("the response has no word", legal="a response of at least a sentence")
        spans = [trace.spans[i] for i in spoken]
        recipe = self.options.recipe
        features = np.stack([pooled(reduced[s.token_start : s.token_end], recipe) for s in spans])
        if recipe.mask_gradient:
            derivatives = mask_gradients(scorer, spans).numpy()
            features = with_mask_gradient(features, derivatives, recipe)
        sizes = [len(unit.positions) for unit in scorer.source_units]
        dealer = MaskDealer(sizes, seed=self.options.seed, example=request.id)
        return _Seen(request.id, scorer, trace, spoken, features, dealer)

    def _response(self, request: RequestEntry, asked: Conversation) -> Response:
        """Return the response of the record, or let the model write one."""
        if request.response is not None:
            return request.response
        trace = self._writer.trace(asked, max_new_tokens=self.options.max_new_tokens)
        if not trace.token_ids:
            raise InputError("the model's response is empty", legal="a response with a word")
        return list(trace.token_ids)

    def _measured(self, seen: _Seen, masks: np.ndarray) -> Effects:
        spans = [seen.trace.spans[i] for i in seen.spoken]
        cache = None if self._cache is None else self._cache / "effects"
        return measure(seen.scorer, spans, masks, operator=self.options.operator, cache=cache)

    def _verified(self, seen: _Seen) -> np.ndarray:
        """Return float64 ``[S, K]``: effects of the units that verification names, 0 of others."""
        spans = [seen.trace.spans[i] for i in seen.spoken]
        found = measured_effects(Verified(), seen.scorer, spans)
        effects = np.zeros((len(spans), len(seen.scorer.units)))
        config = self.tracer.setup.selection
        for row, each in zip(effects, found, strict=True):
            for support in select_by_effect(each, seen.scorer.source_units, config):
                row[support.unit_index] = support.effect
        return effects

    def _path(self, request: RequestEntry, asked: Conversation, *, held_out: bool) -> Path | None:
        """Return where an example is kept: a name by all that it depends on."""
        if self._cache is None:
            return None
        tracer = self.tracer
        said = {
            "version": omnitrace.__version__,
            "model": self.fingerprint,
            "id": request.id,
            "request": _content(asked),
            "response": record_of(request.response),
            "held_out": held_out,
            "sources": sources_record(tracer.setup.sources),
            "span_unit": tracer.setup.span_unit,
            "recipe": self.options.recipe.model_dump(mode="json"),
            "options": [
                self.options.masks,
                self.options.keep_rates,
                self.options.evaluation_masks,
                self.options.operator,
                self.options.target,
                self.options.max_new_tokens,
                self.options.seed,
            ],
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode())
        return self._cache / "examples" / f"{digest.hexdigest()}.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A response, its features ``[S, F, K]``, and the indices of its spans that have a token."""

    name: str
    scorer: ResponseScorer
    trace: Trace
    spoken: list[int]
    features: np.ndarray
    dealer: MaskDealer

    def example(self, masks: np.ndarray, logprobs: np.ndarray) -> Example:
        spans = [self.trace.spans[i] for i in self.spoken]
        tokens = np.array([s.token_end - s.token_start for s in spans], dtype=np.int64)
        return Example(self.name, self.features, masks, logprobs, self.scorer.modalities, tokens)


class FeatureReader(AttentionMean):
    """Scores as attention-mean does, and keeps the reductions of the rows that pass."""

    name = "estimator-features"

    def __init__(self, recipe: FeatureRecipe, layers: Sequence[int]) -> None:
        self.needs = recipe.needs
        self._recipe = recipe
        self._wanted = frozenset(layers)
        self._blocks: list[torch.Tensor] = []
        self._reduce = RowReducer([], recipe)

    def start(self, units: Sequence[Sequence[int]]) -> None:
        """Forget what was read, and reduce over these prompt positions from here on."""
        self._blocks, self._reduce = [], RowReducer(units, self._recipe)

    def finish(self) -> torch.Tensor:
        """Return float32 ``[tokens, features, units]`` of all that was read."""
        return torch.cat(self._blocks)

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Average the rows, and reduce them."""
        mean, reduced = averaged_and_read(rows, self._wanted, self._reduce)
        self._blocks.append(reduced)
        return mean


def _alone(effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what an example says of effects ``[S, K]``: that a unit alone gives its own back.

    Its masks keep no unit, and one unit each, bool ``[1 + K, K]``; values are ``[1 + K, S]``.
    """
    spans, units = effects.shape
    masks = np.concatenate([np.zeros((1, units), dtype=bool), np.eye(units, dtype=bool)])
    return masks, np.concatenate([np.zeros((1, spans)), effects.T])


def _content(conversation: Conversation) -> Any:
    """Return what a request says and shows, media by their digests."""
    return [dict(conversation.template)] * bool(conversation.template) + [
        [
            part.role,
            part.text if isinstance(part, TextPart) else part.media.sha256,
            part.is_source,
            repr(getattr(part, "within", None)),
            part.source_id,
            repr(part.units),
            repr(getattr(part, "asked", None)),
        ]
        for part in conversation.parts
    ]

"""What estimators are learnt from and judged on: features of any recipe, and measured masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors

from common.examples import Example, Subject, package_code
from omnitrace._utils.files import write_atomically
from omnitrace.ablation.masks import MaskDealer, as_many, leave_one_out
from omnitrace.estimator import Example as Learnt
from omnitrace.estimator import FeatureRecipe, pooled
from omnitrace.estimator.collect import FeatureReader
from omnitrace.estimator.features import with_mask_gradient
from omnitrace.evaluation.sanity.cases import tracers_of
from omnitrace.signals.mask_gradient import mask_gradients
from omnitrace.types import Span

__all__ = ["KEEP_RATES", "Data", "spans_of"]

KEEP_RATES = (0.5, 0.7)
_SEED = 0
_SPAN = Span(0, "", 0, 0, 0, 0, 0.0, (), True)


def spans_of(example: Example, *, whole: bool = False) -> list[tuple[int, int]]:
    """Return the tokens of each sentence of a response, or of the response as one span."""
    if whole:
        return [(0, len(example.trace.token_ids))]
    return [(span.token_start, span.token_end) for span in example.spans]


@dataclass(frozen=True, eq=False)
class _Seen:
    """Reductions of an example's tokens, float32 ``[tokens, heads, units]``, summed over units.

    ``first_order`` is the effect of hiding a unit by its gradients.
    """

    direct: torch.Tensor
    weighted: torch.Tensor
    rollout: torch.Tensor
    first_order: torch.Tensor


class Data:
    """Features and measured masks of examples; all is kept by its content.

    Parameters
    ----------
    subject:
        The model.
    masks:
        Keep-masks that an estimator learns from, and that judge one that is to be chosen.
    """

    def __init__(self, subject: Subject, masks: int) -> None:
        self.subject = subject
        self.masks = masks
        self._seen: dict[str, _Seen] = {}
        self._derived: dict[str, np.ndarray] = {}
        self._measured: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}

    def features(
        self, example: Example, recipe: FeatureRecipe, spans: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Return float32 ``[spans, features, units]`` by a recipe that reads all layers."""
        seen = self._look(example)
        parts = [seen.weighted if recipe.values else seen.direct]
        parts += [seen.rollout] * recipe.rollout
        reduced = torch.cat(parts, dim=1)
        if recipe.reduction == "mean":
            reduced = reduced / torch.from_numpy(example.sizes).clamp(min=1)
        if recipe.gradients != "none":
            first_order = (
                seen.first_order
                if recipe.gradients == "heads"
                else seen.first_order.sum(1, keepdim=True)
            )
            reduced = torch.cat([reduced, first_order], dim=1)
        found = np.stack([pooled(reduced[start:end], recipe) for start, end in spans])
        if recipe.mask_gradient:
            found = with_mask_gradient(found, self.derivatives(example, spans), recipe)
        return found

    def derivatives(self, example: Example, spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return float32 ``[spans, units]``: what the signal mask-gradient says.

        The spans are sentences, or the response as one.
        """
        known = [*spans_of(example), *spans_of(example, whole=True)]
        if example.name not in self._derived:
            self._derived[example.name] = self._derive(example, known)
        return self._derived[example.name][[known.index(span) for span in spans]]

    def learnt(self, example: Example, recipe: FeatureRecipe) -> Learnt:
        """Return what an estimator learns from: the sentences under masks for fitting."""

        def deal() -> np.ndarray:
            return as_many(
                lambda count: self._dealer(example).fit(count, rates=KEEP_RATES),
                self.masks,
                len(example.sizes),
                fewest=2,
            )

        return self._under(example, recipe, "fitting", deal)

    def judging(self, example: Example, recipe: FeatureRecipe) -> Learnt:
        """Return the sentences under masks for evaluation."""

        def deal() -> np.ndarray:
            return as_many(self._dealer(example).evaluation, self.masks, len(example.sizes))

        return self._under(example, recipe, "evaluation", deal)

    def single_effects(self, example: Example) -> np.ndarray:
        """Return the measured effect of each unit alone on each sentence, ``[S, K]`` in nats."""
        units = len(example.sizes)
        masks = np.concatenate([np.ones((1, units), dtype=bool), leave_one_out(units)])
        values = self.subject.measure(example, masks, "attention")
        return (values[:1] - values[1:]).T

    def _under(
        self, example: Example, recipe: FeatureRecipe, use: str, deal: Callable[[], np.ndarray]
    ) -> Learnt:
        """Return the sentences under masks, which are dealt and measured when first used."""
        key = example.name, use
        if key not in self._measured:
            masks = deal()
            self._measured[key] = masks, self.subject.measure(example, masks, "attention")
        masks, logprobs = self._measured[key]
        return Learnt(
            name=example.name,
            features=self.features(example, recipe, spans_of(example)),
            masks=masks,
            logprobs=logprobs,
            modalities=tuple(unit.modality for unit in example.trace.units),
            tokens=example.span_tokens,
        )

    def _dealer(self, example: Example) -> MaskDealer:
        return MaskDealer(example.sizes, seed=_SEED, example=example.name)

    def _look(self, example: Example) -> _Seen:
        """Replay the response, with values, gradients and neither, or find what that showed."""
        if example.name in self._seen:
            return self._seen[example.name]
        subject = self.subject
        key = {"model": subject.digest, "example": example.fed, "code": package_code()}
        path = subject.kept.path("features", key, ".safetensors")
        if not path.is_file():
            plain = self._reduced(example, FeatureRecipe(rollout=True))
            direct, rollout = plain.chunk(2, dim=1)
            weighted = self._reduced(example, FeatureRecipe(values=True))
            first_order = self._reduced(example, FeatureRecipe(gradients="heads")).chunk(2, dim=1)[
                1
            ]
            found = {
                "direct": direct,
                "weighted": weighted,
                "rollout": rollout,
                "first_order": first_order,
            }
            with write_atomically(path) as file:
                file.write(save_tensors({name: each.contiguous() for name, each in found.items()}))
        self._seen[example.name] = _Seen(**load_file(path))
        return self._seen[example.name]

    def _derive(self, example: Example, spans: Sequence[tuple[int, int]]) -> np.ndarray:
        subject = self.subject
        key = {"model": subject.digest, "example": example.fed, "code": package_code()}
        path = subject.kept.path("derivatives", key | {"spans": spans}, ".safetensors")
        if not path.is_file():
            of = [dataclasses.replace(_SPAN, token_start=a, token_end=b) for a, b in spans]
            found = mask_gradients(subject.scorer(example), of)
            with write_atomically(path) as file:
                file.write(save_tensors({"derivatives": found.contiguous()}))
        return load_file(path)["derivatives"].numpy()

    def _reduced(self, example: Example, recipe: FeatureRecipe) -> torch.Tensor:
        tracer = self.subject.tracer
        reader = FeatureReader(recipe, recipe.chosen(sorted(tracer.setup.layers)))
        (replayer,) = tracers_of(tracer, [reader]).values()
        reader.start([unit.positions for unit in example.trace.units])
        replayer.replay(example.request.messages, list(example.trace.token_ids))
        return reader.finish()

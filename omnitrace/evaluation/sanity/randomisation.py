"""Parameter randomisation: scores must change as the model loses what it has learnt.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", the cascading form: the decoder layers are
re-initialised one after the other, from the last one down, and after each stage the *same* response
is attributed again. Scores that stay as they were show the request, not the model. The cascade is
over decoder layers; embeddings, the last norm and the output head stay, as does what any attention
does without having learnt it: a sum over a unit grows with its length. On the model in this package
that alone leaves a correlation of 0.5 to 0.7. So the correlation is also given with the unit sizes
held fixed, and it is this one that decides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from omnitrace.ablation.masks import generator
from omnitrace.capture.attention_hooks import attention_modules
from omnitrace.capture.exclusive import model_lock
from omnitrace.errors import InputError, ModelError, NotSupportedError
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import CONTROL, Case, Draws, alike, all_scores, beyond_size
from omnitrace.models.base import ModelAdapter
from omnitrace.tracer import Tracer

__all__ = [
    "THRESHOLD",
    "Randomisation",
    "Stage",
    "decoder_layers",
    "parameter_randomisation",
    "randomised_layers",
]

#: Below this rank correlation with the trained model's scores, all layers randomised, scores count
#: as changed. A convention: half of the largest correlation there is.
THRESHOLD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """How the scores of one signal compare with the original ones at one stage.

    ``randomised`` is the number of decoder layers that are re-initialised, counted from the last.
    ``correlation`` is Spearman's over units, in [-1, 1], ``beyond_size`` the same with the unit
    sizes held fixed (undefined for scores that rank by size alone), ``same_top`` the share of spans
    whose highest unit stays; all averaged over spans, with intervals over examples.
    """

    signal: str
    randomised: int
    correlation: Estimate
    beyond_size: Estimate
    same_top: Estimate


@dataclass(frozen=True, slots=True)
class Randomisation:
    """What parameter randomisation found.

    Attributes
    ----------
    layers:
        How many decoder layers there are.
    stages:
        By signal, and the control "unit-size", in the order of randomisation.
    length:
        By signal: the rank correlation of its original scores with unit length. What remains of a
        signal's correlation is no more than this if length is all that remains of its scores.
    threshold:
        The correlation below which a signal passes.
    """

    layers: int
    stages: tuple[Stage, ...]
    length: Mapping[str, Estimate]
    threshold: float

    def final(self, signal: str) -> Stage:
        """Return the stage of a signal at which all layers are randomised."""
        return next(
            each for each in self.stages if each.signal == signal and each.randomised == self.layers
        )

    def passes(self, signal: str) -> bool | None:
        """Whether the final correlation is below the threshold; None where it is undefined.

        The one beyond unit size decides, since a sum over a unit grows with its length in any
        model; the plain one where that is undefined.
        """
        final = self.final(signal)
        value = final.beyond_size.value
        if np.isnan(value):
            value = final.correlation.value
        return None if np.isnan(value) else value < self.threshold

    @property
    def passed(self) -> dict[str, bool | None]:
        """What :meth:`passes` says of each signal, and of the control."""
        names = dict.fromkeys(each.signal for each in self.stages)
        return {name: self.passes(name) for name in names}


def parameter_randomisation(
    tracers: Mapping[str, Tracer],
    cases: Sequence[Case],
    *,
    stages: int = 8,
    threshold: float = THRESHOLD,
    interval: Draws | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> Randomisation:
    """Randomise the decoder layers from the last one down, and attribute again at each stage.

    The weights are restored to the last bit afterwards, also after an exception; until then nobody
    else can use the model.

    Parameters
    ----------
    tracers, cases:
        By signal, from ``tracers_of``; the responses, from ``case_of``.
    stages:
        How many stages at most, at least 1: with fewer than layers they are spread evenly, and the
        last one has all layers. Each costs one replay for each signal and response.
    threshold:
        See :meth:`Randomisation.passes`.
    interval:
        Of the estimates.
    seed:
        Of the random weights.
    progress:
        Called before each stage.

    Raises
    ------
    InputError
        If there is no stage or no case, or the threshold is no correlation.
    ModelError, NotSupportedError
        As :func:`randomised_layers`.
    """
    if stages < 1 or not cases:
        raise InputError(f"{stages} stages of {len(cases)} responses", legal="at least 1 of each")
    if not -1 <= threshold <= 1:
        raise InputError(f"the threshold is {threshold}", legal="a correlation, from -1 to 1")
    interval = interval or Draws(seed=seed)
    adapter = next(iter(tracers.values())).adapter
    depth = len(decoder_layers(adapter))
    found: list[Stage] = []
    with randomised_layers(adapter, seed=seed) as randomise:
        for count in _counts(depth, stages):
            progress(f"{count} of {depth} layers randomised")
            randomise(count)
            found += _stage(tracers, cases, count, interval)
    order = [*tracers, CONTROL]
    found.sort(key=lambda stage: (order.index(stage.signal), stage.randomised))
    length = {
        name: interval.mean([alike(c.scores[name], c.scores[CONTROL])[0] for c in cases])
        for name in tracers
    }
    return Randomisation(depth, tuple(found), length, threshold)


def _counts(depth: int, stages: int) -> list[int]:
    """Return the numbers of layers to randomise, ascending, the last of them ``depth``."""
    if stages == 1:
        return [depth]
    spread = np.linspace(1, depth, min(depth, stages))
    return sorted({round(float(each)) for each in spread})


def _stage(
    tracers: Mapping[str, Tracer], cases: Sequence[Case], count: int, interval: Draws
) -> Iterator[Stage]:
    compared: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for case in cases:
        traces = {
            name: tracer.replay(
                case.messages,
                case.trace.token_ids,
                media_root=case.media_root,
                **case.template,
            )
            for name, tracer in tracers.items()
        }
        for name, scores in all_scores(traces).items():
            correlation, top = alike(case.scores[name], scores)
            rest = beyond_size(case.scores[name], scores, case.scores[CONTROL])
            compared.setdefault(name, []).append((correlation, rest, top))
    for name, found in compared.items():
        yield Stage(name, count, *(interval.mean(each) for each in zip(*found, strict=True)))


def decoder_layers(adapter: ModelAdapter) -> list[nn.Module]:
    """Return the layers of a model's text decoder, from the first to the last.

    They are the members of the numbered lists that the attention modules stand in, those without
    attention of their own among them.

    Raises
    ------
    ModelError
        If an attention module stands in no such list.
    """
    decoder = adapter.decoder
    names = {id(module): name for name, module in decoder.named_modules()}
    stacks: dict[str, None] = {}
    for module in attention_modules(decoder):
        steps = names[id(module)].split(".")
        numbers = [place for place, step in enumerate(steps) if step.isdigit()]
        if not numbers:
            raise ModelError(
                f"the attention {names[id(module)]!r} of {adapter.source} is in no list of layers",
                legal="decoders whose layers stand in a torch.nn.ModuleList",
            )
        stacks[".".join(steps[: numbers[-1]])] = None
    return [layer for stack in stacks for layer in decoder.get_submodule(stack).children()]


@contextlib.contextmanager
def randomised_layers(adapter: ModelAdapter, *, seed: int = 0) -> Iterator[Callable[[int], None]]:
    """Lend a model whose decoder layers can be re-initialised; on exit they are what they were.

    Yields a function: given a number, it re-initialises so many layers, counted from the last; once
    randomised, a layer stays as it is. Every tensor is drawn from a normal distribution with the
    mean and the standard deviation of the original one, by a generator that its name and the seed
    settle. The originals wait on the CPU. Nobody else can use the model meanwhile.

    Raises
    ------
    ModelError
        If the decoder's layers cannot be found.
    NotSupportedError
        If their weights are not all floating-point numbers in memory.
    """
    layers = decoder_layers(adapter)
    _check_weights(adapter, layers)
    originals: dict[int, tuple[nn.Parameter, torch.Tensor]] = {}

    def randomise(count: int) -> None:
        for number in range(len(layers) - 1, len(layers) - 1 - count, -1):
            for name, parameter in layers[number].named_parameters():
                if id(parameter) not in originals:  # a weight that layers share is drawn once
                    kept = parameter.detach().to("cpu", copy=True)
                    originals[id(parameter)] = parameter, kept
                    _redraw(parameter, generator(seed, number, name))

    with model_lock(adapter.model).held():
        try:
            yield randomise
        finally:
            with torch.no_grad():
                for parameter, kept in originals.values():
                    parameter.copy_(kept)


def _redraw(parameter: nn.Parameter, draws: np.random.Generator) -> None:
    weights = parameter.detach().float()
    mean, spread = float(weights.mean()), float(weights.std(correction=0))
    drawn = draws.standard_normal(tuple(parameter.shape), dtype=np.float32) * spread + mean
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.asarray(drawn, dtype=np.float32)))


def _check_weights(adapter: ModelAdapter, layers: Sequence[nn.Module]) -> None:
    for layer in layers:
        for name, parameter in layer.named_parameters():
            if parameter.is_meta or not parameter.is_floating_point():
                what = "not in memory" if parameter.is_meta else f"of the type {parameter.dtype}"
                raise NotSupportedError(
                    f"the weight {name!r} of {adapter.source} is {what}, and cannot be randomised",
                    legal="floating-point weights that stay on their device",
                    fix="load the model without quantisation and without offloading",
                )

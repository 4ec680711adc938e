"""Which capture listens to the model for a tracer's signals, and the engine that reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.base import Capture
from omnitrace.capture.batch import BatchCapture
from omnitrace.capture.gradients import GradientCapture
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.engine.assembler import Assembler
from omnitrace.engine.decode_loop import Engine
from omnitrace.engine.setup import Setup
from omnitrace.models.detokenize import Detokenizer
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.segmentation.thinking import SectionSegmenter
from omnitrace.signals.base import gradient_target, subject_of
from omnitrace.signals.contract import chosen_layers

__all__ = ["Capturing", "capturing", "listening"]


@dataclass(frozen=True, slots=True)
class Capturing:
    """What has to be captured for the signals of a setup.

    Attributes
    ----------
    setup:
        The model and its signals.
    layers:
        Decoder layers whose rows are read.
    live_layers:
        Of these, the ones that the live span signal reads.
    values:
        Whether the norms of value vectors are needed.
    target:
        What is differentiated; None where no gradients are needed.
    """

    setup: Setup
    layers: Sequence[int]
    live_layers: Sequence[int]
    values: bool
    target: Literal["logit", "logprob"] | None

    @property
    def modules(self) -> list[nn.Module]:
        """The modules that are listened to."""
        by_index = self.setup.layers
        return [by_index[i] for i in (self.layers if self.target is None else sorted(by_index))]

    def gradients(
        self, prompt_length: int, foils: Sequence[int | None] | None = None
    ) -> GradientCapture | None:
        """Return what listens for gradients, if they are needed."""
        if self.target is None:
            return None
        every = sorted(self.setup.layers)
        return GradientCapture(
            self.layers, every, prompt_length, target=self.target, foils=foils, values=self.values
        )

    def engine(self, request: EncodedRequest, capture: Capture, block: int) -> Engine:
        """Return the engine that takes the response to ``request``."""
        setup = self.setup
        return Engine(
            capture=capture,
            assembler=Assembler(
                layout=request.layout,
                signal=setup.signals.token,
                package=setup.signals.token_package,
                live=setup.live_signal,
                live_package=setup.signals.span_package,
                live_layers=frozenset(self.live_layers),
                salience=setup.salience,
                config=setup.selection,
            ),
            detokenizer=Detokenizer(setup.adapter.tokenizer),
            segmenter=SectionSegmenter.after_prompt(
                setup.thinking,
                setup.adapter.tokenizer,
                request.encoded.prompt_ids,
                request.layout,
                unit=setup.span_unit,
                language=setup.sources.language,
            ),
            block=block,
        )


def capturing(setup: Setup) -> Capturing:
    """Return what has to be captured for the signals of ``setup``."""
    every = sorted(setup.layers)
    signal, live = setup.signals.token, setup.live_signal
    layers = chosen_layers(signal, every, subject=subject_of(signal, setup.signals.token_package))
    read = list[int]()
    if live is not None:
        read = chosen_layers(live, every, subject=subject_of(live, setup.signals.span_package))
        layers = sorted({*layers, *read})
    return Capturing(setup, layers, read, "values" in setup.needs, gradient_target(setup.needs))


@contextlib.contextmanager
def listening(
    model: Any,
    decoder: nn.Module,
    modules: Sequence[nn.Module],
    capture: Capture | BatchCapture,
    prompt: PromptRecord | None = None,
) -> Iterator[None]:
    """Let ``capture`` listen to the model inside the block, and ``prompt`` while it is read."""
    with contextlib.ExitStack() as stack:
        if prompt is None:
            stack.enter_context(tapped(model, modules, capture.taps))
        else:
            taps = prompt.taps(modules, capture.taps)
            stack.enter_context(tapped(model, prompt.modules, taps))
            others = [module for module in prompt.modules if module not in modules]
            stack.enter_context(prompt.attached(model, others))
        if isinstance(capture, GradientCapture):
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(capture.attached(model, decoder))
        yield

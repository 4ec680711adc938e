"""The harness of signals: run one on the reference model, and keep all that it returns."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.engine.prepare import read_request
from omnitrace.errors import ConformanceError, PluginError
from omnitrace.models.base import ModelAdapter
from omnitrace.models.generation import generation_config
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import LiveSpanSignal, SpanSignal, TokenSignal, subject_of
from omnitrace.signals.resolution import SIGNAL_MEMBERS
from omnitrace.testing.requests import request
from omnitrace.testing.state import model_change, model_state, torch_change, torch_state
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

__all__ = [
    "SEED",
    "TOKENS",
    "Failing",
    "ScoredRows",
    "SignalHarness",
    "made",
    "reference",
    "settings",
    "untraced",
]

TOKENS: Final = 12
SEED: Final = 7
# High enough that the next token depends on the random state.
_SAMPLING: Final = {"do_sample": True, "temperature": 5.0, "top_k": 0}
_MEDIA: Final = ("text", "image", "audio")


@functools.cache
def reference() -> Tracer:
    """Return a tracer of the reference model in the package, loaded once."""
    return Tracer.from_pretrained("reference", signal="attention-mean")


@functools.cache
def _messages() -> list[dict[str, Any]]:
    return request(_MEDIA)


def made(signal: Any) -> tuple[Any, str | None]:
    """Return a signal and the package that registered it, given its name, its class or itself.

    Raises
    ------
    PluginError
        If no signal has the name, or it cannot be made.
    """
    if isinstance(signal, str):
        entry = registry().signal(signal)
        return entry.make(), entry.package
    return (signal() if isinstance(signal, type) else signal), None


def untraced(adapter: ModelAdapter, inputs: Mapping[str, Any], **generate: Any) -> list[int]:
    """Return the tokens that ``generate`` writes by itself; the model is left as it was."""
    config, _ = generation_config(adapter.model, generate)
    with tapped(adapter.model, (), ()):  # restores what generation leaves on the model
        ids = adapter.model.generate(**inputs, generation_config=config)
    written: list[int] = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return written


@functools.cache
def _untraced_reference(sampled: bool) -> tuple[int, ...]:
    tracer = reference()
    encoded = read_request(tracer.setup, _messages(), None).encoded
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        inputs = {**encoded.inputs, **encoded.generate_options}
        return tuple(untraced(tracer.adapter, inputs, **settings(tracer.adapter, TOKENS, sampled)))


def settings(adapter: ModelAdapter, tokens: int, sampled: bool) -> dict[str, Any]:
    """As many tokens as are asked for, whatever the model would prefer, and all of them words."""
    return {
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "suppress_tokens": sorted(adapter.media_tokens) or None,
        **(_SAMPLING if sampled else {"do_sample": False}),
    }


class ScoredRows(NamedTuple):
    """What ``score`` returned for ``rows`` tokens from ``first`` on, with that context."""

    scores: Any
    rows: int
    context: int
    first: int


class _Wrapped(TokenSignal):
    """Another signal, under its own name."""

    def __init__(self, signal: TokenSignal) -> None:
        self.signal = signal
        self.name = signal.name
        self.parameters = signal.parameters
        self.needs = signal.needs

    def layers(self, available: Sequence[int]) -> Sequence[int]:
        return self.signal.layers(available)

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        return self.signal.score(rows)


class _Recorder(_Wrapped):
    """Keeps what the signal returns."""

    def __init__(self, signal: TokenSignal) -> None:
        super().__init__(signal)
        self.blocks: list[ScoredRows] = []

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Score, and keep a copy."""
        layers = list(rows)  # nothing is computed until a layer is read
        _, count, context = layers[0].weights.shape
        scores = super().score(iter(layers))
        kept = scores.detach().clone() if isinstance(scores, torch.Tensor) else scores
        first = sum(block.rows for block in self.blocks)
        self.blocks.append(ScoredRows(kept, count, context, first))
        return scores


class Failing(_Wrapped):
    """Works once, and raises from then on."""

    _calls = 0

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Score the first block only."""
        self._calls += 1
        if self._calls > 1:
            raise RuntimeError("a bug in the signal")
        return super().score(rows)


class SignalHarness:
    """One signal, and its effects on the reference model.

    Parameters
    ----------
    signal:
        The name of a registered signal, a signal, or a signal class.

    Raises
    ------
    PluginError
        If there is no such signal, it cannot be made, or is none.
    """

    def __init__(self, signal: Any) -> None:
        self.asked = signal
        self.signal, self.package = made(signal)
        if not isinstance(self.signal, TokenSignal | SpanSignal | LiveSpanSignal):
            raise PluginError(
                f"{self.signal!r} is no signal",
                legal=SIGNAL_MEMBERS,
                fix="inherit from TokenSignal, SpanSignal or LiveSpanSignal of "
                "omnitrace.signals.base",
            )
        self._adapter = reference().adapter
        self.model = self._adapter.model
        self.prompt_length = read_request(reference().setup, _messages(), None).prompt_length
        self._before = model_state(self.model)
        # Before the signal can do anything to the model.
        self._untraced = {sampled: _untraced_reference(sampled) for sampled in (False, True)}
        self._torch_change: str | None = None

    @property
    def subject(self) -> str:
        """What the signal is called in errors."""
        return subject_of(self.signal, self.package)

    @property
    def tracer(self) -> Tracer:
        """A tracer of the reference model with the signal."""
        return self._tracer(self.signal)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request: a text, an image, a sound and a question."""
        return _messages()

    @functools.cached_property
    def plain_tracer(self) -> Tracer:
        """A tracer of the same model with a signal of Omnitrace's own."""
        return Tracer(adapter=self._adapter, signal="attention-mean")

    def _tracer(self, signal: Any, block: int = 16) -> Tracer:
        """Make a tracer without probing the model again, which takes longer than a trace."""
        tracer = copy.copy(self.plain_tracer)
        signals = tracer.setup.signals
        if isinstance(signal, TokenSignal):
            signals = signals._replace(token=signal, token_package=self.package)
        else:
            signals = signals._replace(span=signal, span_package=self.package)
        tracer.setup = dataclasses.replace(tracer.setup, signals=signals, block=block)
        return tracer

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take note of every setting of torch that is another one after the block."""
        before = torch_state()
        try:
            yield
        finally:
            change = torch_change(before)
            self._torch_change = self._torch_change or change

    def trace(
        self, *, tokens: int = TOKENS, block: int = 16, sampled: bool = False, signal: Any = None
    ) -> Trace:
        """Trace the request; raises ConformanceError where the signal breaks down."""
        tracer = self._tracer(self.signal if signal is None else signal, block)
        with self.watched():
            return tracer.trace(_messages(), seed=SEED, **settings(tracer.adapter, tokens, sampled))

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """Scores of :data:`TOKENS` tokens, float32 ``[tokens, context]``."""
        return self.trace().scores

    @functools.cached_property
    def _recorded(self) -> tuple[list[ScoredRows], ConformanceError | None]:
        recorded = _Recorder(self.signal)
        try:
            self.trace(block=5, signal=recorded)
        except ConformanceError as error:
            return recorded.blocks, error
        return recorded.blocks, None

    @property
    def blocks(self) -> list[ScoredRows]:
        """What the signal returned, up to the first block that violates a requirement."""
        return self._recorded[0]

    @property
    def failure(self) -> ConformanceError | None:
        """The error that ended the trace early."""
        return self._recorded[1]

    def untraced(self, *, sampled: bool) -> tuple[int, ...]:
        """Return the tokens of the request as the model writes them untraced."""
        return self._untraced[sampled]

    def change(self) -> str | None:
        """Say what the signal has changed for good since the harness was made; None for nothing."""
        change = self._torch_change or model_change(self.model, self._before)
        if change is not None:  # what is broken must not be the next signal's reference
            reference.cache_clear()
        return change

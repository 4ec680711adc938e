"""From the raw rows of a block of tokens to token traces, spans and events.

This is the half of the work that the decoding loop need not wait for: it reads nothing that a later
step changes. ``trace`` does it inside the loop, a stream beside it; either way the blocks are the
same and come in the same order, so that the results are the same to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from omnitrace.attribution.effects import live_effects
from omnitrace.attribution.masses import Masses, token_traces, unit_masses
from omnitrace.attribution.rollout import Rollout
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.attribution.spans import SpanBuilder, tokens_of
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.engine.score_buffer import ScoreRows
from omnitrace.errors import OmnitraceError
from omnitrace.segmentation.salience import Salience
from omnitrace.signals.base import LiveSpanSignal, TokenSignal, subject_of
from omnitrace.signals.contract import scored
from omnitrace.signals.shared_pass import Reduce, reducer_of, scored_and_reduced
from omnitrace.trace.events import Event, ProvisionalEvent, SpanEvent, TokenEvent
from omnitrace.types import Effect, Layout, Section, Span, TokenTrace

__all__ = ["Assembler", "Block"]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive generated tokens with what the model showed of them.

    Parameters
    ----------
    ids, pieces:
        The tokens, and what each adds to the text.
    rows:
        What the layers show of these tokens; empty where there are none.
    ended:
        Character ranges of the spans that have ended, each with its section.
    open:
        Where the text begins that is in no span yet, and its section.
    sections:
        The section of each token; None where a marker of thoughts lies in it.
    rest:
        Text that the end of the response adds to its last token, if that is in an earlier block.
    """

    ids: Sequence[int]
    pieces: Sequence[str]
    rows: Sequence[LayerRows]
    ended: Sequence[tuple[int, int, Section]]
    open: tuple[int, Section]
    sections: Sequence[Section | None]
    rest: str = ""


@dataclass(slots=True)
class Assembler:
    """Scores blocks, assigns their tokens, and builds the spans that end.

    Parameters
    ----------
    layout:
        Units of the prompt.
    signal, package:
        Scores the rows; the package that registered it, where that is known.
    salience:
        Words to weights.
    config:
        How supports are chosen.
    live, live_package, live_layers:
        A live span signal by whose effects supports are chosen, its package, and the layers that it
        reads; the scores are then those of "attention-mean", whose rows pass anyway. None lets the
        tokens vote.
    provisional:
        After how many more tokens the text that is in no span yet gets provisional supports; None
        for none.
    """

    layout: Layout
    signal: TokenSignal
    salience: Salience
    config: SelectionConfig
    package: str | None = None
    live: LiveSpanSignal | None = None
    live_package: str | None = None
    live_layers: Collection[int] = ()
    provisional: int | None = None

    text: str = ""
    ids: list[int] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    tokens: list[TokenTrace] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    broken: OmnitraceError | None = None
    """The error of a signal that broke its contract: later blocks are then skipped."""
    _scores: ScoreRows = field(default_factory=ScoreRows)
    _rollout: Rollout | None = field(init=False, default=None)
    _reduce: Reduce | None = field(init=False, default=None)
    # For the tokens that a later span can have: from the last token of the last span on.
    _first: int = 0
    _masses: list[Masses] = field(default_factory=list)
    _reduced: list[torch.Tensor] = field(default_factory=list)
    _shown: int = 0

    def __post_init__(self) -> None:
        if self.config.rollout:
            self._rollout = Rollout(self.layout.prompt_length)
        if self.live is not None:
            self._reduce = reducer_of(self.live, [unit.positions for unit in self.layout.units])

    def process(self, block: Block) -> list[Event]:
        """Work on the next block; return the events that it completes.

        A signal that breaks its contract, or raises an error of Omnitrace's own, ends the work:
        ``broken`` is then its error, and there are no more events.
        """
        if self.broken is not None:
            return []
        try:
            traces = self._trace(block)
            events: list[Event] = list(map(TokenEvent, traces, block.sections))
            self._append_rest(block.rest)
            spans = self._build(block.ended)
            events += [SpanEvent(span) for span in spans]
            growing = self._grown(*block.open)
        except OmnitraceError as error:
            self.broken = error
            return []
        return events if growing is None else [*events, ProvisionalEvent(growing)]

    def scores(self) -> np.ndarray:
        """Return float32 ``[generated tokens, prompt + generated tokens]``."""
        return self._scores.array(self.layout.prompt_length + len(self.ids))

    def salience_weights(self) -> np.ndarray:
        """Return float64 ``[generated tokens]``; tokens outside every span weigh 0."""
        weights = np.zeros(len(self.ids))
        weights[: len(self.weights)] = self.weights
        return weights

    def _trace(self, block: Block) -> Sequence[TokenTrace]:
        """Score the block's rows and describe its tokens."""
        if not block.ids:
            return ()
        first = len(self.ids)
        scores, reduced = self._score(block)
        carried = scores if self._rollout is None else self._rollout.push(scores)
        masses = unit_masses(carried, self.layout, self.config.assign, first=first)
        self.ids += block.ids
        for piece in block.pieces:
            start = len(self.text)
            self.text += piece
            self.ranges.append((start, len(self.text)))
        traces = token_traces(
            masses, self.layout, block.ids, block.pieces, self.ranges[first:], first=first
        )
        self._scores.append(scores)
        self._masses.append(masses)
        if reduced is not None:
            self._reduced.append(reduced)
        self.tokens += traces
        return traces

    def _score(self, block: Block) -> tuple[np.ndarray, torch.Tensor | None]:
        """Return scores, float32 ``[rows, context]``, and the live span signal's reductions."""
        first = len(self.ids)
        shape = len(block.ids), self.layout.prompt_length + first + len(block.ids) - 1
        if self.live is None or self._reduce is None:
            subject = subject_of(self.signal, self.package)
            scores = scored(self.signal, block.rows, shape, first=first, subject=subject)
            return scores.numpy(), None
        scores, reduced = scored_and_reduced(
            self._reduce,
            block.rows,
            shape,
            len(self.layout.units),
            wanted=self.live_layers,
            first=first,
            features=self._reduced[-1].shape[1] if self._reduced else None,
            subject=subject_of(self.live, self.live_package),
        )
        return scores.numpy(), reduced

    def _append_rest(self, rest: str) -> None:
        if not rest or not self.ids:
            return
        self.text += rest
        start, _ = self.ranges[-1]
        self.ranges[-1] = (start, len(self.text))
        self.tokens[-1] = dataclasses.replace(
            self.tokens[-1], text=self.tokens[-1].text + rest, end=len(self.text)
        )

    def _build(self, ended: Sequence[tuple[int, int, Section]]) -> list[Span]:
        """Build the spans that have ended, and forget what no later span needs."""
        if not ended:
            return []
        for start, end, _ in ended:
            first, weights = self._weigh(start, end)
            self.weights += [0.0] * (first + len(weights) - len(self.weights))
            # A token that two spans share keeps the larger weight.
            for i, weight in enumerate(weights, start=first):
                self.weights[i] = max(self.weights[i], float(weight))
        builder = self._builder(self.weights[self._first :])
        built = [
            self._built(builder, len(self.spans) + i, start, end, section)
            for i, (start, end, section) in enumerate(ended)
        ]
        self.spans += built
        self._forget(max(self._first, built[-1].token_end - 1))
        return built

    def _grown(self, start: int, section: Section) -> Span | None:
        """Build the text that is in no span yet, if enough tokens have been added to it."""
        if self.provisional is None or len(self.ids) - self._shown < self.provisional:
            return None
        written = self.text[start:]
        start += len(written) - len(written.lstrip())
        end = start + len(written.strip())
        if start >= end:
            return None
        self._shown = len(self.ids)
        first, weights = self._weigh(start, end)
        local = [0.0] * (first - self._first) + [float(weight) for weight in weights]
        return self._built(self._builder(local), len(self.spans), start, end, section)

    def _weigh(self, start: int, end: int) -> tuple[int, np.ndarray]:
        """Weigh the words of one span, which is tagged on its own, so that order cannot matter.

        Returns the index of its first token, and the weights of its tokens.
        """
        first, last = tokens_of(self.ranges[self._first :], start, end)
        first, last = self._first + first, self._first + last
        inside = [
            (max(a, start) - start, max(min(b, end), start) - start)
            for a, b in self.ranges[first:last]
        ]
        return first, self.salience.weights(self.text[start:end], inside)

    def _builder(self, weights: Sequence[float]) -> SpanBuilder:
        """Return what builds spans of the tokens from ``_first`` on."""
        self._masses = [Masses.concatenate(self._masses)]
        masses = self._masses[0]
        salience = np.zeros(len(masses))
        salience[: len(weights)] = weights
        ranges = self.ranges[self._first :]
        return SpanBuilder(self.layout, masses, salience, ranges, self.config, self._first)

    def _built(
        self, builder: SpanBuilder, index: int, start: int, end: int, section: Section
    ) -> Span:
        effects = None if self.live is None else self._effects(index, start, end)
        return builder.build(index, self.text, start, end, effects, section)

    def _effects(self, index: int, start: int, end: int) -> dict[str, Effect]:
        assert self.live is not None
        if len(self._reduced) > 1:
            self._reduced = [torch.cat(self._reduced)]
        first, last = tokens_of(self.ranges[self._first :], start, end)
        return live_effects(
            self.live,
            self._reduced[0][first:last],
            self.layout.units,
            index,
            subject=subject_of(self.live, self.live_package),
        )

    def _forget(self, first: int) -> None:
        """Let go of all that only tokens before ``first`` need."""
        count = first - self._first
        if count <= 0:
            return
        self._masses = [self._masses[0].since(count)]
        if self._reduced:
            self._reduced = [self._reduced[0][count:].clone()]
        self._first = first
        self._shown = max(self._shown, first)

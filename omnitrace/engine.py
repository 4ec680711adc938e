"""The push-based core that ``trace`` and ``stream`` share: token ids in, events out.

``generate`` runs as the user configured it; it hands every selected token to :meth:`Engine.push`
through a streamer. The attention rows are waiting in the capture by then; they are read in blocks,
scored by the signal, and turned into token traces and, when a sentence ends, into spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from omnitrace.capture.base import Capture
from omnitrace.curation import CurationConfig
from omnitrace.errors import ConformanceError
from omnitrace.models.detokenize import Detokenizer
from omnitrace.relay import Relay
from omnitrace.signals.base import TokenSignal, subject_of
from omnitrace.signals.contract import scored
from omnitrace.spans.build import SpanBuilder, tokens_of
from omnitrace.spans.salience import Salience
from omnitrace.spans.thinking import SectionSegmenter
from omnitrace.tracing import Masses, measure, token_traces
from omnitrace.types import Layout, Span, SpanEvent, TokenEvent, TokenTrace

__all__ = ["Engine"]


@dataclass(slots=True)
class Engine:
    """Turns generated tokens into traces, spans and events.

    Parameters
    ----------
    layout:
        Units of the prompt.
    capture:
        Where the rows of the generated tokens wait.
    signal, package:
        Scores the rows; the package that registered it, where that is known. If it breaks its
        contract, decoding goes on without it and :meth:`finish` raises.
    detokenizer, segmenter, salience:
        Token ids to text, text to spans, words to weights.
    config:
        How supports are chosen.
    block:
        How many tokens' rows are read at once. 1 gives every token its event at once.
    live:
        Whether spans are wanted as soon as they end; their rows are then read without waiting for
        a full block.
    """

    layout: Layout
    capture: Capture
    signal: TokenSignal
    detokenizer: Detokenizer
    segmenter: SectionSegmenter
    salience: Salience
    config: CurationConfig
    block: int = 16
    live: bool = False
    package: str | None = None

    text: str = ""
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    tokens: list[TokenTrace] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    _rows: list[np.ndarray] = field(default_factory=list)
    _masses: list[Masses] = field(default_factory=list)
    _ended: list[tuple[int, int]] = field(default_factory=list)
    _relay: Relay | None = field(init=False, default=None)
    _broken: ConformanceError | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.config.relay:
            self._relay = Relay(self.layout.prompt_length)

    def push(self, token_id: int) -> list[TokenEvent | SpanEvent]:
        """Take a token that the model has selected; return the events that it completes."""
        self.capture.select(token_id)
        piece = self.detokenizer.push(token_id)
        self.ids.append(token_id)
        self._append(piece)
        if self._broken is not None:
            self.capture.drop(1)
            return []
        self._ended += self.segmenter.push(piece, token_id)
        pending = len(self.ids) - len(self.tokens)
        full = pending >= self.block or self.capture.forgets
        if full or (self.live and self._ended):
            return self._flush()
        return []

    def finish(self) -> list[TokenEvent | SpanEvent]:
        """End the response: read what is pending and close the last spans.

        Raises
        ------
        ConformanceError
            If the signal has broken its contract; it carries the whole text.
        """
        rest = self.detokenizer.finish()
        if rest and self.ids:
            start, _ = self.ranges[-1]
            self.text += rest
            self.ranges[-1] = (start, len(self.text))
            self.pieces[-1] += rest
        self._ended += self.segmenter.push(rest)
        self._ended += self.segmenter.finish()
        events = self._flush() if self._broken is None else []
        if self._broken is not None:
            self._broken.text = self.text
            raise self._broken
        return events

    def scores(self) -> np.ndarray:
        """Return float32 ``[generated tokens, prompt + generated tokens]``."""
        width = self.layout.prompt_length + len(self.ids)
        result = np.zeros((len(self.tokens), width), dtype=np.float32)
        row = 0
        for block in self._rows:
            result[row : row + len(block), : block.shape[1]] = block
            row += len(block)
        return result

    def salience_weights(self) -> np.ndarray:
        """Return float64 ``[generated tokens]``; tokens outside every span weigh 0."""
        weights = np.zeros(len(self.ids))
        weights[: len(self.weights)] = self.weights
        return weights

    def _append(self, piece: str) -> None:
        start = len(self.text)
        self.text += piece
        self.pieces.append(piece)
        self.ranges.append((start, len(self.text)))

    def _flush(self) -> list[TokenEvent | SpanEvent]:
        """Read all pending rows, then build the spans whose tokens are all read."""
        events: list[TokenEvent | SpanEvent] = []
        first, last = len(self.tokens), len(self.ids)
        if last > first:
            scores = self._score(last - first)
            if scores is None:
                return []
            carried = scores if self._relay is None else self._relay.push(scores)
            masses = measure(carried, self.layout, self.config.assign, first=first)
            traces = token_traces(
                masses,
                self.layout,
                self.ids[first:],
                self.pieces[first:],
                self.ranges[first:],
                first=first,
            )
            self._rows.append(scores)
            self._masses.append(masses)
            self.tokens += traces
            events += [TokenEvent(trace) for trace in traces]
        ended, self._ended = self._ended, []
        events += [SpanEvent(span) for span in self._build(ended)]
        return events

    def _score(self, count: int) -> np.ndarray | None:
        """Score the pending rows; None, and no scores from here on, if the signal is broken."""
        shape = count, self.layout.prompt_length + len(self.ids) - 1
        subject = subject_of(self.signal, self.package)
        first = len(self.tokens)
        scores: torch.Tensor | None = None
        try:
            scores = scored(
                self.signal, self.capture.rows(count), shape, first=first, subject=subject
            )
        except ConformanceError as error:
            self._broken = error
        self.capture.drop(count)
        return None if scores is None else scores.numpy()

    def _build(self, ended: Sequence[tuple[int, int]]) -> list[Span]:
        if not ended:
            return []
        for start, end in ended:
            self._weigh(start, end)
        masses = Masses.concatenate(self._masses)
        self._masses = [masses]
        builder = SpanBuilder(
            self.layout, masses, self.salience_weights(), tuple(self.ranges), self.config
        )
        built = [
            builder.build(
                len(self.spans) + i,
                self.text,
                start,
                end,
                section=self.segmenter.section_at(start),
            )
            for i, (start, end) in enumerate(ended)
        ]
        self.spans += built
        return built

    def _weigh(self, start: int, end: int) -> None:
        """Weigh the words of one span; each span is tagged on its own, so order cannot matter."""
        first, last = tokens_of(self.ranges, start, end)
        inside = [
            (max(a, start) - start, max(min(b, end), start) - start)
            for a, b in self.ranges[first:last]
        ]
        weights = self.salience.weights(self.text[start:end], inside)
        self.weights += [0.0] * (last - len(self.weights))
        # A token that two spans share keeps the larger weight.
        for i, weight in enumerate(weights, start=first):
            self.weights[i] = max(self.weights[i], float(weight))

"""A request whose response goes through its engine, and the trace that is made of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.engine.decode_loop import Engine
from omnitrace.engine.provenance import provenance_of
from omnitrace.engine.setup import Setup
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.sources.media_records import media_record
from omnitrace.trace.trace import Trace

__all__ = ["Attributed"]


@dataclass(slots=True, kw_only=True)
class Attributed:
    """A request, the engine that takes its response, and the data for the provenance.

    Attributes
    ----------
    setup, request:
        The model and its options; the request.
    layers:
        Decoder layers whose rows are read.
    engine:
        Takes the tokens of the response.
    generation, seed, timings:
        As the trace's :class:`~omnitrace.trace.provenance.Provenance` has them.
    finished:
        Whether the response ended by itself.
    prompt:
        What is left of reading the prompt, where that is of use for verification, until then.
    """

    setup: Setup
    request: EncodedRequest
    layers: Sequence[int]
    engine: Engine
    generation: Mapping[str, Any]
    seed: int | None = None
    finished: Callable[[Sequence[int]], bool] = lambda ids: True
    timings: dict[str, float] = field(default_factory=dict)
    prompt: PromptRecord | None = None

    def trace(self) -> Trace:
        """Assemble the result."""
        conversation, found = self.request.conversation, self.engine.assembler
        return Trace(
            messages=conversation.records(),
            text=found.text,
            token_ids=tuple(found.ids),
            prompt_ids=self.request.encoded.prompt_ids,
            layout=found.layout,
            scores=found.scores(),
            tokens=tuple(found.tokens),
            spans=tuple(found.spans),
            salience=found.salience_weights(),
            media=tuple(media_record(part) for part in conversation.media()),
            config=found.config,
            provenance=provenance_of(
                self.setup,
                layers=self.layers,
                generation={
                    **self.generation,
                    **({"template": dict(conversation.template)} if conversation.template else {}),
                },
                seed=self.seed,
                segmentation={
                    **self.engine.segmenter.record(),
                    **({"notes": list(conversation.notes)} if conversation.notes else {}),
                },
                timings=self.timings,
                finished=self.finished(self.engine.ids),
            ),
        )

"""How a job of an endpoint is told: as chunks, as one completion, or as one attribution."""

from __future__ import annotations

from omnitrace.serve.jobs import Job
from omnitrace.serve.openai.responses import ChatWriter, opens_in_thought, replayed
from omnitrace.serve.tasks import Teller
from omnitrace.trace.events import ProvisionalEvent, SpanEvent, TokenEvent
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer

__all__ = ["CHUNK", "WHOLE", "AttributionTeller", "ChunkTeller", "CompletionTeller"]

#: Types of the entries in a job's log: a chunk of a stream, and all of a response.
CHUNK, WHOLE = "chunk", "whole"


class ChunkTeller(Teller):
    """Writes chunks as the response is written."""

    def __init__(self, writer: ChatWriter) -> None:
        self._writer = writer

    def begin(self, job: Job, begun: Trace) -> None:
        """Write the first chunk."""
        self._write(job, self._writer.start(opened=opens_in_thought(begun)))

    def event(self, job: Job, event: TokenEvent | SpanEvent | ProvisionalEvent) -> None:
        """Write what an event adds."""
        self._write(job, self._writer.take(event))

    def end(self, job: Job, trace: Trace) -> None:
        """Write the last chunks."""
        self._write(job, self._writer.end(trace))

    def _write(self, job: Job, chunks: list[dict[str, object]]) -> None:
        for chunk in chunks:
            job.log.append(CHUNK, chunk)


class CompletionTeller(Teller):
    """Writes the response when it is finished."""

    def __init__(self, writer: ChatWriter) -> None:
        self._writer = writer

    def begin(self, job: Job, begun: Trace) -> None:
        """Write nothing yet."""

    def event(self, job: Job, event: TokenEvent | SpanEvent | ProvisionalEvent) -> None:
        """Write nothing yet."""

    def end(self, job: Job, trace: Trace) -> None:
        """Write the completion."""
        job.log.append(WHOLE, self._writer.completion(trace))


class AttributionTeller(CompletionTeller):
    """Writes what supports a response that exists."""

    def __init__(self, model: str, tracer: Tracer) -> None:
        self._model = model
        self._setup = tracer.setup

    def end(self, job: Job, trace: Trace) -> None:
        """Write the attribution."""
        job.log.append(WHOLE, replayed(trace, self._model, self._setup))

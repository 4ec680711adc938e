"""What can be asked of the model: to respond, to attribute a response, to verify supports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnitrace.engine.options import ReplayOptions
from omnitrace.engine.run import finished, prepared, prepared_replay
from omnitrace.engine.session import Session
from omnitrace.errors import InputError
from omnitrace.report.view import trace_view
from omnitrace.serve.events import provisional_data, span_data, token_data
from omnitrace.serve.jobs import Job, Stopped
from omnitrace.sources.responses.given import Response
from omnitrace.trace.events import EndEvent, ProvisionalEvent, SpanEvent, TokenEvent
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Message

__all__ = ["Generation", "Replay", "Teller", "Verification"]


class Teller:
    """Writes what becomes of a request into its job's log, as the page reads it."""

    def begin(self, job: Job, begun: Trace) -> None:
        """Tell the request, before the first token."""
        job.begin(begun, trace_view(begun))

    def event(self, job: Job, event: TokenEvent | SpanEvent | ProvisionalEvent) -> None:
        """Tell an event of the stream."""
        if isinstance(event, TokenEvent):
            job.log.append("token", token_data(event, job.index))
        elif isinstance(event, SpanEvent):
            job.log.append("span", span_data(event, job.index), ends=["provisional"])
        else:
            job.log.append("provisional", provisional_data(event, job.index), passing=True)

    def measured(self, job: Job) -> None:
        """Tell that the response is written, and that parts of the request are being ablated."""
        if not job.log.has("verifying"):
            job.log.append("verifying", {}, passing=True)

    def end(self, job: Job, trace: Trace) -> None:
        """Tell the end; the job's own last event follows."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Let the model respond, and tell what supports it while it writes.

    Parameters
    ----------
    tracer:
        The model, with the signal and the options that were asked for.
    messages:
        The request. It holds media as bytes or as paths inside of ``media_root``.
    media_root:
        The folder outside of which no file is read.
    prompt_tokens:
        Longest prompt; None takes what the model takes.
    options:
        Of ``Tracer.stream``.
    teller:
        How it is told.
    """

    tracer: Tracer
    messages: Sequence[Message]
    media_root: Path
    prompt_tokens: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    teller: Teller = field(default_factory=Teller)

    def __call__(self, job: Job, /) -> Trace:
        """Stream the response into the job's log."""
        if not self.tracer.streams:
            # A span signal measures the finished response: nothing comes before.
            options = {"media_root": self.media_root, **self.options}
            return _at_once(self, job, prepared(self.tracer.setup, self.messages, **options))
        stream = self.tracer.stream(
            self.messages,
            media_root=self.media_root,
            measured=lambda masks: self.teller.measured(job),
            **self.options,
        )
        with stream:
            begun = stream.begun()
            check_prompt(len(begun.prompt_ids), self.prompt_tokens)
            self.teller.begin(job, begun)
            del begun  # it holds the decoded media
            # What verifies the response knows nothing of the stream: it is left at its next pass.
            with job.stopped_by(stream.stop), checked(self.tracer, job):
                for event in stream:
                    if isinstance(event, EndEvent):
                        self.teller.end(job, event.trace)
                        return event.trace
                    if isinstance(event, TokenEvent):
                        job.wrote()
                    self.teller.event(job, event)
        raise Stopped


@dataclass(frozen=True, slots=True)
class Replay:
    """Attribute a response that exists already.

    Parameters
    ----------
    tracer, messages, media_root, prompt_tokens:
        As for :class:`Generation`.
    response:
        As text or token ids, or the response object of a server.
    options:
        Of ``Tracer.replay``.
    teller:
        How it is told.
    """

    tracer: Tracer
    messages: Sequence[Message]
    response: Response
    media_root: Path
    prompt_tokens: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    teller: Teller = field(default_factory=Teller)

    def __call__(self, job: Job, /) -> Trace:
        """Replay the response."""
        options: ReplayOptions = {"media_root": self.media_root, **self.options}  # type: ignore[typeddict-item]
        setup = self.tracer.setup
        return _at_once(self, job, *prepared_replay(setup, self.messages, self.response, options))


def _at_once(
    task: Generation | Replay,
    job: Job,
    session: Session,
    foils: Sequence[int | None] | None = None,
) -> Trace:
    """Run to the end without telling what happens on the way."""
    begun = session.trace()
    check_prompt(len(begun.prompt_ids), task.prompt_tokens)
    task.teller.begin(job, begun)
    del begun  # it holds the decoded media

    with checked(task.tracer, job):
        trace = finished(
            task.tracer.setup, session, foils, measured=lambda masks: task.teller.measured(job)
        )
    task.teller.end(job, trace)
    return trace


@dataclass(frozen=True, slots=True)
class Verification:
    """Verify the supports of a trace by ablation."""

    tracer: Tracer

    def __call__(self, job: Job, /) -> Trace:
        """Measure the trace's response again."""
        trace = job.trace
        assert trace is not None  # again() is for jobs that are done
        with checked(self.tracer, job):
            return self.tracer.verify(trace)


@contextlib.contextmanager
def checked(tracer: Tracer, job: Job) -> Iterator[None]:
    """Let a job that is told to stop leave the model at its next pass, whatever runs it."""
    handle = tracer.adapter.decoder.register_forward_pre_hook(lambda *_: job.check())
    try:
        yield
    finally:
        handle.remove()


def check_prompt(tokens: int, most: int | None) -> None:
    """Refuse a prompt that is longer than the server allows.

    Raises
    ------
    InputError
        If it is.
    """
    if most is not None and tokens > most:
        raise InputError(
            f"the prompt has {tokens} tokens",
            legal=f"at most {most} tokens on this server",
            fix="leave sources out, or make them smaller",
        )

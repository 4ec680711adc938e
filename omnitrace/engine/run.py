"""What ``trace``, ``stream`` and ``replay`` share: run a request, and finish its trace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitrace._utils.checks import check_options, check_whole
from omnitrace.capture.exclusive import model_lock
from omnitrace.engine.attributed import Attributed
from omnitrace.engine.options import PROVISIONAL, QUEUE_SIZE, ReplayOptions, StreamOptions
from omnitrace.engine.prepare import (
    read_request,
    read_request_and_response,
    template_arguments,
)
from omnitrace.engine.session import Session, live_session, replay_session
from omnitrace.engine.setup import Setup
from omnitrace.engine.verification import verified, with_measured, with_verdicts
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.signals.base import LiveSpanSignal, gradient_target
from omnitrace.sources.messages import Asked
from omnitrace.sources.responses.given import Response
from omnitrace.streaming.stream import Emitter
from omnitrace.streaming.worker import Backlog, stops_are_errors
from omnitrace.trace.events import EndEvent
from omnitrace.trace.trace import Trace

__all__ = [
    "Streamed",
    "completed",
    "finished",
    "prepared",
    "prepared_replay",
    "replayed",
    "streamed",
]


def prepared(
    setup: Setup,
    messages: Asked,
    *,
    max_new_tokens: int | None = None,
    seed: int | None = None,
    media_root: str | Path | None = None,
    block: int | None = None,
    tools: Sequence[Any] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    **generate: Any,
) -> Session:
    """Read a request and prepare to run it; options are those of ``TraceOptions``."""
    block = setup.block if block is None else block
    check_whole("block", block, 1)
    return live_session(
        setup,
        read_request(setup, messages, media_root, template_arguments(tools, chat_template_kwargs)),
        {"max_new_tokens": max_new_tokens, **generate},
        seed=seed,
        block=block,
    )


@dataclass(frozen=True, slots=True)
class Streamed:
    """A request that is ready to be streamed."""

    setup: Setup
    session: Session
    queue_size: int
    measured: Callable[[np.ndarray], None] | None = None

    def begun(self) -> Trace:
        """Return the trace as it is before the first token: the request and its units."""
        return self.session.trace()

    def run(self, backlog: Backlog, emit: Emitter) -> None:
        """Do the work that is to be done in the stream's thread."""
        self.session.run(emit, check=emit.check, queue_size=self.queue_size, backlog=backlog)

        def measured(masks: np.ndarray) -> None:
            emit.check()
            if self.measured is not None:
                self.measured(masks)

        emit(EndEvent(completed(self.setup, self.session, measured=measured)))


def streamed(setup: Setup, messages: Asked, options: StreamOptions) -> Streamed:
    """Prepare a stream."""
    model_lock(setup.adapter.model).refuse_nested()
    if not setup.streams:
        assert setup.signals.span is not None
        raise NotSupportedError(
            f"{setup.signals.span.name!r} is a span signal: it measures a response that is "
            "finished, and cannot be streamed",
            legal="streams with a token signal, such as 'attention-mean', or a live span signal",
            fix="call trace() instead",
        )
    trace_options: dict[str, Any] = {**options}
    queue_size = trace_options.pop("queue_size", QUEUE_SIZE)
    provisional = trace_options.pop("provisional", PROVISIONAL)
    measured = trace_options.pop("measured", None)
    check_whole("queue_size", queue_size, 0)
    if provisional is not None:
        check_whole("provisional", provisional, 1)
    verify_spans = trace_options.pop("verify_spans", False)
    if verify_spans:
        _check_verifies(setup)
        queue_size = 0
    session = prepared(setup, messages, **trace_options)
    if verify_spans and session.request.layout.units:
        session.checked = functools.partial(with_verdicts, setup)
    session.engine.assembler.provisional = provisional
    return Streamed(setup, session, queue_size, measured)


def _check_verifies(setup: Setup) -> None:
    """Refuse to verify spans while the model writes where that cannot be."""
    if setup.verify is None:
        raise InputError(
            "verify_spans is set, and the tracer does not verify supports",
            legal="a tracer with verify=True, or no signal",
        )
    if gradient_target(setup.needs) is not None:
        raise NotSupportedError(
            f"the signal {setup.signals.token.name!r} needs gradients of every step, and the model "
            "cannot be called between two of them",
            legal="verify_spans with a signal of attention, such as 'value-attention'",
        )


def replayed(setup: Setup, messages: Asked, response: Response, options: ReplayOptions) -> Trace:
    """Attribute a response that exists already; see ``Tracer.replay``."""
    session, foils = prepared_replay(setup, messages, response, options)
    return finished(setup, session, foils, measured=options.get("measured"))


def prepared_replay(
    setup: Setup, messages: Asked, response: Response, options: ReplayOptions
) -> tuple[Session, Sequence[int | None] | None]:
    """Read a request and its response, and prepare to attribute it; also return its foils."""
    check_options("replay()", options, ReplayOptions.__annotations__)
    against = options.get("against")
    silent = setup.streams and gradient_target(setup.signals.token.needs) is None
    if against is not None and silent:
        chosen = setup.signals.span or setup.signals.token
        raise NotSupportedError(
            f"the signal {chosen.name!r} cannot contrast two responses: attention does "
            "not depend on what else might have been written",
            legal="a signal with gradients, such as 'grad-sam', or a span signal that measures",
        )
    block = options.get("block")
    block = setup.block if block is None else block
    check_whole("block", block, 1)
    template = template_arguments(options.get("tools"), options.get("chat_template_kwargs"))
    given = read_request_and_response(
        setup,
        messages,
        response,
        against,
        options.get("media_root"),
        template,
        choice=options.get("choice", 0),
    )
    return replay_session(setup, given, block=block), given.foils


def finished(
    setup: Setup,
    session: Session,
    foils: Sequence[int | None] | None = None,
    *,
    check: Callable[[], None] = lambda: None,
    measured: Callable[[np.ndarray], None] | None = None,
) -> Trace:
    """Run to the end; then ask the span signal, if there is one that needs the whole response."""
    with stops_are_errors():
        session.run(lambda event: None, check=check)
        return completed(setup, session, foils, measured=measured)


def completed(
    setup: Setup,
    session: Attributed,
    foils: Sequence[int | None] | None = None,
    *,
    measured: Callable[[np.ndarray], None] | None = None,
) -> Trace:
    """Return the trace of a response that is written, with what measuring it adds."""
    trace = session.trace()
    span = setup.signals.span
    if not trace.spans:
        return trace
    if span is None or isinstance(span, LiveSpanSignal):
        verifies = setup.verify is not None and foils is None and trace.units
        found = verified(setup, session, trace, measured=measured) if verifies else trace
        session.prompt = None
        return found
    return with_measured(
        setup,
        session,
        trace,
        span,
        package=setup.signals.span_package,
        foils=foils,
        measured=measured,
        timing="effects",
    )

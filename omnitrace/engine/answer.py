"""What the tracer's ways to answer a request share: running it, and finishing the trace."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from omnitrace._utils.checks import check_whole
from omnitrace.attribution.effects import measured_effects
from omnitrace.engine.prepare import read_request, scorer_of
from omnitrace.engine.session import Run, traced_run
from omnitrace.errors import NotSupportedError, OmnitraceError
from omnitrace.signals.base import LiveSpanSignal
from omnitrace.sources.messages import Asked
from omnitrace.streaming.stream import Emitter
from omnitrace.streaming.worker import Backlog
from omnitrace.trace.events import EndEvent
from omnitrace.trace.trace import Trace

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["PROVISIONAL", "QUEUE_SIZE", "answer_run", "finished", "streamed"]

PROVISIONAL: Final = 8
QUEUE_SIZE: Final = 4


def streamed(
    tracer: Tracer,
    messages: Asked,
    *,
    block: int | None = None,
    provisional: int | None = PROVISIONAL,
    queue_size: int = QUEUE_SIZE,
    **options: Any,
) -> Callable[[Backlog, Emitter], None]:
    """Prepare a stream; return the work that is to be done in its thread."""
    if not tracer.streams:
        assert tracer.span_signal is not None
        raise NotSupportedError(
            f"{tracer.span_signal.name!r} is a span signal: it measures an answer that is "
            "finished, and cannot be streamed",
            legal="streams with a token signal, such as 'attention-mean', or a live span signal",
            fix="call trace() instead",
        )
    check_whole("queue_size", queue_size, 0)
    if provisional is not None:
        check_whole("provisional", provisional, 1)
    run = answer_run(tracer, messages, block=block, **options)
    run.engine.assembler.provisional = provisional

    def work(backlog: Backlog, emit: Emitter) -> None:
        run.run(emit, check=emit.check, queue_size=queue_size, backlog=backlog)
        emit(EndEvent(run.trace()))

    return work


def answer_run(
    tracer: Tracer,
    messages: Asked,
    *,
    max_new_tokens: int | None = None,
    seed: int | None = None,
    media_root: str | Path | None = None,
    block: int | None = None,
    **generate: Any,
) -> Run:
    """Read a request and prepare to answer it."""
    block = tracer.block if block is None else block
    check_whole("block", block, 1)
    return traced_run(
        tracer,
        read_request(tracer, messages, media_root),
        {"max_new_tokens": max_new_tokens, **generate},
        seed=seed,
        block=block,
    )


def finished(
    tracer: Tracer,
    run: Run,
    foils: Sequence[int | None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Trace:
    """Run to the end; then let the span signal speak, if there is one that waits for it."""
    run.run(lambda event: None, check=check)
    trace = run.trace()
    measuring = tracer.span_signal
    if measuring is None or isinstance(measuring, LiveSpanSignal) or not trace.spans:
        return trace
    started = time.perf_counter()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            scorer = scorer_of(tracer, run.request, trace.token_ids, foils)
            effects = measured_effects(measuring, scorer, trace.spans, package=tracer.span_package)
    except OmnitraceError as error:
        error.text = trace.text
        raise
    seconds = round(time.perf_counter() - started, 6)
    timings = {**trace.provenance.timings, "effects": seconds}
    provenance = dataclasses.replace(trace.provenance, timings=timings)
    return dataclasses.replace(trace, provenance=provenance).with_effects(effects)

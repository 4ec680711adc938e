"""Measure a finished response with a span signal; verify the supports of one by ablation."""

from __future__ import annotations

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.attribution.effects import measured_effects
from omnitrace.engine.attributed import Attributed
from omnitrace.engine.prepare import response_scorer
from omnitrace.engine.rescore import scorer_of
from omnitrace.engine.session import Session
from omnitrace.engine.setup import Setup
from omnitrace.errors import ModelError, NotSupportedError, OmnitraceError
from omnitrace.signals.base import SpanSignal
from omnitrace.signals.verified.options import Verify
from omnitrace.signals.verified.ranking import by_size
from omnitrace.signals.verified.signal import Verified
from omnitrace.trace.events import Event, SpanEvent
from omnitrace.trace.trace import Trace
from omnitrace.types import Message, Span

__all__ = ["verified", "verified_again", "with_measured", "with_verdicts"]

_TO_THE_USER: Final = 5  # frames from here to the call of trace()


def verified(
    setup: Setup,
    session: Attributed,
    trace: Trace,
    *,
    measured: Callable[[np.ndarray], None] | None = None,
) -> Trace:
    """Return the trace with supports that were verified, and what that cost in its provenance.

    A model that cannot be measured keeps the supports that its signal selected: a warning says why.
    """
    assert setup.verify is not None
    scorer = functools.partial(
        response_scorer,
        setup,
        session.request,
        trace.token_ids,
        measured=measured,
        keep=True,
        prompt=session.prompt,
    )
    try:
        return _verified(setup.verify, trace, scorer)
    except (ModelError, NotSupportedError) as error:
        warnings.warn(
            f"the supports are not verified: {error}", RuntimeWarning, stacklevel=_TO_THE_USER
        )
        return trace


def verified_again(
    setup: Setup,
    trace: Trace,
    *,
    messages: Sequence[Message] | None = None,
    media_root: str | Path | None = None,
    measured: Callable[[np.ndarray], None] | None = None,
) -> Trace:
    """Return a trace whose response was written before, with supports that are verified now.

    See ``Tracer.verify``.
    """
    if not (trace.spans and trace.units):
        return trace
    scorer = functools.partial(
        scorer_of,
        setup,
        trace,
        messages=messages,
        media_root=media_root,
        measured=measured,
        keep=True,
    )
    return _verified(setup.verify or Verify(), trace, scorer)


def _verified(verify: Verify, trace: Trace, scorer: Callable[[], ResponseScorer]) -> Trace:
    signal = Verified(verify, ranking=_ranking(trace))
    found = _with_effects(trace, signal, scorer, timing="verify")
    made = found.provenance
    record = {**verify.to_dict(), "passes": round(signal.passes, 3)}
    provenance = dataclasses.replace(made, signal={**made.signal, "verify": record})
    return dataclasses.replace(found, provenance=provenance)


def with_verdicts(
    setup: Setup, session: Session, events: Sequence[Event], check: Callable[[], None]
) -> Iterator[Event]:
    """Yield the events, each span verified in the response as far as it is written.

    The model does nothing else meanwhile. Words that follow cannot change what those of a span
    need, but a finished response is verified as a whole, at a budget of its own. ``check`` is
    called at every measurement, to leave by an exception.
    """
    spans = tuple(event.span for event in events if isinstance(event, SpanEvent))
    checked: dict[int, Span] = {}
    for event in events:
        if isinstance(event, SpanEvent):
            if not checked:
                written = dataclasses.replace(session.trace(), spans=spans)
                with session.interrupted():
                    found = verified(setup, session, written, measured=lambda masks: check())
                checked = {span.index: span for span in found.spans}
            yield SpanEvent(checked[event.span.index])
        else:
            yield event


def with_measured(
    setup: Setup,
    session: Attributed,
    trace: Trace,
    signal: SpanSignal,
    *,
    timing: str,
    package: str | None = None,
    foils: Sequence[int | None] | None = None,
    measured: Callable[[np.ndarray], None] | None = None,
) -> Trace:
    """Return the trace with supports by the effects that a span signal measures.

    Parameters
    ----------
    setup, session, trace:
        The model, the session that has run, and its trace.
    signal, package:
        The span signal, and the package that registered it, where that is known.
    timing:
        The name of the seconds that this takes, in the provenance.
    foils, measured:
        As for the scorer.

    Raises
    ------
    OmnitraceError
        What the signal or the scorer raises, with the response's text.
    """
    scorer = functools.partial(
        response_scorer, setup, session.request, trace.token_ids, foils, measured=measured
    )
    return _with_effects(trace, signal, scorer, timing=timing, package=package)


def _with_effects(
    trace: Trace,
    signal: SpanSignal,
    scorer: Callable[[], ResponseScorer],
    *,
    timing: str,
    package: str | None = None,
) -> Trace:
    started = time.perf_counter()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            effects = measured_effects(signal, scorer(), trace.spans, package=package)
    except OmnitraceError as error:
        error.text = trace.text
        raise
    seconds = round(time.perf_counter() - started, 6)
    timings = {**trace.provenance.timings, timing: seconds}
    provenance = dataclasses.replace(trace.provenance, timings=timings)
    return dataclasses.replace(trace, provenance=provenance).with_effects(effects)


def _ranking(trace: Trace) -> np.ndarray:
    """Return float64 ``[spans, units]``: each unit's largest mass from a token of the span."""
    sizes = np.array([len(unit.positions) for unit in trace.units])
    masses = trace.unit_scores()
    ranges = [slice(span.token_start, span.token_end) for span in trace.spans]
    return by_size(np.stack([masses[each].max(axis=0, initial=0.0) for each in ranges]), sizes)

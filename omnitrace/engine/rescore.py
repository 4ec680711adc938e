"""What measures a traced response again: its scorer, made at once or when it is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnitrace._utils.paths import without_paths
from omnitrace.ablation.cache import model_digest
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine.prepare import read_request_and_response, response_scorer
from omnitrace.engine.setup import Setup
from omnitrace.errors import InputError
from omnitrace.sources.asked import ASKED
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord, Message

__all__ = ["lazy_scorer_of", "scorer_of"]


def scorer_of(
    setup: Setup,
    trace: Trace,
    *,
    messages: Sequence[Message] | None = None,
    media_root: str | Path | None = None,
    measured: Callable[[np.ndarray], None] | None = None,
    keep: bool = False,
) -> ResponseScorer:
    """Return the scorer of a trace's response; see ``Tracer.scorer_of``."""
    setup = _cutting_alike(setup, trace)
    asked = trace.request() if messages is None else messages
    template = trace.provenance.generation.get("template")
    given = read_request_and_response(setup, asked, trace.token_ids, None, media_root, template)
    scorer = response_scorer(setup, given.request, given.ids, measured=measured, keep=keep)
    own = [(unit.id, unit.positions) for unit in trace.units]
    if own != [(unit.id, unit.positions) for unit in scorer.source_units]:
        raise InputError(
            f"the request has {len(scorer.units)} units that are not the {len(own)} of the trace",
            legal="the request, the model and the SourceOptions of the trace",
            fix="pass messages= with the units that were traced, to a tracer with the same sources",
        )
    return scorer


def lazy_scorer_of(setup: Setup, trace: Trace) -> LazyScorer:
    """Return the scorer of a trace's response, made when it is needed.

    What is measured with it is kept by the tokens of prompt and response, the digests of the media
    and the model.
    """
    key: dict[str, Any] = {
        "model": model_digest(setup.adapter.model),
        "prompt": trace.prompt_ids,
        "media": [each.sha256 for each in trace.media],
    }
    if any(asked := [_asked(trace, each) for each in trace.media]):
        key["asked"] = asked
    return LazyScorer(
        lambda: scorer_of(setup, trace),
        trace.units,
        trace.token_ids,
        key,
        str(setup.adapter.source),
    )


def _asked(trace: Trace, medium: MediaRecord) -> list[tuple[str, Any]]:
    """Return which part of a medium was read, and at which size it was shown."""
    part = trace.messages[medium.message]["content"][medium.part]
    return sorted((name, value) for name, value in part.items() if name in ASKED[medium.modality])


def _cutting_alike(setup: Setup, trace: Trace) -> Setup:
    """Return the setup with the source options of the trace, where these are recorded."""
    if trace.provenance.segmentation.get("sources") == without_paths(setup.sources.record()):
        return setup
    options = trace.provenance.source_options()
    return setup if options is None else dataclasses.replace(setup, sources=options)

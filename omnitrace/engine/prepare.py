"""From a user's messages to the model's inputs: a request, and its response if that exists.

A request is read (checked, its media decoded), encoded by the model's adapter, and mapped: each of
its positions to a source unit or to another kind. A response that exists already becomes token
ids, and what measures it under changed inputs.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnitrace.ablation.contrast import foils_of
from omnitrace.ablation.scorer import ResponseScorer, Rewriting
from omnitrace.capture.parameters import input_device
from omnitrace.engine.setup import Setup
from omnitrace.errors import InputError, SourceWarning
from omnitrace.models.base import ModelAdapter
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Asked, Conversation, read_messages

__all__ = [
    "RequestAndResponse",
    "read_conversation",
    "read_request",
    "read_request_and_response",
    "response_scorer",
]


@dataclass(frozen=True, slots=True)
class RequestAndResponse:
    """A request with a response that exists already.

    ``ids`` are the response's tokens; ``foils`` has for each the id of the one that it is
    contrasted with, or None; it is None itself where there is no contrast.
    """

    request: EncodedRequest
    ids: list[int]
    foils: list[int | None] | None


def read_conversation(setup: Setup, asked: Asked, media_root: str | Path | None) -> Conversation:
    """Check messages and decode their media; see ``Tracer.read``."""
    if not isinstance(asked, Conversation):
        conversation = read_messages(
            asked,
            options=setup.sources,
            limits=setup.limits,
            media_root=None if media_root is None else Path(media_root),
        )
        for note in conversation.notes:
            warnings.warn(note, SourceWarning, stacklevel=2)
        return conversation
    if media_root is not None:
        raise InputError(
            f"the media root {str(media_root)!r} is given, and the media are read already",
            legal="messages with a media_root, or what read() returned, without one",
        )
    asked.check_options(setup.sources)
    return asked


def read_request(setup: Setup, asked: Asked, media_root: str | Path | None) -> EncodedRequest:
    """Read, encode and map a request."""
    started = time.perf_counter()
    adapter, sources = setup.adapter, setup.sources
    conversation = read_conversation(setup, asked, media_root)
    encoded = adapter.encode(conversation, sources)
    adapter.check_length(len(encoded.prompt_ids))
    layout = build_layout(
        len(encoded.prompt_ids),
        encoded.geometry,
        sources,
        functools.partial(adapter.features, encoded),
    )
    return EncodedRequest(adapter, conversation, encoded, layout, time.perf_counter() - started)


def read_request_and_response(
    setup: Setup,
    asked: Asked,
    response: str | Sequence[int],
    against: str | Sequence[int] | None,
    media_root: str | Path | None,
) -> RequestAndResponse:
    """Read a request and its response, and pair the response with the one it is contrasted with."""
    request = read_request(setup, asked, media_root)
    ids = _token_ids(setup.adapter, response, "response")
    setup.adapter.check_length(request.prompt_length + len(ids) - 1)
    if against is None:
        return RequestAndResponse(request, ids, None)
    return RequestAndResponse(
        request, ids, foils_of(ids, _token_ids(setup.adapter, against, "against"))
    )


def response_scorer(
    setup: Setup,
    request: EncodedRequest,
    ids: Sequence[int],
    foils: Sequence[int | None] | None = None,
    *,
    measured: Callable[[np.ndarray], None] | None = None,
) -> ResponseScorer:
    """Return what measures the response ``ids`` under changed inputs."""
    adapter = setup.adapter
    return ResponseScorer(
        adapter,
        request.inputs_with(ids, input_device(adapter.model)),
        request.layout,
        ids,
        options=request.encoded.generate_options,
        foils=foils,
        rewriting=Rewriting(request, lambda new: adapter.encode(new, setup.sources)),
        measured=measured,
    )


def _token_ids(adapter: ModelAdapter, text: str | Sequence[int], what: str) -> list[int]:
    if isinstance(text, str):
        ids = adapter.tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = list(text)
    size = int(adapter.model.get_input_embeddings().num_embeddings)
    if not ids or not all(isinstance(i, int) and 0 <= i < size for i in ids):
        raise InputError(
            f"{what} is {text!r}"[:200], legal=f"text, or token ids of 0 to {size - 1}"
        )
    return [int(i) for i in ids]

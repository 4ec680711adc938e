"""From what a user asks to what the model is given: a request, and the answer it may have already.

A request is read (checked, its media decoded), encoded by the model's adapter, and mapped: each of
its positions to a source unit or to what else it is. An answer that exists already becomes token
ids, and what measures it under changed inputs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnitrace.ablation.contrast import foils_of
from omnitrace.ablation.scorer import ResponseScorer, Rewriting
from omnitrace.capture.parameters import input_device
from omnitrace.errors import InputError
from omnitrace.models.base import ModelAdapter
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Asked

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Answered", "read_answered", "read_request", "scorer_of"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A request with an answer that exists already.

    ``ids`` are the answer's tokens; ``foils`` has for each the id of the one that it is told from,
    or None; it is None itself where the answer is told from no other.
    """

    request: EncodedRequest
    ids: list[int]
    foils: list[int | None] | None


def read_request(tracer: Tracer, asked: Asked, media_root: str | Path | None) -> EncodedRequest:
    """Read, encode and map a request."""
    started = time.perf_counter()
    adapter, sources = tracer.adapter, tracer.sources
    conversation = tracer.read(asked, media_root=media_root)
    encoded = adapter.encode(conversation, sources)
    adapter.check_length(len(encoded.prompt_ids))
    layout = build_layout(
        len(encoded.prompt_ids),
        encoded.geometry,
        sources,
        functools.partial(adapter.features, encoded),
    )
    return EncodedRequest(adapter, conversation, encoded, layout, time.perf_counter() - started)


def read_answered(
    tracer: Tracer,
    asked: Asked,
    response: str | Sequence[int],
    against: str | Sequence[int] | None,
    media_root: str | Path | None,
) -> Answered:
    """Read a request and its answer, and pair the answer with the one it is told from."""
    request = read_request(tracer, asked, media_root)
    ids = _token_ids(tracer.adapter, response, "response")
    tracer.adapter.check_length(request.prompt_length + len(ids) - 1)
    if against is None:
        return Answered(request, ids, None)
    return Answered(request, ids, foils_of(ids, _token_ids(tracer.adapter, against, "against")))


def scorer_of(
    tracer: Tracer, request: EncodedRequest, ids: Sequence[int], foils: Sequence[int | None] | None
) -> ResponseScorer:
    """Return what measures the answer ``ids`` under changed inputs."""
    adapter = tracer.adapter
    return ResponseScorer(
        adapter,
        request.inputs_with(ids, input_device(adapter.model)),
        request.layout,
        ids,
        options=request.encoded.generate_options,
        foils=foils,
        rewriting=Rewriting(request, lambda new: adapter.encode(new, tracer.sources)),
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

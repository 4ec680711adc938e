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

import torch

from omnitrace.ablation.contrast import foils_of
from omnitrace.ablation.scorer import ResponseScorer, Rewriting
from omnitrace.capture.parameters import input_device
from omnitrace.errors import InputError
from omnitrace.models.base import Encoded, ModelAdapter
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Asked, Conversation
from omnitrace.types import Layout

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Answered", "Request", "read_answered", "read_request", "scorer_of"]

# Inputs with one entry a prompt token, and what a token of the response has there.
_PER_TOKEN = {"attention_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is read, encoded by ``adapter`` and mapped, and the seconds that took."""

    adapter: ModelAdapter
    conversation: Conversation
    encoded: Encoded
    layout: Layout
    seconds: float

    @property
    def prompt_length(self) -> int:
        """Number of prompt tokens."""
        return len(self.encoded.prompt_ids)

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the model's inputs on ``device``."""
        return {name: value.to(device) for name, value in self.encoded.inputs.items()}

    def inputs_with(self, response: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the inputs of prompt and ``response`` in one pass.

        The last token of the response is left out: it is predicted, and never read.

        Raises
        ------
        InputError
            If a token of the response stands for a medium.
        """
        self.adapter.check_response(response)
        inputs = self.inputs(device)
        ids = torch.tensor([list(response[:-1])], dtype=torch.long, device=device)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        for name, fill in _PER_TOKEN.items():
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], torch.full_like(ids, fill)], dim=1)
        return inputs


@dataclass(frozen=True, slots=True)
class Answered:
    """A request with an answer that exists already.

    ``ids`` are the answer's tokens; ``foils`` has for each the id of the one that it is told from,
    or None; it is None itself where the answer is told from no other.
    """

    request: Request
    ids: list[int]
    foils: list[int | None] | None


def read_request(tracer: Tracer, asked: Asked, media_root: str | Path | None) -> Request:
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
    return Request(adapter, conversation, encoded, layout, time.perf_counter() - started)


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
    tracer: Tracer, request: Request, ids: Sequence[int], foils: Sequence[int | None] | None
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

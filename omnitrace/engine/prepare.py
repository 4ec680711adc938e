"""From a user's messages to the model's inputs: a request, and its response if that exists.

A request is read (checked, its media decoded), encoded by the model's adapter, and mapped: each of
its positions to a source unit or to another kind. A response that exists already becomes token
ids, and what measures it under changed inputs.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitrace._utils.paths import as_root
from omnitrace.ablation.contrast import foils_of
from omnitrace.ablation.scorer import ResponseScorer, Rewriting
from omnitrace.capture.parameters import input_device
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.engine.setup import Setup
from omnitrace.errors import InputError, NotSupportedError, SourceWarning
from omnitrace.models.base import ModelAdapter
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.response_ids import check_prompt, response_ids
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Asked, Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import TextPart
from omnitrace.sources.responses.given import GivenResponse, Response, ResponseIds
from omnitrace.sources.responses.reading import read_response
from omnitrace.sources.token_map import GridTokens, TimeTokens
from omnitrace.sources.unitizers.base import FeatureSource

__all__ = [
    "RequestAndResponse",
    "encoded_request",
    "read_conversation",
    "read_request",
    "read_request_and_response",
    "response_scorer",
    "template_arguments",
]


@dataclass(frozen=True, slots=True)
class RequestAndResponse:
    """A request with a response that exists already.

    ``ids`` are the response's tokens, and ``ids_from`` where they come from; ``foils`` has for each
    the id of the one that it is contrasted with, or None; it is None itself where there is no
    contrast. ``finished`` is false where the response was cut off at its longest length.
    """

    request: EncodedRequest
    ids: list[int]
    ids_from: ResponseIds
    foils: list[int | None] | None
    finished: bool = True


def template_arguments(
    tools: Sequence[Any] | None, chat_template_kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a chat template is given beside messages; functions as their JSON schemas.

    Raises
    ------
    InputError
        If a tool is neither an object nor a function, or an argument is one that is settled.
    """
    arguments = dict(chat_template_kwargs or {})
    settled = {
        "tokenize",
        "add_generation_prompt",
        "continue_final_message",
        "return_dict",
        "tools",
    }
    for name in sorted(settled.intersection(arguments)):
        raise InputError(
            f"chat_template_kwargs has {name!r}",
            legal="arguments that the template reads, such as enable_thinking",
            fix="pass tools= beside it" if name == "tools" else "leave it out",
        )
    if not tools:
        return arguments
    from transformers.utils import get_json_schema

    schemas = [get_json_schema(tool) if callable(tool) else tool for tool in tools]
    for each in schemas:
        if not isinstance(each, Mapping):
            raise InputError(
                f"a tool is {type(each).__name__}", legal="a JSON schema, or a Python function"
            )
    return {"tools": schemas, **arguments}


def read_conversation(
    setup: Setup,
    asked: Asked,
    media_root: str | Path | None,
    template: Mapping[str, Any] | None = None,
) -> Conversation:
    """Check messages and decode their media; see ``Tracer.read``."""
    if not isinstance(asked, Conversation):
        conversation = read_messages(
            asked,
            options=setup.sources,
            limits=setup.limits,
            media_root=as_root(media_root),
        )
        for note in conversation.notes:
            warnings.warn(note, SourceWarning, stacklevel=2)
        return dataclasses.replace(conversation, template=template or {})
    if media_root is not None:
        raise InputError(
            f"the media root {str(media_root)!r} is given, and the media are read already",
            legal="messages with a media_root, or what read() returned, without one",
        )
    asked.check_options(setup.sources)
    return dataclasses.replace(asked, template=template) if template else asked


def read_request(
    setup: Setup,
    asked: Asked,
    media_root: str | Path | None,
    template: Mapping[str, Any] | None = None,
) -> EncodedRequest:
    """Read, encode and map a request."""
    started = time.perf_counter()
    conversation = read_conversation(setup, asked, media_root, template)
    request = encoded_request(setup.adapter, conversation, setup.sources)
    return dataclasses.replace(request, seconds=time.perf_counter() - started)


def encoded_request(
    adapter: ModelAdapter,
    conversation: Conversation,
    sources: SourceOptions,
    *,
    weights: bool = True,
) -> EncodedRequest:
    """Encode and map a conversation.

    Parameters
    ----------
    adapter, conversation, sources:
        The model, the request, and how its sources are cut.
    weights:
        Whether the model has weights. If not, the length is not checked, and a unitizer that cuts
        by features of the model is refused.
    """
    started = time.perf_counter()
    if weights:
        texts = (part.text for part in conversation.parts if isinstance(part, TextPart))
        adapter.check_characters(sum(map(len, texts)))
    encoded = adapter.encode(conversation, sources)
    features: FeatureSource = _without_weights
    if weights:
        adapter.check_length(len(encoded.prompt_ids))
        features = functools.partial(adapter.features, encoded)
    layout = build_layout(len(encoded.prompt_ids), encoded.geometry, sources, features)
    return EncodedRequest(adapter, conversation, encoded, layout, time.perf_counter() - started)


def _without_weights(tokens: GridTokens | TimeTokens) -> np.ndarray:
    raise NotSupportedError(
        f"{tokens.part.modality} is cut by what the model's tower sees, and no weights are loaded",
        legal="unitizers that need none: 'grid' and 'whole' for images, 'bins' for audio and video",
        fix="plan with one of these: the tokens are the same",
    )


def read_request_and_response(
    setup: Setup,
    asked: Asked,
    response: Response,
    against: Response | None,
    media_root: str | Path | None,
    template: Mapping[str, Any] | None = None,
    *,
    choice: int = 0,
) -> RequestAndResponse:
    """Read a request and its response, and pair the response with the one it is contrasted with."""
    given = read_response(response, choice)
    other = None if against is None else read_response(against, where="against")
    request = read_request(setup, asked, media_root, template)
    ids, ids_from = _token_ids(setup, request, given)
    setup.adapter.check_length(request.prompt_length + len(ids) - 1)
    foils = None if other is None else foils_of(ids, _token_ids(setup, request, other)[0])
    return RequestAndResponse(request, ids, ids_from, foils, given.finished)


def _token_ids(
    setup: Setup, request: EncodedRequest, given: GivenResponse
) -> tuple[list[int], ResponseIds]:
    """Return the ids of a response to this request, and where they come from."""
    adapter, thinking = setup.adapter, setup.thinking
    prompt_ids = request.encoded.prompt_ids
    check_prompt(adapter.tokenizer, given, prompt_ids, adapter.media_tokens)
    opened = (
        thinking is not None
        and given.thought is not None
        and thinking.begins_opened(adapter.tokenizer, prompt_ids, request.layout)
    )
    return response_ids(adapter, given, thinking=thinking, opened=opened)


def response_scorer(
    setup: Setup,
    request: EncodedRequest,
    ids: Sequence[int],
    foils: Sequence[int | None] | None = None,
    *,
    measured: Callable[[np.ndarray], None] | None = None,
    keep: bool = False,
    prompt: PromptRecord | None = None,
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
        keep=keep,
        prompt=prompt,
    )

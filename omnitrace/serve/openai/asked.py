"""From a request in OpenAI's format to what the model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omnitrace.errors import MediaError
from omnitrace.serve.api.requests import tracer_for
from omnitrace.serve.errors import ServeError
from omnitrace.serve.fetching import fetch
from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.messages import addresses_of, messages_of
from omnitrace.serve.openai.options import generation_options, template_options
from omnitrace.serve.openai.requests import (
    AttributionOptions,
    AttributionRequest,
    ChatMessage,
    ChatRequest,
)
from omnitrace.serve.openai.responses import ChatWriter
from omnitrace.serve.openai.tellers import AttributionTeller, ChunkTeller, CompletionTeller
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.state import ServerState
from omnitrace.serve.tasks import Generation, Replay
from omnitrace.tracer import Tracer
from omnitrace.types import Message

__all__ = ["attribution_of", "chat_of", "check_model", "fetched", "model_entry"]

# Of a stream: rows are read after so many tokens, and a growing sentence is told as often.
_BLOCK: Final = 4


def chat_of(state: ServerState, asked: ChatRequest, media: Mapping[str, bytes]) -> Generation:
    """Return what the model is asked by a chat completion.

    Parameters
    ----------
    state:
        The server.
    asked:
        The request.
    media:
        What was fetched, by address.

    Raises
    ------
    OmnitraceError
        If something is asked that the model or this server cannot do.
    """
    check_model(state, asked.model)
    tracer = _tracer(state, asked.attribution_options, attributes=asked.attributes)
    options = generation_options(asked, tracer.adapter.tokenizer, state.options.new_tokens)
    writer = ChatWriter(
        asked.model,
        tracer.setup,
        stops=asked.stops,
        attributes=asked.attributes,
        usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
    )
    if asked.stream:
        told = asked.attributes and asked.attribution_options.provisional
        options |= {"block": _BLOCK, "provisional": _BLOCK if told else None}
    return Generation(
        tracer,
        _messages(state, asked.messages, media),
        media_root=state.uploads.folder,
        prompt_tokens=state.options.prompt_tokens,
        options=options | template_options(asked, tracer.adapter.processor),
        teller=ChunkTeller(writer) if asked.stream else CompletionTeller(writer),
    )


def attribution_of(
    state: ServerState, asked: AttributionRequest, media: Mapping[str, bytes]
) -> Replay:
    """Return what the model is asked by the attribution of a given response.

    Parameters and errors are those of :func:`chat_of`.
    """
    check_model(state, asked.model)
    tracer = _tracer(state, asked.attribution_options)
    return Replay(
        tracer,
        _messages(state, asked.messages, media),
        asked.response,
        media_root=state.uploads.folder,
        prompt_tokens=state.options.prompt_tokens,
        options=template_options(asked, tracer.adapter.processor),
        teller=AttributionTeller(asked.model, tracer),
    )


def _tracer(state: ServerState, options: AttributionOptions, *, attributes: bool = True) -> Tracer:
    if not attributes:
        return state.tracer.with_options(verify=False)
    return tracer_for(state.tracer, options.signal, options.verify, options.sources)


def _messages(
    state: ServerState, messages: list[ChatMessage], media: Mapping[str, bytes]
) -> list[Message]:
    most = state.options.parts
    parts = sum(len(each.content) if isinstance(each.content, list) else 1 for each in messages)
    if max(parts, len(messages)) > most:
        raise ApiError(
            f"the request has {parts} parts in {len(messages)} messages",
            legal=f"at most {most} on this server",
            param="messages",
            code="invalid_value",
        )
    return messages_of(messages, state.options.media, media)


async def fetched(messages: list[ChatMessage], options: ServeOptions) -> dict[str, bytes]:
    """Return what the addresses of a request give that the server may fetch.

    Parameters
    ----------
    messages:
        Of the request.
    options:
        Hosts that are allowed; all that a request names may have the bytes of one upload.

    Raises
    ------
    ApiError
        If an address may not be fetched, or gives nothing; it names the part.
    """
    found: dict[str, bytes] = {}
    if not options.fetch_hosts:
        return found  # each is refused where it is read
    for where, url, _ in addresses_of(messages):
        if url in found:
            continue
        try:
            found[url] = await fetch(url, options)
        except (ServeError, MediaError) as error:
            raise ApiError(
                error.found, legal=error.legal, fix=error.fix, param=where, code="url_not_allowed"
            ) from error
        if sum(map(len, found.values())) > options.upload_bytes:
            raise ApiError(
                "the files that the request names are too large together",
                legal=f"at most {options.upload_bytes} bytes",
                status=413,
                param=where,
                code="request_too_large",
            )
    return found


def check_model(state: ServerState, name: str) -> None:
    """Refuse the name of another model.

    Raises
    ------
    ApiError
        With status 404.
    """
    own = state.tracer.adapter.source
    if name != own:
        raise ApiError(
            f"there is no model {name[:200]!r}",
            legal=repr(own),
            status=404,
            param="model",
            code="model_not_found",
        )


def model_entry(state: ServerState, created: int) -> dict[str, Any]:
    """Describe the model, as ``GET /v1/models`` lists it."""
    adapter = state.tracer.adapter
    return {
        "id": adapter.source,
        "object": "model",
        "created": created,
        "owned_by": "omnitrace",
        "max_model_len": adapter.max_context,
        "modalities": ["text", *(name for name in adapter.modalities if name != "text")],
    }

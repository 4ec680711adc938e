"""From what a client asks to what the model is asked: messages, media, options."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.serve.api.schema import MediaPartIn, MessageIn, RunIn, SourcesIn
from omnitrace.serve.state import ServerState
from omnitrace.serve.tasks import Generation
from omnitrace.serve.uploads import Upload
from omnitrace.tracer import Tracer

__all__ = ["generation_of", "title_of", "tracer_for"]

_TITLE: Final = 90
_BLOCK: Final = 4  # tokens


def generation_of(state: ServerState, asked: RunIn, client: str) -> tuple[list[Upload], Generation]:
    """Return what the model is asked, and the uploads that it needs.

    Raises
    ------
    InputError, PluginError, NotSupportedError
        If something is asked that the model, its signals or this server cannot do.
    MissingError
        If an upload is not there.
    """
    options = state.options
    if sum(_parts(message) for message in asked.messages) > options.parts:
        raise InputError(
            "the request has too many parts", legal=f"at most {options.parts} on this server"
        )
    tokens = asked.max_new_tokens
    if tokens is not None and tokens > options.new_tokens:
        raise InputError(
            f"max_new_tokens is {tokens}", legal=f"1 to {options.new_tokens} on this server"
        )
    uploads: list[Upload] = []
    messages = [_message(state, each, client, uploads) for each in asked.messages]
    generation = {
        "max_new_tokens": tokens or min(256, options.new_tokens),
        # Blocks so short that an open sentence is seen, and its supports, before it ends.
        "block": _BLOCK,
        "provisional": _BLOCK,
    }
    sampled = {} if asked.seed is None else {"do_sample": True, "seed": asked.seed}
    return uploads, Generation(
        tracer_for(state.tracer, asked.signal, asked.verify, asked.sources),
        messages,
        media_root=state.uploads.folder,
        prompt_tokens=options.prompt_tokens,
        options={**generation, **sampled},
    )


def tracer_for(
    tracer: Tracer,
    signal: str | None = None,
    verify: bool | None = None,
    sources: SourcesIn | None = None,
) -> Tracer:
    """Return a tracer of the server's model with the options that a request asks for.

    Raises
    ------
    PluginError, InputError, NotSupportedError
        If there is no such signal or unitizer, or it does not go with the model.
    """
    changed: dict[str, Any] = {}
    if signal is not None:
        changed |= {"signal": signal, "verify": bool(verify)}
    elif verify is not None:
        changed["verify"] = verify
    if sources is not None and (given := sources.given()):
        changed["sources"] = dataclasses.replace(tracer.setup.sources, **given)
    return tracer.with_options(**changed) if changed else tracer


def title_of(asked: RunIn) -> str:
    """Return the last text of the last message of the user, shortened."""
    texts = [
        part if isinstance(part, str) else part.text
        for message in asked.messages
        if message.role == "user"
        for part in ([message.content] if isinstance(message.content, str) else message.content)
        if isinstance(part, str) or not isinstance(part, MediaPartIn)
    ]
    words = " ".join(texts[-1].split()) if texts else ""
    return words if len(words) <= _TITLE else words[: _TITLE - 1].rstrip() + "…"


def _parts(message: MessageIn) -> int:
    return 1 if isinstance(message.content, str) else max(1, len(message.content))


def _message(
    state: ServerState, message: MessageIn, client: str, uploads: list[Upload]
) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    content: list[dict[str, Any]] = []
    for part in message.content:
        values = part.model_dump(exclude_none=True)
        if isinstance(part, MediaPartIn):
            upload = state.uploads.get(client, part.upload)
            if upload.modality != part.type:
                raise InputError(
                    f"the upload {upload.name!r} is {upload.modality}, and not {part.type}",
                    legal=f"a part of type {upload.modality!r}",
                )
            uploads.append(upload)
            del values["upload"]
            values[part.type] = str(upload.path)
        content.append(values)
    return {"role": message.role, "content": content}

"""OpenAI's messages made into those of the tracer: of a request nothing is read but its own bytes.

The reader of the tracer takes paths too. Here each part is written again with the bytes that the
request holds, or that were fetched from an address which the server allows, and with nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.media import MediaLimits, resolve_source
from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.requests import (
    AudioPart,
    AudioUrlPart,
    ChatMessage,
    FilePart,
    ImagePart,
    RefusalPart,
    TextPart,
    VideoPart,
)
from omnitrace.types import Message, Modality

__all__ = ["addresses_of", "messages_of"]

_MARKS: Final = ("source_id", "source", "units", "title", "metadata")
_FIELDS: Final = ("name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content")
_DATA: Final = "data:"


def addresses_of(messages: list[ChatMessage]) -> Iterator[tuple[str, str, Modality]]:
    """Yield what a request names by an address: where, the address, and what it is to be."""
    for number, message in enumerate(messages):
        for place, part in enumerate(message.content if isinstance(message.content, list) else ()):
            found = _url_of(part)
            if found is not None and not _is_data(found[2]):
                kind, key, url = found
                yield f"messages[{number}].content[{place}].{key}", url, kind


def messages_of(
    messages: list[ChatMessage], limits: MediaLimits, fetched: Mapping[str, bytes]
) -> list[Message]:
    """Return the messages as the tracer takes them.

    Parameters
    ----------
    messages:
        Of the request.
    limits:
        On the bytes of a medium.
    fetched:
        What the addresses gave that the server allows, by address.

    Raises
    ------
    ApiError
        If a part names a medium that is not in the request and was not fetched.
    MediaError
        If a medium is empty, too large, or no base64.
    """
    return [_message(message, number, limits, fetched) for number, message in enumerate(messages)]


def _message(
    message: ChatMessage, number: int, limits: MediaLimits, fetched: Mapping[str, bytes]
) -> Message:
    result: Message = {"role": message.role}
    for name in _FIELDS:
        if (value := getattr(message, name)) is not None:
            result[name] = value
    if isinstance(message.content, list):
        result["content"] = [
            _part(part, f"messages[{number}].content[{place}]", limits, fetched)
            for place, part in enumerate(message.content)
        ]
    else:
        result["content"] = message.content
        result |= _marks(message)
    if message.refusal is not None and not message.content:
        result["content"] = [{"type": "refusal", "refusal": message.refusal}]
    return result


def _part(part: Any, where: str, limits: MediaLimits, fetched: Mapping[str, bytes]) -> Message:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text, **_marks(part)}
    if isinstance(part, RefusalPart):
        return {"type": "refusal", "refusal": part.refusal}
    if isinstance(part, AudioPart):
        data = _decoded(part.input_audio.data, f"{where}.input_audio.data", limits)
        return {"type": "audio", "audio": data, **_marks(part)}
    if isinstance(part, FilePart):
        return _file(part, f"{where}.file.file_data", limits)
    found = _url_of(part)
    assert found is not None
    kind, key, url = found
    if not _is_data(url):
        if url not in fetched:
            raise _not_fetched(url, f"{where}.{key}")
        return {"type": kind, kind: fetched[url], **_marks(part)}
    return {"type": kind, kind: resolve_source(url, limits=limits).read(), **_marks(part)}


def _file(part: FilePart, where: str, limits: MediaLimits) -> Message:
    data = part.file.file_data
    if not _is_data(data):
        raise ApiError(
            "a file is no data URL",
            legal="data:<type>;base64,<base64>",
            fix="write the type before the base64",
            param=where,
            code="invalid_value",
        )
    marks = _marks(part)
    if part.file.filename is not None:
        marks.setdefault("title", part.file.filename)
    kind = data[len(_DATA) :].split("/")[0].lower()
    if kind not in ("text", "image", "audio", "video"):
        raise ApiError(
            f"a file is of the type {data[len(_DATA) :].split(';')[0].split(',')[0][:80]!r}",
            legal="data URLs of text, image, audio or video",
            fix="extract the text, or pass each page as an image",
            param=where,
            code="unsupported_file",
        )
    content = resolve_source(data, limits=limits).read()
    if kind != "text":
        return {"type": kind, kind: content, **marks}
    return {"type": "text", "text": content.decode("utf-8", "replace"), "source": True, **marks}


def _url_of(part: Any) -> tuple[Modality, str, str] | None:
    """Return what a part is, the key that names it, and its URL."""
    if isinstance(part, ImagePart):
        return "image", "image_url.url", part.image_url.url
    if isinstance(part, AudioUrlPart):
        return "audio", "audio_url.url", part.audio_url.url
    if isinstance(part, VideoPart):
        return "video", "video_url.url", part.video_url.url
    return None


def _is_data(url: str) -> bool:
    return url[: len(_DATA)].lower() == _DATA


def _marks(part: Any) -> dict[str, Any]:
    found = {name: getattr(part, name) for name in _MARKS}
    return {name: value for name, value in found.items() if value is not None}


def _decoded(text: str, where: str, limits: MediaLimits) -> bytes:
    if _is_data(text):
        return resolve_source(text, limits=limits).read()
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            f"{len(text)} characters that are not base64 ({error})",
            legal="base64, or a data URL",
            param=where,
            code="invalid_base64",
        ) from error
    return resolve_source(data, limits=limits).read()


def _not_fetched(url: str, where: str) -> InputError:
    return ApiError(
        f"{url[:120]!r} is not fetched",
        legal="data:<type>;base64,<base64>, or an address of a host that the server allows",
        fix="send the file itself, or start the server with that host allowed",
        param=where,
        code="url_not_allowed",
    )

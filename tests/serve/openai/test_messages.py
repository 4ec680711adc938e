"""Messages of OpenAI's format: media come from the request's own bytes, and from nowhere else."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from typing import Any

import pytest
from PIL import Image

from omnitrace.errors import MediaError
from omnitrace.media import MediaLimits
from omnitrace.serve.fetching import FetchError
from omnitrace.serve.openai import asked as asked_module
from omnitrace.serve.openai.asked import fetched
from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.messages import addresses_of, messages_of
from omnitrace.serve.openai.requests import ChatMessage, ChatRequest, read_request
from omnitrace.serve.options import ServeOptions
from omnitrace.sources.messages import read_messages
from omnitrace.sources.options import SourceOptions

LIMITS = MediaLimits()


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    return file.getvalue()


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def asked(content: Any, role: str = "user", **more: Any) -> list[ChatMessage]:
    messages = [{"role": role, "content": content, **more}]
    body = json.dumps({"model": "m", "messages": messages})
    return read_request(ChatRequest, body.encode()).messages


def part_of(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = messages_of(asked([part]), LIMITS, {})[0]["content"][0]
    return found


def test_media_are_bytes() -> None:
    image = part_of({"type": "image_url", "image_url": {"url": data_url(png(), "image/png")}})
    assert image == {"type": "image", "image": png()}
    data = base64.b64encode(wav()).decode()
    audio = part_of({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    assert audio == {"type": "audio", "audio": wav()}
    video = part_of({"type": "video_url", "video_url": {"url": data_url(b"x", "video/mp4")}})
    assert video == {"type": "video", "video": b"x"}


def test_what_names_a_document_is_kept() -> None:
    marks = {"source_id": "a", "title": "A", "metadata": {"page": 3}, "source": True}
    assert part_of({"type": "text", "text": "A.", **marks}) == {
        "type": "text",
        "text": "A.",
        **marks,
    }


def test_a_file_is_what_its_data_url_says() -> None:
    file = {"file_data": data_url(b"Notes.", "text/plain"), "filename": "notes.txt"}
    found = part_of({"type": "file", "file": file})
    assert found == {"type": "text", "text": "Notes.", "source": True, "title": "notes.txt"}
    image = part_of({"type": "file", "file": {"file_data": data_url(png(), "image/png")}})
    assert image["image"] == png()
    with pytest.raises(ApiError, match="application/pdf") as caught:
        part_of({"type": "file", "file": {"file_data": data_url(b"x", "application/pdf")}})
    assert caught.value.param == "messages[0].content[0].file.file_data"


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd", "file:///etc/passwd", "etc/passwd", "~/.ssh/id_rsa", "http://169.254.169.254/",
        "https://example.org/x.png", "ftp://h/x", "", "\\\\host\\share",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["image_url", "audio_url", "video_url"])
def test_nothing_else_is_read(kind: str, url: str) -> None:
    with pytest.raises(ApiError) as caught:
        part_of({"type": kind, kind: {"url": url}})
    assert caught.value.code == "url_not_allowed"
    assert caught.value.param == f"messages[0].content[0].{kind}.url"


def test_no_path_passes_as_audio_or_file() -> None:
    with pytest.raises(ApiError):
        part_of({"type": "input_audio", "input_audio": {"data": "/etc/passwd", "format": "wav"}})
    with pytest.raises(ApiError):
        part_of({"type": "file", "file": {"file_data": "/etc/passwd"}})


def test_addresses_are_told_and_taken_from_what_was_fetched() -> None:
    url = "https://example.org/x.png"
    messages = asked(
        [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": {"url": url}}]
    )
    assert list(addresses_of(messages)) == [("messages[0].content[1].image_url.url", url, "image")]
    found = messages_of(messages, LIMITS, {url: png()})
    assert found[0]["content"][1] == {"type": "image", "image": png()}


def test_bytes_are_bounded() -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(b"x" * 100, "image/png")}}
    with pytest.raises(MediaError, match="at most 10 bytes"):
        messages_of(asked([part]), MediaLimits(max_bytes=10), {})


def test_broken_base64_is_named() -> None:
    with pytest.raises(ApiError) as caught:
        part_of({"type": "input_audio", "input_audio": {"data": "###", "format": "wav"}})
    assert caught.value.param == "messages[0].content[0].input_audio.data"


def test_a_tools_result_is_a_source() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "What does the lamp weigh?"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c", "content": "The lamp weighs five grams."},
        ],
    }
    messages = messages_of(
        read_request(ChatRequest, json.dumps(body).encode()).messages, LIMITS, {}
    )
    conversation = read_messages(messages, options=SourceOptions(), limits=LIMITS)
    assert [(part.role, part.is_source) for part in conversation.parts] == [
        ("user", False),
        ("tool", True),
    ]


def test_the_servers_own_message_can_be_sent_back() -> None:
    content = "Five grams."
    messages = asked(
        content, "assistant", refusal=None, annotations=[], reasoning="Hm.",
        reasoning_content="Hm.", tool_calls=None, audio=None, function_call=None,
    )  # fmt: skip
    found = messages_of(messages, LIMITS, {})[0]
    assert found["content"] == content
    assert found["reasoning_content"] == "Hm."


def test_only_addresses_of_allowed_hosts_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def fetch(url: str, options: ServeOptions) -> bytes:
        seen.append(url)
        if "private" in url:
            raise FetchError("that host is not allowed", legal="example.org")
        return png()

    monkeypatch.setattr(asked_module, "fetch", fetch)
    url, private = "https://example.org/x.png", "https://private.org/x.png"
    parts = [{"type": "image_url", "image_url": {"url": url}}] * 2
    allowed = ServeOptions(fetch_hosts=("example.org",))
    assert asyncio.run(fetched(asked(parts), ServeOptions())) == {}
    assert seen == []
    assert asyncio.run(fetched(asked(parts), allowed)) == {url: png()}
    assert seen == [url]
    with pytest.raises(ApiError) as caught:
        asyncio.run(fetched(asked([{"type": "image_url", "image_url": {"url": private}}]), allowed))
    assert caught.value.param == "messages[0].content[0].image_url.url"
    small = ServeOptions(fetch_hosts=("example.org",), upload_bytes=10)
    with pytest.raises(ApiError) as caught:
        asyncio.run(fetched(asked(parts), small))
    assert caught.value.status == 413

"""Random conversations in the formats that people have, valid by their types."""

from __future__ import annotations

import base64
import functools
import io
import wave
from typing import Any

import numpy as np
import PIL.Image
from hypothesis import strategies as st

__all__ = ["conversations", "media_parts", "sentences", "texts"]

_WORDS = (
    "lamp",
    "rope",
    "weighs",
    "four",
    "grams.",
    "It",
    "is",
    "blue!",
    "Why?",
    "Dr.",
    "ß",
    "青い。",
)
#: Words with white space of all kinds between them, so that every letter belongs to a sentence.
sentences = st.lists(
    st.tuples(st.sampled_from(_WORDS), st.sampled_from([" ", " ", "\n", "\n\n", "\t", "\u00a0"])),
    min_size=1,
    max_size=12,
).map(lambda pairs: "".join(word + space for word, space in pairs))
#: Any text that can be written.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@functools.cache
def png(shade: int) -> bytes:
    """Return an image of 8 by 6 pixels."""
    out = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


@functools.cache
def wav(level: int) -> bytes:
    """Return a tenth of a second of audio."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.full(1600, level, "<i2").tobytes())
    return out.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def media_parts() -> st.SearchStrategy[dict[str, Any]]:
    """Return images and sounds as JSON can hold them, in several formats."""
    images = st.integers(0, 3).map(lambda n: _url("image/png", png(n)))
    sounds = st.integers(0, 3).map(lambda n: wav(n))
    return st.one_of(
        images.map(lambda url: {"type": "image", "image": url}),
        images.map(lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}),
        images.map(lambda url: {"type": "input_image", "image_url": url}),
        sounds.map(lambda data: {"type": "audio", "audio": _url("audio/wav", data)}),
        sounds.map(
            lambda data: {
                "type": "input_audio",
                "input_audio": {"data": base64.b64encode(data).decode("ascii"), "format": "wav"},
            }
        ),
    )


@st.composite
def text_parts(draw: st.DrawFn, words: st.SearchStrategy[str]) -> dict[str, Any]:
    """Return a text, perhaps with marks and units."""
    text = draw(words)
    part: dict[str, Any] = {"type": draw(st.sampled_from(["text", "input_text"])), "text": text}
    if draw(st.booleans()):
        part["source"] = draw(st.booleans())
    if draw(st.booleans()):
        part["source_id"] = draw(st.sampled_from(["a", "b", 7]))
    if text.strip() and draw(st.integers(0, 3)) == 0:
        cuts = draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4, unique=True))
        ranges = list(zip(sorted(cuts), sorted(cuts)[1:], strict=False))
        part["units"] = [{"start": a, "end": b, "id": f"u{a}"} for a, b in ranges]
    return part


@st.composite
def conversations(
    draw: st.DrawFn,
    words: st.SearchStrategy[str] = texts,
    media: st.SearchStrategy[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return messages as JSON can hold them, with a user message at least.

    Parameters
    ----------
    draw:
        Of Hypothesis.
    words:
        The texts.
    media:
        Media parts; by default there are none.
    """
    parts = text_parts(words) if media is None else st.one_of(text_parts(words), media)
    content = st.one_of(words, st.lists(parts, min_size=1, max_size=4))
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(words)})
    for _ in range(draw(st.integers(0, 2))):
        messages.append({"role": "user", "content": draw(content)})
        form = draw(st.integers(0, 3))
        if form == 0:
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": "c", "content": draw(words)})
        elif form == 1:
            result = {"type": "tool_result", "tool_use_id": "c", "content": draw(words)}
            messages.append({"role": "user", "content": [result]})
        messages.append({"role": "assistant", "content": draw(words)})
    messages.append({"role": "user", "content": draw(content)})
    return messages

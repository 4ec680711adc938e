"""What each message format becomes: the table in the docs, row by row, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from omnitrace.errors import InputError, OmnitraceError
from omnitrace.media import LoadedAudio, LoadedVideo, MediaLimits
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart

PAGE: Final = Path(__file__).parents[2] / "docs/reference/message-formats.md"
RATE: Final = 44_100
SAMPLES: Final = (0.3 * np.sin(np.arange(RATE) / 9)).astype(np.float32)  # one second
PICTURE: Final = PIL.Image.new("RGB", (8, 6), "red")
ASK: Final = {"type": "text", "text": "ask"}


def encoded(what: str) -> bytes:
    buffer = io.BytesIO()
    if what == "png":
        PICTURE.save(buffer, format="PNG")
    else:
        soundfile.write(buffer, SAMPLES, RATE, format="WAV")
    return buffer.getvalue()


PNG, WAV = encoded("png"), encoded("wav")
PNG64, WAV64 = base64.b64encode(PNG).decode(), base64.b64encode(WAV).decode()
TEXT64 = base64.b64encode(b"The note.").decode()
FRAMES = torch.zeros(4, 3, 6, 8, dtype=torch.uint8)


class AudioDecoder:
    """As the audio of ``datasets`` with torchcodec."""

    def get_all_samples(self) -> Any:
        data = torch.from_numpy(SAMPLES)[None]
        return type("Samples", (), {"data": data, "sample_rate": RATE})


class VideoDecoder:
    """As the video of ``datasets`` with torchcodec."""

    metadata = type("Metadata", (), {"average_fps": 2.0})

    def get_frames_in_range(self) -> None: ...

    def __getitem__(self, _: slice) -> torch.Tensor:
        return FRAMES


def read(messages: Any, **options: Any) -> Conversation:
    return read_messages(messages, options=SourceOptions(**options), limits=MediaLimits())


def described(conversation: Conversation) -> str:
    """Say what messages became: ``user: image, "text"*``; a star marks a source."""
    turns = []
    for number, role in enumerate(conversation.roles):
        said = []
        for part in conversation.of(number):
            name = part.modality if isinstance(part, MediaPart) else f'"{part.text}"'
            if isinstance(part, MediaPart) and isinstance(part.media, LoadedAudio | LoadedVideo):
                name += f" of {part.media.duration:.0f} s"
            said.append(name + "*" * part.is_source)
        said += sorted(conversation.more_of(number))
        turns.append(f"{role}: {', '.join(said)}")
    return "; ".join(turns)


def of(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": [*parts, ASK]}]


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


#: Format, what it looks like, the messages, what they become.
TABLE: Final[list[tuple[str, str, list[Any], str]]] = [
    ("transformers", '`{"type": "text", "text"}`', of({"type": "text", "text": "a"}),
     'user: "a"*, "ask"'),
    ("transformers", '`{"type": "image", "image" or "path" or "url" or "base64"}`',
     of({"type": "image", "base64": PNG64}), 'user: image*, "ask"'),
    ("transformers", '`{"type": "audio", "audio": array, "sampling_rate"}`',
     of({"type": "audio", "audio": SAMPLES, "sampling_rate": RATE}),
     'user: audio of 1 s*, "ask"'),
    ("transformers", '`{"role": "assistant", "content": None, "tool_calls"}`',
     [{"role": "user", "content": "ask"}, {"role": "assistant", "content": None,
       "tool_calls": [call({"a": 1})]}, {"role": "tool", "tool_call_id": "c1", "content": "found"}],
     'user: "ask"; assistant: tool_calls; tool: "found"*, tool_call_id'),
    ("OpenAI chat", '`{"type": "image_url", "image_url": {"url", "detail"}}`',
     of({"type": "image_url",
         "image_url": {"url": f"data:image/png;base64,{PNG64}", "detail": "auto"}}),
     'user: image*, "ask"'),
    ("OpenAI chat", '`{"type": "input_audio", "input_audio": {"data", "format"}}`',
     of({"type": "input_audio", "input_audio": {"data": WAV64, "format": "wav"}}),
     'user: audio of 1 s*, "ask"'),
    ("OpenAI chat", '`{"type": "file", "file": {"file_data": "data:text/plain;…"}}`',
     of({"type": "file", "file": {"filename": "a.txt",
                                  "file_data": f"data:text/plain;base64,{TEXT64}"}}),
     'user: "The note."*, "ask"'),
    ("OpenAI Responses", '`{"type": "input_text"}`, `{"type": "output_text"}`',
     [*of({"type": "input_text", "text": "a"}),
      {"type": "message", "role": "assistant", "content": [
          {"type": "output_text", "text": "b", "annotations": []}]}],
     'user: "a"*, "ask"; assistant: "b"'),
    ("OpenAI Responses", '`{"type": "input_image", "image_url"}`',
     of({"type": "input_image", "image_url": f"data:image/png;base64,{PNG64}"}),
     'user: image*, "ask"'),
    ("OpenAI Responses", '`{"type": "function_call"}`, `{"type": "function_call_output"}`',
     [{"role": "user", "content": "ask"},
      {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
      {"type": "function_call_output", "call_id": "c1", "output": "found"}],
     'user: "ask"; assistant: tool_calls; tool: "found"*, tool_call_id'),
    ("Anthropic", '`{"type": "image", "source": {"type": "base64", "media_type", "data"}}`',
     of({"type": "image",
         "source": {"type": "base64", "media_type": "image/png", "data": PNG64}}),
     'user: image*, "ask"'),
    ("Anthropic", '`{"type": "document", "source": {"type": "text", "data"}, "title"}`',
     of({"type": "document", "title": "T", "citations": {"enabled": True},
         "source": {"type": "text", "media_type": "text/plain", "data": "a"}}),
     'user: "a"*, "ask"'),
    ("Anthropic", '`{"type": "search_result", "content"}`',
     of({"type": "search_result", "source": "http://a", "title": "T",
         "content": [{"type": "text", "text": "a"}]}),
     'user: "a"*, "ask"'),
    ("Anthropic", '`{"type": "tool_use"}`, `{"type": "tool_result", "content"}`',
     [{"role": "user", "content": "ask"},
      {"role": "assistant", "content": [
          {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
      {"role": "user", "content": [
          {"type": "tool_result", "tool_use_id": "c1", "content": "found"}]}],
     'user: "ask"; assistant: tool_calls; tool: "found"*, tool_call_id'),
    ("Qwen", '`{"type": "image", "image": [several]}`',
     of({"type": "image", "image": [PICTURE, PICTURE]}), 'user: image*, image*, "ask"'),
    ("Qwen", '`{"type": "video", "video": [frames], "fps"}`',
     of({"type": "video", "video": [PICTURE] * 4, "fps": 4.0}), 'user: video of 1 s*, "ask"'),
    ("datasets", '`{"array", "sampling_rate"}`',
     of({"type": "audio", "audio": {"array": SAMPLES, "sampling_rate": RATE, "path": "a.wav"}}),
     'user: audio of 1 s*, "ask"'),
    ("datasets", '`{"bytes", "path"}`',
     of({"type": "image", "image": {"bytes": PNG, "path": "a.png"}}), 'user: image*, "ask"'),
    ("datasets", "decoders of `Audio` and `Video`",
     of({"type": "audio", "audio": AudioDecoder()}, {"type": "video", "video": VideoDecoder()}),
     'user: audio of 1 s*, video of 2 s*, "ask"'),
    ("Python", "torch tensors, channels first or last",
     of({"type": "image", "image": torch.zeros(3, 6, 8, dtype=torch.uint8)},
        {"type": "video", "video": (FRAMES, 2.0)}),
     'user: image*, video of 2 s*, "ask"'),
    ("Python", "`(tensor, rate)` of `torchaudio.load`",
     of({"type": "audio", "audio": (torch.from_numpy(SAMPLES)[None], RATE)}),
     'user: audio of 1 s*, "ask"'),
    ("Python", "`BytesIO`, open files",
     of({"type": "image", "image": io.BytesIO(PNG)}), 'user: image*, "ask"'),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=[f"{row[0]}-{i}" for i, row in enumerate(TABLE)])
def test_each_format_becomes_what_the_table_says(row: tuple[str, str, list[Any], str]):
    assert described(read(row[2])) == row[3]


def test_the_table_in_the_docs_is_this_one():
    rows = [f"| {name} | {form} | {becomes} |" for name, form, _, becomes in TABLE]
    found = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert found[1 : len(rows) + 1] == rows


def test_the_rate_of_an_array_is_obeyed():
    for part in ({"audio": SAMPLES, "sampling_rate": RATE}, {"audio": (SAMPLES, RATE)}):
        (audio,) = read(of({"type": "audio", **part})).media()
        assert isinstance(audio.media, LoadedAudio)
        assert audio.media.duration == pytest.approx(1, abs=0.01)


def test_the_rate_of_a_video_is_obeyed():
    frames = np.zeros((8, 6, 8, 3), np.uint8)
    (video,) = read(of({"type": "video", "video": (frames, 4.0), "fps": 1.0})).media()
    assert isinstance(video.media, LoadedVideo)
    assert (len(video.media.frames), video.media.duration) == (2, 2.0)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (image,) = read(of({"type": "image", "image": "~/a.png"})).media()
    assert image.modality == "image"


def test_arguments_of_a_call_reach_the_template_as_an_object():
    messages = [
        {"role": "user", "content": "ask"},
        {"role": "assistant", "content": "", "tool_calls": [call('{"a": 1}')]},
    ]
    conversation = read(messages)
    (found,) = conversation.more_of(1)["tool_calls"]
    assert found["function"]["arguments"] == {"a": 1}
    again = read(conversation.records())
    assert again.more == conversation.more


REFUSED: Final[list[tuple[Any, list[str]]]] = [
    (of({**ASK, "sourceid": "a"}), ["'sourceid'", "did you mean 'source_id'"]),
    (of({**ASK, "sourceId": "a"}), ["'sourceId'", "did you mean 'source_id'"]),
    (of({"type": "text", "text": "x", "unit": [[0, 1]]}), ["'unit'", "did you mean 'units'"]),
    ([{"role": "user", "content": "x", "sources": True}], ["messages[0]", "'sources'", "'source'"]),
    (of({"type": "image", "image": PICTURE, "detail": "low"}), ["'low'", "'max_pixels'"]),
    (of({"type": "audio", "audio": WAV, "sampling_rate": 8000}), ["leave 'sampling_rate' out"]),
    (of({"type": "image", "image": {"urls": "x"}}), ["unknown key 'urls'", "did you mean 'url'"]),
    (of({"type": "image", "source": {"type": "file", "file_id": "f"}}), ["a file on a server"]),
    (of({"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}}),
     ["'application/pdf'", "as an image"]),
    (of({"type": "file", "file": {"file_id": "f"}}), ["a file on a server", "extract the text"]),
    (of({"type": "text", "text": "bad \ud83d half"}), ["half of a surrogate pair"]),
    (of({"type": "image", "image": []}), ["empty list of images"]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "words"), REFUSED)
def test_what_cannot_be_obeyed_is_refused(messages: Any, words: list[str]):
    with pytest.raises(InputError) as caught:
        read(messages)
    for word in words:
        assert word in str(caught.value)


def test_keys_that_only_describe_pass_through():
    part = {"type": "text", "text": "a", "metadata": {"n": 1}, "title": "T", "image": None}
    message = {"role": "user", "content": [part, ASK], "metadata": {}, "title": "T"}
    assert described(read([message])) == 'user: "a"*, "ask"'


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": WAV64, "fromat": "wav"}},
        {"type": "image", "image": PNG64},
        {"type": PNG64},
        {"type": "text", "text": "x", "units": [[0, WAV64]]},
        {"type": "text", "text": "x", "source": WAV64},
        {"type": "text", "text": "x", WAV64: 1},
        {"type": "audio", "base64": WAV64 + "!"},
    ],
)
def test_an_error_never_prints_a_payload(part: dict[str, Any]):
    def refuse() -> None:
        conversation = read(of(part))  # a unit is checked later, and its error is as long
        raise InputError(f"it was read: {json.dumps(conversation.records())}, {part!r}")

    with pytest.raises(OmnitraceError) as caught:
        refuse()
    assert len(str(caught.value)) < 1500
    assert not re.search(r"[A-Za-z0-9+/]{200}", str(caught.value))


def labels(messages: list[Any]) -> list[tuple[Any, ...]]:
    """Describe what parts other than the question say of their documents; read twice."""
    first = read(messages)
    for conversation in (first, read(first.records())):
        found = [(p.source_id, p.title, p.metadata) for p in conversation.parts if p.is_source]
    return found


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a", "title": "T", "metadata": {"n": [1, None]}},
         [(None, "T", {"n": [1, None]})]),
        ({"type": "document", "title": "T", "source_id": "d", "metadata": "m",
          "source": {"type": "text", "data": "a"}}, [("d", "T", "m")]),
        ({"type": "document", "title": "T", "source_id": "d",
          "source": {"type": "content", "content": [{"type": "text", "text": "a"},
                                                    {"type": "text", "text": "b", "title": "U"}]}},
         [("d", "T", None), ("d", "U", None)]),
        ({"type": "search_result", "source": "http://a", "title": "T",
          "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
         [("http://a", "T", None)] * 2),
        ({"type": "file", "file": {"filename": "a.txt",
                                   "file_data": f"data:text/plain;base64,{TEXT64}"}},
         [(None, "a.txt", None)]),
    ],
)  # fmt: skip
def test_titles_and_metadata_come_through(part: dict[str, Any], expected: list[Any]):
    assert labels(of(part)) == expected


def test_a_message_of_one_string_is_labelled_as_a_part_is():
    tool = {"role": "tool", "content": "found", "title": "T", "metadata": 3}
    assert labels([{"role": "user", "content": "ask"}, tool]) == [(None, "T", 3)]


def test_a_medium_keeps_its_labels():
    part = {"type": "image", "image": PICTURE, "title": "T", "metadata": {"page": 4}}
    (image,) = read(of(part)).media()
    assert (image.title, image.metadata) == ("T", {"page": 4})
    entry = read(of(part)).records()[0]["content"][0]
    assert entry == {"type": "image", "media": 0, "title": "T", "metadata": {"page": 4}}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"title": 3}, ["'title' of type int", "under 'metadata'"]),
        ({"title": "\ud83d"}, ["'title'", "half of a surrogate pair"]),
        ({"metadata": {"a": "\ud83d"}}, ["'metadata'", "half of a surrogate pair"]),
        ({"metadata": {"a": float("nan")}}, ["'metadata' that is not JSON"]),
        ({"metadata": object()}, ["'metadata' that is not JSON", "as strings"]),
    ],
)
def test_labels_that_no_file_could_hold_are_refused(label: dict[str, Any], words: list[str]):
    with pytest.raises(InputError) as caught:
        read(of({"type": "text", "text": "a", **label}))
    assert all(word in str(caught.value) for word in words)

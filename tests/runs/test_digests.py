"""What makes two requests the same: contents, not names or places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnitrace.errors import InputError
from omnitrace.runs import digest_of_request
from omnitrace.sources import RequestEntry, read_response
from omnitrace.types import OpenRoot


def digest(value: Any, root: Path = OpenRoot(), **more: Any) -> str:  # noqa: B008 - a constant
    content = [{"type": "image", "image": value}, {"type": "text", "text": "What is it?"}]
    return digest_of_request(
        RequestEntry("a", [{"role": "user", "content": content}], root, **more)
    )


def test_media_count_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"one")
    first = digest("a.png", tmp_path)
    assert digest("b.png", tmp_path) == first
    assert digest(str(tmp_path / "a.png")) == first
    assert digest((tmp_path / "a.png").as_uri()) == first
    assert digest(tmp_path / "a.png") == first
    (tmp_path / "b.png").write_bytes(b"two")
    assert digest("b.png", tmp_path) != first


def test_of_large_media_the_size_and_the_ends_count(tmp_path: Path) -> None:
    data = bytearray(3 * 2**20)
    file = tmp_path / "a.mp4"
    seen = set()
    for change in (None, 0, -1):
        if change is not None:
            data[change] = 1
        file.write_bytes(data)
        seen.add(digest("a.mp4", tmp_path))
    file.write_bytes(data + b"0")
    seen.add(digest("a.mp4", tmp_path))
    assert len(seen) == 4


def test_a_text_that_is_called_like_a_file_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("one")
    messages = [{"role": "user", "content": [{"type": "text", "text": "note"}]}]
    before = digest_of_request(RequestEntry("a", messages, tmp_path))
    (tmp_path / "note").write_text("two")
    assert digest_of_request(RequestEntry("a", messages, tmp_path)) == before


def test_everything_that_decides_the_result_counts() -> None:
    same = digest("a.png")
    different = [
        digest("b.png"),
        digest("a.png", response="Yes."),
        digest("a.png", response=[1, 2]),
        digest("a.png", template={"chat_template_kwargs": {"enable_thinking": False}}),
        digest(b"a.png"),
        digest(Image.new("RGB", (2, 2))),
        digest(Image.new("RGB", (4, 1))),
        digest(np.zeros(4)),
        digest(np.zeros(4, dtype=np.float32)),
    ]
    assert len({same, *different}) == 10
    assert digest("a.png", raw={"title": "x"}) == same
    assert digest(Image.new("RGB", (2, 2))) == digest(Image.new("RGB", (2, 2)))


def test_the_forms_of_a_response_count() -> None:
    objects: list[Any] = [
        {"text": "a"},
        {"text": "b"},
        {"text": "a", "token_ids": [1]},
        {"token_ids": [1]},
        {"token_ids": [1], "prompt_token_ids": [2]},
        {"text": "a", "logprobs": {"content": [{"token": "a", "bytes": [97]}]}},
    ]
    found = [digest(b"x", response=read_response(each)) for each in objects]
    assert len({*found, digest(b"x", response="a")}) == len(objects) + 1
    assert digest(b"x", response=read_response({"choices": objects[:1]})) == found[0]


def test_what_has_no_content_is_refused() -> None:
    with pytest.raises(InputError, match="type object, which has no digest"):
        digest(object())

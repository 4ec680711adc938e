"""A request that is read once may be asked several things, and is what its messages are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace import EndEvent, InputError, SourceOptions, Trace, Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.sources.messages import Conversation
from omnitrace.types import Message
from tests.helpers.reference_categories import ONE_SOURCE

ANSWER = "The cup is red."


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Message], Path]:
    """Write a request with text, an image and sound: its messages, and where its files lie."""
    seed = held_out_seed(3)
    sample = make_sample(seed, questions=1, order=("text", "image", "audio"), categories=ONE_SOURCE)
    path = write_sample(sample, tmp_path_factory.mktemp("sample"))
    return json.loads(path.read_text())["messages"], path.parent


@pytest.fixture
def read(reference: Tracer, asked: tuple[list[Message], Path]) -> Conversation:
    messages, folder = asked
    return reference.read(messages, media_root=folder)


def assert_same(found: Trace, expected: Trace) -> None:
    assert found.messages == expected.messages
    assert found.token_ids == expected.token_ids
    assert found.layout.units == expected.layout.units
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.spans == expected.spans
    assert found.media == expected.media


def test_every_way_to_ask_takes_it(
    reference: Tracer, asked: tuple[list[Message], Path], read: Conversation
) -> None:
    messages, folder = asked
    assert_same(
        reference.trace(read, max_new_tokens=4),
        reference.trace(messages, media_root=folder, max_new_tokens=4),
    )
    expected = reference.replay(messages, ANSWER, media_root=folder)
    assert_same(reference.replay(read, ANSWER), expected)
    end = list(reference.stream(read, max_new_tokens=4))[-1]
    assert isinstance(end, EndEvent)
    assert_same(end.trace, reference.trace(read, max_new_tokens=4))
    found = reference.scorer(read, ANSWER)
    again = reference.scorer(messages, ANSWER, media_root=folder)
    np.testing.assert_array_equal(found.embeddings, again.embeddings)


def test_media_are_not_needed_again(
    reference: Tracer, asked: tuple[list[Message], Path], tmp_path: Path
) -> None:
    messages, folder = asked
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    read = reference.read(messages, media_root=tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    first = reference.replay(read, ANSWER)
    assert_same(reference.replay(reference.read(read), ANSWER), first)


def test_a_folder_of_media_that_are_read_already(read: Conversation, reference: Tracer) -> None:
    with pytest.raises(InputError, match="the media are read already"):
        reference.replay(read, ANSWER, media_root="elsewhere")


@pytest.mark.parametrize(
    "options",
    [{"history": True}, {"system": True}, {"video_fps": 1.0}, {"use_audio_in_video": False}],
    ids=lambda each: next(iter(each)),
)
def test_another_reading_is_refused(
    reference: Tracer, read: Conversation, options: dict[str, Any]
) -> None:
    (name,) = options
    other = Tracer(adapter=reference.adapter, sources=SourceOptions(**options))
    with pytest.raises(InputError, match=rf"read with SourceOptions\.{name}=.*read\(\)"):
        other.replay(read, ANSWER)


def test_another_cut_is_none_of_the_readings_business(
    reference: Tracer, read: Conversation
) -> None:
    whole = Tracer(adapter=reference.adapter, sources=SourceOptions(text="whole", image="whole"))
    units = [unit.modality for unit in whole.replay(read, ANSWER).units]
    assert units.count("text") == units.count("image") == 1


def test_a_text_far_too_long_is_refused_before_it_is_read(reference: Tracer) -> None:
    long = "The lamp weighs. " * 600_000
    for part in (long, " " * 10**7):
        content = [{"type": "text", "text": part}, {"type": "text", "text": "What?"}]
        with pytest.raises(InputError, match=r"the texts have 1\d+ characters; .* takes 4096"):
            reference.trace([{"role": "user", "content": content}])
    with pytest.raises(InputError, match="characters"):
        reference.replay([{"role": "user", "content": "What?"}], long)

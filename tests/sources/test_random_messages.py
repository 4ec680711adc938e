"""Any conversation is read or refused in words, its units lie in its texts, and digests stay."""

from __future__ import annotations

import itertools
import json
import random
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnitrace.errors import OmnitraceError
from omnitrace.media import MediaLimits
from omnitrace.sources.layout import build_layout
from omnitrace.sources.media_records import media_record
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import TextPart
from omnitrace.sources.request_files import RequestEntry, read_requests
from omnitrace.types import PositionKind, TextRange
from tests.fuzz.mutate import mutated, to_json
from tests.helpers.random_messages import conversations, media_parts, sentences
from tests.helpers.text_adapters import text_adapter

CUTS = st.sampled_from(["sentence", "paragraph", "whole", "documents"])


def read(messages: Any, options: SourceOptions | None = None) -> Conversation | str:
    """Return what was read, or what is wrong with it."""
    try:
        return read_messages(messages, options=options or SourceOptions(), limits=MediaLimits())
    except OmnitraceError as error:
        return str(error)


def digests(conversation: Conversation) -> list[str]:
    return [media_record(part).sha256 for part in conversation.media()]


@given(conversations(media=media_parts()))
@settings(max_examples=60)
def test_reading_is_the_same_each_time_and_from_a_file(
    tmp_path_factory: pytest.TempPathFactory, messages: list[dict[str, Any]]
) -> None:
    found, again = read(messages), read(messages)
    path = tmp_path_factory.getbasetemp() / "random.json"
    path.write_bytes(to_json({"messages": messages}))
    (entry,) = read_requests(path)
    assert isinstance(entry, RequestEntry)
    written = read(entry.messages)
    if isinstance(found, str):
        assert again == found == written
        return
    assert isinstance(again, Conversation)
    assert isinstance(written, Conversation)
    for other in (again, written):
        assert other.records() == found.records()
        assert digests(other) == digests(found)
        assert [part.is_source for part in other.parts] == [part.is_source for part in found.parts]
    assert all(len(each) == 64 for each in digests(found))
    json.dumps(found.records(), allow_nan=False)


@given(conversations(media=media_parts()), st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_conversation_with_something_wrong_is_read_or_refused_in_words(
    messages: list[dict[str, Any]], state: int
) -> None:
    _, changed = mutated(messages, random.Random(state))
    try:
        changed = json.loads(to_json(changed))
    except (ValueError, RecursionError):  # what no file holds
        return
    read(changed)


@given(conversations(words=sentences), CUTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_units_tile_the_texts_that_are_sources(messages: list[dict[str, Any]], cut: Any) -> None:
    options, adapter = SourceOptions(text=cut), text_adapter()
    found = read(messages, options)
    if isinstance(found, str):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoded = adapter.encode(found, options)
        layout = build_layout(len(encoded.prompt_ids), encoded.geometry, options)
    except OmnitraceError:
        return
    texts = {(p.message, p.part): p for p in found.parts if isinstance(p, TextPart)}
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for unit in layout.units:
        place = unit.locator
        assert isinstance(place, TextRange)
        taken.setdefault((place.message, place.part), []).append((place.start, place.end))
    for key, part in texts.items():
        ranges = taken.get(key, [])
        assert bool(ranges) <= part.is_source, "only sources have units"
        assert all(0 <= a < b <= len(part.text) for a, b in ranges)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges)), "in order"
        if part.is_source and part.units is None and part.within is None:
            covered = "".join(part.text[a:b] for a, b in ranges)
            assert "".join(covered.split()) == "".join(part.text.split())
    owned = [position for unit in layout.units for position in unit.positions]
    assert sorted(owned) == [
        i for i, kind in enumerate(layout.kinds) if kind == PositionKind.SOURCE
    ], "every source position has one unit"

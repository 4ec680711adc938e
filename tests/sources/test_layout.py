"""The layout: every position has one kind, every source position one unit, every unit one id."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.sources.layout import build_layout
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import Geometry, GridTokens, TextTokens, TimeTokens
from omnitrace.types import Layout, PositionKind
from tests.helpers.random_geometries import (
    grid_tokens,
    media_part,
    text_part,
    text_tokens,
    time_tokens,
)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, list[Geometry]]:
    """Parts of all kinds one after the other, template tokens between them."""
    geometry: list[Geometry] = []
    cursor = 0
    for number in range(draw(st.integers(0, 5))):
        tokens: Any = draw(
            st.one_of(text_tokens(), grid_tokens(), time_tokens("audio"), time_tokens("video"))
        )
        part = dataclasses.replace(
            tokens.part,
            part=number,
            is_source=draw(st.booleans()),
            source_id=draw(st.sampled_from([None, "", "a", "b"])),
        )
        start = cursor + draw(st.integers(0, 3))
        moved = [start + p for p in tokens.positions]
        geometry.append(dataclasses.replace(tokens, part=part, positions=moved))
        cursor = max([start, *(p + 1 for p in moved)])
    return cursor + draw(st.integers(1, 4)), geometry


OPTIONS = st.builds(
    SourceOptions,
    text=st.sampled_from(["sentence", "paragraph", "whole"]),
    image=st.sampled_from(["grid", "whole"]),
    audio_bin=st.sampled_from([0.1, 1.0]),
    video_bin=st.sampled_from([0.5, 2.0]),
)


def check(layout: Layout, geometry: list[Geometry]) -> None:
    """Check what holds for every layout without the user's own units."""
    index = layout.unit_index
    assert layout.kinds.dtype == np.uint8
    assert index.dtype == np.int32
    assert (index >= 0).tolist() == (layout.kinds == PositionKind.SOURCE).tolist()
    for number, unit in enumerate(layout.units):
        assert list(unit.positions) == sorted(set(unit.positions))
        assert unit.positions == tuple(np.flatnonzero(index == number).tolist())
        assert unit.positions
    assert len({unit.id for unit in layout.units}) == len(layout.units)
    firsts = [unit.positions[0] for unit in layout.units]
    assert firsts == sorted(firsts)
    template = set(range(layout.prompt_length))
    for tokens in geometry:
        kinds = layout.kinds[list(tokens.positions)]
        template -= set(tokens.positions)
        blank = isinstance(tokens, TextTokens) and not tokens.part.text.strip()
        if tokens.part.is_source and not blank:
            assert (kinds == PositionKind.SOURCE).all()
        else:
            assert (kinds == PositionKind.INSTRUCTION).all()
    assert (layout.kinds[sorted(template)] == PositionKind.TEMPLATE).all()


@settings(max_examples=80, deadline=None)
@given(prompts(), OPTIONS)
def test_every_position_has_one_kind_and_every_source_position_one_unit(
    case: tuple[int, list[Geometry]], options: SourceOptions
):
    length, geometry = case
    layout = build_layout(length, geometry, options)
    assert layout.prompt_length == length
    check(layout, geometry)


def test_the_arrays_cannot_be_written():
    layout = build_layout(3, [], SourceOptions())
    assert layout.units == ()
    assert layout.kinds.tolist() == [PositionKind.TEMPLATE] * 3
    for array in (layout.kinds, layout.unit_index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2


def sentences(part: int, start: int, *, source_id: str | None = None, units: Any = None) -> Any:
    """Two sentences of one token each."""
    text = "Red one. Blue two."
    settled = dataclasses.replace(text_part(text, units), part=part, source_id=source_id)
    return TextTokens(settled, [start, start + 1], [(0, 8), (8, 18)])


def ids(geometry: list[Geometry], **options: Any) -> list[str]:
    return [unit.id for unit in build_layout(40, geometry, SourceOptions(**options)).units]


def test_units_are_named_by_modality_and_number():
    image = GridTokens(media_part("image", part=1), range(4, 20), 4, 4, 8, 8)
    assert ids([sentences(0, 0), image, sentences(2, 30)]) == [
        "text-1",
        "text-2",
        *(f"image-{i}" for i in range(1, 5)),
        "text-3",
        "text-4",
    ]


def test_units_are_named_by_their_source():
    assert ids([sentences(0, 0, source_id="doc")]) == ["doc#1", "doc#2"]
    assert ids([sentences(0, 0, source_id="doc")], text="whole") == ["doc"]
    # Two parts of one document go on counting.
    both = [sentences(0, 0, source_id="doc"), sentences(1, 5, source_id="doc")]
    assert ids(both) == ["doc#1", "doc#2", "doc#3", "doc#4"]
    assert ids(both, text="whole") == ["doc#1", "doc#2"]


def test_units_keep_the_users_ids():
    own = [{"start": 0, "end": 8, "id": "x"}, [8, 18]]
    assert ids([sentences(0, 0, units=own)]) == ["x", "text-1"]
    assert ids([sentences(0, 0, source_id="doc", units=own)]) == ["x", "doc"]


@pytest.mark.parametrize(
    "geometry",
    [
        [sentences(0, 0, units=[{"start": a, "end": b, "id": "x"} for a, b in ((0, 8), (8, 18))])],
        [sentences(0, 0, units=[{"start": 0, "end": 18, "id": "text-1"}]), sentences(1, 5)],
        [
            sentences(0, 0, source_id="x"),
            sentences(1, 5, units=[{"start": 0, "end": 18, "id": "x#2"}]),
        ],
    ],
)
def test_an_id_belongs_to_one_unit(geometry: list[Geometry]):
    with pytest.raises(InputError, match="two source units have the id") as caught:
        ids(geometry)
    assert "unique" in caught.value.legal
    assert caught.value.fix


def test_text_outside_the_users_ranges_is_instruction():
    layout = build_layout(4, [sentences(0, 1, units=[[0, 8]])], SourceOptions())
    assert [PositionKind(k) for k in layout.kinds.tolist()] == [
        PositionKind.TEMPLATE,
        PositionKind.SOURCE,
        PositionKind.INSTRUCTION,
        PositionKind.TEMPLATE,
    ]


def sounding(units: Any = None) -> list[Geometry]:
    """Four seconds of a video, pictures and sound interleaved every two seconds."""
    part = media_part("video", units)
    seconds = [(float(i), i + 1.0) for i in range(4)]
    frames = [(2 * i, 2 * i + 1) for i in range(4)]
    return [
        TimeTokens(part, "video", [0, 1, 4, 5], seconds, 4.0, frames),
        TimeTokens(part, "audio", [2, 3, 6, 7], seconds, 4.0),
    ]


def test_sound_and_pictures_are_separate_or_joined():
    separate = build_layout(8, sounding(), SourceOptions())
    check(separate, sounding())
    assert [unit.id for unit in separate.units] == [
        *("video-1", "video-2", "audio-1", "audio-2"),
        *("video-3", "video-4", "audio-3", "audio-4"),
    ]
    joined = build_layout(8, sounding(), SourceOptions(audio_in_video="joined", video_bin=2.0))
    check(joined, sounding())
    assert [(u.id, u.positions) for u in joined.units] == [
        ("video-1", (0, 1, 2, 3)),
        ("video-2", (4, 5, 6, 7)),
    ]


def test_the_users_seconds_of_a_video_are_seen_and_heard():
    layout = build_layout(8, sounding([{"start": 1, "end": 3, "id": "mine"}]), SourceOptions())
    found = {unit.id: (unit.modality, unit.positions) for unit in layout.units}
    assert found["mine"] == ("video", (1, 3, 4, 6))
    assert sorted(p for _, positions in found.values() for p in positions) == list(range(8))

"""What the user may draw: ranges, seconds and boxes; everything else is named and refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from omnitrace.errors import InputError
from omnitrace.sources.token_map import GridTokens, TextTokens, TimeTokens
from omnitrace.sources.unitizers.image import Grid, image_units
from omnitrace.sources.unitizers.text import text_units
from omnitrace.sources.unitizers.time import Bins, time_units
from tests.helpers.random_geometries import media_part, text_part

WHERE = 'messages[1]["content"]'


def cut_text(units: Any) -> Any:
    tokens = TextTokens(text_part("0123456789", units), range(10), [(i, i + 1) for i in range(10)])
    return text_units(tokens)


def cut_image(units: Any) -> Any:
    tokens = GridTokens(media_part("image", units), range(12), 3, 4, 40, 30)
    return image_units(tokens, Grid())


def cut_audio(units: Any) -> Any:
    steps = [(i * 0.5, i * 0.5 + 0.5) for i in range(8)]
    tokens = TimeTokens(media_part("audio", units), "audio", range(8), steps, 4.0)
    return time_units([tokens], Bins(1.0))


BAD_INTERVALS = [
    [3, 3],
    [4, 2],
    [-1, 2],
    [1],
    [1, 2, 3],
    [],
    "12",
    "ab",
    5,
    None,
    [True, 3],
    ["1", 3],
    [None, 3],
    [math.nan, 2],
    [0, math.inf],
    {"start": 1},
    {"end": 2},
    {"from": 0, "to": 2},
    {"start": "0", "end": 2},
    [0, 10**330],
    [-(10**330), 2],
    {"start": 0, "end": 2, "colour": 3},
    {"start": 0, "end": 2, "Id": "a"},
]


@pytest.mark.parametrize("raw", [*BAD_INTERVALS, [0, 11], [1.5, 3], [1, 2.25]])
def test_malformed_character_ranges(raw: Any):
    with pytest.raises(InputError) as caught:
        cut_text([[0, 1], raw])
    assert f"{WHERE}[2] has the unit 1 {raw!r}" in str(caught.value)
    assert "0 ≤ start < end ≤ 10 characters" in caught.value.legal


@pytest.mark.parametrize("raw", [*BAD_INTERVALS, [0, 4.01]])
def test_malformed_seconds(raw: Any):
    with pytest.raises(InputError) as caught:
        cut_audio([[0, 1], raw])
    assert f"{WHERE}[0] has the unit 1 {raw!r}" in str(caught.value)
    assert "0 ≤ start < end ≤ 4 seconds" in caught.value.legal


@pytest.mark.parametrize(
    "raw",
    [
        [0, 0, 10],
        [0, 0, 0, 10],
        [0, 10, 10, 10],
        [10, 0, 0, 10],
        [-1, 0, 10, 10],
        [0, 0, 41, 10],
        [0, 0, 10, 31],
        [0, 0, math.nan, 10],
        ["0", 0, 10, 10],
        {"box": [0, 0, 10]},
        {"box": None},
        {"x0": 0, "y0": 0, "x1": 10},
        {"left": 0},
        [0, 0, 10**330, 10],
        {"box": [0, 0, 10, 10], "x0": 3},
        "0,0,10,10",
        7,
    ],
)
def test_malformed_boxes(raw: Any):
    with pytest.raises(InputError) as caught:
        cut_image([[0, 0, 10, 10], raw])
    assert f"{WHERE}[0] has the unit 1 {raw!r}" in str(caught.value)
    assert "0 ≤ x0 < x1 ≤ 40" in caught.value.legal
    assert "0 ≤ y0 < y1 ≤ 30" in caught.value.legal


@pytest.mark.parametrize("cut", [cut_text, cut_audio])
@pytest.mark.parametrize("units", [[[0, 2], [1, 3]], [[1, 3], [0, 4]], [[0, 2], [0, 2]]])
def test_ranges_must_not_overlap(cut: Any, units: Any):
    with pytest.raises(InputError, match="overlap") as caught:
        cut(units)
    assert "do not overlap" in caught.value.legal


def test_touching_ranges_do_not_overlap():
    assert len(cut_text([[5, 10], [0, 5]])) == 2
    assert [draft.locator.start for draft in cut_audio([[2, 4], [0, 2]])] == [0, 2]


def test_every_legal_form():
    forms = [[0, 2], (2, 3), {"start": 3, "end": 4}, {"start": 4, "end": 6, "id": 7}]
    assert [draft.own_id for draft in cut_text(forms)] == [None, None, None, "7"]
    boxes = [
        [0, 0, 10, 10],
        {"box": (10, 0, 20, 10), "id": "b"},
        {"x0": 20, "y0": 0, "x1": 40, "y1": 10, "id": "c"},
    ]
    assert [draft.own_id for draft in cut_image(boxes)] == [None, "b", "c", None]


def test_whole_numbers_written_as_floats_or_by_numpy_are_characters():
    (draft,) = cut_text([[1.0, 3.0]])
    assert (draft.locator.start, draft.locator.end) == (1, 3)
    (draft,) = cut_text([[np.int64(1), np.int64(3)]])
    assert (draft.locator.start, draft.locator.end) == (1, 3)


def test_a_unit_between_the_tokens_is_refused():
    with pytest.raises(InputError, match=r"\[0.3, 0.4\] s, which no token carries") as caught:
        cut_audio([[0.3, 0.4]])
    assert "at least 0.5 s" in caught.value.legal
    with pytest.raises(InputError, match="shares its vision tokens with another box"):
        cut_image([[0, 0, 10, 10], [2, 2, 4, 4]])


@pytest.mark.parametrize("own", [[1], {"a": 1}, True, 1.5, "", " ", "\ud800", 2**70, "u" * 10_001])
def test_an_id_is_a_name(own: Any):
    for cut, drawn in ((cut_text, [0, 2]), (cut_audio, [0, 2])):
        with pytest.raises(InputError, match=r"unit 0, has the 'id'"):
            cut([{"start": drawn[0], "end": drawn[1], "id": own}])
    with pytest.raises(InputError, match=r"unit 0, has the 'id'"):
        cut_image([{"box": [0, 0, 10, 10], "id": own}])


def test_a_number_too_long_to_be_written_is_refused_in_words():
    with pytest.raises(InputError, match="has the unit 0 of type list"):
        cut_text([[0, 10**5000]])

"""Geometry of images and time, and files that are embedded, or why not."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from omnitrace.errors import InputError
from omnitrace.report.embedded import embedded_view
from omnitrace.report.media import facts_of, image_view, time_view
from omnitrace.trace.places import seconds
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord, SourceUnit
from tests.helpers.sample_traces import multimodal_trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return multimodal_trace()


def units_of(trace: Trace, part: int) -> list[tuple[int, SourceUnit]]:
    return [(i, unit) for i, unit in enumerate(trace.units) if unit.locator.part == part]


def region(trace: Trace, **changes: Any) -> dict[str, Any]:
    """Return how the region of image-8 is drawn, with another place."""
    found = [(i, unit) for i, unit in units_of(trace, 1) if unit.id == "image-8"]
    (i, unit) = found[0]
    moved = dataclasses.replace(unit, locator=dataclasses.replace(unit.locator, **changes))
    drawn: dict[str, Any] = image_view(trace.media[0], [(i, moved)])["regions"][0]
    assert drawn["unit"] == i
    return drawn


def test_a_region_is_drawn_around_its_tokens(trace: Trace) -> None:
    drawn = region(trace)
    assert drawn["mask"] == drawn["line"] == "M900 300L1200 300L1200 600L900 600z"
    assert drawn["corner"] == [900, 300]


def test_a_region_that_is_no_rectangle_is_drawn_along_its_tokens(trace: Trace) -> None:
    """Cells of 150 × 150 px in 8 columns: a corner to the right above, a foot to the left below."""
    drawn = region(trace, box=(900, 300, 1200, 600), cells=(23, 30, 31))
    line = "M1050 300L1200 300L1200 600L900 600L900 450L1050 450z"
    assert (drawn["mask"], drawn["line"], drawn["corner"]) == (line, line, [1050, 300])


def test_the_box_that_a_user_drew_is_drawn(trace: Trace) -> None:
    drawn = region(trace, box=(910.0, 310.0, 1100.0, 590.0), cells=(23, 30, 31))
    assert drawn["mask"] == "M1050 300L1200 300L1200 600L900 600L900 450L1050 450z"
    assert drawn["line"] == "M910 310L1100 310L1100 590L910 590z"
    assert drawn["corner"] == [910, 310]


def test_seconds_of_audio_and_video(trace: Trace) -> None:
    audio = time_view(trace.media[1], units_of(trace, 2))
    assert audio["duration"] == 12.0
    assert len(audio["wave"]) == 400
    assert [(r["start"], r["end"], r["sound"]) for r in audio["ranges"]][-1] == (10.0, 12.0, True)
    video = time_view(trace.media[2], units_of(trace, 3))
    assert [frame["start"] for frame in video["frames"]] == [float(k) for k in range(8)]
    assert base64.b64decode(video["frames"][0]["jpeg"]) == trace.media[2].previews[0]
    assert not any(r["sound"] for r in video["ranges"])


def test_how_many_frames_are_shown(trace: Trace) -> None:
    video = trace.media[2]
    assert facts_of(video) == "320 × 180 px · 8 s · 8 frames"  # noqa: RUF001
    more = dataclasses.replace(video, frame_times=tuple(k / 2 for k in range(16)))
    assert facts_of(more).endswith("8 of 16 frames shown")


def test_files_are_embedded_where_that_was_asked_for_and_can_be_done(trace: Trace) -> None:
    audio = trace.media[1]

    def gone() -> bytes:
        raise InputError("it is gone")

    assert base64.b64decode(embedded_view(audio, wanted=True)["file"]).startswith(b"RIFF")
    cases: list[tuple[MediaRecord, bool, str]] = [
        (audio, False, "the report was written without the media files"),
        (dataclasses.replace(audio, read=None), True, "the trace was saved without its media"),
        (dataclasses.replace(audio, read=gone), True, "its file is gone or has changed"),
    ]
    for record, wanted, why in cases:
        view = embedded_view(record, wanted)
        assert set(view) == {"absent"}
        assert why in view["absent"]


def test_seconds_in_words() -> None:
    assert [seconds(value) for value in (4.0, 0.5, 1.234, 100.0, 0.0)] == [
        *("4", "0.5", "1.23", "100", "0")
    ]

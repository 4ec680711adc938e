"""Subtitles of what was used when, read by public parsers."""

from __future__ import annotations

import dataclasses
import datetime
import io

import pytest
import srt
import webvtt

from omnitrace import Trace
from omnitrace.errors import InputError
from omnitrace.export import exported_files
from omnitrace.types import TimeRange
from tests.helpers.cited_traces import cited_trace
from tests.helpers.sample_traces import multimodal_trace, text_trace

HOSTILE = "a <b>bold</b> & 00:00:01.000 --> 00:00:02.000 {\\an8}\n\n7\n\u202e\x1b[31m"


def hostile_trace() -> Trace:
    trace = multimodal_trace()
    spans = tuple(dataclasses.replace(span, text=HOSTILE) for span in trace.spans)
    media = tuple(dataclasses.replace(each, name="-->\n\nx") for each in trace.media)
    return dataclasses.replace(trace, spans=spans, media=media)


def expected(trace: Trace, part: int) -> list[tuple[float, float, list[str]]]:
    cues: dict[tuple[float, float], list[str]] = {}
    for span in trace.citations():
        for each in span.citations:
            if each.part == part and each.seconds:
                cues.setdefault(each.seconds, []).append(f"[{each.number}] {span.text}")
    return [(start, end, lines) for (start, end), lines in sorted(cues.items())]


def test_webvtt_says_what_was_used_when() -> None:
    trace = cited_trace()
    files = list(exported_files([("harbour", trace)], "webvtt"))
    assert [file.name for file in files] == ["harbour-1.vtt", "harbour-2.vtt"]
    for file, part in zip(files, (2, 3), strict=True):
        captions = webvtt.from_buffer(io.StringIO(file.data.decode()))
        found = [(c.start_in_seconds, c.end_in_seconds, c.lines) for c in captions]
        assert found == expected(trace, part)
        assert len(found) == 2


def test_srt_says_the_same() -> None:
    trace = cited_trace()
    files = list(exported_files([("harbour", trace)], "srt"))
    for file, part in zip(files, (2, 3), strict=True):
        cues = list(srt.parse(file.data.decode()))
        assert [cue.index for cue in cues] == [1, 2]
        found = [(c.start.total_seconds(), c.end.total_seconds(), [c.content]) for c in cues]
        assert found == expected(trace, part)


def test_text_of_a_model_makes_no_cue_and_no_markup() -> None:
    trace = hostile_trace()
    for file in exported_files([("x", trace)], "webvtt"):
        captions = webvtt.from_buffer(io.StringIO(file.data.decode()))
        assert len(captions) == 2
        for caption in captions:
            assert "<b>" not in caption.raw_text
            assert "&lt;b&gt;" in caption.raw_text
        assert "\u202e" not in file.data.decode()
        assert file.data.decode().count("-->") == 2
    for file in exported_files([("x", trace)], "srt"):
        assert len(list(srt.parse(file.data.decode()))) == 2


def test_hours_and_thousandths() -> None:
    trace = multimodal_trace()
    units = tuple(
        dataclasses.replace(unit, locator=TimeRange(0, 2, 3661.9996, 3661.9996))
        if unit.id == "audio-2"
        else unit
        for unit in trace.units
    )
    layout = dataclasses.replace(trace.layout, units=units)
    moved = dataclasses.replace(trace, layout=layout).reselect(trace.config)
    first, _ = exported_files([("x", moved)], "srt")
    *_, last = srt.parse(first.data.decode())
    assert last.start == datetime.timedelta(hours=1, minutes=1, seconds=2)
    assert last.end > last.start
    vtt, _ = exported_files([("x", moved)], "webvtt")
    assert webvtt.from_buffer(io.StringIO(vtt.data.decode()))[-1].start == "01:01:02.000"


def test_a_medium_that_nothing_cites_has_a_file_without_cues() -> None:
    trace = multimodal_trace()
    trace = dataclasses.replace(trace, spans=trace.spans[:2])
    file, _ = exported_files([("x", trace)], "webvtt")
    assert len(webvtt.from_buffer(io.StringIO(file.data.decode()))) == 0


def test_traces_without_sound_are_passed_over() -> None:
    silent = text_trace(["One fact."], "Which?", "So it is.")
    files = list(exported_files([("silent", silent), ("x", multimodal_trace())], "srt"))
    assert [file.name for file in files] == ["x-1.srt", "x-2.srt"]
    with pytest.raises(InputError, match="nothing to say"):
        list(exported_files([("silent", silent)], "srt"))

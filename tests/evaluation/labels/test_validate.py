"""Labels against their request: parts, quotes, boxes, seconds, streams."""

from __future__ import annotations

import dataclasses

import pytest

from omnitrace.evaluation.labels.io import FileLabel, LabelProblem, LabelScan
from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.evaluation.labels.validate import check_label, check_labels
from tests.helpers.sample_labels import EVIDENCE, WORD, label, span, word
from tests.helpers.sample_traces import LOG, multimodal_trace

TRACE = multimodal_trace()


def text(**values: object) -> TextSource:
    return TextSource(**{"message": 0, "part": 0} | values)  # type: ignore[arg-type]


def seconds(part: int, start: float, end: float, **values: object) -> TimeSource:
    return TimeSource(message=0, part=part, start=start, end=end, **values)  # type: ignore[arg-type]


def mistakes(source: Source) -> list[tuple[str, str]]:
    return check_label(label(spans=[span("A fog horn", [EVIDENCE[1][0], source])]), TRACE)


def test_the_labels_of_the_sample_are_fine() -> None:
    assert check_label(label(), TRACE) == []


@pytest.mark.parametrize(
    ("source", "field", "message"),
    [
        (text(message=1, quote="x"), "message", "there is no message 1; the request has 1"),
        (text(part=5, quote="x"), "part", "there is no part 5; message 0 has 5"),
        (text(part=1, quote="x"), "type", "part 1 of message 0 is an image, not a text"),
        (
            ImageSource(message=0, part=0),
            "type",
            "part 0 of message 0 is a text, not an image",
        ),
        (seconds(1, 0, 1), "type", "part 1 of message 0 is an image, not an audio or a video"),
        (text(quote="tower"), "quote", "the quote 'tower' does not occur in the text"),
        (text(quote="in "), "quote", "the quote 'in ' occurs more than once in the text"),
        (
            text(start=0, end=len(LOG) + 1),
            "end",
            f"{len(LOG) + 1} is beyond the text, which has {len(LOG)} characters",
        ),
        (
            ImageSource(message=0, part=1, box=(0, 0, 1201, 900)),
            "box",
            "[0, 0, 1201, 900] is outside the image, which has 1200 by 900 pixels",
        ),
        (
            seconds(2, 0, 12.5),
            "end",
            "12.5 s is beyond the end of the audio, which lasts 12 s",
        ),
        (
            seconds(2, 0, 1, stream="video"),
            "stream",
            "an audio has no pictures (legal: 'audio', or no stream)",
        ),
        (
            seconds(3, 0, 1, stream="audio"),
            "stream",
            "the video has no sound that the model was given",
        ),
    ],
)
def test_each_mistake(source: Source, field: str, message: str) -> None:
    assert mistakes(source) == [(f"spans[0].sources[1].{field}", message)]


@pytest.mark.parametrize(
    "source",
    [
        text(start=0, end=len(LOG)),
        ImageSource(message=0, part=1),
        ImageSource(message=0, part=1, box=(0, 0, 1200, 900)),
        seconds(2, 11, 12, stream="audio"),
        seconds(3, 0, 8),
    ],
)
def test_what_reaches_the_edge_is_inside(source: Source) -> None:
    assert mistakes(source) == []


def test_words_are_checked_too() -> None:
    wrong = word(WORD, [text(quote="nowhere")])
    made = label(spans=[span("leaves at 18:40", [], words=(wrong,))])
    (found,) = check_label(made, TRACE)
    assert found[0] == "spans[0].words[0].sources[0].quote"


def test_a_message_that_is_a_string_has_one_part() -> None:
    trace = dataclasses.replace(TRACE, messages=({"role": "user", "content": LOG},), media=())
    made = label(spans=[span("A fog horn", [text(start=0, end=5)])])
    assert check_label(made, trace) == []
    made = label(spans=[span("A fog horn", [text(part=1, start=0, end=5)])])
    assert check_label(made, trace) == [
        ("spans[0].sources[0].part", "there is no part 1; message 0 has 1")
    ]


def test_a_file_of_labels_is_checked_whole() -> None:
    late = span("A fog horn", [TimeSource(message=0, part=2, start=1, end=99)])
    entries = (FileLabel(1, label("gone")), FileLabel(2, label("late", [late])))
    broken = LabelProblem("labels.jsonl", 3, "id", "this field is required")
    scan = LabelScan("labels.jsonl", entries, (broken,))
    problems = check_labels(scan, [("late", multimodal_trace()), ("more", multimodal_trace())])
    assert [(each.line, each.field) for each in problems] == [
        (1, "id"), (2, "spans[0].sources[0].end"), (3, "id"),
    ]  # fmt: skip
    assert "no trace of 'gone'" in problems[0].message

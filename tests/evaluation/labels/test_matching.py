"""Which units name evidence, and which span a label is of."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.matching import match_spans, named_units, true_units, word_range
from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.types import ImageRegion, SourceUnit, TextRange, TimeRange
from tests.helpers.sample_labels import EVIDENCE, WORD, label, span, word
from tests.helpers.sample_traces import ANSWER, multimodal_trace, text_trace

TRACE = multimodal_trace()


def texts(*ranges: tuple[int, int]) -> list[SourceUnit]:
    return [
        SourceUnit(f"text-{i}", "text", TextRange(0, 0, a, b), (i,))
        for i, (a, b) in enumerate(ranges)
    ]


def image(name: str, box: tuple[float, ...], cells: tuple[int, ...], columns: int) -> SourceUnit:
    return SourceUnit(name, "image", ImageRegion(0, 0, box, (9, columns), cells), ())  # type: ignore[arg-type]


def characters(start: int, end: int) -> TextSource:
    return TextSource(message=0, part=0, start=start, end=end)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (characters(0, 10), {"text-0"}),
        (characters(2, 4), {"text-0"}),  # all of the smaller lies in the other
        (characters(8, 14), {"text-1"}),  # four of six characters
        (characters(0, 30), {"text-0", "text-1", "text-2"}),
        (characters(7, 13), {"text-0", "text-1"}),  # half each: ties
        (characters(6, 12), {"text-0"}),
        (characters(30, 35), set()),
    ],
)
def test_more_than_half_of_the_smaller(evidence: TextSource, expected: set[str]) -> None:
    assert named_units(evidence, texts((0, 10), (10, 20), (20, 30))) == expected


def test_without_one_that_passes_those_that_share_most() -> None:
    units = texts((0, 4), (4, 8), (8, 11), (11, 12))
    assert named_units(characters(2, 6), units) == {"text-0", "text-1"}
    # Three pieces of 10 hold 4, 4 and 2 characters of it.
    units = texts((0, 14), (14, 18), (18, 40))
    assert named_units(characters(10, 20), units) == {"text-1"}  # wholly inside
    units = texts((0, 14), (16, 40))
    assert named_units(characters(9, 21), units) == {"text-0", "text-1"}
    assert named_units(characters(10, 21), units) == {"text-1"}


extent = st.tuples(st.integers(0, 20), st.integers(1, 9)).map(lambda v: (v[0], v[0] + v[1]))


Points = frozenset[tuple[int, int]]


def points(x: tuple[int, int], y: tuple[int, int] = (0, 1)) -> Points:
    return frozenset((i, j) for i in range(*x) for j in range(*y))


def slow_rule(units: dict[str, Points], evidence: Points) -> set[str]:
    """The rule, by counting points."""
    shared = {name: len(unit & evidence) for name, unit in units.items()}
    passing = {n for n, unit in units.items() if shared[n] > min(len(unit), len(evidence)) / 2}
    most = max(shared.values())
    return passing or {name for name, common in shared.items() if common == most > 0}


@given(st.lists(extent, min_size=1, max_size=6), extent)
def test_characters_and_seconds_equal_the_slow_rule(
    ranges: list[tuple[int, int]], evidence: tuple[int, int]
) -> None:
    units = texts(*ranges)
    expected = slow_rule(
        {f"text-{i}": points(each) for i, each in enumerate(ranges)}, points(evidence)
    )
    assert named_units(characters(*evidence), units) == expected
    halves = [
        SourceUnit(unit.id, "audio", TimeRange(0, 0, a / 2, b / 2), ())
        for unit, (a, b) in zip(units, ranges, strict=True)
    ]
    seconds = TimeSource(message=0, part=0, start=evidence[0] / 2, end=evidence[1] / 2)
    assert named_units(seconds, halves) == expected


@given(st.lists(st.tuples(extent, extent), min_size=1, max_size=6), st.tuples(extent, extent))
def test_boxes_equal_the_slow_rule(
    boxes: list[tuple[tuple[int, int], tuple[int, int]]],
    evidence: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    units = [
        image(f"image-{i}", (x[0], y[0], x[1], y[1]), (0,), 1) for i, (x, y) in enumerate(boxes)
    ]
    (x0, x1), (y0, y1) = evidence
    expected = slow_rule(
        {f"image-{i}": points(*each) for i, each in enumerate(boxes)}, points(*evidence)
    )
    assert named_units(ImageSource(message=0, part=0, box=(x0, y0, x1, y1)), units) == expected


def test_a_region_that_does_not_fill_its_box_is_measured_by_its_cells() -> None:
    # An L of three cells of 10 by 10 pixels, and the cell that its box has besides.
    ell = image("ell", (0, 0, 20, 20), (0, 1, 3), 3)
    rest = image("rest", (10, 10, 20, 20), (4,), 3)
    inside = ImageSource(message=0, part=0, box=(11, 11, 19, 19))
    assert named_units(inside, [ell, rest]) == {"rest"}
    assert named_units(ImageSource(message=0, part=0, box=(1, 11, 9, 19)), [ell, rest]) == {"ell"}


def test_an_image_without_a_box_is_all_its_units() -> None:
    found = named_units(ImageSource(message=0, part=1), TRACE.units)
    assert found == {unit.id for unit in TRACE.units if unit.modality == "image"}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [(None, {"sound", "picture"}), ("audio", {"sound"}), ("video", {"picture"})],
)
def test_the_streams_of_a_video(stream: str | None, expected: set[str]) -> None:
    units = [
        SourceUnit("picture", "video", TimeRange(0, 0, 0, 2), (0,)),
        SourceUnit("sound", "audio", TimeRange(0, 0, 0, 2), (1,)),
        SourceUnit("other", "audio", TimeRange(0, 1, 0, 2), (2,)),
    ]
    source = TimeSource(message=0, part=0, start=0, end=1, stream=stream)  # type: ignore[arg-type]
    assert named_units(source, units) == expected
    assert named_units(source, units[2:]) == frozenset()


def test_the_sample() -> None:
    found = [true_units(sources, TRACE.units, TRACE.messages) for sources in EVIDENCE]
    assert found == [{"image-4", "text-2"}, {"text-3"}, {"audio-2"},
                     {"video-3", "video-4"}, frozenset()]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (TextSource(message=0, part=0, quote="nowhere"), "does not occur in the text"),
        (TextSource(message=0, part=0, quote="in "), "occurs more than once in the text"),
    ],
)
def test_quotes_that_cannot_be_found(source: Source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        named_units(source, TRACE.units, TRACE.messages)


def test_a_quote_needs_its_text() -> None:
    source = TextSource(message=0, part=0, quote="The")
    with pytest.raises(InputError, match="message 0, part 0, which is no text"):
        named_units(source, texts((0, 3)))


def test_spans_of_the_same_response_are_found_by_overlap() -> None:
    made = label(
        spans=[span("A fog horn", []), span("sounds twice in the recording. The video", [])]
    )
    assert [found and found.index for found in match_spans(made, TRACE)] == [2, 2]
    assert [found and found.index for found in match_spans(label(), TRACE)] == [0, 1, 2, 3, 4]
    bare = dataclasses.replace(TRACE, spans=())
    assert match_spans(made, bare) == (None, None)


def test_spans_of_another_response_are_found_by_their_words() -> None:
    answer = "Yes. It is red. Yes. It is old."
    trace = text_trace(["A.", "B."], "C?", answer)
    made = label()
    response = "Well. Yes. Yes. Yes.  It is old."
    said = [(6, 10), (11, 15), (16, 20), (22, 32)]
    spans = tuple(
        made.spans[0].model_copy(update={"start": a, "end": b, "text": response[a:b], "words": ()})
        for a, b in said
    )
    made = made.model_copy(update={"response": response, "spans": spans})
    assert [found and found.index for found in match_spans(made, trace)] == [0, 2, None, 3]


def test_a_word_keeps_its_distance_from_its_span() -> None:
    labelled = span("The ferry Alma leaves at 18:40", [])
    told = word(WORD, [])
    said = dataclasses.replace(TRACE.spans[1], start=3, text="  The ferry Alma leaves at 18:40")
    assert word_range(told, labelled, said, same_text=False) == (3 + 2 + 25, 3 + 2 + 30)
    assert word_range(told, labelled, said, same_text=True) == (told.start, told.end)
    assert ANSWER[told.start : told.end] == WORD

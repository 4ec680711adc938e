"""Whatever a transcript's seconds are, utterances part the recording's time."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from omnitrace.speech.mend import mended
from omnitrace.speech.utterances import Utterance, said_in

SECONDS = st.one_of(st.floats(-5, 25), st.floats(), st.integers(0, 12).map(float))
CUES = st.lists(
    st.builds(
        Utterance,
        SECONDS,
        SECONDS,
        st.sampled_from(["", " ", "One.", "Two words", "three"]),
        st.sampled_from([None, "Anna", "Ben"]),
    ),
    max_size=12,
)


@given(CUES, st.floats(0.01, 20))
def test_utterances_are_apart_within_the_recording(cues, duration):
    found, notes = mended(cues, duration)
    edges = [edge for each in found for edge in (each.start, each.end)]
    assert edges == sorted(edges)
    assert all(0 <= each.start < each.end <= duration for each in found)
    assert all(each.text for each in found)
    assert all(len(note) < 80 for note in notes)


def test_a_good_transcript_is_left_alone():
    cues = [Utterance(0, 1, "One."), Utterance(1, 2, "Two.", "Anna")]
    assert mended(cues, 2.0) == (cues, [])


def test_each_mend_is_the_stated_one():
    cues = [
        Utterance(-1, 1.5, "a"),  # begins before the recording
        Utterance(1, 2, "b"),  # overlaps: both meet at 1.25
        Utterance(1.4, 1.6, "c"),  # within b
        Utterance(3, 3, "d"),  # no length: joins the nearest, b
        Utterance(5, 4, "e"),  # reversed: joins the nearest, f
        Utterance(6, math.inf, "f"),  # open: to the end, which is no mend
        Utterance(6, math.inf, "f"),  # again
        Utterance(20, 30, "g"),  # past the end
        Utterance(1, 2, "  "),
        Utterance(math.nan, 2, "h"),
    ]
    found, notes = mended(cues, 8.0)
    assert found == [
        Utterance(0.0, 1.25, "a"),
        Utterance(1.25, 2, "b c d"),
        Utterance(6, 8.0, "e f"),
    ]
    assert sorted(notes) == [
        "1 cue outside the recording skipped",
        "1 cue overlapping another parted in the middle",
        "1 cue reaching over an end of the recording cut",
        "1 cue repeated skipped",
        "1 cue within another joined with it",
        "1 cue without finite seconds skipped",
        "1 cue without words skipped",
        "2 cues without length joined with the nearest",
    ]


def test_cues_without_length_alone_say_nothing():
    found, notes = mended([Utterance(1, 1, "a")], 5.0)
    assert found == []
    assert notes == ["1 cue without length skipped"]


@given(
    st.lists(st.floats(0.1, 3), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=12),
)
def test_every_utterance_goes_to_one_stretch_where_its_middle_is(lengths, times):
    edges = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    spans = list(itertools.pairwise(edges))
    said = [Utterance(min(pair), max(pair), str(n)) for n, pair in enumerate(times)]
    shared = said_in(spans, said)
    assert sorted(each.text for group in shared for each in group) == sorted(e.text for e in said)
    for (start, end), group in zip(spans, shared, strict=True):
        for each in group:
            assert each.middle >= start or start == 0
            assert each.middle < end or end == edges[-1]

"""Time units: bins that hold every token, and the user's own seconds."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.sources.token_map import TimeTokens, UnitDraft
from omnitrace.sources.unitizers.time import Bins, time_units
from omnitrace.types import TimeRange
from tests.helpers.random_geometries import media_part, time_tokens

QUICK = settings(max_examples=80, deadline=None)
WIDTHS = st.sampled_from([0.04, 0.1, 0.25, 0.5, 1.0, 2.0, 3.3, 1000.0])


def span(draft: UnitDraft) -> TimeRange:
    assert isinstance(draft.locator, TimeRange)
    return draft.locator


def centre(tokens: TimeTokens, index: int) -> float:
    start, end = tokens.intervals[index]
    return (start + min(end, tokens.duration)) / 2


@QUICK
@given(st.sampled_from(["audio", "video"]).flatmap(time_tokens), WIDTHS)
def test_every_token_is_in_exactly_one_bin(tokens: TimeTokens, width: float):
    drafts = time_units([tokens], Bins(width))
    owned = [position for draft in drafts for position in draft.positions]
    assert owned == list(tokens.positions)
    assert {draft.modality for draft in drafts} == {tokens.modality}
    spans = [span(draft) for draft in drafts]
    assert spans[0].start == 0
    for found in spans:
        assert 0 <= found.start < found.end <= tokens.duration
    for before, after in itertools.pairwise(spans):
        assert before.end == pytest.approx(after.start)
    assert spans[-1].end == pytest.approx(min(tokens.duration, tokens.intervals[-1][1]))


@QUICK
@given(time_tokens("video"), WIDTHS)
def test_a_bin_is_what_its_tokens_carry(tokens: TimeTokens, width: float):
    assert tokens.frames is not None
    index = {position: i for i, position in enumerate(tokens.positions)}
    for draft in time_units([tokens], Bins(width)):
        members = [index[p] for p in draft.positions]
        found = span(draft)
        assert found.start == min(tokens.intervals[i][0] for i in members)
        assert found.end == min(max(tokens.intervals[i][1] for i in members), tokens.duration)
        assert found.frames == tuple(sorted({f for i in members for f in tokens.frames[i]}))
        centres = [centre(tokens, i) for i in members]
        # All in one bin; the last may also hold what rounding puts onto its end.
        assert max(centres) - min(centres) < width + 1e-6


@pytest.mark.parametrize(("width", "lengths"), [(1.0, [25, 25, 25]), (0.5, [12, 13] * 3)])
def test_audio_tokens_fall_into_seconds(width: float, lengths: list[int]):
    intervals = [(k * 0.04, (k + 1) * 0.04) for k in range(75)]
    tokens = TimeTokens(media_part("audio"), "audio", range(75), intervals, 3.0)
    drafts = time_units([tokens], Bins(width))
    assert [len(draft.positions) for draft in drafts] == lengths


def test_a_token_longer_than_a_bin_is_a_unit():
    tokens = TimeTokens(media_part("video"), "video", [3, 4], [(0, 2), (2, 4)], 3.5, [(0, 1), (2,)])
    first, second = time_units([tokens], Bins(0.5))
    assert span(first) == TimeRange(1, 0, 0, 2, (0, 1))
    assert span(second) == TimeRange(1, 0, 2, 3.5, (2,))


@QUICK
@given(time_tokens("video"), time_tokens("audio"), WIDTHS)
def test_pictures_and_sound_may_share_their_bins(
    pictures: TimeTokens, sound: TimeTokens, width: float
):
    shift = pictures.positions[-1] + 1
    sound = dataclasses.replace(
        sound, part=pictures.part, positions=[p + shift for p in sound.positions]
    )
    drafts = time_units([pictures, sound], Bins(width), modality="video")
    owned = sorted(position for draft in drafts for position in draft.positions)
    assert owned == [*pictures.positions, *sound.positions]
    assert {draft.modality for draft in drafts} == {"video"}
    limit = max(pictures.duration, sound.duration)
    for draft in drafts:
        assert list(draft.positions) == sorted(draft.positions)
        assert 0 <= span(draft).start < span(draft).end <= limit
    assert pictures.frames is not None
    seen = {frame for draft in drafts for frame in span(draft).frames}
    assert seen == {frame for frames in pictures.frames for frame in frames}


@st.composite
def own_seconds(draw: st.DrawFn) -> tuple[TimeTokens, list[tuple[float, float]], list[Any]]:
    tokens = draw(st.sampled_from(["audio", "video"]).flatmap(time_tokens))
    inner = st.floats(0, tokens.duration).map(lambda t: round(t, 2))
    edges = sorted(e for e in draw(st.sets(inner, min_size=2, max_size=6)) if e <= tokens.duration)
    edges = edges if len(edges) > 1 else [0.0, tokens.duration]
    cells = list(itertools.pairwise(edges))
    kept = [cell for cell in cells if draw(st.booleans())] or cells[:1]
    written = [
        draw(st.sampled_from([[a, b], {"start": a, "end": b, "id": f"s{a}"}])) for a, b in kept
    ]
    return tokens, kept, draw(st.permutations(written))


@QUICK
@given(own_seconds())
def test_own_seconds_come_back_with_the_tokens_whose_centre_they_hold(
    case: tuple[TimeTokens, list[tuple[float, float]], list[Any]],
):
    tokens, ranges, written = case
    tokens = dataclasses.replace(tokens, part=media_part(tokens.part.modality, written))
    expected = [
        [
            position
            for i, position in enumerate(tokens.positions)
            if start <= centre(tokens, i) < end
        ]
        for start, end in ranges
    ]
    if not all(expected):
        with pytest.raises(InputError, match="no token carries"):
            time_units([tokens], Bins(1.0))
        return
    drafts = time_units([tokens], Bins(1.0))
    starts = [span(draft).start for draft in drafts]
    assert starts == sorted(starts)
    held = {(span(d).start, span(d).end): list(d.positions) for d in drafts}
    assert [held[r] for r in ranges] == expected
    # What lies outside is not lost, and nothing is in two units.
    owned = sorted(position for draft in drafts for position in draft.positions)
    assert owned == list(tokens.positions)
    own = {p for positions in expected for p in positions}
    for draft in drafts:
        inside = own.issuperset(draft.positions)
        assert inside or own.isdisjoint(draft.positions)
        assert 0 <= span(draft).start < span(draft).end <= tokens.duration


def test_stretches_outside_the_users_seconds_are_units():
    intervals = [(i * 0.5, i * 0.5 + 0.5) for i in range(12)]
    part = media_part("audio", [{"start": 1, "end": 2, "id": "a"}, [3, 4]])
    drafts = time_units([TimeTokens(part, "audio", range(12), intervals, 6.0)], Bins(1.0))
    assert [(span(d).start, span(d).end, d.own_id, d.positions) for d in drafts] == [
        (0, 1, None, (0, 1)),
        (1, 2, "a", (2, 3)),
        (2, 3, None, (4, 5)),
        (3, 4, None, (6, 7)),
        (4, 6, None, (8, 9, 10, 11)),
    ]

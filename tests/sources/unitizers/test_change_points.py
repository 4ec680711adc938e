"""Change points: contiguous stretches that follow what is heard and seen."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import ConformanceError, InputError, NotSupportedError
from omnitrace.sources.token_map import TimeTokens
from omnitrace.sources.unitizers.base import TimeUnitizer
from omnitrace.sources.unitizers.change_points import Changes
from omnitrace.sources.unitizers.time import centre, time_units
from omnitrace.types import TimeRange
from tests.helpers.random_geometries import media_part, time_tokens

QUICK = settings(max_examples=60, deadline=None)


def noise(seed: int) -> Callable[[object], np.ndarray]:
    def features(tokens: object) -> np.ndarray:
        assert isinstance(tokens, TimeTokens)
        return np.random.default_rng(seed).normal(size=(len(tokens.positions), 6))

    return features


def audio(seconds: float, first: int = 0) -> TimeTokens:
    count = round(seconds * 25)
    intervals = [(k * 0.04, (k + 1) * 0.04) for k in range(count)]
    return TimeTokens(media_part("audio"), "audio", range(first, first + count), intervals, seconds)


def pictures(steps: int, places: int) -> TimeTokens:
    return TimeTokens(
        media_part("video"),
        "video",
        range(steps * places),
        [(float(i), i + 1.0) for i in range(steps) for _ in range(places)],
        float(steps),
        [(2 * i, 2 * i + 1) for i in range(steps) for _ in range(places)],
    )


def bounds(drafts: list) -> list[float]:
    found = [draft.locator for draft in drafts]
    assert all(isinstance(each, TimeRange) for each in found)
    return [round(each.start, 3) for each in found] + [round(found[-1].end, 3)]


def test_sounds_are_cut_where_they_change():
    tokens = audio(4.0)
    edges = [0.0, 0.52, 1.2, 2.6, 4.0]
    features = np.zeros((100, 5))
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        features[round(start * 25) : round(end * 25), number % 3] = 1
    features += 0.02 * np.random.default_rng(0).normal(size=features.shape)
    assert bounds(time_units([tokens], Changes(), lambda _: features)) == edges
    assert len(time_units([tokens], Changes(segments=2), lambda _: features)) == 2
    twice = [time_units([tokens], Changes(), lambda _: features) for _ in range(2)]
    assert twice[0] == twice[1]


def test_a_change_in_one_place_of_a_picture_is_a_change():
    """One of nine places changes, twice; the mean over the places hardly would."""
    tokens = pictures(10, 9)
    features = 0.01 * np.random.default_rng(0).normal(size=(10, 9, 4))
    features[3:7, 4, 0] += 1
    found = time_units([tokens], Changes(), lambda _: features.reshape(90, 4))
    assert bounds(found) == [0.0, 3.0, 7.0, 10.0]
    assert found[1].locator.frames == (6, 7, 8, 9, 10, 11, 12, 13)  # type: ignore[union-attr]


@QUICK
@given(
    st.sampled_from(["audio", "video"]).flatmap(time_tokens),
    st.integers(0, 5),
    st.sampled_from([None, 1, 3, 100]),
)
def test_every_token_is_in_one_stretch_and_stretches_follow_each_other(
    tokens: TimeTokens, seed: int, segments: int | None
):
    drafts = time_units([tokens], Changes(segments=segments), noise(seed))
    owned = [position for draft in drafts for position in draft.positions]
    assert owned == list(tokens.positions)
    spans = [draft.locator for draft in drafts]
    for before, after in itertools.pairwise(spans):
        assert before.end == pytest.approx(after.start)  # type: ignore[union-attr]
    moments = len(set(tokens.intervals))
    if segments is not None:
        assert len(drafts) == min(segments, moments)
    else:
        assert len(drafts) <= max(1, int(np.ceil(tokens.duration / 0.5)))
        assert len(drafts) >= min(moments, int(np.ceil(tokens.duration / 4.0)))


@QUICK
@given(time_tokens("video"), time_tokens("audio"), st.integers(0, 5))
def test_pictures_and_sound_may_share_their_stretches(
    seen: TimeTokens, heard: TimeTokens, seed: int
):
    shift = seen.positions[-1] + 1
    heard = dataclasses.replace(
        heard, part=seen.part, positions=[p + shift for p in heard.positions]
    )
    labels = Changes().cut([seen, heard], noise(seed))
    drafts = time_units([seen, heard], Changes(), noise(seed), modality="video")
    owned = sorted(position for draft in drafts for position in draft.positions)
    assert owned == [*seen.positions, *heard.positions]
    # One clock: who is in the same stretch is so by time, whichever stream it is of.
    for stream, own in zip((seen, heard), labels, strict=True):
        middles = [centre(stream, i) for i in range(len(stream.positions))]
        order = np.argsort(middles, kind="stable")
        assert (np.diff(own[order]) >= 0).all()


def test_a_change_of_the_sound_cuts_the_pictures_too():
    seen, heard = pictures(6, 4), audio(6.0, first=24)
    heard = dataclasses.replace(heard, part=seen.part)
    sound = np.zeros((150, 3))
    sound[50:, 0] = 1
    picture = np.zeros((24, 3))
    picture[16:, 1] = 1

    def features(tokens: object) -> np.ndarray:
        return picture if tokens is seen else sound

    drafts = time_units([seen, heard], Changes(), features, modality="video")
    assert bounds(drafts) == [0.0, 2.0, 4.0, 6.0]


def test_a_picture_shown_for_several_steps_is_one_moment():
    tokens = dataclasses.replace(
        pictures(3, 2),
        positions=range(8),
        intervals=[(0.0, 1.0)] * 4 + [(1.0, 2.0)] * 2 + [(2.0, 3.0)] * 2,
        frames=None,
    )
    (labels,) = Changes(segments=2).cut([tokens], lambda _: np.eye(8)[[0, 1, 0, 1, 0, 1, 2, 3]])
    assert labels.tolist() == [0] * 6 + [1] * 2


def test_the_users_own_seconds_cost_no_pass():
    part = media_part("audio", [[0.0, 1.0]])
    drafts = time_units([dataclasses.replace(audio(2.0), part=part)], Changes())
    assert bounds(drafts) == [0.0, 1.0, 2.0]


def test_without_a_model_there_are_no_features():
    with pytest.raises(NotSupportedError, match="made without a model") as caught:
        time_units([audio(9.0)], Changes())
    assert "'bins'" in caught.value.legal


@pytest.mark.parametrize(
    "parameters",
    [
        {"segments": 0},
        {"explained": 2},
        {"shortest": 0},
        {"longest": float("nan")},
        {"shortest": 3.0, "longest": 2.0},
    ],
)
def test_parameters_are_checked(parameters: dict[str, float]):
    with pytest.raises(InputError, match="unitizer 'changes'"):
        Changes(**parameters)  # type: ignore[arg-type]


class Backwards(TimeUnitizer):
    name = "backwards"

    def cut(self, streams: object, features: object) -> list[np.ndarray]:
        return [np.arange(50)[::-1]]


class TooMany(Backwards):
    def cut(self, streams: object, features: object) -> list[np.ndarray]:
        return [np.arange(50)] * 2


class Fractions(Backwards):
    def cut(self, streams: object, features: object) -> list[np.ndarray]:
        return [np.linspace(0, 1, 50)]


@pytest.mark.parametrize("broken", [Backwards(), TooMany(), Fractions()])
def test_a_unitizer_that_breaks_its_contract_is_named(broken: TimeUnitizer):
    with pytest.raises(ConformanceError, match="the unitizer 'backwards'"):
        time_units([audio(2.0)], broken)

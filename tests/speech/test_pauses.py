"""Speech is parted at pauses."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.speech.pauses import Stretches, speech_between_pauses, stretches_of
from omnitrace.speech.voice import FRAME, RATE
from tests.speech.test_voice import RECORDING

TRUE = [(0.5, 2.061), (2.861, 3.809), (4.409, 6.029)]  # where espeak's utterances were put
STEP = FRAME / RATE


def seconds(found) -> list[tuple[float, float]]:
    return [(round(each.start / STEP), round(each.end / STEP)) for each in found]


def test_utterances_of_a_recording_are_found():
    samples, _ = soundfile.read(RECORDING, dtype="float32")
    found = speech_between_pauses(samples, Stretches())
    assert len(found) == len(TRUE)
    for each, (start, end) in zip(found, TRUE, strict=True):
        assert each.start == pytest.approx(start, abs=0.05)
        assert each.end == pytest.approx(end, abs=0.13)


def test_nobody_speaks_in_silence_and_in_noise():
    noise = np.random.default_rng(0).normal(size=RATE * 3).astype(np.float32) / 10
    assert speech_between_pauses(noise * 0, Stretches()) == []
    assert speech_between_pauses(noise, Stretches()) == []


def test_what_hovers_around_the_threshold_is_not_parted():
    voice = np.array([0, 0.9, 0.4, 0.6, 0.4, 0.9, 0.2, 0, 0, 0])
    assert seconds(stretches_of(voice, Stretches(shortest=0.03))) == [(1, 6)]


def test_short_pauses_part_nothing_and_short_speech_joins_the_nearer_side():
    voice = np.concatenate([np.ones(20), np.zeros(2), np.ones(20), np.zeros(9), np.ones(3)])
    voice = np.concatenate([voice, np.zeros(5), np.ones(20)])
    assert seconds(stretches_of(voice, Stretches())) == [(0, 42), (51, 79)]
    assert seconds(stretches_of(voice, Stretches(pause=0.05))) == [(0, 20), (22, 42), (51, 79)]


def test_long_speech_is_parted_where_the_voice_is_weakest():
    voice = np.full(100, 0.95)
    voice[45] = 0.5
    assert seconds(stretches_of(voice, Stretches(longest=2.0))) == [(0, 45), (45, 100)]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), max_size=30),
    st.floats(0.03, 1),
    st.floats(0.03, 1),
)
def test_stretches_are_apart_ascending_and_no_longer_than_asked(runs, pause, shortest):
    voice = np.concatenate([np.zeros(0), *(np.full(count, value) for count, value in runs)])
    longest = 2 * shortest + 1
    found = stretches_of(voice, Stretches(pause, shortest, longest))
    edges = [edge for each in found for edge in (each.start, each.end)]
    assert edges == sorted(edges)
    assert all(0 < each.end - each.start <= longest + 1e-9 for each in found)
    assert not found or found[-1].end <= len(voice) * STEP + 1e-9


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "a"])
@pytest.mark.parametrize("name", ["pause", "shortest", "longest"])
def test_lengths_must_be_seconds(name, value):
    with pytest.raises(InputError, match=name):
        Stretches(**{name: value})


def test_longest_and_shortest_must_leave_room():
    with pytest.raises(InputError, match="twice"):
        Stretches(shortest=5, longest=6)

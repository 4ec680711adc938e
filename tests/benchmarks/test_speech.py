"""How the benchmark of speech puts recordings together and counts what is found."""

from __future__ import annotations

import numpy as np
import pytest

import speech
from common.report import BenchmarkError
from omnitrace.speech import Utterance


def test_utterances_are_put_where_it_says() -> None:
    tone = np.full(speech.RATE, 0.4)
    rng = np.random.default_rng(0)
    samples, true = speech.together([(tone, "One."), (tone, "Two.")], (0.5, 1.5), None, rng)
    for each in true:
        inside = samples[round(each.start * speech.RATE) : round(each.end * speech.RATE)]
        assert inside.mean() == pytest.approx(0.4, abs=1e-3)
    assert np.abs(samples[: round(true[0].start * speech.RATE)]).max() < 1e-3
    noisy, _ = speech.together([(tone, "One.")], (0.5, 0.5), 10.0, rng)
    silence = noisy[: speech.RATE // 2]
    assert 0.4**2 / np.mean(silence**2) == pytest.approx(10, rel=0.3)


def test_what_is_found_overlaps_one_utterance_alone() -> None:
    true = [Utterance(0, 1, "a b"), Utterance(2, 3, "c"), Utterance(4, 5, "d"), Utterance(6, 7)]
    units = [
        Utterance(0.1, 1.2, "A b!"),
        Utterance(1.9, 2.4, "x"),
        Utterance(2.5, 3.0),
        Utterance(4.5, 6.5, "d"),
    ]
    score = speech.Score()
    score.add(units, true)
    assert (score.found, score.utterances, score.units) == (1, 4, 4)
    assert score.starts == [pytest.approx(0.1)]
    assert score.ends == [pytest.approx(0.2)]
    assert (score.wrong, score.words) == (1, 4)


def test_words_are_counted_as_edits() -> None:
    assert speech.distance(["the", "blue", "spoon"], ["the", "spoon", "is"]) == 2
    assert speech.distance([], ["a"]) == 1


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BenchmarkError, match="apt-get install espeak-ng flite"):
        speech.corpora(["Hello."])

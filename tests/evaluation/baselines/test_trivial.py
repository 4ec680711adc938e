"""Baselines: what they know, and that they know no more."""

from __future__ import annotations

import numpy as np
import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.trivial import (
    PositionPrior,
    all_units,
    embedding_similarity,
    longest_unit,
    no_unit,
    places,
    random_units,
)
from omnitrace.evaluation.metrics.agreement import average_precision
from tests.helpers.sample_traces import multimodal_trace, text_trace

UNITS = multimodal_trace().units


def test_random_units_are_seeded_and_fair() -> None:
    assert random_units(UNITS, "a").chosen == random_units(UNITS, "a").chosen
    assert len(random_units(UNITS, "a", count=3).chosen) == 3
    drawn = [next(iter(random_units(UNITS, f"{i}").chosen)) for i in range(2000)]
    counts = [drawn.count(unit.id) for unit in UNITS]
    assert min(counts) > 0.4 * 2000 / len(UNITS)
    assert max(counts) < 1.8 * 2000 / len(UNITS)
    assert [random_units(UNITS, f"{i}", seed=1).chosen for i in range(5)] != [
        random_units(UNITS, f"{i}").chosen for i in range(5)
    ]
    assert random_units((), "a").chosen == frozenset()


def test_all_and_none() -> None:
    everything = all_units(UNITS)
    assert everything.chosen == {unit.id for unit in UNITS}
    truth = np.array([unit.modality == "text" for unit in UNITS])
    assert average_precision(everything.scores, truth) == pytest.approx(truth.mean())
    assert no_unit(UNITS).chosen == frozenset()
    assert not no_unit(UNITS).scores.any()


def test_the_longest() -> None:
    found = longest_unit(UNITS)
    most = max(len(unit.positions) for unit in UNITS)
    assert found.chosen == {next(u.id for u in UNITS if len(u.positions) == most)}
    assert found.scores.max() == most
    assert longest_unit(()).chosen == frozenset()


def test_places_are_among_units_of_the_modality() -> None:
    found = dict(zip((unit.id for unit in UNITS), places(UNITS), strict=True))
    assert found["text-1"] == 0
    assert found["text-5"] == 1
    assert found["video-2"] == pytest.approx(1 / 3)
    assert places(UNITS[:1]) == [0]


def test_the_prior_knows_other_examples_only() -> None:
    prior = PositionPrior()
    assert prior.predict(UNITS).chosen == frozenset()
    prior.add("a", UNITS, {"audio-6"})
    assert prior.predict(UNITS, without="a").chosen == frozenset()
    prior.add("b", UNITS, {"text-1"})
    prior.add("b", UNITS, {"text-1", "video-1"})
    assert prior.predict(UNITS).chosen == {"text-1"}
    assert prior.predict(UNITS, without="b").chosen == {"audio-6"}
    assert prior.predict(UNITS, modality="video").chosen == {"video-1"}
    assert prior.predict(UNITS, modality="image").chosen == frozenset()
    scores = dict(zip((u.id for u in UNITS), prior.predict(UNITS).scores, strict=True))
    assert (scores["text-1"], scores["text-2"], scores["audio-6"]) == (2, 0, 1)


def test_the_prior_speaks_for_places_nearby() -> None:
    prior = PositionPrior()
    many = text_trace(["A. " * 21], "Q?", "R.").units  # places 0, 0.05, …
    prior.add("a", many, {many[10].id})
    scores = prior.predict(many).scores
    assert scores[8:13] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_similar_embeddings() -> None:
    trace = text_trace(["One fact. Two facts."], "Q?", "Yes.")
    embeddings = np.zeros((50_000, 3))
    first, second = trace.units
    embeddings[[trace.prompt_ids[i] for i in first.positions]] = [1, 0, 0]
    embeddings[[trace.prompt_ids[i] for i in second.positions]] = [1, 1, 0]
    embeddings[list(trace.token_ids)] = [0, 2, 0]
    found = embedding_similarity(trace, (0, len(trace.token_ids)), embeddings)
    assert found.scores == pytest.approx([0, 1 / np.sqrt(2)])
    assert found.chosen == {second.id}
    assert not embedding_similarity(trace, (0, 0), embeddings).scores.any()
    with pytest.raises(InputError, match="the trace has token ids from -1 to -1"):
        embedding_similarity(trace.redact(), (0, 1), embeddings)
    mixed = multimodal_trace()
    scored = embedding_similarity(mixed, (0, 3), np.ones((50_000, 2))).scores
    assert [s > 0 for s in scored] == [unit.modality == "text" for unit in mixed.units]

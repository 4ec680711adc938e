"""The benchmark of estimators: its features, its choices, its R², and a whole small run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cache import Kept
from common.examples import Example, Subject
from common.methods import TokenSignalMethod
from common.scoring import Plan
from common.texts import read_split
from estimator import benchmark
from estimator.ahead import fill
from estimator.data import Data, spans_of
from estimator.fits import OURS, PAPER, choose, lesson, mean_lds, one_by_one
from estimator.table import result_of
from estimator.worlds import (
    ESTIMATOR,
    FINISHED,
    GRADIENTS,
    PAPERS,
    Compared,
    World,
    _r_squared,
    _sums,
    _transfer,
    compare,
)
from omnitrace import Tracer
from omnitrace.estimator import CollectOptions, Collector, FeatureRecipe, FitOptions
from omnitrace.evaluation.metrics.faithfulness import r_squared
from omnitrace.signals.mask_gradient import MaskGradient
from omnitrace.sources.request_files import RequestEntry

MASKS = 8
RECIPES = [
    FeatureRecipe(),
    FeatureRecipe(reduction="mean", normalise="raw"),
    FeatureRecipe(values=True, rollout=True, pooling="max"),
    FeatureRecipe(reduction="mean", gradients="total"),
    FeatureRecipe(values=True, gradients="heads"),
    FeatureRecipe(rollout=True, mask_gradient=True),
]


@pytest.fixture(scope="module")
def subject(small_adapter: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    kept = Kept(tmp_path_factory.mktemp("kept"))
    return Subject(Tracer(adapter=small_adapter, verify=False), kept, 10)


@pytest.fixture(scope="module")
def answers(subject: Subject) -> dict[str, list[Example]]:
    return {
        "train": [subject.answer(text) for text in read_split("train")[:6]],
        "validation": [subject.answer(text) for text in read_split("validation")[:2]],
        "test": [subject.answer(text) for text in read_split("test")[:2]],
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_features_are_those_of_the_library(
    subject: Subject, answers: dict[str, list[Example]], recipe: FeatureRecipe
) -> None:
    example = answers["train"][0]
    found = Data(subject, MASKS).features(example, recipe, spans_of(example))
    ids = list(example.trace.token_ids)
    request = RequestEntry(example.name, example.request.messages, Path(), response=ids)
    options = CollectOptions(recipe=recipe, masks=2)
    expected = Collector(subject.tracer, options).example(request)
    np.testing.assert_allclose(found, expected.features, rtol=1e-4, atol=1e-6)


def test_a_whole_answer_is_one_span(subject: Subject, answers: dict[str, list[Example]]) -> None:
    example = answers["train"][0]
    assert spans_of(example, whole=True) == [(0, len(example.trace.token_ids))]
    found = Data(subject, MASKS).features(example, FeatureRecipe(), spans_of(example, whole=True))
    assert found.shape == (1, 8, len(example.sizes))


@pytest.mark.parametrize("whole", [False, True])
def test_derivatives_are_those_of_the_signal(
    subject: Subject, answers: dict[str, list[Example]], whole: bool
) -> None:
    example = answers["train"][1]
    found = Data(subject, MASKS).derivatives(example, spans_of(example, whole=whole))
    spans = [
        dataclasses.replace(example.spans[0], token_start=start, token_end=end)
        for start, end in spans_of(example, whole=whole)
    ]
    scorer = subject.scorer(example)
    effects = MaskGradient().effects(scorer, spans)
    expected = [[each[unit].value for unit in scorer.units] for each in effects]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_is_learnt_never_judges(subject: Subject, answers: dict[str, list[Example]]) -> None:
    data = Data(subject, MASKS)
    for example in answers["train"]:
        learnt, judging = (of(example, FeatureRecipe()) for of in (data.learnt, data.judging))
        seen = {mask.tobytes() for mask in learnt.masks}
        assert seen
        assert not seen & {mask.tobytes() for mask in judging.masks}


def test_the_better_candidate_is_chosen(
    subject: Subject, answers: dict[str, list[Example]]
) -> None:
    data = Data(subject, MASKS)
    found = choose(data, OURS[:2], answers["train"], answers["validation"])
    assert found.tried[found.candidate.name] == max(found.tried.values())
    again = mean_lds(data, found.candidate, found.fitted, answers["validation"])
    assert found.tried[found.candidate.name] == again


def test_some_sentences_only(subject: Subject, answers: dict[str, list[Example]]) -> None:
    data = Data(subject, MASKS)

    def first(example: Example) -> np.ndarray:
        return np.arange(len(example.spans)) == 0

    everything, some = one_by_one(
        lesson(data, OURS[0], answers["train"], kept) for kept in (None, first)
    )
    several = any(len(example.spans) > 1 for example in answers["train"])
    assert np.array_equal(everything.weights, some.weights) != several
    nothing = mean_lds(
        data, OURS[0], some, answers["test"], lambda e: np.zeros(len(e.spans), dtype=bool)
    )
    assert np.isnan(nothing)


def test_r_squared_of_sums_is_that_of_the_library() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, 1, 9))
    found = _r_squared(np.array([_sums(guess, truth)]))
    assert found == pytest.approx(r_squared(guess, truth)[0])
    assert _r_squared(np.array([_sums(truth, truth)])) == pytest.approx(1)
    assert _r_squared(np.array([_sums(np.zeros((1, 9)), np.ones((1, 9)))])) is None


def small_world(subject: Subject, answers: dict[str, list[Example]]) -> World:
    return World(
        name="SmolLM2",
        data=Data(subject, MASKS),
        learning=answers["train"],
        choosing=answers["validation"],
        judging=answers["test"],
        rivals=[TokenSignalMethod("attention-mean")],
        in_nats=frozenset(),
        grouping=lambda e: {e.request.task: np.ones(len(e.spans), dtype=bool)},
        sizes=[6],
        whole=True,
    )


@pytest.fixture(scope="module")
def compared(subject: Subject, answers: dict[str, list[Example]]) -> Compared:
    from estimator import worlds as worlds

    plan = Plan(MASKS, MASKS, 24, (5,), dropped=False)
    quick = {"lengths": (10,), "networks": 1}  # of the network; it is not to be good
    quickly = {
        name: [
            dataclasses.replace(each, options=dataclasses.replace(each.options, **quick))
            for each in candidates
        ]
        for name, candidates in worlds._CANDIDATES.items()
    }
    quickly[PAPERS] = list(PAPER)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worlds, "_CANDIDATES", quickly)
        patched.setattr(worlds, "OURS", quickly[ESTIMATOR])
        return compare(small_world(subject, answers), lambda number: plan)


def test_everybody_is_judged(compared: Compared) -> None:
    assert len(compared.judged) == len(compared.whole) == 2
    for judged in (*compared.judged, *compared.whole):
        ours = {ESTIMATOR, GRADIENTS, FINISHED}
        assert {*ours, PAPERS, "attention-mean", "random"} <= set(judged.values)
        assert -1 <= judged.oracle["lds"] <= 1
    assert set(compared.r_squared) == {*ours, PAPERS, "attention-mean"}
    assert compared.chosen[PAPERS].candidate in PAPER
    assert compared.chosen[ESTIMATOR].candidate.name in {each.name for each in OURS}
    assert compared.chosen[GRADIENTS].candidate.recipe.gradients != "none"
    assert compared.chosen[FINISHED].candidate.recipe.mask_gradient
    tasks = {each.request.task for each in compared.world.judging}
    assert set(compared.transfer) == {*tasks, "all"}
    assert list(compared.curve) == ["6"]
    assert set(compared.curve["6"]) == {"ridge", "nnls", "mlp", GRADIENTS, FINISHED, PAPERS}


def test_nobody_learns_from_a_group_that_only_the_judged_have(compared: Compared) -> None:
    judged = {example.name for example in compared.world.judging}

    def grouping(example: Example) -> dict[str, np.ndarray]:
        here = np.ones(len(example.spans), dtype=bool)
        return {"rare": here} if example.name in judged else {"common": here}

    world = dataclasses.replace(compared.world, grouping=grouping)
    found = _transfer(dataclasses.replace(compared, world=world))
    assert set(found) == {"all"}
    assert set(found["all"]) == {"rare"}


def test_where_no_sentence_is_of_a_group_nothing_is_said(compared: Compared) -> None:
    def grouping(example: Example) -> dict[str, np.ndarray]:
        return {"none": np.zeros(len(example.spans), dtype=bool)}

    world = dataclasses.replace(compared.world, grouping=grouping)
    found = _transfer(dataclasses.replace(compared, world=world))
    assert json.dumps(found, allow_nan=False) == '{"all": {}}'


def test_the_table_and_its_words(compared: Compared) -> None:
    result = result_of([compared], benchmark.parse(["--quick"]))
    width = len(result.table.columns)
    assert all(len(row) == width for row in result.table.rows)
    names = [row[0] for row in result.table.rows]
    assert names.count(ESTIMATOR) == names.count(GRADIENTS) == names.count(FINISHED) == 2
    assert names.count(PAPERS) == names.count("oracle") == 2
    assert any(f"{GRADIENTS}: LDS of 0.85 or more" in note for note in result.notes)
    assert any(note.startswith("SmolLM2, LDS of who learnt from all") for note in result.notes)
    figures = result.values["SmolLM2"]["sentences"][PAPERS]["lds"]["less"]
    assert figures["value"] is not None


def test_perfect_predictions_explain_all(
    compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that are the effects themselves have an R² of 1, and are worth a nat each."""
    from estimator import worlds as worlds

    data = compared.world.data
    monkeypatch.setattr(
        worlds, "_scores_of", lambda found, name, example: data.single_effects(example)
    )
    truth = [data.single_effects(example) for example in compared.world.judging]
    found = worlds._explained(compared, {"truth": truth})
    assert found["truth"].value == pytest.approx(1)


def test_sizes_of_the_data_curve() -> None:
    assert benchmark._curve_sizes(30) == [7, 15, 30]
    assert benchmark._curve_sizes(6) == [6]
    assert benchmark._curve_sizes(150) == [37, 75, 150]
    assert benchmark._curve_sizes(1000) == [37, 75, 150, 300, 600, 1000]


@pytest.mark.minutes
def test_several_processes_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--learning", "2", "--requests", "1", "--masks", "4", "--new-tokens", "8"]

    def figures(name: str, *more: str) -> Any:
        cache = ["--cache", str(tmp_path / name)]
        found = benchmark.measure(
            benchmark.parse(["--quick", "--worlds", "reference", *few, *more, *cache])
        )
        return found.table, found.notes, found.values

    alone = figures("one")
    with monkeypatch.context() as patched:  # all that the parent needs was measured before it asks
        for name in ("trace", "replay", "scorer"):
            patched.delattr(Tracer, name)
        assert figures("two", "--processes", "2") == alone


def test_workers_go_on_until_enough_can_be_judged() -> None:
    asked: list[list[int]] = []

    class Inline:
        processes = 3

        def map(self, task: Any, items: list[int], *, what: str) -> list[bool]:
            asked.append(items)
            return [task(None, item) for item in items]

    def third(world: None, number: int) -> bool:
        return number % 3 == 0

    fill(Inline(), third, iter(range(99)), 4, what="")  # type: ignore[arg-type]
    assert asked == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    asked.clear()
    fill(Inline(), lambda world, number: False, iter(range(99)), 2, what="")  # type: ignore[arg-type]
    assert asked == [[0, 1, 2]]


def test_the_papers_recipe_has_no_offsets() -> None:
    for candidate in PAPER:
        assert candidate.options == FitOptions(kind="pearson")
        assert not candidate.options.with_offsets
        assert candidate.recipe.reduction == "mean"
        assert not candidate.recipe.rollout


def test_arguments(tmp_path: Path) -> None:
    given = benchmark.parse(["--quick", "--cache", str(tmp_path)])
    assert (given.texts, given.learning, given.worlds) == (3, 6, ["text", "reference"])
    assert benchmark.parse([]).learning == 150
    with pytest.raises(SystemExit):
        benchmark.parse(["--worlds", "moon"])

"""The benchmark of faithfulness on the reference world: real files, random weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import world
from common.cache import Kept
from common.examples import Example, Subject
from common.meter import Meter
from common.methods import (
    Attribution,
    Method,
    SpanSignalMethod,
    TokenSignalMethod,
    captum_methods,
    metered,
    signal_methods,
)
from common.report import BenchmarkError
from common.scoring import Plan, judge
from common.world import GROUPS, WorldRequest, draw_requests, evidence_groups
from faithfulness import omni
from faithfulness.omni_report import result_of
from omnitrace import Tracer
from omnitrace.ablation import MaskDealer, measure
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.world import Sample, make_sample, validation_seed

NEW_TOKENS = 6


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute in one thread: in a model this small, two of them mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tracer(one_thread: None) -> Tracer:
    """Return a tracer of the reference model's architecture with random weights."""
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    return Tracer(build_model(tokenizer).eval(), build_processor(tokenizer))


@pytest.fixture(scope="module")
def subject(tracer: Tracer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(tracer, Kept(tmp_path_factory.mktemp("kept")), NEW_TOKENS)


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Return a short request of every modality, about a note, two sources and nothing."""
    parts: Any = ("text", "image", "audio", "video")
    wanted = {"text", "two", "refusal"}
    for number in itertools.count():
        seed = validation_seed(number)
        drawn = make_sample(seed, questions=6, order=parts, long=False, sounding=False)
        kinds = {statement.category.partition("-")[0] for statement in drawn.statements}
        seconds = sum(getattr(scene, "seconds", 0.0) for scene in drawn.scenes)
        if wanted < kinds and seconds < 20:
            return drawn
    raise AssertionError


@pytest.fixture(scope="module")
def right(subject: Subject, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Return the right answer to it."""
    request = WorldRequest(sample, tmp_path_factory.mktemp("right"))
    return Example(request, subject.tracer.replay(request.messages, sample.answer))


def options(*more: str) -> Any:
    few = ["--examples", "2", "--masks", "6", "--oracle-examples", "1", "--oracle-masks", "40"]
    return omni.parse([*few, "--ks", "1", *more])


# --- requests


def test_files_are_written_when_they_are_needed(sample: Sample, tmp_path: Path) -> None:
    request = WorldRequest(sample, tmp_path / "files")
    assert request.key["seed"] == sample.seed
    assert not request.folder.exists()
    parts = request.messages[0]["content"]
    media = [part[part["type"]] for part in parts if part["type"] != "text"]
    assert len(media) == 3
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in media)
    assert [part["type"] for part in parts] == [*sample.order, "text"]


def test_requests_for_choices_and_for_figures_differ(tmp_path: Path) -> None:
    seeds = []
    for validation in (False, True):
        drawn = draw_requests(tmp_path, validation=validation)
        seeds.append({next(drawn).sample.seed for _ in range(20)})
        assert len(seeds[-1]) == 20
    assert not seeds[0] & seeds[1]
    assert not list(tmp_path.iterdir())


def test_what_is_found_again_depends_on_the_media(right: Example, sample: Sample) -> None:
    names = [record.modality for record in right.trace.media]
    assert names == [modality for modality in sample.order if modality != "text"]
    assert right.fed["media"] == [record.sha256 for record in right.trace.media]
    assert right.key.keys() - right.fed.keys() == {"spans"}


def test_each_right_sentence_is_where_its_evidence_is(right: Example, sample: Sample) -> None:
    groups = evidence_groups(right)
    assert tuple(groups) == GROUPS
    counts = sum(inside.astype(int) for inside in groups.values())
    assert len(right.spans) == len(sample.statements)
    for place, statement in enumerate(sample.statements):
        expected = {"two": "two sources"}.get(
            statement.category.partition("-")[0], statement.category.partition("-")[0]
        )
        assert counts[place] == (0 if statement.category == "refusal" else 1)
        if statement.category not in ("refusal", "video-digit"):
            assert groups[expected][place]
    assert len({name for name, inside in groups.items() if inside.any()}) >= 3


def test_wrong_sentences_are_in_no_group(subject: Subject, right: Example, sample: Sample) -> None:
    told = next(each for each in sample.statements if each.sources)
    others = sample.answer.replace(told.text, "The spoon is the spoon.")
    trace = subject.tracer.replay(right.request.messages, others)
    before, after = evidence_groups(right), evidence_groups(Example(right.request, trace))
    assert sum(map(np.sum, after.values())) == sum(map(np.sum, before.values())) - 1


def test_what_cannot_be_judged_is_passed_over(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def units(self: Subject, request: WorldRequest) -> Any:
        count = 3 if request.sample.seed % 3 else 12
        trace = type("Trace", (), {"units": [None] * count})
        return type("Example", (), {"spans": [None], "trace": trace, "name": request.id})

    monkeypatch.setattr(Subject, "ask", units)
    found, passed_over = world.answered(subject, 4, tmp_path, validation=True)
    numbers = [int(each.name.rpartition("-")[2]) for each in found]
    assert all(number % 3 == 0 for number in numbers)
    assert passed_over == numbers[-1] - validation_seed(0) + 1 - 4
    monkeypatch.setattr(world, "FEWEST_UNITS", 13)
    with pytest.raises(BenchmarkError, match="20 requests in a row"):
        world.answered(subject, 1, tmp_path, validation=True)


# --- methods


def test_every_signal_and_every_method_of_the_plugin_has_a_row() -> None:
    signals = {method.name for method in signal_methods()}
    assert {"attention-mean", "value-attention", "grad-sam"} <= signals
    captum = captum_methods()
    names = [method.name for method in captum]
    assert {"captum-kernel-shap (32)", "captum-kernel-shap (64)"} <= set(names)
    assert len({name.partition(" ")[0] for name in names}) == 6
    assert {method.group for method in captum} == {"peer"}
    assert len({str(method.key) for method in captum}) == len(captum)


def method_named(name: str) -> Method:
    return next(method for method in captum_methods() if method.name == name)


def test_the_masks_that_a_method_draws_are_noted(subject: Subject, right: Example) -> None:
    said = metered(method_named("captum-kernel-shap (64)"), subject, right)
    masks = np.array(said["fitted"], dtype=bool)
    units = len(right.trace.units)
    assert masks.shape[1] == units
    assert 32 < len(masks) <= 64  # some sets are drawn twice
    assert len(np.unique(masks, axis=0)) == len(masks)
    assert said["forwards"] > 30
    # What it says is what it measures: Kernel SHAP's values sum to f(all) - f(none).
    nothing = np.zeros((1, units), dtype=bool)
    whole = measure(subject.scorer(right), right.spans, nothing).drops[0]
    np.testing.assert_allclose(np.array(said["scores"]).sum(axis=1), whole, atol=0.02)


def test_no_mask_that_a_method_drew_judges_it(subject: Subject, right: Example) -> None:
    drawn = method_named("captum-kernel-shap (64)")
    said = metered(drawn, subject, right)
    units = len(right.trace.units)
    own = np.array(said["fitted"], dtype=bool)
    dealer = MaskDealer(right.sizes, seed=0, example=right.name)
    assert any(dealer.is_for_evaluation(mask) for mask in own)  # so they must be told
    asked = []

    def planted(masks: np.ndarray, operator: str) -> np.ndarray:
        asked.append((masks, operator))
        return masks @ np.ones((units, len(right.spans)))

    scores = {drawn.name: np.array(said["scores"])}
    plan = Plan(32, 32, 0, (1,), dropped=False, operator="mean")
    kept = {"name": right.name, "sizes": right.sizes, "span_tokens": right.span_tokens}
    judge(planted, scores, {drawn.name: own}, plan=plan, **kept)
    ((masks, operator),) = asked
    drops = 1 + 2 * len(right.spans) * 4  # of the method and three controls
    assert operator == "mean"
    used = {mask.tobytes() for mask in own}
    assert sum(mask.tobytes() not in used for mask in masks) >= 64
    assert len(masks) <= 64 + drops


def test_what_needs_more_samples_than_it_has_says_so(right: Example) -> None:
    kernel_shap: Any = type(method_named("captum-kernel-shap (64)")._signal)  # type: ignore[attr-defined]
    units = len(right.trace.units)
    refusal = SpanSignalMethod("few", kernel_shap(samples=units)).refusal(right)
    assert refusal is not None
    assert f"{units} samples for {units} units" in refusal
    assert SpanSignalMethod("enough", kernel_shap(samples=units + 2)).refusal(right) is None
    assert TokenSignalMethod("attention-mean").refusal(right) is None


# --- measuring and judging


def test_operators_on_the_input_are_those_of_each_modality(
    subject: Subject, right: Example
) -> None:
    masks = np.random.default_rng(0).random((2, len(right.trace.units))) < 0.5
    found = subject.measure(right, masks, "input")
    chosen: Any = {"text": "drop", "image": "grey", "audio": "silence", "video": "freeze"}
    expected = measure(subject.scorer(right), right.spans, masks, operator=chosen)
    np.testing.assert_allclose(found, expected.span_logprobs, atol=1e-4)
    assert np.abs(found - subject.measure(right, masks, "attention")).max() > 1e-3


def test_groups_are_judged_by_their_spans() -> None:
    sizes = np.array([9, 12, 7, 15, 8, 11, 10, 13, 6, 14, 9, 10])
    weights = np.random.default_rng(1).normal(size=(3, len(sizes)))
    guess = weights * np.array([[1.0], [-1.0], [1.0]])
    groups = {name: np.zeros(3, dtype=bool) for name in ("first", "second", "none")}
    groups["first"][[0, 2]] = groups["second"][1] = True
    found = judge(
        lambda masks, operator: masks @ weights.T,
        {"guess": guess},
        {},
        name="a",
        sizes=sizes,
        span_tokens=np.array([5, 9, 2]),
        plan=Plan(24, 16, 64, (1,), dropped=False),
        groups=groups,
    )
    assert found.groups.keys() == {"first", "second"}
    assert found.groups["first"].values["guess"]["lds"] == pytest.approx(1)
    assert found.groups["second"].values["guess"]["lds"] == pytest.approx(-1)
    assert found.values["guess"]["lds"] == pytest.approx(1 / 3)
    drops = [float(weights[span, guess[span].argmax()]) for span in range(3)]
    assert found.groups["second"].values["guess"]["top-1-drop"] == pytest.approx(drops[1])
    assert found.groups["first"].oracle["lds"] == pytest.approx(1)


class Choosy(Method):
    """Knows nothing, and refuses what has few units."""

    name = "choosy"
    group = "peer"

    def __init__(self, fewest: int) -> None:
        self.fewest = fewest

    @property
    def key(self) -> dict[str, Any]:
        return {"fewest": self.fewest}

    def refusal(self, example: Example) -> str | None:
        return None if len(example.trace.units) >= self.fewest else "too few units"

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        units = len(example.trace.units)
        scores = np.random.default_rng(units).random((len(example.spans), units))
        return Attribution.unablated(scores)


def test_a_second_run_finds_everything(
    subject: Subject, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, str] = {}  # random weights would say nothing

    def small(folder: Path, *, validation: bool, first: int = 0) -> Iterator[WorldRequest]:
        for number in itertools.count(first):
            seed, parts = validation_seed(number), ("text", "audio")
            sample = make_sample(seed, questions=2, order=parts, long=False)
            answers[sample.question] = sample.answer
            yield WorldRequest(sample, folder / sample.id)

    def told(messages: Any, max_new_tokens: int) -> Any:
        return subject.tracer.replay(messages, answers[messages[0]["content"][-1]["text"]])

    monkeypatch.setattr(subject.tracer, "trace", told)
    monkeypatch.setattr(world, "draw_requests", small)

    def run(subject: Subject) -> tuple[Any, list[Example], Path, int]:
        files = tmp_path_factory.mktemp("files")
        with Meter(subject.tracer.adapter.decoder) as meter:
            examples, passed_over = world.answered(subject, 2, files, validation=True)
            fewest = max(len(each.trace.units) for each in examples)
            methods = [TokenSignalMethod("attention-mean"), Choosy(fewest)]
            found = omni.judge_all(subject, methods, examples, options())
        assert passed_over >= 0
        return found, examples, files, meter.forward

    first, examples, files, tokens = run(subject)
    assert tokens > 0
    assert first.forwards > 0
    assert len(list(files.iterdir())) >= 2
    second, _, files, tokens = run(Subject(subject.tracer, subject.kept, NEW_TOKENS))
    assert (tokens, second.forwards, list(files.iterdir())) == (0, 0, [])
    assert repr(second.judged) == repr(first.judged)  # NaN equals nothing
    assert len(first.costs["choosy"]) == 1

    result = result_of(first, options(), 7, 10)
    names = [row[0] for row in result.table.rows]
    assert names == ["attention-mean", "choosy", "random", "unit-size", "uniform", "oracle"]
    assert all(len(row) == len(result.table.columns) for row in result.table.rows)
    assert [f"one size: {group}" for group in GROUPS] == [
        column for column in result.table.columns if column.startswith("one size: ")
    ]
    assert any("choosy scored 1 of 2 requests" in note for note in result.notes)
    assert any("7 requests between these were passed over" in note for note in result.notes)
    assert any("context-cite, at2, inseq" in note for note in result.notes)
    figures = result.document()["values"]
    assert figures["methods"]["choosy"]["lds"]["mean"]["count"] == 1
    assert figures["groups"].keys() == set(GROUPS)
    assert 0 < sum(group["spans"] for group in figures["groups"].values()) <= figures["spans"]
    assert math.isfinite(figures["methods"]["attention-mean"]["lds"]["mean"]["value"])
    assert figures["spans"] == sum(len(example.spans) for example in examples)


def test_defaults_depend_on_quick(capsys: pytest.CaptureFixture[str]) -> None:
    full, quick = omni.parse([]), omni.parse(["--quick"])
    assert (full.examples, full.masks, full.ks, full.operator) == (60, 64, [1, 3, 5], "attention")
    assert (full.model, full.validation) == ("reference", False)
    assert quick.examples < full.examples
    assert quick.oracle_examples == 0
    with pytest.raises(SystemExit):
        omni.parse(["--validation", "--json", "a.json"])
    assert "--validation is for choices" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    assert omni.main(["--quick", "--model", str(folder)]) == 2
    assert "error: " in capsys.readouterr().out

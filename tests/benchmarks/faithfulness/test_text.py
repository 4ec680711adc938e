"""The benchmark of faithfulness on text: its scoring, its cache, its costs and its table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cache import Kept, code_digest, digest_of
from common.examples import Example, Subject, in_units
from common.meter import Meter
from common.methods import Attribution, Method, TokenSignalMethod, metered, own_methods
from common.scoring import DROPPED, Judged, Plan, difference, judge, mean, oracle_mean, share
from common.texts import read_split
from faithfulness import text as faithfulness_text
from faithfulness.table import COLUMNS, result_of, verdicts
from omnitrace import Tracer
from omnitrace.ablation import leave_one_out

SIZES = np.array([9, 12, 7, 15, 8, 11, 10, 13, 6, 14, 9, 10])
WEIGHTS = np.random.default_rng(1).normal(size=(2, len(SIZES)))
PLAN = Plan(masks=24, sized=16, oracle=64, ks=(1, 3))


def planted(masks: np.ndarray, operator: str) -> np.ndarray:
    found: np.ndarray = masks @ WEIGHTS.T - 20
    return found if operator == "attention" else -found


def judged(scores: dict[str, np.ndarray], fitted: dict[str, np.ndarray]) -> Judged:
    spans = np.array([5, 9])
    return judge(planted, scores, fitted, name="a", sizes=SIZES, span_tokens=spans, plan=PLAN)


def test_the_weights_of_a_planted_linear_model_have_an_lds_of_one() -> None:
    found = judged({"truth": WEIGHTS, "wrong": -WEIGHTS}, {})
    truth = found.values["truth"]
    assert truth["lds"] == truth["size-controlled-lds"] == pytest.approx(1)
    assert truth[DROPPED] == pytest.approx(-1)  # the planted text behaves the other way round
    assert found.values["wrong"]["lds"] == pytest.approx(-1)
    assert found.oracle["lds"] == pytest.approx(1)
    assert truth["top-1-drop"] == pytest.approx(WEIGHTS.max(axis=1).mean())
    assert truth["top-1-drop-per-token"] == pytest.approx(
        (WEIGHTS.max(axis=1) / np.array([5, 9])).mean()
    )
    assert set(found.values) == {"truth", "wrong", "random", "unit-size", "uniform"}
    assert all(DROPPED in metrics for metrics in found.values.values())


def test_no_method_is_judged_by_a_mask_that_it_was_fitted_on() -> None:
    asked: list[np.ndarray] = []

    def measure(masks: np.ndarray, operator: str) -> np.ndarray:
        asked.append(masks)
        return planted(masks, operator)

    own = np.random.default_rng(2).random((400, len(SIZES))) < 0.5
    fitted = {"one out": leave_one_out(len(SIZES)), "random ablations": own}
    scores = {"one out": WEIGHTS, "random ablations": WEIGHTS, "free": WEIGHTS}
    found = judge(
        measure, scores, fitted, name="b", sizes=SIZES, span_tokens=np.array([5, 9]), plan=PLAN
    )
    assert math.isnan(found.values["one out"]["top-1-drop"])
    assert found.values["free"]["top-1-drop"] > 0
    assert found.values["random ablations"]["top-1-drop"] > 0
    dropped = {mask.tobytes() for mask in asked[1]}
    assert len(dropped) == PLAN.masks
    assert not dropped & {mask.tobytes() for mask in own}
    assert dropped <= {mask.tobytes() for mask in asked[0]}  # both operators, the same masks


def test_figures_are_of_examples() -> None:
    values = [0.2, 0.4, math.nan]
    found = [
        Judged({"a": {"lds": v}, "b": {"lds": 0.1}}, {} if i else {"lds": 0.8})
        for i, v in enumerate(values)
    ]
    assert mean(found, "a", "lds").value == pytest.approx(0.3)
    assert mean(found, "a", "lds").undefined == 1
    assert difference(found, "a", "b", "lds").value == pytest.approx(0.2)
    assert share(found, "a", "lds").value == pytest.approx(0.25)
    assert oracle_mean(found, "lds").value == 0.8
    assert mean(found, "a", "other").count == 0


class Counted(Method):
    """Knows nothing, and counts how often it is asked."""

    learns = True

    def __init__(self, name: str = "counted", forwards: int = 0) -> None:
        self.name = name
        self.asked = self.learned = 0
        self.weight = 0.0
        self.forwards = forwards

    @property
    def key(self) -> dict[str, Any]:
        return {"method": self.name, "weight": self.weight}

    def fit(self, subject: Subject, examples: Sequence[Example]) -> dict[str, Any]:
        self.learned += 1
        return {"weight": float(len(examples))}

    def use(self, fitted: dict[str, Any]) -> None:
        self.weight = fitted["weight"]

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        self.asked += 1
        for _ in range(self.forwards):
            subject.tracer.replay(example.request.messages, list(example.trace.token_ids))
        units = len(example.trace.units)
        scores = np.random.default_rng(units).random((len(example.spans), units))
        return Attribution(scores, np.zeros((0, units), dtype=bool))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def subject(small_adapter: Any, folder: Path) -> Subject:
    return Subject(Tracer(adapter=small_adapter, verify=False), Kept(folder), 10)


def options(*more: str) -> Any:
    few = ["--quick", "--masks", "6", "--oracle-texts", "1", "--oracle-masks", "24"]
    return faithfulness_text.parse([*few, "--ks", "1", "3", *more])


def test_a_second_run_does_no_forward(subject: Subject, small_adapter: Any, folder: Path) -> None:
    texts = read_split("test")[:2]

    def run(subject: Subject) -> tuple[Any, Counted, int]:
        counted = Counted()
        methods = [TokenSignalMethod("attention-mean"), TokenSignalMethod("grad-sam"), counted]
        with Meter(small_adapter.decoder) as meter:
            test = [subject.answer(text) for text in texts]
            found = faithfulness_text.judge_all(subject, methods, test[:1], test, options())
        return found, counted, meter.forward

    first, counted, tokens = run(subject)
    assert (counted.learned, counted.asked) == (1, 2)
    assert tokens > 0
    assert first.forwards > 0
    second, counted, tokens = run(Subject(subject.tracer, Kept(folder), 10))
    assert (counted.learned, counted.asked, tokens, second.forwards) == (0, 0, 0, 0)
    assert repr(second.judged) == repr(first.judged)  # NaN equals nothing
    assert second.costs == first.costs
    assert first.costs["grad-sam"][0][0] > first.costs["attention-mean"][0][0] > 0
    assert first.judged[0].oracle
    assert not first.judged[1].oracle

    result = result_of(first, options(), {"test": "0"}, ["a peer is missing"])
    assert [row[0] for row in result.table.rows] == [
        "attention-mean",
        "grad-sam",
        "counted",
        "random",
        "unit-size",
        "uniform",
        "oracle",
    ]
    assert all(len(row) == len(COLUMNS) for row in result.table.rows)
    assert any("counted was fitted once on" in note for note in result.notes)
    assert result.notes[-1] == "a peer is missing"
    assert result.document()["values"]["methods"]["grad-sam"]["lds"]["mean"]["count"] == 2


def test_what_costs_more_than_the_budget_is_left_out(subject: Subject) -> None:
    cheap, dear = TokenSignalMethod("attention-mean"), Counted("dear", forwards=9)
    test = [subject.answer(text) for text in read_split("test")[:2]]
    given = options("--budget", "4", "--no-dropped")
    found = faithfulness_text.judge_all(subject, [cheap, dear], test[:1], test, given)
    assert found.skipped["dear"] == pytest.approx(9, rel=0.05)
    assert dear.asked == 1
    result = result_of(found, given, {}, [])
    assert "dear" not in [row[0] for row in result.table.rows]
    assert any("dear is left out: 9 forwards" in note for note in result.notes)
    assert not any("text dropped: better" in note for note in result.notes)


def test_measured_values_are_those_of_the_scorer(subject: Subject) -> None:
    example = subject.answer(read_split("test")[0])
    units = len(example.trace.units)
    found = subject.measure(example, leave_one_out(units), "attention")
    from omnitrace.ablation import measure

    expected = measure(subject.scorer(example), example.spans, leave_one_out(units))
    np.testing.assert_allclose(found, expected.span_logprobs, atol=1e-4)


def test_sums_over_units_and_spans(subject: Subject) -> None:
    example = subject.answer(read_split("test")[0])
    ones = np.ones((len(example.trace.token_ids), len(example.trace.prompt_ids)))
    found = example.summed(in_units(example, ones))
    np.testing.assert_allclose(found, example.span_tokens[:, None] * example.sizes[None])
    assert example.joined(range(len(example.trace.units))) == example.text


def test_a_backward_pass_counts_twice(subject: Subject) -> None:
    import torch

    model = subject.tracer.adapter.model
    ids = torch.arange(20)[None]
    embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
    with Meter(subject.tracer.adapter.decoder) as meter:
        model(inputs_embeds=embeddings).logits[0, -1, 0].backward()
    model.zero_grad()
    assert (meter.forward, meter.backward) == (20, 20)
    assert meter.equivalents(10) == 6


def test_scores_of_the_wrong_shape_are_refused(subject: Subject) -> None:
    class Wrong(Counted):
        def attribute(self, subject: Subject, example: Example) -> Attribution:
            return Attribution(np.zeros((1, 1)), np.zeros((0, 1), dtype=bool))

    example = subject.answer(read_split("test")[0])
    with pytest.raises(ValueError, match=r"wrong gave scores of \(1, 1\)"):
        metered(Wrong("wrong"), subject, example)


def test_words_say_where_a_peer_is_better() -> None:
    def example(i: int) -> Judged:
        figures = {"attention-mean": 0.5, "grad-sam": 0.6, "a peer": 0.9, "poor peer": 0.4}
        return Judged({name: {"lds": v + i / 100} for name, v in figures.items()})

    groups = dict.fromkeys(("attention-mean", "grad-sam"), "signal")
    groups |= dict.fromkeys(("a peer", "poor peer"), "peer")
    found = faithfulness_text.Found([example(i) for i in range(8)], groups=groups)
    assert verdicts(found) == [
        "LDS: better than attention-mean: grad-sam by 0.10 [0.10, 0.10]",
        "LDS: peers that are better than grad-sam, our best on these documents (a choice in our "
        "favour): a peer by 0.30 [0.30, 0.30]",
    ]
    found.judged = found.judged[:2]
    assert verdicts(found) == ["2 documents are too few to say which method is better"]


def test_every_built_in_token_signal_has_a_row() -> None:
    names = [method.name for method in own_methods()]
    known = {"attention-mean", "attention-last", "value-attention", "grad-sam", "grad-sam-last"}
    assert known | {"captum-feature-ablation"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(digest_of(method.key) for method in own_methods())


def test_defaults_depend_on_quick() -> None:
    full, quick = faithfulness_text.parse([]), faithfulness_text.parse(["--quick"])
    assert (full.texts, full.train_texts, full.masks, full.peers) == (24, 30, 64, ["installed"])
    assert quick.texts < full.texts
    assert quick.masks < full.masks
    assert quick.peers == ["none"]
    assert faithfulness_text.parse(["--quick", "--peers", "at2", "inseq"]).peers == ["at2", "inseq"]


def test_code_digests_follow_the_code(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1")
    first = code_digest(tmp_path)
    assert code_digest(tmp_path) == first
    file.write_text("x = 2")
    assert code_digest(tmp_path) != first

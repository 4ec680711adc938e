"""Trace files from before the packages moved: they load, re-select and evaluate the same.

``tests/data/before_one_house`` tells how they were written, and has what that version made of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace import SelectionConfig, Span, Trace
from omnitrace.evaluation import evaluate, read_evaluation, scan_labels
from omnitrace.types import Locator
from tests.helpers.random_traces import same

FOLDER = Path(__file__).parents[1] / "data" / "before_one_house"
EXPECTED: dict[str, dict[str, Any]] = json.loads(
    (FOLDER / "expected.json").read_text(encoding="utf-8")
)
NAMES = sorted(EXPECTED)
CONFIGS = {
    "default": SelectionConfig(),
    "other": SelectionConfig(
        assign="token-max",
        rollout=True,
        gate=False,
        compete="per-modality",
        alpha=0.5,
        gamma=1.0,
        coverage=0.6,
        min_grounding=0.05,
        effect_min=0.1,
        max_supports=2,
    ),
}
#: The figures of a support, in the order in which they are compared.
FIGURES = ("mass", "share", "run", "score", "effect")


def load(name: str) -> Trace:
    return Trace.load(FOLDER / "traces" / f"{name}.omnitrace")


def near(value: Any) -> Any:
    """Allow for another order of sums, and for nothing else; None, "undefined", is exact."""
    if isinstance(value, dict):
        return {key: near(each) for key, each in value.items()}
    return value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)


def assert_spans(spans: tuple[Span, ...], expected: list[dict[str, Any]]) -> None:
    assert [span.text for span in spans] == [wanted["text"] for wanted in expected]
    for span, wanted in zip(spans, expected, strict=True):
        assert span.grounding == near(wanted["grounding"])
        assert span.ungrounded == wanted["ungrounded"]
        found = [(support.unit.id, support.rank) for support in span.supports]
        assert found == [(support["unit"], support["rank"]) for support in wanted["supports"]]
        for support, figures in zip(span.supports, wanted["supports"], strict=True):
            for figure in FIGURES:
                assert getattr(support, figure) == near(figures[figure]), figure


def located(locator: Locator) -> list[Any]:
    fields = {f.name: getattr(locator, f.name) for f in dataclasses.fields(locator)}
    assert fields.pop("canvas", None) is None  # which those traces did not know
    return [type(locator).__name__, json.loads(json.dumps(fields))]


@pytest.mark.parametrize("name", NAMES)
def test_they_load(name: str) -> None:
    trace, expected = load(name), EXPECTED[name]
    assert trace.text == expected["text"]
    assert list(trace.token_ids) == expected["token_ids"]
    assert len(trace.prompt_ids) == expected["prompt_tokens"]
    assert hashlib.sha256(trace.scores.tobytes()).hexdigest() == expected["scores_sha256"]
    assert [
        {
            "id": unit.id,
            "modality": unit.modality,
            "locator": located(unit.locator),
            "positions": list(unit.positions),
            "preview": unit.preview,
        }
        for unit in trace.units
    ] == expected["units"]
    for token, (text, unit, *figures) in zip(trace.tokens, expected["tokens"], strict=True):
        assert (token.text, token.unit) == (text, unit)
        assert [token.confidence, token.grounding] == near(figures)
    media = [[record.modality, record.name, record.sha256] for record in trace.media]
    assert media == expected["media"]
    assert trace.provenance.signal == expected["signal"]
    assert trace.provenance.model == expected["model"]


@pytest.mark.parametrize("name", NAMES)
def test_their_spans_supports_and_effects_are_those_of_before(name: str) -> None:
    trace, expected = load(name), EXPECTED[name]
    assert_spans(trace.spans, expected["spans"])
    assert [span.section for span in trace.spans] == expected["sections"]
    for span, effects in zip(trace.spans, expected["effects"], strict=True):
        found = None
        if span.effects is not None:
            found = {unit: [e.value, e.low, e.high] for unit, e in span.effects.items()}
        assert found == effects
    explained = expected["explained"]
    assert_spans((trace.explain(explained["phrase"]),), [explained])
    # Under their own configuration nothing changes, whatever names its settings have by now.
    assert_spans(trace.reselect(trace.config).spans, expected["spans"])


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", NAMES)
def test_their_supports_are_selected_as_before(name: str, config: str) -> None:
    selected = load(name).reselect(CONFIGS[config])
    assert_spans(selected.spans, EXPECTED[name]["selected"][config])


@pytest.mark.parametrize("name", NAMES)
def test_they_are_saved_again(name: str, tmp_path: Path) -> None:
    trace = load(name)
    assert same(Trace.load(trace.save(tmp_path / "again.omnitrace")), trace)


def test_each_shows_what_it_is_there_for() -> None:
    """A file that has lost its effects or thoughts would prove nothing."""
    traces = {name: load(name) for name in NAMES}
    modalities = {unit.modality for unit in traces["media"].units}
    assert modalities == {"text", "image", "audio", "video"}
    assert not any(record.read for record in traces["media"].media)
    effects = traces["estimator"].spans[0].effects
    assert effects is not None
    assert all(effect.low is not None for effect in effects.values())
    assert {span.section for span in traces["thinking"].spans} == {"thought", "answer"}
    assert traces["thinking"].config.rollout
    assert traces["contrast"].provenance.signal["name"] == "grad-sam"
    assert traces["contrast"].provenance.generation["contrast"]
    assert traces["captum"].provenance.signal["name"] == "captum-feature-ablation"
    assert set(traces["redacted"].text) == {"█"}
    for name, expected in EXPECTED.items():  # else the wrong configuration would not show
        assert expected["selected"]["default"] != expected["selected"]["other"], name


def test_they_are_evaluated_as_before() -> None:
    path = FOLDER / "evaluation.json"
    before, document = read_evaluation(path), json.loads(path.read_text(encoding="utf-8"))
    labels = scan_labels(FOLDER / "labels.jsonl")
    found = evaluate({name: load(name) for name in before.labels}, labels)
    assert dict(found.labels) == before.labels
    assert found.signals == before.signals
    assert len(found.rows) == len(before.rows)
    for row, wanted in zip(found.rows, before.rows, strict=True):
        ours, theirs = dataclasses.asdict(row), dataclasses.asdict(wanted)
        ours["values"].pop("cite_f1", None)  # a metric that there was not yet
        for name in ("values", "grounding"):
            assert ours.pop(name) == near(theirs.pop(name))
        assert ours == theirs
    figures = {
        (figure.method, figure.level, figure.metric): figure.estimate.figures()
        for figure in found.figures
        if figure.group == "all" and figure.metric != "cite_f1"
    }
    expected = {
        (each.pop("method"), each.pop("level"), each.pop("metric")): each
        for each in document["figures"]
        if each.pop("group") == "all"
    }
    assert figures.keys() == expected.keys()
    for key, figure in figures.items():
        assert figure == near(expected[key]), key

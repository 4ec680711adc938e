"""Metrics of plugins, and evaluations with chosen metrics only."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omnitrace import builtin
from omnitrace.errors import InputError, PluginError
from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.evaluation import evaluate
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.metrics import registry as selection
from omnitrace.evaluation.metrics.labelled_causal import CAUSAL_METRICS
from omnitrace.evaluation.metrics.registry import TOGETHER
from omnitrace.evaluation.metrics.spans import METRICS, WORD_METRICS
from omnitrace.evaluation.options import EvaluationOptions
from omnitrace.evaluation.report.export import notes_of, table_of, to_csv
from omnitrace.plugins import hookspecs
from omnitrace.plugins.hookspecs import hookimpl
from omnitrace.plugins.registry import build_registry
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()
Install = Callable[[Any], None]


def count_of_units(item: LabelledItem, prediction: Prediction) -> float | None:
    """How many units are chosen; of words, whose units nobody chose, nothing."""
    return len(prediction.chosen) if item.word is None else None


class Plugin:
    def __init__(self, metric: Any) -> None:
        self.metric = metric

    @hookimpl
    def register_metrics(self, register: hookspecs.RegisterMetric) -> None:
        register("units", lambda: self.metric, words=True, summary="how many units are chosen")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    def registered(metric: Any) -> None:
        made = build_registry({"omnitrace": builtin, "mine": Plugin(metric)})
        monkeypatch.setattr(selection, "registry", lambda: made)

    return registered


def test_the_metrics_of_this_package_come_through_the_hook() -> None:
    found = build_registry({"omnitrace": builtin}).metrics
    assert list(found) == [*METRICS, *CAUSAL_METRICS]
    assert [name for name, entry in found.items() if entry.words] == list(WORD_METRICS)
    for name, entry in found.items():
        assert entry.make() is {**METRICS, **CAUSAL_METRICS}[name]
        assert entry.summary
    assert not set(found) & set(TOGETHER)


def test_a_plugins_metric_stands_beside_them(install: Install) -> None:
    install(count_of_units)
    found = evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(draws=10))
    assert found.figure("units").value == pytest.approx((3 + 1 + 2 + 3 + 0) / 5)
    assert found.figure("units", "all").value == len(TRACE.units)
    assert found.figure("units", level="word").undefined == 1
    heading, first, *_ = table_of(found)
    assert first[heading.index("units")].startswith("1.80")
    assert next(csv.DictReader(to_csv(found).splitlines()))["units"] == "3.0"


def test_only_what_is_named_is_computed(install: Install) -> None:
    install(count_of_units)
    found = evaluate(
        {"harbour": TRACE},
        [label()],
        options=EvaluationOptions(metrics=["units", "micro_f1", "auprc"], draws=10),
    )
    heading, first, *_ = table_of(found)
    assert heading == ["method", "group", "count", "units", "micro F1", "AUPRC"]
    assert first[4].startswith("0.80")
    assert {figure.metric for figure in found.figures} == {"units", "micro_f1", "auprc"}
    assert {tuple(row.values) for row in found.rows} == {("units", "auprc")}
    assert not any(line.startswith("abstention") for line in notes_of(found))


def test_a_metric_that_does_not_exist() -> None:
    with pytest.raises(PluginError, match=r"unknown metric 'micro_f'.*mean 'micro_f1'") as error:
        evaluate(
            {"harbour": TRACE}, [label()], options=EvaluationOptions(metrics=["f1", "micro_f"])
        )
    assert "'auprc'" in error.value.legal
    with pytest.raises(InputError, match="no metric is named"):
        evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(metrics=[]))


def test_a_metric_that_fails_is_named(install: Install) -> None:
    def fails(item: LabelledItem, prediction: Prediction) -> float:
        raise KeyError("unit")

    install(fails)
    with pytest.raises(
        PluginError, match=r"'units' of the package 'mine' fails for span 0 of 'h.*: Key"
    ):
        evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(draws=10))
    for wrong, message in ((math.nan, "gives nan"), ("many", "fails for")):
        install(lambda item, prediction, wrong=wrong: wrong)
        with pytest.raises(PluginError, match=message):
            evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(draws=10))


def test_a_name_that_is_taken() -> None:
    class Taken:
        @hookimpl
        def register_metrics(self, register: hookspecs.RegisterMetric) -> None:
            register("f1", lambda: count_of_units)

    with pytest.raises(PluginError, match="the metric 'f1' of 'mine' is already registered"):
        build_registry({"omnitrace": builtin, "mine": Taken()})

"""The page of an evaluation: its coordinates by hand, and that it loads and runs nothing."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from omnitrace.evaluation.evaluation import Evaluation, evaluate
from omnitrace.evaluation.metrics.agreement import CalibrationBin, position_bias
from omnitrace.evaluation.metrics.bias import Bias
from omnitrace.evaluation.options import EvaluationOptions
from omnitrace.evaluation.report.charts import (
    HEIGHT,
    WIDTH,
    calibration_plot,
    f1_by_length,
    length_plot,
    position_plot,
)
from omnitrace.evaluation.report.export import table_of
from omnitrace.evaluation.report.html import render_page
from tests.helpers.sample_labels import EVIDENCE, label, span
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()


class Reader(HTMLParser):
    """Checks that elements are closed, and keeps them with their attributes and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate({"harbour": TRACE}, [label()], options=EvaluationOptions(draws=20))


def numbers(corners: str) -> list[tuple[float, float]]:
    return [tuple(map(float, each.split(","))) for each in corners.split()]  # type: ignore[misc]


def test_the_page_has_the_table_and_three_plots(found: Evaluation) -> None:
    page = Reader(render_page(found, title="harbour.jsonl"))
    assert page.cells == [cell for row in table_of(found) for cell in row]
    figures = [values for tag, values in page.found if tag == "figure"]
    assert len(figures) == 3


def test_it_loads_and_runs_nothing(found: Evaluation) -> None:
    text = render_page(found)
    page = Reader(text)
    assert not {tag for tag, _ in page.found} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "base",
    }
    assert not re.search(r"url\(|@import|https?://", text)
    for _, values in page.found:
        assert not [name for name in values if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in text


def test_everything_is_escaped() -> None:
    evil = "</td><script>alert(1)</script>\"'&"
    made = label(spans=[
        span("A fog horn", EVIDENCE[2], category=evil),
        span("The ferry Alma leaves", EVIDENCE[1], category="other"),
    ])  # fmt: skip
    made_of = evaluate({"harbour": TRACE}, [made], options=EvaluationOptions(draws=10))
    made_of = dataclasses.replace(made_of, signals=(evil,))
    text = render_page(made_of, title=evil)
    page = Reader(text)
    assert "<script" not in text
    assert f"spans, category: {evil}" in page.cells


def test_calibration_by_hand() -> None:
    bins = (CalibrationBin(0.0, 0.1, 4, 0.0, 0.25), CalibrationBin(0.9, 1.0, 16, 1.0, 1.0))
    plot: Any = calibration_plot(Bias(bins, 0.1, None, None))
    left, top, wide, high = plot["frame"]
    first, second = plot["points"]
    assert (first["x"], first["y"]) == (left, pytest.approx(top + 0.75 * high, abs=0.1))
    assert (second["x"], second["y"]) == (pytest.approx(left + wide), top)
    assert second["radius"] == pytest.approx(2 * first["radius"])  # a fourth of the area
    assert first["note"] == "predicted 0.00, labelled 0.25, 4 shares"
    assert plot["size"] == (WIDTH, HEIGHT)


def test_positions_by_hand() -> None:
    plot: Any = position_plot(Bias((), None, position_bias([0.5, 0.25]), None))
    left, top, wide, high = plot["frame"]
    ((_, _, uniform), (name, style, corners)) = plot["lines"]
    assert (name, style) == ("chosen units", "first")
    expected = [(0, 0), (0.25, 0), (0.25, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    for (x, y), (at, share) in zip(numbers(corners), expected, strict=True):
        assert x == pytest.approx(left + at * wide, abs=0.1)
        assert y == pytest.approx(top + (1 - share) * high, abs=0.1)
    assert len(numbers(uniform)) == 2


def test_f1_by_length_by_hand(found: Evaluation) -> None:
    # The five sentences have 12, 10, 8, 17 and 7 words.
    bins = f1_by_length(found.rows, draws=20)
    assert [(first, last, estimate.count) for first, last, estimate in bins] == [
        (5, 9, 2), (10, 14, 2), (15, 19, 1),
    ]  # fmt: skip
    assert [estimate.value for _, _, estimate in bins] == pytest.approx(
        [(2 / 3 + 1) / 2, (0.8 + 1) / 2, 0.8]
    )
    plot: Any = length_plot(found.rows, draws=20)
    assert [name for _, name in plot["x_ticks"]] == ["5–9", "10–14", "15–19"]  # noqa: RUF001
    assert all(point["bar"] for point in plot["points"])


def test_what_was_not_measured_is_not_drawn() -> None:
    nothing = Bias((), None, None, None)
    assert calibration_plot(nothing) is position_plot(nothing) is length_plot([]) is None
    made = evaluate(
        {"harbour": TRACE}, [label()], options=EvaluationOptions(metrics=["auprc"], draws=10)
    )
    assert length_plot(made.rows) is None
    empty = dataclasses.replace(made, bias=nothing)
    assert not [tag for tag, _ in Reader(render_page(empty)).found if tag == "figure"]

"""Multiple-choice options in labels, and whether the mass agrees with the choice."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from pydantic import ValidationError

from omnitrace.evaluation.baselines.trivial import all_units
from omnitrace.evaluation.evaluation import evaluate
from omnitrace.evaluation.examples import LabelledItem, labelled_items
from omnitrace.evaluation.labels.schema import Label, LabelledSpan, Option, TextSource
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.evaluation.metrics.spans import consistency
from omnitrace.evaluation.options import EvaluationOptions
from tests.helpers.sample_labels import EVIDENCE, label, span
from tests.helpers.sample_traces import multimodal_trace

TRACE = multimodal_trace()
TEXT = "The ferry Alma leaves at 18:40"


def option(quote: str, *, chosen: bool = False, part: int = 0) -> Option:
    source = TextSource(message=0, part=part, quote=quote)
    return Option(text=quote, sources=(source,), chosen=chosen)


RIGHT = option("leaves at 18:40", chosen=True)
WRONG = option("closed on Mondays")


def asked(*options: Option) -> LabelledSpan:
    return span(TEXT, EVIDENCE[1], options=options)


def item_of(*options: Option) -> LabelledItem:
    (item,) = labelled_items(label(spans=[asked(*options)]), TRACE)
    return item


def value(item: LabelledItem) -> float | None:
    assert item.prediction is not None
    return consistency(item, item.prediction)


def test_a_file_with_options_comes_back() -> None:
    made = label(spans=[asked(RIGHT, WRONG)])
    assert Label.model_validate_json(made.line()) == made
    options = json.loads(made.line())["spans"][0]["options"]
    assert [each["chosen"] for each in options] == [True, False]


def test_labels_without_options_are_written_as_before() -> None:
    assert "options" not in label().line()


@pytest.mark.parametrize(
    "options",
    [(RIGHT,), (WRONG, WRONG), (RIGHT, RIGHT)],
    ids=["one option", "none chosen", "two chosen"],
)
def test_options_of_which_not_exactly_one_is_chosen(options: tuple[Option, ...]) -> None:
    with pytest.raises(ValidationError, match="of which exactly one is chosen"):
        asked(*options)


def test_an_option_must_say_where_it_stands() -> None:
    with pytest.raises(ValidationError):
        Option(text="18:40", sources=())


def test_wrong_sources_of_options_are_told() -> None:
    found = check_label(label(spans=[asked(RIGHT, option("no such words"))]), TRACE)
    assert [field for field, _ in found] == ["spans[0].options[1].sources[0].quote"]


def test_the_mass_agrees_with_the_choice() -> None:
    assert value(item_of(RIGHT, WRONG)) == 1
    swapped = (option("leaves at 18:40"), option("closed on Mondays", chosen=True))
    assert value(item_of(*swapped)) == 0
    # By hand: the masses of the two sentences, in this span.
    item = item_of(RIGHT, WRONG)
    masses = [item.masses[[u.id in names for u in item.units]].sum() for names in item.options]
    assert masses[0] > masses[1]


def test_equal_masses_share() -> None:
    item = item_of(RIGHT, WRONG)
    assert consistency(item, all_units(item.units)) == 0.5
    nothing = dataclasses.replace(item, masses=np.zeros(len(item.units)))
    assert value(nothing) is None


def test_what_units_cannot_tell_apart_is_undefined() -> None:
    assert value(item_of()) is None
    assert value(item_of(RIGHT, option("carries 210 passengers"))) is None  # the same sentence
    assert value(item_of(RIGHT, option("safe to sail", part=4))) is None  # of the instruction


def test_it_is_a_metric_of_evaluations() -> None:
    found = evaluate(
        {"harbour": TRACE},
        [label(spans=[asked(RIGHT, WRONG), span("A fog horn", EVIDENCE[2])])],
        options=EvaluationOptions(draws=10),
    )
    figure = found.figure("option_consistency")
    assert (figure.value, figure.count, figure.undefined) == (1, 1, 1)
    assert found.figure("option_consistency", "all").value == 0.5

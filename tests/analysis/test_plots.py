"""Figures say what they show: legends, colours that mean something, text that stays text."""

from __future__ import annotations

import dataclasses
import io
import itertools
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from omnitrace._utils.palette import HEAT, MODALITIES, OUTCOMES, SERIES
from omnitrace.analysis import plot_modalities, plot_sources, plot_trajectories, trajectory
from omnitrace.errors import InputError
from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.sample_traces import multimodal_trace, text_trace


def texts(figure: Figure) -> set[str]:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return {text.get_text() for each in legends if each for text in each.get_texts()}


def test_the_map_holds_every_citation() -> None:
    trace = cited_trace()
    figure = plot_sources(trace)
    axes = figure.axes[0]
    values = np.asarray(axes.images[0].get_array().filled(np.nan))
    cited = [each for span in trace.citations() for each in span.citations]
    assert values.shape == (5, len({each.unit for each in cited}))
    assert np.isfinite(values).sum() == len(cited)
    assert np.nansum(values) == pytest.approx(sum(each.strength for each in cited))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "[1] Harbour log, characters 23–66"  # noqa: RUF001
    colours = [to_hex(label.get_color()) for label in axes.get_xticklabels()]
    assert list(dict.fromkeys(colours)) == list(MODALITIES.values())
    assert texts(figure) == {"text", "image", "audio", "video"}
    assert axes.images[0].get_cmap().name == HEAT


def test_the_map_of_a_section_and_of_nothing() -> None:
    figure = plot_sources(verified_trace(), section="thought")
    assert figure.axes[0].images[0].get_array().shape == (1, 1)
    nothing = dataclasses.replace(multimodal_trace(), spans=())
    assert "nothing is cited" in [text.get_text() for text in plot_sources(nothing).axes[0].texts]


def test_a_long_response_is_drawn_in_part_and_says_so() -> None:
    trace = text_trace(["One fact. Two facts."], "Which?", " ".join(["So it is."] * 50))
    axes = plot_sources(trace).axes[0]
    assert axes.images[0].get_array().shape[0] == 40
    assert "first 40 of 50 spans" in axes.get_title()


def test_modalities_fill_the_response() -> None:
    trace = multimodal_trace()
    figure = plot_modalities(trace)
    (axes,) = figure.axes
    assert texts(figure) == {"text", "image", "audio", "video", "no source"}
    areas = {each.get_label(): each for each in axes.patches}
    tops = [areas[name].get_data().values for name in ("text", "image", "audio", "video")]
    assert all((b >= a - 1e-12).all() for a, b in itertools.pairwise(tops))
    assert areas["no source"].get_data().values == pytest.approx(np.ones(len(trace.tokens)))
    hatches = {each.get_hatch() for name, each in areas.items() if name != "no source"}
    assert len(hatches) == 4  # told apart by more than colour


def test_modalities_of_a_response_without_tokens() -> None:
    trace = multimodal_trace()
    scores = trace.scores[:0, : trace.layout.prompt_length]
    nothing = dataclasses.replace(
        trace, text="", spans=(), tokens=(), token_ids=(), scores=scores, salience=np.zeros(0)
    )
    assert plot_modalities(nothing).axes


def test_outcomes_have_a_legend_colours_and_shapes() -> None:
    trace = multimodal_trace()
    found = {name: trajectory(trace) for name in ("a", "b", "c")}
    figure = plot_trajectories(found, right={"a": True, "b": False})
    assert texts(figure) == {
        *("right", "wrong", "not known", "its last step", "another unit is the strongest")
    }
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert {(OUTCOMES[True], "-", "o"), (OUTCOMES[False], "--", "^")} <= looks


def test_traces_without_outcomes_are_named() -> None:
    figure = plot_trajectories(multimodal_trace())
    assert "the trace" in texts(figure)
    found = {f"t{i}": trajectory(multimodal_trace()) for i in range(20)}
    assert {"a trace", "its last step"} <= texts(plot_trajectories(found))
    assert "first 12 of 20" in plot_trajectories(found).axes[0].get_title()


def test_text_of_a_model_is_no_formula() -> None:
    hostile = "costs $\\frac{1$ \u202e and $x$."
    trace = text_trace([hostile], "Which?", "So it is.")
    spans = (dataclasses.replace(trace.spans[0], text=hostile),)
    for figure in (
        plot_sources(dataclasses.replace(trace, spans=spans)),
        plot_trajectories({hostile: trajectory(multimodal_trace())}),
    ):
        figure.savefig(io.BytesIO(), format="svg")
        figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_figures_leave_matplotlib_as_it_is() -> None:
    before = dict(mpl.rcParams)
    plot_sources(cited_trace())
    plot_modalities(cited_trace())
    plot_trajectories(cited_trace())
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_figures_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot_sources, plot_modalities, plot_trajectories):
        with pytest.raises(InputError, match=r"omnitrace-attribution\[plots\]"):
            draw(cited_trace())


# What the two common kinds of colour blindness make of linear RGB (Viénot and others 1999).
_SEEN = {
    "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    "normal": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}


@pytest.mark.parametrize("eye", _SEEN)
@pytest.mark.parametrize("colours", [MODALITIES.values(), OUTCOMES.values(), SERIES])
def test_colours_can_be_told_apart(eye: str, colours: list[str]) -> None:
    seen = [np.clip(np.array(_SEEN[eye]) @ np.array(to_rgb(each)) ** 2.2, 0, 1) ** (1 / 2.2)
            for each in colours]  # fmt: skip
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 0.1

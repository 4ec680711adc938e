"""Which sources a response rests on, as figures: a map of all, and modalities over its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from omnitrace._utils.palette import HEAT, MODALITIES, NEUTRAL
from omnitrace.analysis.plot import STYLE, literal, new_figure
from omnitrace.trace.citations import Citation, SpanCitations, documents_by_part
from omnitrace.trace.trace import Trace
from omnitrace.types import Modality, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_modalities", "plot_sources"]

#: More spans or sources than these are no picture any more.
SHOWN: Final = 40
_LABEL: Final = 40  # characters
_NUMBERED: Final = 150  # so many cells at most also show their number
_HATCHES: Final = {"text": "", "image": "//", "audio": "..", "video": "xx"}


def plot_sources(trace: Trace, *, section: Section | None = None) -> Figure:
    """Draw a map of spans and the sources that they cite: the darker, the weaker.

    Parameters
    ----------
    trace:
        Of more than :data:`SHOWN` spans the first are drawn, of as many sources the strongest.
    section:
        The thoughts or the answer only; None for both.

    Returns
    -------
    matplotlib.figure.Figure
        A cell is the strength of a citation, in [0, 1]; sources are named in the colour of their
        modality.

    Raises
    ------
    InputError
        If matplotlib is missing, or there is no such section.
    """
    spans = trace.citations(section=section)
    shown = spans[:SHOWN]
    cited = _strongest(shown)
    strengths = np.full((len(shown), len(cited)), np.nan)
    column = {each.unit: number for number, each in enumerate(cited)}
    for row, span in enumerate(shown):
        for each in span.citations:
            if each.unit in column:
                strengths[row, column[each.unit]] = each.strength
    figure = new_figure(4.4 + 0.42 * max(4, len(cited)), 2.9 + 0.3 * max(3, len(shown)))
    import matplotlib as mpl

    with mpl.rc_context({**STYLE, "axes.grid": False}):
        axes = figure.subplots()
        if strengths.size:
            image = axes.imshow(strengths, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
            figure.colorbar(image, ax=axes, label="strength of the citation")
            if strengths.size <= _NUMBERED:
                _write_numbers(axes, strengths)
        else:
            axes.text(0.5, 0.5, "nothing is cited", ha="center", transform=axes.transAxes)
        of = f" (first {len(shown)} of {len(spans)} spans)" if len(shown) < len(spans) else ""
        axes.set_title(f"Spans and what they cite{of}")
        axes.set_facecolor("#f2f2f2")
        _name_sources(axes, trace, cited)
        axes.set_yticks(range(len(shown)), [_short(span.text) for span in shown])
        _legend(figure, [each.modality for each in cited])
    return figure


def _strongest(spans: Sequence[SpanCitations]) -> list[Citation]:
    """Return one citation of each unit in the order of the request, the strongest units only."""
    found: dict[str, Citation] = {}
    sums: dict[str, float] = {}
    for span in spans:
        for each in span.citations:
            found.setdefault(each.unit, each)
            sums[each.unit] = sums.get(each.unit, 0.0) + each.strength
    kept = sorted(sums, key=lambda unit: -sums[unit])[:SHOWN]
    start = {unit: (found[unit].message, found[unit].part, found[unit].number) for unit in kept}
    return [found[unit] for unit in sorted(kept, key=start.__getitem__)]


def _write_numbers(axes: Any, strengths: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(~np.isnan(strengths)), strict=True):
        value = strengths[row, column]
        colour = "black" if value > 0.6 else "white"
        axes.text(column, row, f"{value:.0%}", ha="center", va="center", fontsize=6, color=colour)


def _name_sources(axes: Any, trace: Trace, cited: Sequence[Citation]) -> None:
    documents = documents_by_part(trace)
    names = [
        _short(f"[{each.number}] {documents[each.message, each.part].name}, {each.place}")
        for each in cited
    ]
    axes.set_xticks(range(len(cited)), names, rotation=55, ha="right", rotation_mode="anchor")
    for label, each in zip(axes.get_xticklabels(), cited, strict=True):
        label.set_color(MODALITIES[each.modality])


def _legend(figure: Any, modalities: Sequence[Modality]) -> None:
    from matplotlib.patches import Patch

    present = [name for name in get_args(Modality) if name in modalities]
    if present:
        patches = [Patch(color=MODALITIES[name], label=name) for name in present]
        figure.legend(handles=patches, loc="outside upper right", ncols=len(patches), fontsize=7)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return literal(line if len(line) <= _LABEL else line[: _LABEL - 1].rstrip() + "…")


def plot_modalities(trace: Trace) -> Figure:
    """Draw, token by token, which share of the signal's mass lies on which modality.

    Parameters
    ----------
    trace:
        What is on no source (instruction, template, the response's own words) is drawn above all.

    Returns
    -------
    matplotlib.figure.Figure
        Stacked areas that sum to 1; a vertical line where a span ends.

    Raises
    ------
    InputError
        If matplotlib is missing.
    """
    shares = _shares(trace) if trace.tokens else {}
    figure = new_figure(7.5, 3.4)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        axes = figure.subplots()
        edges = np.arange(len(trace.tokens) + 1)
        bottom = np.zeros(len(trace.tokens))
        for name, share in shares.items():
            axes.stairs(
                bottom + share,
                edges,
                baseline=bottom,
                fill=True,
                facecolor=MODALITIES.get(name, "#e4e4e4"),
                edgecolor="white",
                linewidth=0,
                hatch=_HATCHES.get(name, ""),
                label=name,
            )
            bottom = bottom + share
        for span in trace.spans[:-1]:
            axes.axvline(span.token_end, color=NEUTRAL, linewidth=0.8, linestyle=":")
        axes.set(
            title="Where the response looked",
            xlabel="generated tokens; a line ends a span",
            ylabel="share of the signal's mass",
            xlim=(0, max(1, len(trace.tokens))),
            ylim=(0, 1),
        )
        if shares:
            figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _shares(trace: Trace) -> dict[str, np.ndarray]:
    """Return float64 ``[tokens]`` in [0, 1] of each modality that the request has, and the rest."""
    masses = trace.masses()
    total = np.where(masses.total > 0, masses.total, 1.0)
    found: dict[str, np.ndarray] = {}
    for name in get_args(Modality):
        own = [i for i, unit in enumerate(trace.units) if unit.modality == name]
        if own:
            found[name] = masses.units[:, own].sum(axis=1) / total
    named = sum(found.values(), np.zeros(len(masses)))
    found["no source"] = np.where(masses.total > 0, np.clip(1.0 - named, 0.0, 1.0), 0.0)
    return found

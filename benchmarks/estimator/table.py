"""The table of estimators and their rivals, and what it says in words."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from common.report import Result, Table
from common.scoring import Judged, difference, mean, oracle_mean, share
from estimator.worlds import ESTIMATOR, FINISHED, GRADIENTS, PAPERS, Compared, values_of

__all__ = ["result_of"]

LDS: Final = "lds"
SIZED: Final = "size-controlled-lds"
DROP: Final = "top-5-drop"
CONTROLS: Final = ("random", "unit-size")
_COLUMNS: Final = (
    "",
    "LDS [95 %]",
    "estimator − it",  # noqa: RUF001
    "LDS, one size [95 %]",
    "estimator − it",  # noqa: RUF001
    "÷ oracle",
    "top-5 drop, nats",
    "R² [95 %]",
    "forwards",
)
_AIMS: Final = {"SmolLM2": 0.85}
_OURS: Final = (ESTIMATOR, GRADIENTS, FINISHED)
#: Whose features are read as a signal's are, and the passes beside that.
_READ_AS: Final = {GRADIENTS: (0.0, "grad-sam"), FINISHED: (1.0, "mask-gradient")}
_SHARE: Final = 0.9
_SETTINGS: Final = (
    "worlds",
    "texts",
    "requests",
    "learning",
    "masks",
    "oracle",
    "captum",
    "threads",
)


def result_of(found: Sequence[Compared], given: argparse.Namespace) -> Result:
    """Make the table and the notes."""
    rows: list[list[str]] = []
    sections: list[int] = []
    for each in found:
        for title, judged in _parts(each):
            rows.append([f"**{title}**", *("",) * (len(_COLUMNS) - 1)])
            rows += _rows(each, judged, sentences=judged is each.judged)
            sections.append(len(rows) - 1)
    return Result(
        name="estimator",
        title="Estimators that learnt effects from attention, and their rivals",
        quick=given.quick,
        table=Table(_COLUMNS, rows, sections[:-1]),
        notes=[*(note for each in found for note in _notes(each)), *_method(given)],
        settings={name: getattr(given, name) for name in _SETTINGS},
        values={each.world.name: values_of(each) | _figures(each) for each in found},
    )


def _parts(found: Compared) -> list[tuple[str, list[Judged]]]:
    name, count = found.world.name, len(found.judged)
    parts = [(f"{name}: sentences of {count} responses", found.judged)]
    if found.whole:
        parts.append((f"{name}: {count} responses as one span each", found.whole))
    return parts


def _order(found: Compared) -> list[str]:
    return [
        ESTIMATOR,
        GRADIENTS,
        FINISHED,
        PAPERS,
        *(method.name for method in found.world.rivals),
        *CONTROLS,
    ]


def _rows(found: Compared, judged: Sequence[Judged], *, sentences: bool) -> list[list[str]]:
    rows = []
    for name in _order(found):
        cells = [name]
        for metric in (LDS, SIZED):
            cells.append(mean(judged, name, metric).text())
            other = difference(judged, ESTIMATOR, name, metric)
            cells.append("" if name == ESTIMATOR else other.text())
        cells.append(share(judged, name, LDS).text())
        drop = mean(judged, name, DROP)
        cells.append(f"{drop.value:.2f}" if drop.count else drop.text())
        explained = found.r_squared.get(name) if sentences else None
        cells.append(explained.text() if explained else "")
        cost = [1.0] if name in found.chosen else found.forwards.get(name)
        if name in _READ_AS:
            passes, signal = _READ_AS[name]
            cost = [passes + each for each in found.forwards.get(signal, [])]
        cells.append(f"{statistics.fmean(cost):.1f}" if cost else "")
        rows.append(cells)
    if any(each.oracle for each in judged):
        best = [oracle_mean(judged, metric).text() for metric in (LDS, SIZED)]
        rows.append(["oracle", best[0], "", best[1], "", "1", "", "", ""])
    return rows


def _notes(found: Compared) -> list[str]:
    world = found.world
    said = []
    for name, each in found.chosen.items():
        tried = ", ".join(f"{way} {value:.3f}" for way, value in each.tried.items())
        fit = ", ".join(f"{what} {value:g}" for what, value in each.fitted.chosen.items())
        said.append(
            f"{world.name}, {name}: {each.candidate.name} ({fit}), chosen by LDS on "
            f"{len(world.choosing)} other examples: {tried}"
        )
    for title, judged in _parts(found):
        said.append(f"{title}: {_verdict(found, judged)}")
    curve = "; ".join(
        f"{size}: " + ", ".join(f"{way} {value:.2f}" for way, value in ways.items())
        for size, ways in found.curve.items()
    )
    said.append(f"{world.name}, LDS of sentences by number of examples learnt from: {curve}")
    said += _transferred(found)
    return said


def _verdict(found: Compared, judged: Sequence[Judged]) -> str:
    said = []
    for name, metric in itertools.product(_OURS, (LDS, SIZED)):
        gap = difference(judged, name, PAPERS, metric)
        form = "LDS" if metric == LDS else "LDS at one size"
        won = "better" if gap.low > 0 else "worse" if gap.high < 0 else "neither better nor worse"
        said.append(f"{name}: {won} than {PAPERS} in {form} ({gap.text()})")
    aim = _AIMS.get(found.world.name)
    for name in _OURS:
        value, part = mean(judged, name, LDS).value, share(judged, name, LDS)
        if aim is not None:
            said.append(f"{name}: LDS of {aim} or more: {'met' if value >= aim else 'MISSED'}")
        if part.count:
            met = "met" if part.value >= _SHARE else "MISSED"
            said.append(f"{name}: {_SHARE} of the oracle's or more: {met}")
    return "; ".join(said)


def _transferred(found: Compared) -> list[str]:
    """Say how much of the LDS stays that those have who learnt from the same group."""
    said = []
    for source, targets in found.transfer.items():
        cells = ", ".join(f"{target} {value:.2f}" for target, value in targets.items())
        said.append(f"{found.world.name}, LDS of who learnt from {source}: {cells}")
    return said


def _figures(found: Compared) -> dict[str, Any]:
    def of(judged: Sequence[Judged]) -> dict[str, Any]:
        return {
            name: {
                metric: {
                    "mean": mean(judged, name, metric).figures(),
                    "less": difference(judged, ESTIMATOR, name, metric).figures(),
                }
                for metric in (LDS, SIZED, DROP)
            }
            | {"share": share(judged, name, LDS).figures()}
            for name in _order(found)
        }

    said: Mapping[str, Any] = {"sentences": of(found.judged)}
    return {**said, **({"whole": of(found.whole)} if found.whole else {})}


def _method(given: argparse.Namespace) -> list[str]:
    return [
        f"LDS: Spearman of measured and predicted f over {given.masks} masks that keep each unit "
        f"at even odds, one size: {given.masks} that keep the same number of tokens; mean over "
        "sentences, then examples; intervals: 95 %, bootstrap over examples; differences: paired",
        f"all estimators learnt from the same {given.masks} masks an example, in pairs of a mask "
        "and its complement; what judges was seen by no fit and no choice",
        f"{PAPERS}: attention averaged over the tokens of unit and span, a weight a head, negative "
        "Pearson correlation, Adam; rate and steps, of which arXiv 2604.16587 says nothing, by "
        "left-out examples",
        "R²: 1 - SSE / SST of single-unit effects of all judged examples, scores turned to nats on "
        "the examples for choices (one factor; captum's and mask-gradient's are nats)",
        "forwards: passes over the whole sequence to score a response that exists; while the model "
        "writes, attention and estimators cost none, gradients a pass back a token; "
        f"{FINISHED} has no other than those of the finished response",
        *([] if given.captum else ["captum's Kernel SHAP was left out (--no-captum)"]),
    ]

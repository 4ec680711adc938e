"""Write an evaluation down: a table to print, a JSON document, a CSV file of its rows."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from typing import Any, Final

from omnitrace._utils.documents import inert_cell
from omnitrace.evaluation.aggregate import ALL
from omnitrace.evaluation.evaluation import Evaluation
from omnitrace.evaluation.metrics.labelled_causal import CAUSAL_METRICS
from omnitrace.evaluation.metrics.registry import TOGETHER
from omnitrace.evaluation.metrics.spans import METRICS
from omnitrace.evaluation.rows import TRACED, ScoreRow

__all__ = ["FORMAT", "VERSION", "notes_of", "table_of", "to_csv", "to_document"]

FORMAT: Final = "omnitrace-evaluation"
VERSION: Final = 2

_COLUMNS: Final = (
    "f1",
    "cite_f1",
    "top1",
    "auprc",
    "time_f1",
    "box_iou",
    "interval_iou",
    "option_consistency",
)
_HEADINGS: Final = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "cite_f1": "cite-F1",
    "top1": "top-1",
    "auprc": "AUPRC",
    "time_f1": "Time-F1",
    "box_iou": "box IoU",
    "interval_iou": "interval IoU",
    "option_consistency": "option consistency",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "micro_f1": "micro F1",
    "abstention_f1": "abstention F1",
    "abstention_auroc": "abstention AUROC",
}
#: What is said of metrics, where one of them is computed.
_EXPLAINED: Final = {
    "metrics of effects: controls that know nothing are 'random', 'longest' (unit size) and 'all' "
    "(uniform)": frozenset(CAUSAL_METRICS),
    "lower is better: sufficiency, deletion-auc": frozenset(
        name for name in CAUSAL_METRICS if name.startswith(("sufficiency", "deletion"))
    ),
    "deletion-auc and insertion-auc are of log-probabilities, in nats; normalised they run from 0 "
    "without any unit to 1 with all": frozenset(name for name in CAUSAL_METRICS if "-auc" in name),
    "r-squared is of scores that one factor a span turns into nats, fitted on masks that "
    "evaluate nothing": frozenset({"r-squared"}),
    "r-squared-of-effects is of the effects as a span signal gives them, not calibrated": frozenset(
        {"r-squared-of-effects"}
    ),
}


def table_of(evaluation: Evaluation) -> list[list[str]]:
    """Return a heading and rows of cells: the trace, its groups, baselines, paired differences.

    Columns in which nothing is defined are left out, and so are groups of everything.
    """
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for figure in evaluation.figures:
        key = (figure.level, figure.method, figure.group)
        if figure.group == ALL or figure.method == TRACED:
            cells.setdefault(key, {})[figure.metric] = figure.estimate.text()
            counts[key] = max(counts.get(key, 0), figure.estimate.count)
    columns = [
        name
        for name in _columns(evaluation)
        if any(row.get(name, "–") != "–" for row in cells.values())  # noqa: RUF001
    ]
    rows = [["method", "group", "count", *(_HEADINGS.get(name, name) for name in columns)]]
    for key in sorted(cells, key=_order):
        level, method, group = key
        if group != ALL and counts[key] == counts[level, method, ALL]:
            continue
        what = f"{level}s" if group == ALL else f"{level}s, {group}"
        found = (cells[key].get(name, "") for name in columns)
        rows.append([method, what, str(counts[key]), *found])
    rows += _differences(evaluation, columns)
    return rows


def _columns(evaluation: Evaluation) -> list[str]:
    """Return the metrics to show: those asked for, or a choice of ours and all of plugins."""
    if evaluation.metrics:
        return list(evaluation.metrics)
    known = {*METRICS, *TOGETHER}
    return [*_COLUMNS, *(name for name in _computed(evaluation) if name not in known)]


def _computed(evaluation: Evaluation) -> list[str]:
    """Return the metrics of the rows, in their order."""
    return list(dict.fromkeys(name for row in evaluation.rows for name in row.values))


def _order(key: tuple[str, str, str]) -> tuple[bool, bool, bool, str]:
    level, method, group = key
    return level != "span", method != TRACED, group != ALL, group


def _differences(evaluation: Evaluation, columns: list[str]) -> Iterator[list[str]]:
    """Yield the paired differences of the trace to each baseline."""
    methods = dict.fromkeys(figure.method for figure in evaluation.figures)
    for method in methods:
        if method == TRACED:
            continue
        found = [evaluation.difference(name, against=method) for name in columns]
        count = str(max((each.count for each in found), default=0))
        yield [f"{TRACED} − {method}", "spans, paired", count, *(e.text() for e in found)]  # noqa: RUF001


def notes_of(evaluation: Evaluation) -> list[str]:
    """Return what the table does not say, a line each: all spans together, bias, what is left out.

    Nothing that was left out is passed over.
    """
    counts = evaluation.counts
    computed = _computed(evaluation)
    lines = [
        f"{counts.spans} labelled spans and {counts.words} words in {counts.examples} examples; "
        f"signal: {', '.join(filter(None, evaluation.signals)) or 'unknown'}"
    ]
    for figure in evaluation.figures:
        if figure.method == TRACED and figure.level == "span" and figure.metric in TOGETHER:
            name = _HEADINGS.get(figure.metric, figure.metric)
            lines.append(f"{name}: {figure.estimate.text()}")
    lines += _undefined(evaluation)
    lines += [text for text, names in _EXPLAINED.items() if not names.isdisjoint(computed)]
    lines += _of_embedder(evaluation)
    lines += _of_effects(evaluation)
    bias = evaluation.bias
    if bias.calibration_error is not None:
        lines.append(f"calibration error of the modality mass: {bias.calibration_error:.2f}")
    if bias.chosen is not None and bias.labelled is not None:
        lines.append(
            f"mean position of the chosen units {bias.chosen.mean:.2f}, of the true ones "
            f"{bias.labelled.mean:.2f}; distance from uniform {bias.chosen.distance:.2f} and "
            f"{bias.labelled.distance:.2f}"
        )
    for number, what in (
        (counts.unsaid, "labelled spans are not said by the traces and are left out"),
        (counts.single, "labelled spans have no second label; they are left out of 'human'"),
        (counts.unread, "replies about a sentence could not be read; they are wrong for 'self'"),
        (counts.unreachable, "sources are named by no unit; they count as missed"),
        (len(counts.untraced), f"labels have no trace: {_some(counts.untraced)}"),
        (len(counts.unlabelled), f"traces have no label: {_some(counts.unlabelled)}"),
        (len(counts.invalid), "mistakes in the labels; their lines are left out"),
    ):
        if number:
            lines.append(f"{number} {what}")
    return lines


def _undefined(evaluation: Evaluation) -> Iterator[str]:
    """Yield how many spans lack a value of metrics that were named, or are of effects.

    Of the trace all of these are said, of other methods where their number is another one. Metrics
    of labels mean nothing for spans of some kinds by their definition.
    """
    found: dict[str, dict[str, int]] = {}
    wanted = (CAUSAL_METRICS.keys() | evaluation.metrics) - TOGETHER.keys()
    for figure in evaluation.figures:
        if figure.level == "span" and figure.group == ALL and figure.metric in wanted:
            found.setdefault(figure.method, {})[figure.metric] = figure.estimate.undefined
    traced = found.get(TRACED, {})
    for method, counts in found.items():
        new = counts if method == TRACED else dict(counts.items() - traced.items())
        if method != TRACED:
            new.pop("r-squared-of-effects", None)  # which only the trace can have
        listed = ", ".join(f"{name} {counts[name]}" for name in counts if new.get(name))
        if listed:
            yield f"spans of {method!r} without a value: {listed}"


def _of_embedder(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.embedder:
        missing = ", ".join(
            f"{count} of {modality}" for modality, count in evaluation.counts.unembedded.items()
        )
        blind = f"; units that it cannot embed, and that have no score: {missing}"
        yield f"embedder: {evaluation.embedder}{blind if missing else ''}"


def _of_effects(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.effects and not CAUSAL_METRICS.keys().isdisjoint(_computed(evaluation)):
        settings = ", ".join(f"{name} {value}" for name, value in evaluation.effects.items())
        yield f"effects are measured with {settings}"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def to_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON-ready values; what is undefined is null."""
    counts = evaluation.counts
    return {
        "format": FORMAT,
        "version": VERSION,
        "signals": list(evaluation.signals),
        "labels": dict(evaluation.labels),
        "counts": dataclasses.asdict(counts) | {"invalid": [str(each) for each in counts.invalid]},
        "figures": [
            {
                "method": figure.method,
                "level": figure.level,
                "group": figure.group,
                "metric": figure.metric,
                **figure.estimate.figures(),
            }
            for figure in evaluation.figures
        ],
        "embedder": evaluation.embedder,
        "effects": dict(evaluation.effects),
        "bias": dataclasses.asdict(evaluation.bias),
        "rows": [_flat(row) for row in evaluation.rows],
    }


def to_csv(evaluation: Evaluation) -> str:
    """Return the rows as CSV with a heading; what is undefined is empty.

    A text that a spreadsheet would compute, because it begins like a formula, has an apostrophe
    before it.
    """
    out = io.StringIO()
    names = [*_flat_names(), *_computed(evaluation)]
    writer = csv.DictWriter(out, names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in evaluation.rows:
        writer.writerow({name: inert_cell(value) for name, value in _flat(row).items()})
    return out.getvalue()


def _flat_names() -> Iterator[str]:
    for field in dataclasses.fields(ScoreRow):
        if field.name not in ("counts", "values"):
            yield field.name
    yield from ("common_units", "chosen_units", "true_units")


def _flat(row: ScoreRow) -> dict[str, Any]:
    flat = dataclasses.asdict(row)
    values, (common, chosen, true) = flat.pop("values"), flat.pop("counts")
    flat |= {"common_units": common, "chosen_units": chosen, "true_units": true}
    return {**flat, **values}

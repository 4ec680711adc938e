"""The table of faithfulness, and what it says in words."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from common.report import Result, Table
from common.scoring import DROPPED, Judged, difference, mean, oracle_mean, share

if TYPE_CHECKING:
    from faithfulness.run import Found

__all__ = [
    "COLUMNS",
    "SIZED",
    "judging_notes",
    "of_group",
    "ordered",
    "result_of",
    "table_of",
    "values_of",
    "verdicts",
]

BASELINE: Final = "attention-mean"
CONTROLS: Final = ("random", "unit-size", "uniform")
LDS: Final = "lds"
SIZED: Final = "size-controlled-lds"
DROPS: Final = ("top-1-drop", "top-3-drop", "top-5-drop")

_SHARED: Final = (
    "method",
    "LDS [95 %]",
    f"− {BASELINE}",  # noqa: RUF001
    "LDS, one size [95 %]",
    f"− {BASELINE}",  # noqa: RUF001
    "÷ oracle",
    "top-1 drop",
    "top-3 drop",
    "top-5 drop",
    "forwards",
    "s",
)
_LDS_COLUMNS: Final = 6  # with the method's name; what is added to the table stands behind them
#: The columns of the benchmark on text.
COLUMNS: Final = (*_SHARED[:_LDS_COLUMNS], "LDS, text dropped", *_SHARED[_LDS_COLUMNS:])
_FEWEST: Final = 6  # examples; resampling fewer says nothing
_BETTER: Final = {LDS: "LDS", SIZED: "LDS at one size", DROPPED: "LDS with the text dropped"}


def result_of(
    found: Found, given: argparse.Namespace, digests: Mapping[str, str], notes: Sequence[str]
) -> Result:
    """Make the table of the benchmark on text, and say how it came about."""
    dropped = {
        name: [mean(found.judged, name, DROPPED).text() if given.dropped else ""]
        for name in ordered(found)
    }
    texts = len(found.judged)
    return Result(
        name="faithfulness_text",
        title=f"SmolLM2-135M-Instruct: faithfulness on {texts} documents, sentences as units",
        quick=given.quick,
        table=table_of(found, ["LDS, text dropped"], dropped),
        notes=[*verdicts(found), *_method_notes(found, given), *notes],
        settings={
            name: getattr(given, name)
            for name in (
                "texts",
                "train_texts",
                "masks",
                "oracle_texts",
                "oracle_masks",
                "new_tokens",
                "ks",
                "budget",
                "dropped",
                "threads",
            )
        }
        | {"texts_sha256": dict(digests)},
        values=values_of(found),
    )


def table_of(found: Found, names: Sequence[str], more: Mapping[str, Sequence[str]]) -> Table:
    """Make the table: signals, peers, controls, and the oracle where there is one.

    Parameters
    ----------
    found:
        What is shown.
    names, more:
        Further columns, and the cells of each method in them.
    """
    order = ordered(found)
    rows = [_row(found, name, more[name]) for name in order]
    sections = [
        number
        for number in range(len(order) - 1)
        if _kind(found, order[number]) != _kind(found, order[number + 1])
    ]
    columns = (*_SHARED[:_LDS_COLUMNS], *names, *_SHARED[_LDS_COLUMNS:])
    if any(each.oracle for each in found.judged):
        sections.append(len(rows) - 1)
        best = [oracle_mean(found.judged, metric).text() for metric in (LDS, SIZED)]
        known = ["oracle", best[0], "", best[1], "", "1"]
        rows.append([*known, *("",) * (len(columns) - len(known))])
    return Table(columns, rows, sections)


def _kind(found: Found, name: str) -> str:
    return found.groups.get(name, "control")


def ordered(found: Found) -> list[str]:
    """Signals, peers, controls; in the order in which they ran."""
    names = [name for name in found.groups if name not in found.skipped]
    kinds = ("signal", "peer")
    return [n for kind in kinds for n in names if found.groups[n] == kind] + list(CONTROLS)


def _row(found: Found, name: str, more: Sequence[str]) -> list[str]:
    judged = found.judged
    cells = [name]
    for metric in (LDS, SIZED):
        cells.append(mean(judged, name, metric).text())
        other = "" if name == BASELINE else difference(judged, name, BASELINE, metric).text()
        cells.append(other)
    cells += [share(judged, name, LDS).text(), *more]
    cells += [_drop(found, name, metric) for metric in DROPS]
    return cells + list(_cost(found, name))


def _drop(found: Found, name: str, metric: str) -> str:
    """Say a drop in nats, and per token in brackets."""
    total = mean(found.judged, name, metric)
    per_token = mean(found.judged, name, f"{metric}-per-token")
    return f"{total.value:.2f} ({per_token.value:.3f})" if total.count else total.text()


def _cost(found: Found, name: str) -> tuple[str, str]:
    costs = found.costs.get(name)
    if not costs:
        return "", ""
    forwards, seconds = (statistics.fmean(column) for column in zip(*costs, strict=True))
    return f"{forwards:.1f}", f"{seconds:.1f}"


def verdicts(found: Found, what: str = "documents") -> list[str]:
    """Say in words which signal beats raw attention, and which peer the best of our signals.

    Parameters
    ----------
    found:
        What is reported.
    what:
        What the examples are.
    """
    judged = found.judged
    if len(judged) < _FEWEST:
        return [f"{len(judged)} {what} are too few to say which method is better"]
    signals = [n for n in ordered(found) if found.groups.get(n) == "signal"]
    peers = [n for n in ordered(found) if found.groups.get(n) == "peer"]
    said = []
    for metric, label in _BETTER.items():
        if not any(metric in each.values[BASELINE] for each in judged):
            continue
        gains = {n: difference(judged, n, BASELINE, metric) for n in signals if n != BASELINE}
        won = [f"{n} by {gain.text()}" for n, gain in gains.items() if gain.low > 0]
        said.append(f"{label}: better than {BASELINE}: {', '.join(won) or 'none of ours'}")
        best = max(signals, key=lambda n: _or_lowest(mean(judged, n, metric).value))
        gaps = {n: difference(judged, n, best, metric) for n in peers}
        ahead = [f"{n} by {gap.text()}" for n, gap in gaps.items() if gap.low > 0]
        if peers:
            said.append(
                f"{label}: peers that are better than {best}, our best on these {what} (a "
                f"choice in our favour): {', '.join(ahead) or 'none'}"
            )
    return said


def _or_lowest(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _method_notes(found: Found, given: argparse.Namespace) -> list[str]:
    said = [
        f"{found.spans} sentences of responses of at most {given.new_tokens} tokens, greedy "
        f"({found.answer_tokens} tokens in all), about {len(found.judged)} test documents",
        "f is the teacher-forced log-probability of a response's sentence in nats when sentences "
        "of the document are hidden from every later position (operator attention); text dropped: "
        "the same LDS when their characters are left out and the text is tokenized again",
        *judging_notes(found, given.masks, given.oracle_masks),
    ]
    for name, cost in found.fits.items():
        said.append(
            f"{name} was fitted once on {given.train_texts} training documents: "
            f"{cost['forwards']:.0f} forwards, {cost['seconds']:.0f} s, not in its row"
        )
    for name, forwards in found.skipped.items():
        said.append(
            f"{name} is left out: {forwards:.0f} forwards on the first document, the budget is "
            f"{given.budget:.0f}"
        )
    return said


def judging_notes(
    found: Found, masks: int, oracle_masks: int, what: str = "documents"
) -> list[str]:
    """Say how the figures are made that every benchmark of faithfulness has.

    Parameters
    ----------
    found:
        What they are of.
    masks, oracle_masks:
        For each form of LDS, and for the oracle.
    what:
        What the examples are.
    """
    one = what.removesuffix("s")
    said = [
        f"LDS: Spearman of measured and predicted f over {masks} masks that keep each unit "
        f"at even odds; one size: {masks} masks that keep the same number of tokens; mean "
        f"over spans, then {what}; all methods on the same masks, which none was fitted on",
        f"intervals: 95 %, bootstrap over {what}; differences are paired",
        "top-k drop: f lost without the k units of highest score, in nats (per token); undefined "
        "where the method itself was fitted on that mask, as leave-one-out methods are for top-1",
        f"forwards: passes over the whole sequence for one {one}, a backward pass counted as two "
        "more; s: seconds, both to score a response that exists; while the model writes, attention "
        "costs no pass of its own; seconds are those of the run that computed a score first",
    ]
    oracles = sum(bool(each.oracle) for each in found.judged)
    if oracles:
        said.append(
            f"oracle: least squares on {oracle_masks} other masks, on {oracles} {what}; "
            "÷ oracle is of LDS on these"
        )
    for name, refusal in found.refused.items():
        said.append(
            f"{name} scored {len(found.costs.get(name, ()))} of {len(found.judged)} {what}, and "
            f"its figures and differences are of these; of the first other one it says: {refusal}"
        )
    return said


def values_of(found: Found) -> dict[str, Any]:
    """Return the figures behind the table, JSON-ready."""
    judged, order = found.judged, ordered(found)
    said: dict[str, Any] = {
        "methods": _method_values(judged, order),
        "share": {name: share(judged, name, LDS).figures() for name in order},
        "oracle": {metric: oracle_mean(judged, metric).figures() for metric in (LDS, SIZED)},
        "costs": found.costs,
        "fits": found.fits,
        "skipped": found.skipped,
        "refused": found.refused,
        "spans": found.spans,
        "measured_now": found.forwards,
    }
    if found.grouped:
        groups = {name: of_group(judged, name) for name in found.grouped}
        said["groups"] = {
            name: {"spans": found.grouped[name], "methods": _method_values(inside, order)}
            for name, inside in groups.items()
        }
    return said


def of_group(judged: Sequence[Judged], group: str) -> list[Judged]:
    """Return the figures of a group of spans, of the examples that have such a span."""
    return [each.groups[group] for each in judged if group in each.groups]


def _method_values(judged: Sequence[Judged], order: Sequence[str]) -> dict[str, Any]:
    metrics = sorted({metric for each in judged for metric in each.values.get(BASELINE, {})})
    return {
        name: {
            metric: {
                "mean": mean(judged, name, metric).figures(),
                "difference": difference(judged, name, BASELINE, metric).figures(),
            }
            for metric in metrics
        }
        for name in order
    }

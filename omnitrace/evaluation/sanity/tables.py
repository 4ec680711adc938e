"""What the checks found, as tables and lines to print."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.sanity.agreement import ALL, OperatorAgreement
from omnitrace.evaluation.sanity.evidence import Shuffled
from omnitrace.evaluation.sanity.randomisation import Randomisation
from omnitrace.evaluation.sanity.regeneration import Regeneration
from omnitrace.evaluation.sanity.report import Sanity
from omnitrace.evaluation.sanity.stability import CHANGES, Stability, Unchanged

__all__ = ["ReportSection", "sections_of"]

TableRows: TypeAlias = list[list[str]]
#: A title, a table with its heading, and lines below it.
ReportSection: TypeAlias = tuple[str, TableRows, list[str]]

_NOTHING: Final = Estimate(float("nan"), float("nan"), float("nan"), 0).text()
#: What a change is called above its two columns.
_CHANGES: Final = {
    "signals": "other signals",
    "order": "order",
    "instruction": "instruction",
    "distractors": "distractors",
    "model": "second model",
}
# Of what was done, in a note; and characters of each.
_SHOWN: Final = 3
_LONGEST: Final = 72
_VERDICT: Final = {True: "yes", False: "no", None: _NOTHING}


def sections_of(sanity: Sanity) -> Iterator[ReportSection]:
    """Yield a section for each check that ran."""
    if sanity.randomisation is not None:
        yield _randomisation(sanity.randomisation)
    if sanity.evidence is not None:
        yield _evidence(sanity.evidence)
    if sanity.operators is not None:
        yield _operators(sanity.operators)
    if sanity.regeneration is not None:
        yield _regeneration(sanity.regeneration)
    if sanity.stability is not None:
        yield _stability(sanity.stability, sanity.signals)


def _undefined(estimate: Estimate, what: str) -> list[str]:
    return [f"{estimate.undefined} {what}"] if estimate.undefined else []


def _randomisation(found: Randomisation) -> ReportSection:
    counts = sorted({stage.randomised for stage in found.stages})
    by_key = {(stage.signal, stage.randomised): stage for stage in found.stages}
    stages = [f"{count} of {found.layers}" for count in counts]
    last_columns = ["beyond unit size", "same top unit", f"below {found.threshold:g}"]
    rows = [["signal", "unit size", *stages, *last_columns]]
    for signal, passed in found.passed.items():
        *earlier, last = (by_key[signal, count] for count in counts)
        size = found.length[signal].text().split(" ")[0] if signal in found.length else ""
        cells = [size, *(stage.correlation.text().split(" ")[0] for stage in earlier)]
        final = [last.correlation.text(), last.beyond_size.text(), last.same_top.text()]
        rows.append([signal, *cells, *final, _VERDICT[passed]])
    notes = [
        "rank correlation of the trained model's scores with unit size, then with the scores after "
        "so many decoder layers are randomised, from the last; then with unit sizes held fixed",
        "unit-size never looks at the model: that is what failing looks like",
    ]
    return "Parameter randomisation", rows, notes


def _evidence(found: Sequence[Shuffled]) -> ReportSection:
    rows = [["signal", "k", "top-k drop", "shuffled", "difference"]]
    rows += [
        [each.signal, str(each.k), each.real.text(), each.shuffled.text(), each.difference.text()]
        for each in found
    ]
    notes = ["nats; a signal that names the right units has a difference above 0"]
    for each in found:
        what = f"spans are undefined for {each.signal}, k = {each.k}"
        notes += _undefined(each.difference, what)
    return "Shuffled evidence", rows, notes


def _operators(found: OperatorAgreement) -> ReportSection:
    rows = [["operators", "units", "spans", "correlation", "same top unit"]]
    for pair in found.pairs:
        kinds = [p.group for p in found.pairs if (p.first, p.second) == (pair.first, pair.second)]
        if pair.group == ALL and len(kinds) == 2:
            continue  # of one modality, which has a row of its own
        names = f"{pair.first}, {pair.second}"
        figures = [pair.correlation.text(), pair.same_top.text()]
        rows.append([names, pair.group, str(pair.correlation.count), *figures])
    notes = ["rank correlation over units of what each, ablated alone, costs a span"]
    undefined = sum(pair.correlation.undefined for pair in found.pairs if pair.group == ALL)
    if undefined:
        notes.append(f"{undefined} spans are undefined: fewer than two units, or of one effect")
    notes += [
        f"{name} could not act on {count} responses: {reason}"
        for name, (count, reason) in found.refused.items()
    ]
    return "Agreement between ablation operators", rows, notes


def _regeneration(found: Regeneration) -> ReportSection:
    figures = {
        "spans that change though nothing is ablated": found.unablated,
        "(unit, span) pairs that change": found.changed,
        "tokens that change, share": found.edited,
        "correlation of the teacher-forced drop with change": found.with_changed,
        "correlation of the teacher-forced drop with tokens changed": found.with_edited,
        "teacher-forced drop where the span changes, nats": found.drop_if_changed,
        "teacher-forced drop where it stays, nats": found.drop_if_same,
    } | {f"spans that change without the first unit of {k}": v for k, v in found.named.items()}
    rows = [["total effect by regeneration", "value", "count"]]
    rows += [[what, each.text(), str(each.count)] for what, each in figures.items()]
    notes = ["one unit ablated at a time, at the input, for the new responses and for the drops"]
    why = "every unit changes them, none does, or the model does not write them again"
    notes += _undefined(found.with_changed, f"spans have no correlation: {why}")
    notes += [f"{name} cannot be written again: {why}" for name, why in found.refused.items()]
    return "Total effect by regeneration", rows, notes


def _stability(found: Stability, signals: Sequence[str]) -> ReportSection:
    by_key = {(row.signal, row.against): row for row in found.rows}
    changes = [each for each in CHANGES if any(row.against == each for row in found.rows)]
    rows = [
        ["signal", *(f"{_CHANGES[c]}: {what}" for c in changes for what in ("overlap", "rank"))]
    ]
    for signal in signals:
        cells = [signal]
        for change in changes:
            row = by_key.get((signal, change))
            figures = (_NOTHING, _NOTHING)
            if row is not None:
                figures = row.jaccard.text(), row.correlation.text()
            cells += figures
        rows.append(cells)
    notes = [
        "overlap: Jaccard of a statement's supports, 1 where it has none either time",
        "rank: Spearman's correlation of its unit scores; 95 % intervals over requests",
        *(f"{_CHANGES[change]}: {_some_of(done)}" for change, done in found.done.items()),
    ]
    if found.model is not None:
        notes.append(f"{_CHANGES['model']}: {found.model}")
    for pair in found.pairs:
        figures = pair.jaccard.text(), pair.correlation.text()
        notes.append(f"{pair.signal} and {pair.against}: overlap {figures[0]}, rank {figures[1]}")
    notes += _left_out(found.unchanged)
    undefined = sum(row.correlation.undefined for row in found.rows)
    if undefined:
        notes.append(f"{undefined} ranks are undefined: all units score the same")
    return "Stability of supports", rows, notes


def _some_of(done: Mapping[str, Sequence[str]]) -> str:
    """Say what was done to the requests, in a line."""
    every = list(dict.fromkeys(each for example in done.values() for each in example))
    shown = " | ".join(textwrap.shorten(each, _LONGEST) for each in every[:_SHOWN])
    return f"{shown} | … ({len(every)})" if len(every) > _SHOWN else shown


def _left_out(unchanged: Sequence[Unchanged]) -> Iterator[str]:
    """Count what is in no figure, with the first reason."""
    counts = Counter((each.change, each.signal) for each in unchanged)
    for (change, signal), count in counts.items():
        reason = next(e.reason for e in unchanged if (e.change, e.signal) == (change, signal))
        who = "" if signal is None else f" by {signal}"
        yield f"{_CHANGES[change]}: {count} requests are left out{who}: {reason}"

"""What the benchmark on the reference world reports: table, notes, and the figures behind them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from common.report import Result, Table
from common.world_samples import ALL, COLUMNS, LONG, MINUTE, REFUSAL
from omnitrace import SelectionConfig
from reference.rows import ORACLE, Collected
from reference.table import Line, best_threshold
from reference.where import where_table

__all__ = ["result_of"]


def result_of(
    given: argparse.Namespace,
    found: Collected,
    sections: Sequence[Sequence[Line]],
    more: Sequence[Line],
    usual: SelectionConfig,
) -> Result:
    """Make the table, its notes and the figures behind it.

    Parameters
    ----------
    given:
        The options of the run.
    found:
        What was collected.
    sections, more:
        The lines of the table, and those that are in the file only.
    usual:
        The selection of the first signal.
    """
    lines = [line for section in sections for line in section]
    ends = [sum(map(len, sections[: n + 1])) - 1 for n in range(len(sections))]
    kind = "validation" if given.validation else "held-out"
    world = "aligned reference world" if given.aligned else "reference world"
    notes = _notes(given, found, usual)
    if given.validation:
        notes += [_threshold(found, name) for name in given.signals]
    where = where_table(found.outcomes, found.groups, COLUMNS)
    return Result(
        name="reference",
        title=f"Attribution on the {world}: {given.samples} {kind} samples",
        quick=given.quick,
        table=Table(("measure", "method", *COLUMNS), [line.cells() for line in lines], ends),
        notes=notes,
        settings={
            "model": given.model,
            "aligned": given.aligned,
            "audio_units": given.audio_units,
            "samples": given.samples,
            "long_samples": given.long_samples,
            "signals": list(given.signals),
            "seed": given.seed,
            "selection": usual.to_dict(),
        },
        values=_counts(found)
        | {
            "scores": [line.figures() for line in lines],
            "details": [line.figures() for line in more],
            "where": where,
        },
    )


def _threshold(found: Collected, signal: str) -> str:
    rows = [
        row
        for row in found.rows[signal]
        if row.level == "span" and found.groups[row.example, row.span] & {ALL, REFUSAL}
    ]
    threshold, f1 = best_threshold(rows)
    return f"{signal}: min_grounding {threshold:.3f} would abstain best here, F1 {f1:.2f}"


def _counts(found: Collected) -> dict[str, Any]:
    """Count the statements of the ordinary samples, and what no unit names in any sample."""
    spans = [item for item in found.items if item.word is None]
    groups: dict[str, list[bool]] = {ALL: [], REFUSAL: []}
    for item in spans:
        for group in found.groups[item.example, item.span] & groups.keys():
            groups[group].append(item.prediction is not None)
    return {
        "statements": len(groups[ALL]),
        "wrong": groups[ALL].count(False),
        "refusals": len(groups[REFUSAL]),
        "refused": groups[REFUSAL].count(True),
        "unreachable": sum(item.unreachable for item in spans),
    }


def _notes(given: argparse.Namespace, found: Collected, usual: SelectionConfig) -> list[str]:
    counts = _counts(found)
    return [
        f"{counts['statements']} statements with evidence, of which {counts['wrong']} were "
        "answered wrongly; these are left out of everything below the first line, since labels "
        "judge attributions and not responses",
        f"{counts['refusals']} questions that the request does not answer, of which "
        f"{counts['refused']} were answered 'unknown'; these are in no column, and are what "
        "abstention and grounding separate from the statements of each column",
        "text, image, audio, video: statements with evidence in one part (the sound of a video is "
        "audio); two sources: sums and comparisons, of two parts; all: both",
        f"long media: the evidence lies in audio or video of at least {LONG:g} s; its column "
        f"and that of {MINUTE:g} s and more also have the statements of {given.long_samples} "
        "requests drawn for their long medium, which count nowhere else",
        "top-1: the unit of highest mass at the value word's tokens names the evidence; F1: of "
        "the supports of the sentence against the units that name the evidence; cite-F1: of the "
        "share of the supports that show what bears the value, and the share of the sources that "
        "one of them shows; Time-F1: of their seconds, where the evidence has seconds; AUPRC: of "
        "the units' masses in the sentence, before any selection; means over sentences",
        f"rollout, gate, … on or off, and what else is no signal: {given.signals[0]} with that one "
        "rule changed, on the same scores; F1 change: minus the F1 with all rules as usual, on the "
        "same statements",
        "grounding AUROC: the chance that a refusal has a lower grounding than a statement; "
        "abstention F1, fitted: of a grounding below the threshold that is best for the other half "
        f"of the samples; abstention F1: of 'ungrounded', min_grounding {usual.min_grounding:g} "
        "(the default signal's own; the others are traced with 0)",
        "a unit names the evidence if more than half of the smaller of the two lies in the "
        f"other; {counts['unreachable']} sources have no such unit and count as missed",
        "intervals: 95 %, bootstrap over samples",
        f"{given.signals[0]} is traced while the model writes, the others replay the same tokens",
        "random unit: one unit of the request, seeded; longest unit: the one of most tokens; "
        "position prior: the most frequent place of the true units of the other samples; it "
        "knows the modality",
        f"{ORACLE}: all units that hold at least a tenth of the smaller of the two, the unit or "
        "what bears the value; it knows the labels, and says what strict F1 can be",
    ]

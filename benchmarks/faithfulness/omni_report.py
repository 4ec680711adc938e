"""What the benchmark of faithfulness on the reference world reports."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from common.report import Result
from common.scoring import mean
from common.world import GROUPS
from faithfulness.table import (
    SIZED,
    judging_notes,
    of_group,
    ordered,
    table_of,
    values_of,
    verdicts,
)

if TYPE_CHECKING:
    from faithfulness.run import Found

__all__ = ["result_of"]

WHAT: Final = "requests"
_SAID: Final = {
    "attention": "when units are hidden from every later position (operator attention)",
    "mean": "when the embeddings of units become the mean of their modality (operator mean)",
    "input": "when sentences are dropped, cells greyed, seconds of audio silenced and of video "
    "frozen, and the request is encoded again",
}


def result_of(
    found: Found, given: argparse.Namespace, passed_over: int, fewest_units: int
) -> Result:
    """Make the table, its notes and the figures behind it.

    Parameters
    ----------
    found:
        What the run found out.
    given:
        The options of the run.
    passed_over, fewest_units:
        How many requests could not be judged, with fewer units than these or no response.
    """
    kind = "validation" if given.validation else "held-out"
    by_group = {
        name: [mean(of_group(found.judged, group), name, SIZED).text() for group in GROUPS]
        for name in ordered(found)
    }
    settings = (
        "model",
        "examples",
        "masks",
        "oracle_examples",
        "oracle_masks",
        "new_tokens",
        "ks",
        "operator",
        "validation",
        "threads",
    )
    return Result(
        name="faithfulness_omni",
        title=f"Reference model: faithfulness on {len(found.judged)} {kind} requests of text, "
        "images, audio and video",
        quick=given.quick,
        table=table_of(found, [f"one size: {group}" for group in GROUPS], by_group),
        notes=[*verdicts(found, WHAT), *_notes(found, given, passed_over, fewest_units)],
        settings={name: getattr(given, name) for name in settings},
        values=values_of(found) | {"passed_over": passed_over},
    )


def _notes(
    found: Found, given: argparse.Namespace, passed_over: int, fewest_units: int
) -> list[str]:
    counts = ", ".join(f"{group} {found.grouped[group]}" for group in GROUPS)
    return [
        f"{found.spans} sentences of the model's own greedy responses ({found.answer_tokens} "
        "tokens in all), right or wrong; units are sentences of notes, cells of images and seconds "
        f"of audio and video; {passed_over} requests between these were passed over, with no "
        f"response or fewer than {fewest_units} units, which allow of too few masks",
        f"f is the teacher-forced log-probability of a response's sentence in nats "
        f"{_SAID[given.operator]}",
        f"one size: text, image, …: LDS at one size of the sentences that are right, by where "
        f"their evidence lies (the sound of a video is audio; two sources: sums and comparisons); "
        f"sentences: {counts}",
        "captum: its methods as our signals, with the passes in brackets; those that ablate units "
        "hide them, whatever the operator here; a top-k drop is of the sentences whose mask "
        "they did not draw",
        "context-cite, at2, inseq and captum's own text interface take units of text only and "
        "have no row; faithfulness_text has them",
        *judging_notes(found, given.masks, given.oracle_masks, WHAT),
    ]

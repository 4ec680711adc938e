"""The table of citations, its bars, and what it says in words."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from citations.cases import KINDS
from citations.scoring import NonePart, Place
from common.report import Bar, Result, Table

if TYPE_CHECKING:
    from citations.cases import Case
    from citations.run import Found
    from omnitrace.evaluation import Estimate

__all__ = ["COLUMNS", "result_of"]

VERIFIED: Final = "verified"
PEER: Final = "context-cite"
PLACES: Final[tuple[Place, ...]] = get_args(Place)
COLUMNS: Final = (
    "method",
    "verbatim",
    "paraphrased",
    "two sources",
    "both of two",
    "well known",
    *PLACES,
    "all [95 %]",
    f"− {PEER}",  # noqa: RUF001
    "none P, R",
    "none F1 [95 %]",
    "bias [95 %]",
    "moved",
    "passes",
    "s",
    "÷ writing",
)

_PRECISION_RECALL: Final[tuple[NonePart, ...]] = ("precision", "recall")
_SINGLE: Final = ("verbatim", "paraphrased")
#: Shares of statements that may be wrong.
_LIMITS: Final = {"verbatim": 0.05, "paraphrased": 0.10}
_NONE_LIMIT: Final = 0.15
_MOVED_LIMIT: Final = 0.02


def result_of(
    found: Sequence[Found],
    cases: Sequence[Case],
    given: argparse.Namespace,
    digest: str,
    notes: Sequence[str],
) -> Result:
    """Make the result of all models."""
    several = len(found) > 1
    rows, sections = [], []
    for each in found:
        peer = _peer(each)
        for method in each.judged:
            name = f"{method}, {each.model}" if several else method
            rows.append([name, *_cells(each, method, peer)])
        sections.append(len(rows) - 1)
    statements = sum(len(case.statements) for case in cases)
    return Result(
        name="citations",
        title=f"Citations of {' and '.join(each.model for each in found)}: {statements} statements "
        f"in {len(cases)} cases ({given.split}) of up to {given.documents} documents",
        quick=given.quick,
        table=Table(COLUMNS, rows, sections[:-1]),
        notes=[*_READ, *notes, *(note for each in found for note in _notes(each))],
        bars=[bar for each in found if VERIFIED in each.judged for bar in _bars(each)],
        settings={
            name: getattr(given, name)
            for name in ("split", "cases", "documents", "model", "shuffles", "threads", "timing")
        }
        | {"documents_sha256": digest},
        values={each.model: {name: _values(each, name) for name in each.judged} for each in found},
    )


_READ: Final = (
    "Right: the document named first is one that the statement rests on; verbatim to all: share of "
    "the statements that are in the documents and that a language model cannot know, with their "
    "evidence in the first document, the last one, or between. Both of two: share of the two "
    "documents that is named. Well known: no document, or a right one first, for what a language "
    f"model may know. − {PEER}: paired difference of all to its best row.",  # noqa: RUF001
    "None: no document is named where none says it. Bias: how much more often than by chance a "
    "wrong document is the first one. Moved: another document, or none, is named first when the "
    "documents are shuffled.",
    "Passes over prompt and response; tokens from a shared prefix are free, those of a gradient "
    "count twice more. ÷ writing: seconds over those of writing as many tokens. Intervals: 95 %, "
    "bootstrap over cases.",
)


def _peer(found: Found) -> str | None:
    """Name the row that the others are compared with: the best of context-cite."""
    rows = [name for name in found.judged if name.startswith(PEER)]
    return max(rows, key=lambda name: found.figures(name).right().value, default=None)


def _cells(found: Found, method: str, peer: str | None) -> list[str]:
    figures = found.figures(method)
    seconds, over_writing = _timed(found, method)
    against = figures.better_than(found.figures(peer)).text() if peer not in (None, method) else ""
    return [
        *(_share(figures.right(kinds=[kind])) for kind in (*_SINGLE, "two-sources")),
        _share(figures.both()),
        _share(figures.known()),
        *(_share(figures.right(kinds=_SINGLE, place=place)) for place in PLACES),
        figures.right().text(),
        against,
        ", ".join(_share(figures.none(part)) for part in _PRECISION_RECALL),
        figures.none("f1").text(),
        figures.bias().text(),
        _share(figures.moved()),
        f"{_mean_passes(found, method):.1f}",
        "" if seconds is None else f"{seconds:.2f}",
        "" if over_writing is None else f"{over_writing:.1f}",
    ]


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" if estimate.count else estimate.text()


def _mean_passes(found: Found, method: str) -> float:
    return statistics.fmean(each.passes for each in found.named[method])


def _timed(found: Found, method: str) -> tuple[float, float] | tuple[None, None]:
    """Return the mean seconds of a method, and all over those of writing, if they were timed."""
    if not found.writing:
        return None, None
    seconds = [each.seconds for each in found.named[method]]
    return statistics.fmean(seconds), sum(seconds) / sum(found.writing)


def _bars(found: Found) -> list[Bar]:
    figures = found.figures(VERIFIED)

    def bar(what: str, value: float, limit: float) -> Bar:
        return Bar(f"{found.model}, {VERIFIED}: {what}", value, limit)

    bars = [
        bar(
            f"share of {kind} statements with evidence {place} that name another or no document",
            1 - estimate.value,
            limit,
        )
        for kind, limit in _LIMITS.items()
        for place in PLACES
        if (estimate := figures.right(kinds=[kind], place=place)).count
    ]
    if (none := figures.none("f1")).count:
        bars.append(bar("what the F1 of naming none lacks of 1", 1 - none.value, _NONE_LIMIT))
    if (bias := figures.bias()).count:
        bars.append(bar("lower end of the position bias", bias.low, 0.0))
    if (moved := figures.moved()).count:
        bars.append(bar("share of statements that shuffling moves", moved.value, _MOVED_LIMIT))
    wrong = found.berlin_paris[VERIFIED][:1] == ["berlin"]
    return [*bars, bar("Berlin named first for Paris", float(wrong), 0.0)]


def _notes(found: Found) -> list[str]:
    named = {
        method: ", ".join(documents) or "none" for method, documents in found.berlin_paris.items()
    }
    said = "; ".join(f"{method}: {documents}" for method, documents in named.items())
    return [
        f"Named for “Paris is the capital of France.”, Berlin's document first, {found.model}: "
        f"{said}.",
        *(f"{method} has no row, {found.model}: {why}" for method, why in found.refused.items()),
    ]


def _values(found: Found, method: str) -> Mapping[str, Any]:
    figures = found.figures(method)
    parts: tuple[NonePart, ...] = get_args(NonePart)
    seconds, over_writing = _timed(found, method)
    right = {
        f"{kind}-{place}": figures.right(kinds=[kind], place=place).figures()
        for kind in _SINGLE
        for place in PLACES
    }
    return {
        "right": {"all": figures.right().figures()}
        | {kind: figures.right(kinds=[kind]).figures() for kind in KINDS[:3]}
        | right,
        "right_by_documents": {
            str(count): figures.right(count=count).figures() for count in _counts(found, method)
        },
        "both": figures.both().figures(),
        "known": figures.known().figures(),
        "left_empty": {kind: figures.left_empty(kind).figures() for kind in KINDS},
        "none": {part: figures.none(part).figures() for part in parts},
        "bias": figures.bias().figures(),
        "moved": figures.moved().figures(),
        "passes": _mean_passes(found, method),
        "seconds": seconds,
        "over_writing": over_writing,
        "berlin_paris": found.berlin_paris[method],
    }


def _counts(found: Found, method: str) -> list[int]:
    return sorted({each.count for case in found.judged[method] for each in case})

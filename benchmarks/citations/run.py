"""Every method on every case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from citations.cases import BERLIN_PARIS
from citations.naming import writing_seconds
from citations.scoring import Figures, Judged, judge
from common.report import BenchmarkError
from omnitrace import OmnitraceError

if TYPE_CHECKING:
    from citations.cases import Case
    from citations.naming import Namer, Naming
    from common.examples import Subject

__all__ = ["Found", "judge_all"]


@dataclass(slots=True)
class Found:
    """What was found out with one model.

    ``named`` are the namings of each method, one for each case, ``berlin_paris`` the documents
    named for that request, ``writing`` the seconds for writing each response (empty: nothing is
    timed), ``refused`` what a method said that cannot be run.
    """

    model: str
    judged: dict[str, list[list[Judged]]] = field(default_factory=dict)
    named: dict[str, list[Naming]] = field(default_factory=dict)
    berlin_paris: dict[str, list[str]] = field(default_factory=dict)
    writing: list[float] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def figures(self, method: str) -> Figures:
        """Return the figures of a method."""
        return Figures(self.judged[method])


def judge_all(
    model: str,
    subject: Subject,
    namers: Sequence[Namer],
    cases: Sequence[Case],
    shuffles: int,
    *,
    timing: bool = True,
) -> Found:
    """Run every method on every case, and on the same cases with their documents shuffled."""
    from rich.progress import track

    found = Found(model)
    found.writing = [writing_seconds(subject, case) for case in cases if timing]
    for namer in namers:
        judged: list[list[Judged]] = []
        named: list[Naming] = []
        try:
            namer.prepare(subject)
            example = namer.name_documents(subject, BERLIN_PARIS)
            for case in track(cases, description=f"{model}: {namer.name}"):
                naming = namer.name_documents(subject, case)
                others = [case.shuffled(seed) for seed in range(shuffles)]
                again = [(other, namer.name_documents(subject, other)) for other in others]
                judged.append(judge(case, naming, again))
                named.append(naming)
        except (BenchmarkError, OmnitraceError) as error:
            found.refused[namer.name] = str(error).splitlines()[0]
            continue
        found.judged[namer.name], found.named[namer.name] = judged, named
        ids = [each.id for each in BERLIN_PARIS.documents]
        found.berlin_paris[namer.name] = [ids[index] for index in example.documents[0]]
    return found

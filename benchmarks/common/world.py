"""Requests of the reference world, and which spans of a response rest on what kind of evidence."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from common.report import BenchmarkError
from common.world_samples import TWO, Drawn, groups_of
from omnitrace.evaluation.labels.matching import match_spans
from omnitrace.reference.assets import GLYPHS_FILE, SPEECH_FILE
from omnitrace.reference.files import labels, write_sample
from omnitrace.reference.world import (
    MODALITIES,
    Sample,
    held_out_seed,
    make_sample,
    validation_seed,
)

if TYPE_CHECKING:
    from common.examples import Example, Subject

__all__ = [
    "FEWEST_UNITS",
    "GROUPS",
    "WorldRequest",
    "answered",
    "asked",
    "draw_requests",
    "evidence_groups",
]

#: Where the evidence of a span lies; the sound of a video is audio.
GROUPS: Final = (*MODALITIES, TWO)
#: Fewer units allow of too few masks to fit and judge with different ones.
FEWEST_UNITS: Final = 10
_PATIENCE: Final = 20  # requests in a row that cannot be judged


@functools.cache
def _assets() -> str:
    """Return a SHA-256 of what the world draws and speaks its digits with."""
    return hashlib.sha256(SPEECH_FILE.read_bytes() + GLYPHS_FILE.read_bytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class WorldRequest:
    """A sample, and the folder that its files are written to when they are first needed."""

    sample: Sample
    folder: Path

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.sample.id

    @property
    def key(self) -> dict[str, Any]:
        """What the request follows from, beside the code of the world."""
        return {"messages": self.sample.messages, "seed": self.sample.seed, "assets": _assets()}

    @functools.cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The request, media as paths of files that exist."""
        write_sample(self.sample, self.folder)
        messages = self.sample.messages
        for part in messages[0]["content"]:
            if part["type"] != "text":
                part[part["type"]] = str(self.folder / part[part["type"]])
        return messages


def draw_requests(folder: Path, *, validation: bool, first: int = 0) -> Iterator[WorldRequest]:
    """Yield requests without long media, without end; each has a folder of its own.

    Parameters
    ----------
    folder:
        Where the folders are made.
    validation:
        Draw from the seeds for choices, not from those for figures.
    first:
        Number of the first one.
    """
    seed_of = validation_seed if validation else held_out_seed
    for number in itertools.count(first):
        sample = make_sample(seed_of(number), long=False)
        yield WorldRequest(sample, folder / sample.id)


def answered(
    subject: Subject, count: int, folder: Path, *, validation: bool, first: int = 0
) -> tuple[list[Example], int]:
    """Let the model answer requests; return those that can be judged, and how many cannot be.

    Parameters
    ----------
    subject:
        The model.
    count:
        How many are wanted.
    folder:
        Where the files of requests are written, if they are needed.
    validation:
        Whether to draw requests for choices.
    first:
        Number of the first request.

    Raises
    ------
    BenchmarkError
        If the model cannot answer them.
    """
    from rich.progress import track

    requests = draw_requests(folder, validation=validation, first=first)
    found, passed_over = [], 0
    for _ in track(range(count), description="answering"):
        example, others = _next_example(subject, requests)
        found.append(example)
        passed_over += others
    return found, passed_over


def asked(subject: Subject, request: WorldRequest) -> Example | None:
    """Let the model answer a request; None if that cannot be judged.

    Raises
    ------
    BenchmarkError
        If the model cannot answer it.
    """
    from omnitrace.errors import OmnitraceError

    try:
        example = subject.ask(request)
    except OmnitraceError as error:  # such as a request that is too long for other weights
        raise BenchmarkError(f"{request.id}: {error}") from error
    return example if example.spans and len(example.trace.units) >= FEWEST_UNITS else None


def _next_example(subject: Subject, requests: Iterator[WorldRequest]) -> tuple[Example, int]:
    """Answer requests up to the first that can be judged; say how many before it cannot be."""
    for others, request in enumerate(itertools.islice(requests, _PATIENCE)):
        example = asked(subject, request)
        if example is not None:
            return example, others
    raise BenchmarkError(
        f"{_PATIENCE} requests in a row have no response, or fewer than {FEWEST_UNITS} units: "
        "is the model trained?"
    )


def evidence_groups(example: Example) -> dict[str, np.ndarray]:
    """Say where the evidence of each span lies: by group, bool ``[S]``.

    A span that the world would not say, because it is wrong, and one that rests on nothing
    ("unknown"), are in no group.
    """
    assert isinstance(example.request, WorldRequest)
    sample = example.request.sample
    places = {span.index: place for place, span in enumerate(example.spans)}
    found = {group: np.zeros(len(places), dtype=bool) for group in GROUPS}
    said = match_spans(labels(sample), example.trace)
    for statement, span in zip(sample.statements, said, strict=True):
        if span is None or span.index not in places:
            continue
        for group in groups_of(Drawn(sample, ordinary=True), statement) & found.keys():
            found[group][places[span.index]] = True
    return found

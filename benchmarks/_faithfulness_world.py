"""Requests of the reference world, and which spans of an answer rest on what kind of evidence."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from _reference_samples import TWO, Drawn, groups_of

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
    from _examples import Example

__all__ = ["GROUPS", "WorldRequest", "draw_requests", "evidence_groups"]

#: Where the evidence of a span lies; the sound of a film is audio.
GROUPS: Final = (*MODALITIES, TWO)


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

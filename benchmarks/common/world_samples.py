"""Which samples of the reference world are measured, and which groups their statements are in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from omnitrace.evaluation.labels.schema import Source, TimeSource
from omnitrace.reference.scenes import Audio, Video
from omnitrace.reference.world import (
    MODALITIES,
    Sample,
    Statement,
    held_out_seed,
    make_sample,
    modality_of,
    validation_seed,
)

__all__ = [
    "ALL",
    "COLUMNS",
    "LONG",
    "MINUTE",
    "REFUSAL",
    "TWO",
    "Drawn",
    "draw_samples",
    "groups_of",
    "medium_seconds",
]

#: Seconds from which on audio or video is long, and those of the longest ones.
LONG: Final = 20.0
MINUTE: Final = 60.0

ALL: Final = "all"
TWO: Final = "two sources"
REFUSAL: Final = "refusal"
_LONG_GROUP: Final = "long media"
_MINUTE_GROUP: Final = f"{MINUTE:g} s and more"

#: The groups that are columns of the table, in their order.
COLUMNS: Final = (*MODALITIES, TWO, _LONG_GROUP, _MINUTE_GROUP, ALL)

# Numbers from which on samples are drawn for their long medium, apart from the ordinary ones.
_FROM: Final = {LONG: 1_000_000, MINUTE: 2_000_000}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample; one that is not ``ordinary`` was drawn for its long medium, and counts there only.

    Otherwise there would be more long media among all statements than the world has.
    """

    sample: Sample
    ordinary: bool


def draw_samples(
    count: int, long_count: int, *, validation: bool, aligned: bool = False
) -> list[Drawn]:
    """Draw samples as they come, and more of them that ask about a long audio or video.

    Parameters
    ----------
    count:
        Ordinary samples: the seeds numbered from 0 on.
    long_count:
        Samples with a statement whose evidence lies in a long medium; half of them ask about one
        of a minute and more, which is rare.
    validation:
        Draw from the seeds for choices, not from those for figures.
    aligned:
        Draw from the aligned world, in which evidence lies within whole units.
    """
    seed_of = validation_seed if validation else held_out_seed
    drawn = [
        Drawn(make_sample(seed_of(number), aligned=aligned), ordinary=True)
        for number in range(count)
    ]
    halves = {MINUTE: long_count // 2, LONG: long_count - long_count // 2}
    for seconds, wanted in halves.items():
        found = _long_samples(seed_of, seconds, aligned)
        drawn += [Drawn(sample, ordinary=False) for sample in itertools.islice(found, wanted)]
    return drawn


def _long_samples(seed_of: Callable[[int], int], seconds: float, aligned: bool) -> Iterator[Sample]:
    """Yield samples with a statement about a medium of at least so many seconds, without end."""
    for number in itertools.count(_FROM[seconds]):
        sample = make_sample(seed_of(number), long=True, aligned=aligned)
        if any(medium_seconds(sample, each) >= seconds for each in sample.statements):
            yield sample


def medium_seconds(sample: Sample, statement: Statement) -> float:
    """Return the length of the medium that the evidence lies in, the shortest of several.

    It is 0 where any evidence is in a note or an image, and where there is none.
    """
    scenes = [sample.scenes[source.part] for source in statement.sources]
    return min(
        (scene.seconds if isinstance(scene, Audio | Video) else 0.0 for scene in scenes),
        default=0.0,
    )


def groups_of(drawn: Drawn, statement: Statement) -> frozenset[str]:
    """Return the groups that a statement is in.

    They are those of :data:`COLUMNS`, :data:`REFUSAL`, "category: …", and for a long medium which
    kind it is. A statement without evidence is a refusal and in no column; one with evidence in two
    parts is in no modality's column.
    """
    category = f"category: {statement.category}"
    if not statement.sources:
        return frozenset({REFUSAL, category} if drawn.ordinary else ())
    found = set()
    if drawn.ordinary:
        several = len({source.part for source in statement.sources}) > 1
        kind = TWO if several else _modality(drawn.sample, statement.sources[0])
        found |= {ALL, kind, category}
    seconds = medium_seconds(drawn.sample, statement)
    if seconds >= LONG:
        scene = drawn.sample.scenes[statement.sources[0].part]
        found |= {_LONG_GROUP, f"long {'video' if isinstance(scene, Video) else 'audio'}"}
    if seconds >= MINUTE:
        found.add(_MINUTE_GROUP)
    return frozenset(found)


def _modality(sample: Sample, source: Source) -> str:
    """Say where evidence is; the sound of a video is "audio"."""
    if isinstance(source, TimeSource):
        return source.stream or modality_of(sample.scenes[source.part])
    return source.type

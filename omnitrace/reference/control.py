"""The control of the reference world: the same request with its evidence removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.reference.questions import Scene
from omnitrace.reference.scenes import Appearance, Audio, Fact, Image, Note, Video
from omnitrace.reference.world import Sample, Statement

__all__ = ["without_evidence"]

NOTHING: Final = "Nobody came to the door."
_ROUNDED: Final = 0.006  # seconds; sources name times in hundredths


def without_evidence(sample: Sample) -> Sample:
    """Take the evidence of every statement away and leave all else as it is.

    A fact's sentence leaves the note, an item its image, an event its audio or track, an
    appearance its video. The questions and the right answer stay; nothing supports them.
    """
    evidence = [source for statement in sample.statements for source in statement.sources]
    return dataclasses.replace(
        sample,
        scenes=tuple(
            _bare(scene, [source for source in evidence if source.part == part])
            for part, scene in enumerate(sample.scenes)
        ),
        statements=tuple(_unsupported(statement) for statement in sample.statements),
    )


def _unsupported(statement: Statement) -> Statement:
    values = tuple(dataclasses.replace(value, sources=()) for value in statement.values)
    return dataclasses.replace(statement, values=values, sources=())


def _bare(scene: Scene, evidence: Sequence[Source]) -> Scene:
    if isinstance(scene, Note):
        return _cut(scene, {(s.start, s.end) for s in evidence if isinstance(s, TextSource)})
    if isinstance(scene, Image):
        boxes = {source.box for source in evidence if isinstance(source, ImageSource)}
        kept = tuple(item for item in scene.items if item.box not in boxes)
        return dataclasses.replace(scene, items=kept)
    times = [source for source in evidence if isinstance(source, TimeSource)]
    if isinstance(scene, Audio):
        return _silenced(scene, times)
    return _blanked(scene, times)


def _cut(note: Note, ranges: set[tuple[int | None, int | None]]) -> Note:
    text = note.text
    for fact in sorted(note.facts, key=lambda fact: fact.start, reverse=True):
        if (fact.start, fact.end) in ranges:
            text = f"{text[: fact.start].rstrip()} {text[fact.end :].lstrip()}".strip()
    facts: list[Fact] = []
    for fact in note.facts:
        if (fact.start, fact.end) not in ranges:
            sentence = note.text[fact.start : fact.end]
            start = text.index(sentence)
            facts.append(dataclasses.replace(fact, start=start, end=start + len(sentence)))
    return Note(text or NOTHING, tuple(facts))


def _silenced(audio: Audio, times: Sequence[TimeSource]) -> Audio:
    heard = [(source.start, source.end) for source in times]
    kept = tuple(
        event
        for event in audio.events
        if not any(_near(event.start, a) and _near(event.end, b) for a, b in heard)
    )
    return dataclasses.replace(audio, events=kept)


def _blanked(video: Video, times: Sequence[TimeSource]) -> Video:
    shown = [source for source in times if source.stream != "audio"]
    kept = tuple(
        seen
        for seen in video.appearances
        if not any(_shared(seen, source) > _ROUNDED for source in shown)
    )
    heard = [source for source in times if source.stream == "audio"]
    sound = None if video.sound is None else _silenced(video.sound, heard)
    return dataclasses.replace(video, appearances=kept, sound=sound)


def _shared(seen: Appearance, source: TimeSource) -> float:
    return min(seen.end, source.end) - max(seen.start, source.start)


def _near(time: float, rounded: float) -> bool:
    return abs(time - rounded) < _ROUNDED

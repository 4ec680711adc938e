"""The control of the reference world: the same request with its evidence taken away."""

from __future__ import annotations

import dataclasses
from typing import Final

from omnitrace.reference.scenes import Audio, Fact, Image, Note, Video
from omnitrace.reference.world import BoxEvidence, Sample, SecondsEvidence

__all__ = ["without_evidence"]

NOTHING: Final = "Nobody came to the door."
GREY: Final = (128, 128, 128)


def without_evidence(sample: Sample) -> Sample:
    """Take the evidence of every statement away and leave all else as it is.

    A fact's sentence leaves the note, a shape leaves its cell, a second of sound falls silent, a
    second of film turns grey. The questions and the right answer stay; nothing supports them.
    """
    ranges: set[tuple[int, int]] = set()
    boxes: set[tuple[int, int, int, int]] = set()
    sounds: set[int] = set()
    frames: set[int] = set()
    for statement in sample.statements:
        for evidence in statement.evidence:
            if isinstance(evidence, BoxEvidence):
                boxes.add(evidence.box)
            elif isinstance(evidence, SecondsEvidence):
                seconds = sounds if sample.order[evidence.part] == "audio" else frames
                seconds.add(int(evidence.start_seconds))
            else:
                ranges.add((evidence.start, evidence.end))
    return dataclasses.replace(
        sample,
        note=_cut(sample.note, ranges) if sample.note else None,
        image=_clear(sample.image, boxes) if sample.image else None,
        audio=_silence(sample.audio, sounds) if sample.audio else None,
        video=_blank(sample.video, frames) if sample.video else None,
        statements=tuple(dataclasses.replace(s, evidence=()) for s in sample.statements),
    )


def _cut(note: Note, ranges: set[tuple[int, int]]) -> Note:
    text = note.text
    for start, end in sorted(ranges, reverse=True):
        text = (text[:start].rstrip() + " " + text[end:].lstrip()).strip()
    facts: list[Fact] = []
    for fact in note.facts:
        if (fact.start, fact.end) not in ranges:
            sentence = note.text[fact.start : fact.end]
            start = text.index(sentence)
            facts.append(Fact(fact.name, fact.weight, start, start + len(sentence)))
    return Note(text or NOTHING, tuple(facts))


def _clear(image: Image, boxes: set[tuple[int, int, int, int]]) -> Image:
    return Image(image.background, tuple(s for s in image.shapes if s.box not in boxes))


def _silence(audio: Audio, seconds: set[int]) -> Audio:
    return Audio(
        tuple(
            dataclasses.replace(tone, name="", amplitude=0.0) if k in seconds else tone
            for k, tone in enumerate(audio.tones)
        )
    )


def _blank(video: Video, seconds: set[int]) -> Video:
    return Video(
        tuple("" if k in seconds else name for k, name in enumerate(video.colours)),
        tuple(GREY if k in seconds else rgb for k, rgb in enumerate(video.rgbs)),
    )

"""Audio and video units: the stretches of a unitizer, or the user's own seconds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from omnitrace.errors import ConformanceError, InputError
from omnitrace.sources.token_map import TimeTokens, UnitDraft
from omnitrace.sources.unitizers.base import (
    FeatureSource,
    TimeUnitizer,
    check_positive,
    checked_labels,
    no_features,
)
from omnitrace.sources.unitizers.user_defined import intervals, name_of
from omnitrace.speech.utterances import Utterance, joined_text, said_in, speakers_of
from omnitrace.types import Modality, TimeRange

__all__ = ["Bins", "centre", "time_units"]

# Token centres that should fall on a bin's edge may miss it by rounding.
_EPSILON = 1e-9


def centre(tokens: TimeTokens, index: int) -> float:
    """Return the middle of the seconds of a token that lie within the medium."""
    start, end = tokens.intervals[index]
    end = min(end, tokens.duration)
    return max(start, (start + end) / 2) if end > start else min(start, tokens.duration)


def _cover(tokens: TimeTokens, members: Sequence[int]) -> tuple[float, float]:
    """Return the seconds that the tokens carry, within the medium."""
    start = min(tokens.intervals[i][0] for i in members)
    end = max(tokens.intervals[i][1] for i in members)
    return min(start, tokens.duration), min(end, tokens.duration)


@dataclass(frozen=True)
class Bins(TimeUnitizer):
    """Stretches of equal length; a token belongs to the one that its middle lies in.

    Parameters
    ----------
    seconds:
        Length of a bin. A token that is longer than a bin is a unit of its own.
    """

    seconds: float = 1.0

    name: ClassVar[str] = "bins"

    def __post_init__(self) -> None:
        check_positive(self.name, self.seconds, "seconds")

    def cut(self, streams: Sequence[TimeTokens], features: FeatureSource) -> list[np.ndarray]:
        """Return int ``[tokens]`` for each stream: the number of the bin."""
        duration = max(stream.duration for stream in streams)
        last = max(0, int((duration - _EPSILON) / self.seconds)) if duration > 0 else 0
        return [
            np.array(
                [
                    min(last, int(centre(stream, i) / self.seconds + _EPSILON))
                    for i in range(len(stream.positions))
                ],
                dtype=np.int64,
            )
            for stream in streams
        ]


def _stretched(
    unitizer: TimeUnitizer, streams: Sequence[TimeTokens], features: FeatureSource
) -> list[list[int]]:
    """Return the tokens of each stretch that a unitizer makes, numbered through all streams."""
    sizes = [len(stream.positions) for stream in streams]
    if not sum(sizes):
        return []
    given = unitizer.cut(streams, features)
    if len(given) != len(streams):
        raise ConformanceError(
            f"the unitizer {unitizer.name!r}",
            "one array of labels for each stream",
            f"gave {len(given)} for {len(streams)}",
        )
    for stream, labels in zip(streams, given, strict=True):
        checked_labels(unitizer, labels, len(stream.positions))
        in_time = sorted(range(len(labels)), key=functools.partial(centre, stream))
        if (np.diff(np.asarray(labels)[in_time]) < 0).any():
            raise ConformanceError(
                f"the unitizer {unitizer.name!r}",
                "stretches of time, numbered in their order",
                "gave a later token a smaller number",
            )
    labels = np.concatenate([np.asarray(labels) for labels in given])
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def time_units(
    streams: Sequence[TimeTokens],
    unitizer: TimeUnitizer,
    features: FeatureSource = no_features,
    *,
    modality: Modality | None = None,
    with_words: bool = True,
) -> list[UnitDraft]:
    """Cut one medium's streams into units of time.

    Parameters
    ----------
    streams:
        The token streams that share units: one, or the pictures and the sound of a video where
        both are to be cited as one.
    unitizer:
        Cuts media without seconds of the user's own.
    features:
        Gives it the features of a stream's tokens, if it asks.
    modality:
        Modality of the units; by default that of the first stream.
    with_words:
        Whether units get what is said in them, where the unitizer knows.

    Returns
    -------
    list[UnitDraft]
        In order of time. A unit's locator is what its tokens really carry, so where a token is
        longer than a bin, so is the unit. With the user's own seconds the locator is the user's,
        and stretches outside them become further units.
    """
    merged = streams[0] if len(streams) == 1 else _merge(streams)
    part = merged.part
    kind = modality or merged.modality

    def draft(
        members: Sequence[int], span: tuple[float, float], own_id: str | None = None
    ) -> UnitDraft:
        frames: set[int] = set()
        for index in members:
            frames.update(merged.frames[index] if merged.frames is not None else ())
        return UnitDraft(
            modality=kind,
            locator=TimeRange(part.message, part.part, *span, frames=tuple(sorted(frames))),
            positions=tuple(sorted(merged.positions[index] for index in members)),
            source_id=part.source_id,
            own_id=own_id,
        )

    said = unitizer.said(streams) if with_words else ()
    if not part.units:
        stretches = _stretched(unitizer, streams, features)
        return _with_words([draft(members, _cover(merged, members)) for members in stretches], said)
    chosen = intervals(part, merged.duration, "seconds")
    drafts: list[UnitDraft] = []
    taken: set[int] = set()
    for start, end, own_id in chosen:
        members = [i for i in range(len(merged.positions)) if start <= centre(merged, i) < end]
        if not members:
            token = merged.intervals[0]
            raise InputError(
                f"{name_of(part)} has the unit [{start:g}, {end:g}] s, which no token carries",
                legal=f"units of at least {token[1] - token[0]:g} s",
            )
        taken.update(members)
        drafts.append(draft(members, (start, end), own_id))
    outside = [
        i
        for i in sorted(range(len(merged.positions)), key=lambda i: merged.intervals[i])
        if i not in taken
    ]
    drafts += [draft(members, _cover(merged, members)) for members in _stretches(merged, outside)]
    return _with_words(drafts, said)


def _with_words(drafts: list[UnitDraft], said: Sequence[Utterance]) -> list[UnitDraft]:
    """Put the units in order of time, each with what is said in it."""
    ordered = sorted(drafts, key=lambda draft: _seconds(draft)[0])
    if not any(each.text or each.speaker for each in said):
        return ordered
    shared = said_in([_seconds(draft) for draft in ordered], said)
    return [
        dataclasses.replace(
            draft, transcript=joined_text(spoken) or None, speaker=speakers_of(spoken)
        )
        for draft, spoken in zip(ordered, shared, strict=True)
    ]


def _seconds(draft: UnitDraft) -> tuple[float, float]:
    assert isinstance(draft.locator, TimeRange)
    return draft.locator.start, draft.locator.end


def _stretches(tokens: TimeTokens, outside: list[int]) -> list[list[int]]:
    """Group tokens that no user range holds into uninterrupted stretches of time."""
    runs: list[list[int]] = []
    reached = -1.0
    for index in outside:
        start, end = tokens.intervals[index]
        if runs and start <= reached + _EPSILON:
            runs[-1].append(index)
        else:
            runs.append([index])
        reached = max(reached, end)
    return runs


def _merge(streams: Sequence[TimeTokens]) -> TimeTokens:
    first = streams[0]
    return TimeTokens(
        part=first.part,
        modality=first.modality,
        positions=[p for stream in streams for p in stream.positions],
        intervals=[i for stream in streams for i in stream.intervals],
        duration=max(stream.duration for stream in streams),
        frames=[
            frames
            for stream in streams
            for frames in (stream.frames or [()] * len(stream.positions))
        ],
    )

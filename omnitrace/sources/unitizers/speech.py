"""Speech: a unit for what is said between two pauses, or for each sentence."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from omnitrace.media import LoadedAudio, LoadedVideo
from omnitrace.sources.unitizers.base import FeatureSource, TimeUnitizer
from omnitrace.sources.unitizers.time import Bins, centre
from omnitrace.speech import (
    Recogniser,
    Stretches,
    Utterance,
    make_recogniser,
    mended,
    sentences_of,
    snapped,
    speech_between_pauses,
)

if TYPE_CHECKING:
    from omnitrace.sources.token_map import TimeTokens

__all__ = ["Speech", "Transcribed"]

_KEPT: Final = 64  # recordings whose utterances a unitizer remembers


@dataclass(frozen=True)
class Speech(TimeUnitizer):
    """Stretches of speech between pauses; with a recogniser, sentences with their words.

    Pauses are found by Silero's voice-activity network, whose weights are in the package. What is
    no speech is cut apart from it: silence, music, noise. A recording in which nobody speaks is cut
    as by ``bins``.

    Parameters
    ----------
    pause:
        Silence of at least this many seconds parts two stretches.
    shortest:
        A shorter stretch of speech joins its nearer neighbour, a shorter silence what is said
        before it (seconds).
    longest:
        A longer stretch is parted (seconds).
    asr:
        What writes down the words, ``"transformers:MODEL"``, ``"faster-whisper:MODEL"``, or a
        plugin's. None: pauses only, without words.
    """

    pause: float = 0.1
    shortest: float = 0.3
    longest: float = 15.0
    asr: str | None = None
    _recogniser: list[Recogniser] = field(
        init=False, repr=False, compare=False, default_factory=list
    )
    # A layout is made again for every question about the same recording.
    _found: dict[tuple[str, float, float], list[Utterance]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    name: ClassVar[str] = "speech"

    def __post_init__(self) -> None:
        self._stretches()
        if self.asr is not None:
            self._recogniser.append(make_recogniser(self.asr))

    def cut(self, streams: Sequence[TimeTokens], features: FeatureSource) -> list[np.ndarray]:
        """Return int ``[tokens]`` for each stream: the number of the stretch."""
        utterances = self.said(streams)
        if not utterances:
            return Bins().cut(streams, features)
        return _labels(streams, utterances, self._stretches())

    def said(self, streams: Sequence[TimeTokens]) -> list[Utterance]:
        """Return the stretches of speech, with their words where there is a recogniser."""
        audio = _sound(streams[0].part.media)
        if audio is None:
            return []
        key = audio.sha256, audio.start, audio.duration
        found = self._found.get(key)
        if found is None:
            found = self._heard(audio)
            while len(self._found) >= _KEPT:
                self._found.pop(next(iter(self._found)), None)
            self._found[key] = found
        return found

    def _heard(self, audio: LoadedAudio) -> list[Utterance]:
        return [
            replace(each, start=audio.start + each.start, end=audio.start + each.end)
            for each in self._said_from_its_start(audio)
        ]

    def _said_from_its_start(self, audio: LoadedAudio) -> list[Utterance]:
        voiced = speech_between_pauses(audio.samples, self._stretches())
        if not self._recogniser:
            return voiced
        words = sorted(self._recogniser[0].words(audio.samples), key=lambda word: word.start)
        sentences = snapped(sentences_of(words, self.longest), voiced)
        return mended(sentences, audio.duration)[0]

    def _stretches(self) -> Stretches:
        return Stretches(self.pause, self.shortest, self.longest)


@dataclass(frozen=True)
class Transcribed(TimeUnitizer):
    """The utterances of a transcript of the user's own; what it leaves out is cut apart."""

    utterances: tuple[Utterance, ...]

    name: ClassVar[str] = "transcript"

    def cut(self, streams: Sequence[TimeTokens], features: FeatureSource) -> list[np.ndarray]:
        """Return int ``[tokens]`` for each stream: the number of the utterance or gap."""
        return _labels(streams, self.utterances, Stretches())

    def said(self, streams: Sequence[TimeTokens]) -> tuple[Utterance, ...]:
        """Return the utterances."""
        return self.utterances


def _sound(media: Any) -> LoadedAudio | None:
    return media.audio if isinstance(media, LoadedVideo) else media


def _labels(
    streams: Sequence[TimeTokens], utterances: Sequence[Utterance], stretches: Stretches
) -> list[np.ndarray]:
    starts = _starts(utterances, max(stream.duration for stream in streams), stretches)
    return [
        np.array(
            [
                max(0, bisect.bisect_right(starts, centre(stream, index)) - 1)
                for index in range(len(stream.positions))
            ],
            dtype=np.int64,
        )
        for stream in streams
    ]


def _starts(utterances: Sequence[Utterance], duration: float, stretches: Stretches) -> list[float]:
    """Return where each stretch begins; together they are the whole medium."""
    starts: list[float] = []
    reached = 0.0
    for each in [*utterances, Utterance(duration, duration)]:
        gap = each.start - reached
        if gap >= stretches.shortest:
            pieces = int(np.ceil(gap / stretches.longest))
            starts += [reached + gap * piece / pieces for piece in range(pieces)]
        if each.end > each.start:
            # A short silence belongs to what is said before it, at the beginning to what follows.
            starts.append(each.start if starts else 0.0)
        reached = max(reached, each.end)
    return starts

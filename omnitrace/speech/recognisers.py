"""Speech recognisers: what says which words are spoken when. None is a dependency of the package.

A recogniser is made from ``"NAME:MODEL"``, where the name is registered by a plugin (hook
``register_recognisers``) or is one of the two of this module.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from omnitrace.errors import InputError, NotSupportedError, PluginError
from omnitrace.speech.utterances import Word
from omnitrace.speech.voice import RATE

__all__ = ["FasterWhisper", "Recogniser", "TransformersRecogniser", "make_recogniser"]


@runtime_checkable
class Recogniser(Protocol):
    """Writes down what is said."""

    def words(self, samples: np.ndarray) -> Sequence[Word]:
        """Return words with their seconds, in order of time.

        Where a recogniser times whole sentences only, each may stand as one "word".

        Parameters
        ----------
        samples:
            Float32 ``[samples]`` at 16 kHz, one channel.
        """


class FasterWhisper:
    """Whisper by faster-whisper (extra ``asr``).

    Parameters
    ----------
    model:
        A folder, or a name that faster-whisper downloads.
    """

    def __init__(self, model: str) -> None:
        library = _library("faster_whisper", "pip install 'omnitrace-attribution[asr]'")
        self._model = library.WhisperModel(model, device="cpu", compute_type="int8")

    def words(self, samples: np.ndarray) -> list[Word]:
        """Return the words, their punctuation with them."""
        segments, _ = self._model.transcribe(samples, word_timestamps=True)
        return [
            Word(float(word.start), float(word.end), word.word.strip())
            for segment in segments
            for word in segment.words or ()
        ]


class TransformersRecogniser:
    """Any model that the pipeline "automatic-speech-recognition" of transformers times words of.

    Parameters
    ----------
    model:
        A folder, or a name on the hub.
    """

    def __init__(self, model: str) -> None:
        from transformers import pipeline

        self._pipeline = pipeline("automatic-speech-recognition", model=model)

    def words(self, samples: np.ndarray) -> list[Word]:
        """Return the words, their punctuation with them."""
        given = {"raw": np.asarray(samples, dtype=np.float32), "sampling_rate": RATE}
        # Whisper parts long recordings by itself; models of the other kind are given pieces.
        pieces = {"chunk_length_s": 30} if self._pipeline.type.startswith("ctc") else {}
        found: Any = self._pipeline(given, return_timestamps="word", **pieces)
        whole = len(samples) / RATE
        words = []
        for chunk in found["chunks"]:
            start, end = chunk["timestamp"]
            if start is not None:
                last = whole if end is None else end
                words.append(Word(float(start), float(last), chunk["text"].strip()))
        return words


def make_recogniser(value: object) -> Recogniser:
    """Make or take a recogniser.

    Parameters
    ----------
    value:
        ``"NAME:MODEL"``, or a recogniser.

    Raises
    ------
    InputError
        If there is no recogniser of that name, or its model cannot be loaded.
    NotSupportedError
        If a library that it needs is not installed.
    PluginError
        If a plugin's recogniser is none.
    """
    if not isinstance(value, str):
        if isinstance(value, Recogniser):
            return value
        raise InputError(f"asr is {value!r}", legal=_legal())
    name, colon, model = value.partition(":")
    entries = _entries()
    if not colon or not model or name not in entries:
        raise InputError(f"asr is {value!r}", legal=_legal())
    try:
        made = entries[name].make(model=model)
    except PluginError as error:
        raise InputError(
            f"asr is {value!r}: {error}",
            legal="a folder with a model of that recogniser, or its name on the hub",
        ) from error
    if not isinstance(made, Recogniser):
        raise PluginError(
            f"the recogniser {name!r} of {entries[name].package!r} made a {type(made).__name__}",
            legal="an object with the method words(samples)",
        )
    return made


def _entries() -> Any:
    from omnitrace.plugins.registry import registry

    return registry().recognisers


def _legal() -> str:
    return ", ".join(f"'{name}:MODEL'" for name in sorted(_entries()))


def _library(name: str, fix: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotSupportedError(
            f"the recogniser needs {name.replace('_', '-')}, which is not installed", fix=fix
        ) from error

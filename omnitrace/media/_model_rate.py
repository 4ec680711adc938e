"""Mono samples brought to 16 kHz as they are decoded: those at their own rate need not stay.

An hour at 192 kHz takes 2.8 GB at its own rate, and 230 MB at that of the model.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import soxr

from omnitrace.errors import MediaError
from omnitrace.media.limits import MediaLimits

__all__ = ["SAMPLE_RATE", "ModelRate", "to_model_rate"]

SAMPLE_RATE: Final = 16_000
# Rates outside are mistakes (seconds or milliseconds per sample) and cost minutes to resample.
_RATES: Final = (1_000, 1_000_000)
_BLOCK: Final = 1 << 18


class ModelRate:
    """Mono float32 samples at 16 kHz, made of those that are appended.

    The result does not depend on how they are cut into pieces.

    Parameters
    ----------
    label:
        What errors call the medium.
    rate:
        Samples per second of what is appended.
    limits:
        ``max_audio_bytes`` is checked while samples come.

    Attributes
    ----------
    rate:
        As given.
    length:
        Number of samples that were appended, since the last recording began.

    Raises
    ------
    MediaError
        If the rate is a mistake; of :meth:`append`, if samples are not finite or too many.
    """

    def __init__(self, label: str, rate: float, limits: MediaLimits) -> None:
        if not _RATES[0] <= rate <= _RATES[1]:
            raise MediaError(
                f"{label} has a sample rate of {rate!r} Hz",
                legal=f"a rate from {_RATES[0]} to {_RATES[1]} Hz",
                fix="pass the number of samples per second",
            )
        self.rate = rate
        self.length = 0
        self._before = 0
        self._label = label
        self._limits = limits
        self._waiting: list[np.ndarray] = []
        self._waits = 0
        self._chunks: list[np.ndarray] = []
        self._stream = None
        if rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(
                rate, SAMPLE_RATE, 1, dtype="float32", quality="soxr_hq"
            )

    @classmethod
    def behind(
        cls, before: ModelRate | None, label: str, rate: float, limits: MediaLimits
    ) -> ModelRate:
        """Return what a recording is appended to: the one before it, where it has the same rate."""
        if before is None or before.rate != rate:
            return cls(label, rate, limits)
        before._before += before.length
        before.length = 0
        return before

    def announce(self, length: int) -> None:
        """Refuse a number of samples that is too large, before they are decoded."""
        length += self._before
        if 4 * length > self._limits.max_audio_bytes:
            raise MediaError(
                f"{self._label} has {length} samples or more at {self.rate:g} Hz, which are "
                f"{4 * length} bytes when decoded",
                legal=f"at most {self._limits.max_audio_bytes} bytes",
                fix="resample it to 16 kHz, cut it, or raise MediaLimits(max_audio_bytes=…)",
            )

    def append(self, mono: np.ndarray) -> None:
        """Append float samples ``[n]``."""
        self.length += mono.size
        self.announce(self.length)
        if not np.all(np.isfinite(mono)):
            raise MediaError(
                f"{self._label} has NaN or infinite samples",
                legal="finite samples",
                fix="replace them, for example with numpy.nan_to_num",
            )
        self._waiting.append(np.asarray(mono, dtype=np.float32))
        self._waits += mono.size
        if self._waits >= _BLOCK:
            self._resample()

    def append_silence(self, length: int) -> None:
        """Append zeros."""
        self.announce(self.length + length)
        for start in range(0, length, _BLOCK):
            self.append(np.zeros(min(_BLOCK, length - start), np.float32))

    def result(self) -> np.ndarray:
        """Return all samples, float32 ``[ceil(length * 16000 / rate)]``; nothing follows.

        Raises
        ------
        MediaError
            If there are none.
        """
        total = self._before + self.length
        if total == 0:
            raise MediaError(
                f"{self._label} has no audio samples",
                legal="at least one sample",
                fix="check that the file was written completely",
            )
        self._resample(last=True)
        size = math.ceil(total * SAMPLE_RATE / self.rate)
        result = np.zeros(size, np.float32)
        done = 0
        for chunk in self._chunks:
            taken = chunk[: size - done]
            result[done : done + taken.size] = taken
            done += taken.size
        return result

    def _resample(self, last: bool = False) -> None:
        """Resample what waits: codecs give a thousand samples at a time."""
        samples = np.concatenate([*self._waiting, np.zeros(0, np.float32)])
        self._waiting, self._waits = [], 0
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples, last=last)
        self._chunks.append(samples)


def to_model_rate(label: str, mono: np.ndarray, rate: float, limits: MediaLimits) -> np.ndarray:
    """Check mono samples and resample them to 16 kHz."""
    made = ModelRate(label, rate, limits)
    for start in range(0, mono.size, _BLOCK):
        made.append(mono[start : start + _BLOCK])
    return made.result()

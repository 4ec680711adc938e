"""Spoken and drawn digits, as files; :mod:`omnitrace.reference.training.record` makes them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIGIT_SIZE",
    "FONTS",
    "GLYPHS_FILE",
    "SAMPLE_RATE",
    "SLOT",
    "SPEECH_FILE",
    "VOICES",
    "glyph",
    "spoken_digit",
]

SAMPLE_RATE: Final = 16_000
SPEECH_FILE: Final = Path(__file__).parent / "speech.flac"
GLYPHS_FILE: Final = Path(__file__).parent / "digits.png"

# Voices of espeak-ng: name, pitch (0 to 99) and speed in words a minute.
VOICES: Final = (
    ("en-us", 45, 150),
    ("en-us+f3", 55, 160),
    ("en-gb", 35, 145),
    ("en-gb+f2", 60, 150),
    ("en-gb-scotland", 50, 155),
    ("en-us+m3", 30, 140),
)
SLOT: Final = 12_800  # samples that each digit of a voice takes in the file

# Below Debian's /usr/share/fonts/truetype.
FONTS: Final = (
    "dejavu/DejaVuSans-Bold.ttf",
    "dejavu/DejaVuSerif-Bold.ttf",
    "dejavu/DejaVuSansMono-Bold.ttf",
    "liberation/LiberationSans-Bold.ttf",
    "liberation/LiberationSerif-Bold.ttf",
    "freefont/FreeSansBold.ttf",
)
DIGIT_SIZE: Final = 48  # pixels of the square in which a digit is kept


@functools.cache
def _speech() -> NDArray[np.int16]:
    import soundfile

    samples, _ = soundfile.read(SPEECH_FILE, dtype="int16")
    spoken: NDArray[np.int16] = samples.reshape(len(VOICES), 10, SLOT)
    return spoken


@functools.cache
def spoken_digit(voice: int, digit: int) -> NDArray[np.int16]:
    """Return the samples of a digit at :data:`SAMPLE_RATE`, without silence around it."""
    slot = _speech()[voice, digit]
    spoken: NDArray[np.int16] = slot[: int(np.flatnonzero(slot)[-1]) + 1]
    return spoken


@functools.cache
def _glyphs() -> NDArray[np.uint8]:
    from PIL import Image as PILImage

    rows = np.asarray(PILImage.open(GLYPHS_FILE).convert("L"))
    return rows.reshape(len(FONTS), DIGIT_SIZE, 10, DIGIT_SIZE).transpose(0, 2, 1, 3)


def glyph(font: int, digit: int) -> NDArray[np.uint8]:
    """Return a digit's coverage, 0 to 255, ``[DIGIT_SIZE, DIGIT_SIZE]``."""
    drawn: NDArray[np.uint8] = _glyphs()[font, digit]
    return drawn

"""Make the world's raw material: ``python -m omnitrace.reference.training.record``.

Digits as espeak-ng speaks them and as real fonts draw them. Both are written to files in the
package, so that whoever draws samples needs neither espeak-ng nor the fonts, and the same seed
gives the same samples on every machine. Only this module needs them (Debian: ``espeak-ng``,
``fonts-dejavu``, ``fonts-liberation``, ``fonts-freefont-ttf``).
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from omnitrace.reference.assets import (
    DIGIT_SIZE,
    FONTS,
    GLYPHS_FILE,
    SAMPLE_RATE,
    SLOT,
    SPEECH_FILE,
    VOICES,
)
from omnitrace.reference.words import DIGITS

__all__ = ["draw_glyphs", "main", "record_speech"]

_FONT_FOLDER: Final = Path("/usr/share/fonts/truetype")
_LOUD: Final = 0.02  # of the peak: quieter than this is silence around a word


def record_speech() -> NDArray[np.int16]:
    """Let every voice speak every digit; returns ``[voices, digits, SLOT]``, zeros behind each."""
    import librosa
    import soundfile

    spoken = np.zeros((len(VOICES), len(DIGITS), SLOT), dtype=np.int16)
    for i, (name, pitch, speed) in enumerate(VOICES):
        for j, word in enumerate(DIGITS):
            command = [
                "espeak-ng",
                "-v",
                name,
                "-p",
                str(pitch),
                "-s",
                str(speed),
                "--stdout",
                word,
            ]
            wave = subprocess.run(command, check=True, capture_output=True).stdout
            samples, rate = soundfile.read(io.BytesIO(wave), dtype="float32")
            samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE)
            loud = np.flatnonzero(np.abs(samples) > _LOUD * np.abs(samples).max())
            samples = samples[loud[0] : loud[-1] + 1]
            if len(samples) > SLOT:
                raise ValueError(f"{name} needs {len(samples)} samples for {word!r}, not {SLOT}")
            samples = samples / np.abs(samples).max() * 0.9
            spoken[i, j, : len(samples)] = np.round(samples * 32767.0).astype(np.int16)
    return spoken


def draw_glyphs() -> NDArray[np.uint8]:
    """Draw every digit in every font; returns coverage ``[fonts, digits, size, size]``, 0 to 255.

    A digit fills the height of its square and stands in the middle of its width.
    """
    size = DIGIT_SIZE
    glyphs = np.zeros((len(FONTS), 10, size, size), dtype=np.uint8)
    for i, file in enumerate(FONTS):
        font = ImageFont.truetype(str(_FONT_FOLDER / file), 4 * size)
        for digit in range(10):
            canvas = PILImage.new("L", (8 * size, 8 * size), 0)
            ImageDraw.Draw(canvas).text((2 * size, 2 * size), str(digit), font=font, fill=255)
            ink = canvas.crop(canvas.getbbox())
            width = min(size, round(ink.width * size / ink.height))
            ink = ink.resize((width, size), PILImage.Resampling.LANCZOS)
            left = (size - width) // 2
            glyphs[i, digit, :, left : left + width] = np.asarray(ink)
    return glyphs


def main() -> int:
    """Write both files into the package."""
    import soundfile

    speech = record_speech()
    soundfile.write(SPEECH_FILE, speech.reshape(-1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    glyphs = draw_glyphs()
    rows = glyphs.transpose(0, 2, 1, 3).reshape(len(FONTS) * DIGIT_SIZE, 10 * DIGIT_SIZE)
    PILImage.fromarray(rows).save(GLYPHS_FILE, optimize=True)
    print(f"wrote {SPEECH_FILE} and {GLYPHS_FILE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

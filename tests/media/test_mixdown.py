"""Surround sound becomes mono with the weights of ITU-R BS.775."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from omnitrace.media import load_audio, load_video
from omnitrace.media._mixdown import channel_weights, mix
from tests.helpers import media_files

RATE = 16_000
LOW = 0.5**0.5 / 2
SURROUND = [0.5, 0.5, 2 * LOW, 0, LOW, LOW]  # front left and right, centre, LFE, surrounds


def in_turn(channels: int) -> np.ndarray:
    """Return float32 ``[n, channels]``: each channel sounds for a tenth of a second."""
    samples = np.zeros((RATE // 10 * channels, channels), np.float32)
    for channel in range(channels):
        samples[RATE // 10 * channel : RATE // 10 * (channel + 1), channel] = 0.5
    return samples


def weights_of(mono: np.ndarray, channels: int) -> list[float]:
    middles = [RATE // 10 * channel + RATE // 20 for channel in range(channels)]
    return [float(np.median(mono[at - 200 : at + 200]) / 0.5) for at in middles]


@pytest.mark.parametrize(
    ("form", "channels", "expected"),
    [
        ("WAV", 6, SURROUND),
        ("WAVEX", 6, SURROUND),
        ("FLAC", 6, SURROUND),
        ("FLAC", 8, [*SURROUND, LOW, LOW]),
        ("FLAC", 3, [0.5, 0.5, 2 * LOW]),
        ("FLAC", 4, [0.5, 0.5, LOW, LOW]),
        ("WAV", 4, [0.25] * 4),  # microphones, for all that is known
        ("WAV", 2, [0.5, 0.5]),
        ("WAV", 1, [1]),
    ],
)
def test_files(form: str, channels: int, expected: list[float]):
    buffer = io.BytesIO()
    soundfile.write(buffer, in_turn(channels), RATE, format=form, subtype="PCM_16")
    mono = load_audio(buffer.getvalue()).samples
    assert weights_of(mono, channels) == pytest.approx(expected, abs=1e-3)


def test_vorbis_has_an_order_of_its_own():
    buffer = io.BytesIO()
    soundfile.write(buffer, in_turn(6), RATE, format="OGG", subtype="VORBIS")
    # Left, centre, right, surrounds, LFE.
    expected = [0.5, 2 * LOW, 0.5, LOW, LOW, 0]
    mono = load_audio(buffer.getvalue()).samples
    assert weights_of(mono, 6) == pytest.approx(expected, abs=0.02)


def test_arrays_are_mixed_as_files_are():
    for channels, expected in ((6, SURROUND), (5, [0.2] * 5)):
        mono = load_audio(in_turn(channels)).samples
        assert weights_of(mono, channels) == pytest.approx(expected, abs=1e-6)


def test_the_sound_of_a_video():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="5.1")
        for i in range(6):
            frame = av.VideoFrame.from_ndarray(media_files.picture(i), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        samples = np.ascontiguousarray((in_turn(6) * 32767).astype(np.int16).reshape(1, -1))
        loud = av.AudioFrame.from_ndarray(samples, format="s16", layout="5.1")
        loud.sample_rate, loud.pts, loud.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(sound.encode(loud))
        container.mux(sound.encode())
    audio = load_video(buffer.getvalue()).audio
    assert audio is not None
    assert weights_of(audio.samples, 6) == pytest.approx(SURROUND, abs=1e-3)


def test_weights():
    assert channel_weights(1, ["FC"]).tolist() == [1]
    assert channel_weights(1, ["LFE"]).tolist() == [1]
    assert channel_weights(2, ["FL", "FR"]).tolist() == [0.5, 0.5]
    assert channel_weights(3, ["FL", "FR", "LFE"]).tolist() == [0.5, 0.5, 0]
    assert channel_weights(4, ["FL", "FR", "FC", "BC"])[3] == 0.5
    assert channel_weights(2, ["NONE", "NONE"]).tolist() == [0.5, 0.5]
    assert mix(np.ones((3, 2)), channel_weights(2)).dtype == np.float64

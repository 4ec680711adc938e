"""Seconds and numbers of frames that are asked for: times stay those of the original."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnitrace.errors import MediaError
from omnitrace.media import Clip, LoadedVideo, MediaLimits, load_audio, load_video
from tests.helpers import media_files


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at ten frames a second, with a tone from the third second on."""
    sound = np.concatenate([np.zeros(48_000 * 3, np.float32), media_files.tone(48_000, 3)])
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    return media_files.write_video(path, [i / 10 for i in range(60)], rate=10, audio=sound)


def levels(video: LoadedVideo) -> list[int]:
    return [round(media_files.gray_level(frame)) for frame in video.frames]


def test_a_part_of_a_video(video: Path):
    part = load_video(video, clip=Clip(start=2.5, end=4.5))
    assert part.times.tolist() == pytest.approx([2.5, 3, 3.5, 4])
    assert part.frame_indices.tolist() == levels(part) == [25, 30, 35, 40]
    assert (part.start, part.end, part.duration) == (2.5, 4.5, pytest.approx(6))
    assert part.audio is not None
    assert (part.audio.start, part.audio.end) == (2.5, pytest.approx(4.5, abs=1e-3))
    onset = int(np.argmax(np.abs(part.audio.samples) > 0.1)) / 16_000
    assert part.audio.start + onset == pytest.approx(3, abs=0.01)


def test_an_end_behind_the_end_is_the_end(video: Path):
    part = load_video(video, clip=Clip(start=5, end=99))
    assert part.times.tolist() == pytest.approx([5, 5.5])
    assert part.end == pytest.approx(6)
    whole = load_video(video)
    assert (whole.start, whole.end, whole.seconds) == (0, whole.duration, None)


def test_limits_are_those_of_the_part(video: Path):
    limits = MediaLimits(max_video_seconds=2, max_audio_seconds=2, max_video_frames=4)
    part = load_video(video, limits=limits, clip=Clip(start=3, end=5))
    assert len(part.frames) == 4
    with pytest.raises(MediaError, match=r"lasts 3\.0 s"):
        load_video(video, limits=limits, clip=Clip(start=3))


@pytest.mark.parametrize(
    ("clip", "fps", "expected"),
    [
        (Clip(frames=4), 2, [0, 15, 30, 45]),
        (Clip(start=3, frames=3), 2, [30, 40, 50]),
        (Clip(max_frames=3), 2, [0, 20, 40]),
        (Clip(min_frames=3, max_frames=9), 0.2, [0, 20, 40]),
        (Clip(start=1, end=2, min_frames=100), 2, list(range(10, 20))),
        (Clip(start=0.31, end=0.39), 2, [3]),  # no frame begins there
    ],
)
def test_numbers_of_frames(video: Path, clip: Clip, fps: float, expected: list[int]):
    part = load_video(video, fps=fps, clip=clip, with_audio=False)
    assert part.frame_indices.tolist() == levels(part) == expected
    assert part.times.tolist() == pytest.approx([i / 10 for i in expected])


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (Clip(start=7), r"lasts 6\.00 s, and is asked for from 7 s on"),
        (Clip(start=3, end=3), "from 3 to 3 s"),
        (Clip(frames=61), "60 frames there, and is asked for 61"),
        (Clip(start=5, frames=11), "10 frames there"),
    ],
)
def test_what_is_not_there_is_refused(video: Path, clip: Clip, words: str):
    with pytest.raises(MediaError, match=words):
        load_video(video, clip=clip)


def test_frames_of_an_array():
    frames = np.arange(40, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    part = load_video((frames, 10), fps=2, clip=Clip(start=1, end=3))
    assert part.frames[:, 0, 0, 0].tolist() == part.frame_indices.tolist() == [10, 15, 20, 25]
    assert part.times.tolist() == [1, 1.5, 2, 2.5]


def test_a_part_of_a_recording():
    samples = media_files.tone(16_000, 4)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="FLOAT")
    for source in (samples, buffer.getvalue()):
        part = load_audio(source, clip=Clip(start=1, end=2.5))
        assert np.array_equal(part.samples, samples[16_000:40_000])
        assert (part.start, part.end, part.duration, part.whole) == (1, 2.5, 1.5, 4)
        again = load_audio(part.encoded(), clip=Clip(start=1, end=2.5))
        assert np.array_equal(again.samples, part.samples)
    assert load_audio(samples).whole is None
    with pytest.raises(MediaError, match=r"lasts 4\.00 s, and is asked for from 4 s on"):
        load_audio(samples, clip=Clip(start=4))
    with pytest.raises(MediaError, match="less than a sample"):
        load_audio(samples, clip=Clip(start=1, end=1.00001))

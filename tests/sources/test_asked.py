"""What parts ask of time and pixels: read, obeyed, kept in the trace's messages, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace.errors import InputError, MediaError
from omnitrace.media import Clip, LoadedAudio, LoadedVideo, MediaLimits
from omnitrace.sources.asked import asked_of, clip_of
from omnitrace.sources.media_records import media_record
from omnitrace.sources.messages import read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart
from tests.helpers import media_files

FRAMES = np.zeros((40, 6, 8, 3), np.uint8)
SAMPLES = np.concatenate([np.zeros(32_000, np.float32), media_files.tone(16_000, 2)])


def read(part: dict[str, Any]) -> MediaPart:
    content = [part, {"type": "text", "text": "ask"}]
    messages = [{"role": "user", "content": content}]
    conversation = read_messages(messages, options=SourceOptions(), limits=MediaLimits())
    (found,) = conversation.media()
    asked = {key: value for key, value in found.asked.items() if part[key] == value}
    assert conversation.records()[0]["content"][0] == {"type": part["type"], "media": 0, **asked}
    return found


@pytest.mark.parametrize(
    ("asked", "frames"),
    [
        ({"nframes": 5}, [0, 8, 16, 24, 32]),
        ({"num_frames": 2.0}, [0, 20]),
        ({"video_start": 2}, [20, 25, 30, 35]),
        ({"video_start": 1, "video_end": 2.0}, [10, 15]),
        ({"fps": 1, "video_end": 3}, [0, 10, 20]),
        ({"min_frames": 10, "max_frames": 12}, list(range(0, 40, 4))),
        ({"max_frames": 2}, [0, 20]),
        ({"nframes": None}, list(range(0, 40, 5))),
    ],
)
def test_a_video(asked: dict[str, Any], frames: list[int]):
    part = read({"type": "video", "video": (FRAMES, 10.0), **asked})
    assert isinstance(part.media, LoadedVideo)
    assert part.media.frame_indices.tolist() == frames


def test_frames_that_are_given_have_their_own_rate():
    part = read({"type": "video", "video": FRAMES, "fps": 10, "nframes": 4})
    assert isinstance(part.media, LoadedVideo)
    assert part.media.frame_indices.tolist() == [0, 10, 20, 30]
    assert part.media.times.tolist() == [0, 1, 2, 3]


def test_a_part_of_a_recording_is_described_within_the_whole():
    part = read({"type": "audio", "audio": SAMPLES, "audio_start": 1, "audio_end": 3})
    assert isinstance(part.media, LoadedAudio)
    assert (part.media.start, part.media.end) == (1, 3)
    record = media_record(part)
    assert record.duration == 4
    loud = np.flatnonzero(np.array(record.waveform) > 0.1) * 4 / len(record.waveform)
    assert loud.min() == pytest.approx(2, abs=0.02)
    assert loud.max() == pytest.approx(3, abs=0.02)
    assert record.read is not None
    again = read({"type": "audio", "audio": record.read(), **part.asked})
    assert isinstance(again.media, LoadedAudio)
    assert np.array_equal(again.media.samples, part.media.samples)


def test_a_part_of_a_video_is_described_within_the_whole(tmp_path: Path):
    path = media_files.write_video(
        tmp_path / "a.mp4", [i / 10 for i in range(40)], rate=10, audio=media_files.tone(48_000, 4)
    )
    record = media_record(read({"type": "video", "video": str(path), "video_end": 2}))
    assert record.duration == pytest.approx(4)
    loud = np.flatnonzero(np.array(record.waveform) > 0.1) * 4 / len(record.waveform)
    assert loud.max() == pytest.approx(2, abs=0.02)
    assert record.frame_times == pytest.approx((0, 0.5, 1, 1.5))


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        ("video", {"fps": 2, "nframes": 4}, ["'fps'", "'nframes'", "one of them"]),
        ("video", {"nframes": 4, "num_frames": 4}, ["'nframes'", "'num_frames'"]),
        ("video", {"nframes": 4, "max_frames": 4}, ["'nframes'", "'max_frames'"]),
        ("video", {"min_frames": 4, "max_frames": 3}, ["'min_frames' 4", "'max_frames' 3"]),
        ("video", {"video_start": -1}, ["'video_start' -1", "seconds from 0 on"]),
        ("video", {"video_start": "2"}, ["'video_start' '2'"]),
        ("video", {"video_end": float("nan")}, ["'video_end' nan"]),
        ("video", {"nframes": 0}, ["'nframes' 0", "whole number"]),
        ("video", {"nframes": True}, ["'nframes' True"]),
        ("video", {"fps": 0}, ["'fps' 0", "a positive number"]),
        ("image", {"max_pixels": 2.5}, ["'max_pixels' 2.5"]),
        ("image", {"min_pixels": 10**9}, ["1e+09 pixels", "at most 1e+08 pixels"]),
        ("image", {"min_pixels": 9, "max_pixels": 4}, ["min_pixels ≤ max_pixels"]),
        ("image", {"resized_height": 9}, ["without 'resized_width'"]),
        ("image", {"resized_height": 10**6, "resized_width": 10**6}, ["1e+12 pixels"]),
        (
            "image",
            {"resized_height": 9, "resized_width": 9, "max_pixels": 9},
            ["'resized_height' and 'max_pixels'"],
        ),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, asked: dict[str, Any], words: list[str]):
    with pytest.raises(InputError) as caught:
        asked_of(asked, kind, "messages[0]")
    for word in ["messages[0]", *words]:
        assert word in str(caught.value)


def test_keys_of_another_kind_are_unknown():
    picture = np.zeros((4, 4, 3), np.uint8)
    for key in ("total_pixels", "nframes", "video_start"):
        with pytest.raises(InputError, match=f"unknown key '{key}'"):
            read({"type": "image", "image": picture, key: 4})
    with pytest.raises(InputError, match="unknown key 'max_fps'"):
        read({"type": "video", "video": (FRAMES, 10.0), "max_fps": 4})


def test_what_is_not_in_the_file_is_refused():
    with pytest.raises(MediaError, match=r"lasts 4\.00 s, and is asked for from 5 s on"):
        read({"type": "video", "video": (FRAMES, 10.0), "video_start": 5})
    with pytest.raises(MediaError, match="40 frames there, and is asked for 41"):
        read({"type": "video", "video": (FRAMES, 10.0), "nframes": 41})


def test_clip_of():
    assert clip_of({}) == Clip()
    assert clip_of({"audio_start": 1.0, "audio_end": 2.0}) == Clip(1.0, 2.0)
    assert clip_of({"video_end": 2.0, "num_frames": 3}) == Clip(end=2.0, frames=3)

"""What is remembered of media, and when their bytes are read again."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from omnitrace.errors import MediaError
from omnitrace.media import load_image, load_video
from omnitrace.sources.media_records import media_record
from omnitrace.sources.parts import MediaPart
from tests.helpers.media_files import write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", [0, 0.5, 1.0, 1.5])


def test_the_bytes_of_a_video_are_read_when_they_are_wanted(clip: Path):
    video = load_video(clip)
    record = media_record(MediaPart(0, 1, "user", "video", video))
    frames = weakref.ref(video.frames)
    del video
    gc.collect()
    assert frames() is None, "a trace must not keep decoded frames"
    assert record.read is not None
    assert record.read() == clip.read_bytes()


def test_a_video_that_changed_on_disk_is_not_stored_as_what_was_traced(clip: Path):
    record = media_record(MediaPart(0, 1, "user", "video", load_video(clip)))
    clip.write_bytes(clip.read_bytes() + b"\0")
    assert record.read is not None
    with pytest.raises(MediaError, match=r"clip\.mp4.* is not the video that was traced"):
        record.read()


def test_frames_given_as_arrays_have_no_original_bytes():
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    assert media_record(MediaPart(0, 0, "user", "video", load_video(frames))).read is None


def test_an_image_given_as_an_array_is_stored_as_png():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    record = media_record(MediaPart(0, 0, "user", "image", load_image(pixels)))
    assert record.read is not None
    assert np.array_equal(np.asarray(load_image(record.read()).pixels), pixels)

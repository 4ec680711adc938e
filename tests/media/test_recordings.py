"""Files of sound that are cut, that do not say their length, or that hold several recordings."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnitrace.errors import MediaError
from omnitrace.media import MediaLimits, load_audio, load_video
from omnitrace.media._recordings import split_recordings
from omnitrace.media.source import resolve_source
from tests.helpers import media_files

FORMATS = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"]
RATE = 16_000
SUBTYPES = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


def encoded(form: str, seconds: float = 0.5, rate: int = RATE, frequency: float = 440) -> bytes:
    buffer = io.BytesIO()
    samples = media_files.tone(rate, seconds, frequency)
    soundfile.write(buffer, samples, rate, format=form, subtype=SUBTYPES.get(form, "PCM_16"))
    return buffer.getvalue()


def without_table(folder: Path) -> bytes:
    """Return an MP3 file of half a second that does not say how long it is."""
    options = {"write_xing": "0"}
    samples = media_files.tone(44_100, 0.5)
    path = media_files.write_audio(folder / "a.mp3", "libmp3lame", samples, 44_100, options)
    return path.read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_is_refused(form: str):
    data = encoded(form)
    whole = load_audio(data)
    assert whole.duration == pytest.approx(0.5)
    for length in (*range(50, len(data), len(data) // 11), len(data) - 1):
        with pytest.raises(MediaError) as caught:
            load_audio(data[:length])
        assert "downloaded completely" in str(caught.value)


def test_what_stands_behind_the_sound_is_left_alone():
    data = encoded("WAV")
    noted = data + b"LIST" + struct.pack("<I", 4) + b"INFO"
    for more in (noted, data + bytes(9), noted + b"junk"):
        assert load_audio(more).duration == pytest.approx(0.5)


@pytest.mark.parametrize("form", [*FORMATS, "OGG"])
def test_recordings_one_behind_another_are_all_read(form: str):
    first, second = encoded(form), encoded(form, 0.25, 8_000, 880)
    both = load_audio(first + second).samples
    apart = np.concatenate([load_audio(first).samples, load_audio(second).samples])
    assert np.array_equal(both, apart)
    with pytest.raises(MediaError, match="max_audio_seconds"):
        load_audio(first + second, limits=MediaLimits(max_audio_seconds=0.6))


def test_a_header_that_leads_nowhere():
    data = b".snd" + struct.pack(">5I", 0, 0, 3, 16_000, 1)
    with pytest.raises(MediaError, match="a header of 0 bytes"):
        load_audio(data + bytes(99))


@pytest.mark.parametrize("tag", ["", "ID3", "TAG"])
def test_joined_mp3_files_are_all_read(tag: str):
    first, second = encoded("MP3", 1, 44_100), encoded("MP3", 0.5, 16_000)
    between = {
        "": b"",
        "ID3": b"ID3\x04\0\0\0\0\x02\x00" + b"\xff\xfb\x90\x64" * 64,  # as frames look
        "TAG": b"TAG" + bytes(125),
    }[tag]
    samples = load_audio(first + between + second).samples
    assert samples.size / RATE == pytest.approx(1.5, abs=1e-3)
    assert np.array_equal(samples[-8_000:], load_audio(second).samples)


def test_an_mp3_table_that_counts_only_the_beginning_hides_nothing(tmp_path: Path):
    table, bare = encoded("MP3", 1, 44_100), without_table(tmp_path)
    assert load_audio(bare).duration == pytest.approx(0.5, abs=0.06)
    assert load_audio(table + bare).duration == pytest.approx(1.5, abs=0.06)
    assert load_audio(bare + table).duration == pytest.approx(1.5, abs=0.06)
    with pytest.raises(MediaError, match="truncated"):
        load_audio(table[: len(table) - 900])


def test_a_flac_file_that_does_not_say_its_length():
    data = bytearray(encoded("FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert load_audio(bytes(data)).duration == pytest.approx(0.5)
    assert load_audio(bytes(data) * 2).duration == pytest.approx(1)
    with pytest.raises(MediaError):
        load_audio(bytes(data[: len(data) // 2]))


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_F000])
def test_a_wav_file_from_a_pipe(size: int):
    data = bytearray(encoded("WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = struct.pack("<I", size)
    assert load_audio(bytes(data)).duration == pytest.approx(0.5)
    data[at : at + 4] = struct.pack("<I", 40_000)  # a size that is one
    with pytest.raises(MediaError, match="truncated: 16000 bytes of 40000"):
        load_audio(bytes(data))


def test_an_ogg_file_without_its_end():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * RATE)
    soundfile.write(buffer, noise, RATE, format="OGG", subtype="VORBIS")
    data = buffer.getvalue()
    last = data.rindex(b"OggS")
    with pytest.raises(MediaError, match="its last page is not complete"):
        load_audio(data[:-9])
    with pytest.warns(RuntimeWarning, match="no mark of its end"):
        assert load_audio(data[:last]).duration < 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_audio(data)


def test_the_sound_of_an_avi_file(tmp_path: Path):
    path = media_files.write_video(
        tmp_path / "a.avi", [0, 0.5], codec="mpeg4", audio=media_files.tone(48_000, 1)
    )
    assert load_audio(path).duration == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.m4a"])
def test_joined_mp4_files_are_refused(tmp_path: Path, name: str):
    if name == "a.m4a":
        path = media_files.write_audio(
            tmp_path / name, "aac", media_files.tone(44_100, 0.5), 44_100
        )
    else:
        sound = media_files.tone(48_000, 0.5)
        path = media_files.write_video(tmp_path / name, [0, 0.1], audio=sound)
    load_audio(path)
    path.write_bytes(path.read_bytes() * 2)
    for source in (path, path.read_bytes()):
        with pytest.raises(MediaError, match="holds 2 files, one behind another"):
            load_audio(source)
        with pytest.raises(MediaError, match=r"video stream|holds 2 files"):
            load_video(source)


def test_one_recording_is_not_copied(tmp_path: Path):
    for form in ("WAV", "FLAC", "OGG", "MP3"):
        data = encoded(form)
        (piece,) = split_recordings(resolve_source(data), data)
        assert piece is data

from __future__ import annotations

import base64
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import MediaError
from omnitrace.media import LoadedAudio, MediaLimits, load_audio, waveform
from tests.helpers import media_files


def check_tone(audio: LoadedAudio, seconds: float, slack: float = 1e-4) -> None:
    assert audio.samples.dtype == np.float32
    assert audio.samples.ndim == 1
    assert audio.sample_rate == 16_000
    assert audio.duration == pytest.approx(seconds, abs=slack)
    assert media_files.peak_frequency(audio.samples) == pytest.approx(440, abs=1 / seconds)
    middle = audio.samples[4000:-4000]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "PCM_U8"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_16"),
        ("a.mp3", "MPEG_LAYER_III"),
        ("a.ogg", "VORBIS"),
    ],
)
def test_soundfile_formats(tmp_path: Path, name: str, subtype: str):
    path = tmp_path / name
    soundfile.write(path, np.stack([media_files.tone(44_100, 2)] * 2, 1), 44_100, subtype=subtype)
    audio = load_audio(path)
    check_tone(audio, 2)
    assert audio.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert audio.name == name
    assert audio.encoded() == path.read_bytes()
    if name != "a.mp3":  # 16 kHz in, so the samples are known exactly
        soundfile.write(path, media_files.tone(16_000, 1), 16_000, subtype=subtype)
        error = np.abs(load_audio(path).samples - media_files.tone(16_000, 1)).max()
        assert error < {"FLOAT": 1e-7, "PCM_U8": 0.009, "VORBIS": 0.05}.get(subtype, 1e-4)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 44_100), ("a.aac", "aac", 44_100), ("a.webm", "libopus", 48_000)],
)
def test_pyav_formats(tmp_path: Path, name: str, codec: str, rate: int):
    path = media_files.write_audio(tmp_path / name, codec, media_files.tone(rate, 2), rate)
    check_tone(load_audio(path), 2, slack=0.05)  # AAC codes whole frames
    assert np.array_equal(load_audio(path).samples, load_audio(path.read_bytes()).samples)


def test_the_sound_of_a_video(tmp_path: Path):
    path = media_files.write_video(tmp_path / "a.mp4", [0, 0.5], audio=media_files.tone(48_000, 2))
    check_tone(load_audio(path), 2, slack=0.05)


def test_same_content_by_path_bytes_and_url(tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, media_files.tone(22_050, 0.5), 22_050, subtype="FLOAT")
    data = path.read_bytes()
    url = "data:audio/wav;base64," + base64.b64encode(data).decode()
    expected = load_audio((media_files.tone(22_050, 0.5), 22_050)).samples
    for source in (path, str(path), data, url, path.as_uri()):
        audio = load_audio(source)
        assert np.array_equal(audio.samples, expected)
        assert audio.sha256 == hashlib.sha256(data).hexdigest()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1000, 200_000) | st.floats(1000, 200_000),
    st.integers(1, 4000),
    st.integers(1, 8),
)
def test_any_rate_and_channel_count(rate: float, samples: int, channels: int):
    values = np.random.default_rng(samples).uniform(-1, 1, (samples + channels, channels))
    audio = load_audio((values, rate))
    assert audio.duration == pytest.approx((samples + channels) / rate, abs=1.01 / 16_000)
    transposed = load_audio((np.ascontiguousarray(values.T), rate))
    assert np.array_equal(audio.samples, transposed.samples)


def test_arrays():
    tone = media_files.tone(16_000, 0.1)
    audio = load_audio(tone)
    assert np.array_equal(audio.samples, tone)
    assert audio.data is None
    assert audio.sha256 == hashlib.sha256(b"f32le 16000\n" + tone.tobytes()).hexdigest()
    assert np.array_equal(load_audio(audio.encoded()).samples, tone)
    assert load_audio(np.int16([-32768, 16384])).samples.tolist() == [-1, 0.5]
    assert load_audio(np.int8([-128, 64])).samples.tolist() == [-1, 0.5]
    assert load_audio(np.int32([-(2**31), 2**30])).samples.tolist() == [-1, 0.5]
    assert load_audio(np.uint8([0, 128, 192])).samples.tolist() == [-1, 0, 0.5]
    assert load_audio(np.int16([[0, 32767], [0, -32768], [2, 2]])).samples[0] > 0.49
    assert load_audio(np.float64([3.0, -2.0])).samples.tolist() == [3, -2]


def test_loud_floats_are_kept():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.float32([1.5, -2.0]), 16_000, format="WAV", subtype="FLOAT")
    assert load_audio(buffer.getvalue()).samples.tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("bad", "fix"),
    [
        (np.zeros(0, np.float32), "written completely"),
        (np.float32([0, np.nan]), "nan_to_num"),
        (np.float32([0, np.inf]), "nan_to_num"),
        (np.zeros((2, 3, 4)), "one audio signal"),
        (np.zeros((100, 100)), "one audio signal"),
        (np.zeros(3, np.int64), "float32"),
        (np.zeros(3, bool), "float32"),
        (np.zeros(3, complex), "float32"),
        ((np.zeros(3), 0), "samples per second"),
        ((np.zeros(3), -1.0), "samples per second"),
        ((np.zeros(3), float("nan")), "samples per second"),
        ((np.zeros(3), 16.0), "samples per second"),
        ((np.zeros(3), "16000"), r"\(samples, 44100\)"),
        ((np.zeros(3),), r"\(samples, 44100\)"),
        (([0.0], 16_000), r"\(samples, 44100\)"),
        ((np.zeros(16_000 * 11), 16_000), "max_audio_seconds"),
    ],
)
def test_bad_arrays(bad, fix: str):
    with pytest.raises(MediaError, match=fix):
        load_audio(bad, limits=MediaLimits(max_audio_seconds=10))


def test_bad_files(tmp_path: Path):
    def refused(name: str, data: bytes, fix: str, **limits) -> None:
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(MediaError) as caught:
            load_audio(path, limits=MediaLimits(**limits))
        assert name in str(caught.value)
        assert fix in str(caught.value)

    def wav(samples: np.ndarray, **options) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16_000, **{"format": "WAV", "subtype": "FLOAT"} | options)
        return buffer.getvalue()

    second = media_files.tone(16_000, 1)
    refused("text.wav", b"no sound\n" * 99, "convert it")
    refused("zero.wav", wav(second[:0]), "written completely")
    refused("nan.wav", wav(np.float32([np.nan])), "nan_to_num")
    refused("long.wav", wav(second), "max_audio_seconds", max_audio_seconds=0.5)
    flac = wav(second, format="FLAC", subtype="PCM_16")
    refused("cut.flac", flac[: len(flac) // 2], "downloaded completely")
    mp3 = wav(second, format="MP3", subtype="MPEG_LAYER_III")
    refused("cut.mp3", mp3[: len(mp3) // 2], "downloaded completely")
    m4a = media_files.write_audio(
        tmp_path / "a.m4a", "aac", media_files.tone(44_100, 1), 44_100
    ).read_bytes()
    refused("cut.m4a", m4a[: len(m4a) // 2], "downloaded completely")
    refused("long.m4a", m4a, "max_audio_seconds", max_audio_seconds=0.5)
    mka = media_files.write_audio(
        tmp_path / "a.mka", "aac", media_files.tone(44_100, 4), 44_100
    ).read_bytes()
    refused("cut.mka", mka[: len(mka) // 2], "truncated")
    silent = media_files.write_video(tmp_path / "silent.mp4", [0, 0.1]).read_bytes()
    refused("silent.mp4", silent, "no audio stream")
    refused("list.m3u8", b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n", "convert it")


def test_threads(tmp_path: Path):
    path = tmp_path / "a.ogg"
    soundfile.write(path, media_files.tone(44_100, 0.5), 44_100)
    expected = load_audio(path).samples
    with ThreadPoolExecutor(8) as pool:
        for audio in pool.map(load_audio, [path] * 32):
            assert np.array_equal(audio.samples, expected)


def test_waveform():
    peaks = waveform(load_audio(media_files.tone(16_000, 2)))
    assert len(peaks) == 400
    assert max(peaks) == pytest.approx(0.5, abs=1e-3)
    assert waveform(load_audio(np.float32([0.5, -1])), bins=400) == (0.5, 1.0)
    assert waveform(load_audio(np.float32([1, -4]))) == (0.25, 1.0)
    assert waveform(load_audio(np.zeros(5, np.float32)), bins=2) == (0.0, 0.0)

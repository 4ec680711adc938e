from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import get_args

import av
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError, MediaError
from omnitrace.media import MediaLimits, _frames, load_video, video_previews
from omnitrace.media.limits import VideoReader
from tests.helpers import media_files

VFR = [i / 10 for i in range(10)] + [1 + i / 30 for i in range(30)] + [3.0, 3.5]


def by(reader: VideoReader) -> MediaLimits:
    """Return limits with a reader, in this process, where tests can see what it does."""
    return MediaLimits(video_reader=reader, isolate=False)


@pytest.fixture(params=get_args(VideoReader))
def reader(request: pytest.FixtureRequest) -> MediaLimits:
    if request.param == "decord":
        pytest.importorskip("decord")
    return by(request.param)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001), Fraction(12)])
def test_constant_rates(tmp_path: Path, reader: MediaLimits, rate: Fraction):
    path = media_files.write_video(tmp_path / "a.mp4", [i / rate for i in range(60)], rate=rate)
    video = load_video(path, limits=reader)
    assert video.duration == pytest.approx(float(60 / rate), abs=1e-4)
    assert video.fps == 2.0
    assert len(video.frames) == len(video.times) == np.ceil(video.duration * 2 - 1e-6)
    expected = [
        min(59, int(np.ceil(k * rate / 2 - Fraction(1, 2)))) for k in range(len(video.frames))
    ]
    assert video.frame_indices.tolist() == expected
    assert np.allclose(video.times, video.frame_indices / float(rate), atol=1e-4)
    assert (video.frames.dtype, video.times.dtype) == (np.uint8, np.float64)
    for frame, index in zip(video.frames, video.frame_indices, strict=True):
        assert media_files.gray_level(frame) == pytest.approx(index, abs=0.7)
    assert video.audio is None
    assert (video.width, video.height) == (64, 48)
    assert video.name == "a.mp4"
    assert video.path == path


def test_variable_rate_keeps_true_times(tmp_path: Path, reader: MediaLimits):
    path = media_files.write_video(tmp_path / "vfr.mp4", VFR)
    video = load_video(path, fps=4, limits=reader)
    shown = np.array(VFR)[video.frame_indices]
    assert np.allclose(video.times, shown, atol=1e-4)
    instants = np.arange(len(video.times)) / 4
    nearest = np.abs(np.array(VFR)[None] - instants[:, None]).min(axis=1)
    assert np.allclose(np.abs(video.times - instants), nearest, atol=1e-4)
    assert (np.diff(video.frame_indices) == 0).any()
    for frame, index in zip(video.frames, video.frame_indices, strict=True):
        assert media_files.gray_level(frame) == pytest.approx(index, abs=0.7)


def test_more_than_the_own_rate_gives_each_frame_once(tmp_path: Path, reader: MediaLimits):
    video = load_video(
        media_files.write_video(tmp_path / "a.mp4", [i / 10 for i in range(20)], rate=10),
        fps=60,
        limits=reader,
    )
    assert video.frame_indices.tolist() == list(range(20))
    assert video.fps == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3", "g": "12"}),
        ("a.mkv", "libx264", {"bf": "2", "g": "7", "x264-params": "open-gop=1"}),
        ("a.mp4", "libx265", {"g": "15", "x265-params": "log-level=none:pools=1"}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "16"}),
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}),
        ("a.mov", "mpeg4", {"bf": "2", "g": "10"}),
        ("a.mp4", "mpeg4", {"g": "10"}),
        ("a.mp4", "libx264", {"bf": "0", "g": "25", "x264-params": "intra-refresh=1"}),
        ("a.ts", "libx264", {"bf": "2", "g": "12"}),
    ],
)
def test_decord_and_pyav_agree(tmp_path: Path, name, codec, options):
    times = [0.7 + i / 25 for i in range(60)]  # does not begin at zero
    path = media_files.write_video(
        tmp_path / name, times, codec=codec, options=options, rate=25, size=(98, 50)
    )
    with av.open(str(path)) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    decoded = np.stack(every)
    assert len(decoded) == 60
    videos = {}
    for kind in get_args(VideoReader):
        for fps in (1.3, 7, 25):
            video = load_video(path, fps=fps, limits=by(kind))
            assert np.array_equal(video.frames, decoded[video.frame_indices])
            assert np.allclose(video.times, video.frame_indices / 25, atol=2e-3)
            videos[kind, fps] = video
    for fps in (1.3, 7, 25):
        one, other = videos["decord", fps], videos["pyav", fps]
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.times, other.times)


def test_decord_is_really_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("decord")
    path = media_files.write_video(tmp_path / "a.mp4", [0, 0.1, 0.2])
    monkeypatch.setattr(_frames, "_fetch_pyav", None)
    assert len(load_video(path, fps=10, limits=by("decord")).frames) == 3
    assert len(load_video(path.read_bytes(), fps=10, limits=by("decord")).frames) == 3


def test_decord_is_not_used_unless_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = media_files.write_video(tmp_path / "a.mp4", [0, 0.1, 0.2])
    monkeypatch.setattr("omnitrace.media._decord.add_frames", None)
    assert len(load_video(path, fps=10, limits=by("pyav")).frames) == 3
    with pytest.raises(InputError, match="'pyav', 'decord'"):
        by("ffmpeg")  # type: ignore[arg-type]


class Unloadable(MetaPathFinder):
    """Finds decord, and fails to load it as a wheel does whose system library is missing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "decord":
            raise OSError("libavformat.so.58: cannot open shared object file")


@pytest.mark.parametrize("why", ["not installed", "not loadable"])
def test_without_decord_pyav_decodes(tmp_path: Path, monkeypatch, why: str):
    path = media_files.write_video(tmp_path / "a.mp4", VFR, options={"bf": "2", "g": "8"})
    expected = load_video(path, fps=8, limits=by("pyav"))
    if why == "not installed":
        monkeypatch.setitem(sys.modules, "decord", None)
    else:
        monkeypatch.delitem(sys.modules, "decord", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Unloadable(), *sys.meta_path])
    video = load_video(path, fps=8, limits=by("decord"))
    assert np.array_equal(video.frames, expected.frames)
    assert np.array_equal(video.times, expected.times)
    assert (video.duration, video.fps) == (expected.duration, expected.fps)


@pytest.mark.parametrize("k", range(8))
def test_rotations_and_flips(tmp_path: Path, reader: MediaLimits, k: int):
    upright = load_video(media_files.write_video(tmp_path / "a.mp4", [0, 0.1])).frames[0]
    matrices = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
    matrices += [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]
    expected = [
        upright,
        np.rot90(upright, -1),
        np.rot90(upright, 2),
        np.rot90(upright),
        upright[:, ::-1],
        upright[::-1],
        upright.swapaxes(0, 1),
        upright[::-1, ::-1].swapaxes(0, 1),
    ]
    data = media_files.set_matrix((tmp_path / "a.mp4").read_bytes(), *matrices[k])
    assert np.array_equal(load_video(data, limits=reader).frames[0], expected[k])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("aspect", "width"), [(Fraction(4, 3), 80), (Fraction(8, 9), 53)])
def test_pixels_that_are_not_square_are_made_so(
    tmp_path: Path, reader: MediaLimits, aspect: Fraction, width: int, turned: bool
):
    path = media_files.write_video(tmp_path / "a.mp4", [0, 0.1], size=(60, 48), pixel_aspect=aspect)
    data = path.read_bytes()
    if turned:
        data = media_files.set_matrix(data, 0, 1, -1, 0)
    video = load_video(data, limits=reader)
    assert (video.width, video.height) == ((48, width) if turned else (width, 48))
    shown = np.rot90(video.frames[0]) if turned else video.frames[0]
    red = shown[:, : width // 2 - 2], shown[:, width // 2 + 2 :]
    assert red[0][24, :, 0].min() > 200 > red[1][24, :, 0].max()
    if width > 60:
        with pytest.raises(MediaError, match="80x48 = 3840 pixels"):
            load_video(data, limits=replace(reader, max_image_pixels=60 * 48))


def test_edit_lists_are_kept(tmp_path: Path, reader: MediaLimits):
    path = media_files.write_video(
        tmp_path / "a.mp4", [i / 10 for i in range(30)], rate=10, options={"bf": "2", "g": "30"}
    )
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12  # duration in ticks of the file, first tick of the video
    duration, first = struct.unpack_from(">Ii", data, entry)
    struct.pack_into(">Ii", data, entry, duration * 2 // 3, first + 90_000)
    video = load_video(bytes(data), fps=5, limits=reader)
    assert [round(media_files.gray_level(frame)) for frame in video.frames][:3] == [10, 12, 14]
    assert video.times.tolist()[:3] == pytest.approx([0, 0.2, 0.4], abs=1e-3)
    assert video.duration == pytest.approx(2, abs=0.11)


def test_a_codec_without_a_decoder(tmp_path: Path):
    path = media_files.write_video(tmp_path / "a.mkv", [0, 0.1], audio=media_files.tone(48_000, 1))
    data = path.read_bytes()
    with pytest.raises(MediaError, match=r"video of a codec that has no decoder.*-c:v libx264"):
        load_video(data.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    with pytest.raises(MediaError, match=r"audio track.*codec that has no decoder.*with_audio"):
        load_video(data.replace(b"A_AAC", b"A_XYZ"))
    mp4 = media_files.write_video(tmp_path / "a.mp4", [0, 0.1]).read_bytes()
    with pytest.raises(MediaError, match="no decoder"):
        load_video(mp4.replace(b"avc1", b"zzzz"))


def test_ogv_with_frames_that_are_held():
    # Theora: one second of red and one of blue, the second to tenth frame of each an empty packet.
    path = Path(__file__).parents[1] / "data/media/held_frames.ogv"
    video = load_video(path)
    assert video.times.tolist() == [0, 1]
    assert video.duration == 2
    assert video.frames[:, 24, 32].round(-1).tolist() == [[250, 0, 0], [0, 0, 250]]


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_program_streams_keep_sound_and_pictures_together(tmp_path: Path, codec: str):
    # With H.264 inside, most frames have no time stamp of their own.
    silence = np.zeros(48_000, np.float32)
    path = media_files.write_video(
        tmp_path / "a.mpg",
        [i / 25 for i in range(75)],
        rate=25,
        codec=codec,
        options={"bf": "2"},
        audio=np.concatenate([silence, media_files.tone(48_000, 1)]),
        audio_codec="mp2",
    )
    video = load_video(path, fps=25)
    assert video.times == pytest.approx(np.arange(75) / 25, abs=1e-3)
    assert video.duration == pytest.approx(3, abs=1e-3)
    assert video.audio is not None
    onset = int(np.argmax(np.abs(video.audio.samples) > 0.1)) / 16_000
    assert onset == pytest.approx(1, abs=0.03)


def test_audio_track_shares_the_clock(tmp_path: Path):
    frames = [i / 25 for i in range(75)]
    tone = media_files.tone(48_000, 2)
    for start in (0.0, 0.75):
        path = tmp_path / f"{start}.mp4"
        media_files.write_video(path, frames, audio=tone, audio_start=start)
        video = load_video(path)
        assert video.audio is not None
        onset = int(np.argmax(np.abs(video.audio.samples) > 0.1)) / 16_000
        assert onset == pytest.approx(start, abs=0.005)
        assert video.audio.duration == pytest.approx(start + 2, abs=0.05)
        assert video.audio.sha256 == video.sha256
        assert load_video(path, with_audio=False).audio is None
    # The video begins half a second after the sound: that half second is cut off.
    late = media_files.write_video(tmp_path / "b.mkv", [0.5 + t for t in frames], audio=tone)
    sound = load_video(late).audio
    assert sound is not None
    assert sound.duration == pytest.approx(1.5, abs=0.05)
    assert media_files.peak_frequency(sound.samples) == pytest.approx(440, abs=1)
    with pytest.raises(MediaError, match=r"audio track.*with_audio=False"):
        load_video(late, limits=MediaLimits(max_audio_seconds=1))


def test_same_content_by_path_bytes_and_url(tmp_path: Path, reader: MediaLimits):
    path = media_files.write_video(tmp_path / "a.mp4", VFR, audio=media_files.tone(48_000, 1))
    data = path.read_bytes()
    expected = load_video(path, limits=reader)
    url = "data:video/mp4;base64," + base64.b64encode(data).decode()
    for source in (str(path), data, url, path.as_uri()):
        video = load_video(source, limits=reader)
        assert np.array_equal(video.frames, expected.frames)
        assert np.array_equal(video.times, expected.times)
        assert np.array_equal(video.audio.samples, expected.audio.samples)
        assert video.sha256 == hashlib.sha256(data).hexdigest()
        assert video.source.read() == data


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.floats(0.1, 120), st.floats(0.01, 240))
def test_frames_given_as_arrays(count: int, rate: float, fps: float):
    frames = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    limits = MediaLimits(max_video_seconds=1e9)
    video = load_video((frames, rate), fps=fps, limits=limits)
    assert np.array_equal(video.frames[:, 0, 0, 0], video.frame_indices)
    assert np.allclose(video.times, video.frame_indices / rate)
    instants = np.arange(len(video.times)) / video.fps
    assert instants[-1] < video.duration
    assert (np.abs(video.times - instants) <= 1 / rate + 1e-9).all()
    if fps >= rate:
        assert video.frame_indices.tolist() == list(range(count))
    whole = load_video(frames, fps=rate, limits=limits)
    assert np.array_equal(whole.frames, frames)
    assert whole.fps == pytest.approx(rate)


def test_lists_of_images():
    images = [PIL.Image.new("RGBA", (4, 3), (i, 0, 0, 255)) for i in range(10)]
    video = load_video((images, 10), fps=5)
    assert video.frames.shape == (5, 3, 4, 3)
    assert video.frames[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 8]
    stacked = np.stack([np.asarray(image.convert("RGB")) for image in images])
    assert load_video((stacked, 10), fps=5).sha256 == video.sha256
    assert video.source is None


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 3, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 3), np.float32),
        np.zeros((0, 8, 8, 3), np.uint8),
        [],
        ["a.png"],
        [PIL.Image.new("RGB", (2, 2)), PIL.Image.new("RGB", (2, 3))],
        (np.zeros((4, 8, 8, 3), np.uint8),),
        ("a.mp4", 25),
    ],
)
def test_bad_frames(bad):
    with pytest.raises(MediaError, match=r"numpy\.stack"):
        load_video(bad)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "2", True, None])
def test_bad_rates(fps):
    with pytest.raises(MediaError, match=r"fps is .*fps=2\.0"):
        load_video(np.zeros((1, 2, 2, 3), np.uint8), fps=fps)
    with pytest.raises(MediaError, match="the rate of the frames"):
        load_video((np.zeros((1, 2, 2, 3), np.uint8), fps))


def test_limits(tmp_path: Path):
    path = media_files.write_video(tmp_path / "clip.mp4", [i / 10 for i in range(30)], rate=10)
    with pytest.raises(MediaError, match=r"clip\.mp4.*3\.0 s.*max_video_seconds"):
        load_video(path, limits=MediaLimits(max_video_seconds=2))
    with pytest.raises(MediaError, match=r"clip\.mp4.*6 frames.*choose fps=1\.33 or less"):
        load_video(path, limits=MediaLimits(max_video_frames=4))
    assert len(load_video(path, fps=1.33, limits=MediaLimits(max_video_frames=4)).frames) == 4
    with pytest.raises(MediaError, match=r"clip\.mp4.*3072 pixels"):
        load_video(path, limits=MediaLimits(max_image_pixels=1000))
    with pytest.raises(MediaError, match=r"clip\.mp4.*55296 bytes.*lower fps"):
        load_video(path, limits=MediaLimits(max_video_bytes=50_000))


def test_broken_files(tmp_path: Path, reader: MediaLimits):
    noisy = {"bf": "2", "g": "30"}
    good = media_files.write_video(tmp_path / "a.mp4", VFR, options=noisy).read_bytes()
    fast = media_files.write_video(
        tmp_path / "b.mp4", VFR, options=noisy, container_options={"movflags": "+faststart"}
    ).read_bytes()
    webm = media_files.write_video(tmp_path / "c.mkv", VFR).read_bytes()
    sound = media_files.write_audio(tmp_path / "d.m4a", "aac", media_files.tone(44_100, 1), 44_100)
    picture = io.BytesIO()
    PIL.Image.new("RGB", (9, 9)).save(picture, "PNG")
    damaged = bytearray(good)
    damaged[len(good) // 3 : len(good) // 2] = os.urandom(len(good) // 2 - len(good) // 3)
    cases = {
        "text.mp4": b"no video\n" * 99,
        "random.mp4": np.random.default_rng(0).bytes(5000),
        "cut.mp4": good[: len(good) // 2],
        "cut_fast.mp4": fast[: len(fast) * 2 // 3],
        "cut.mkv": webm[: len(webm) // 2],
        "damaged.mp4": bytes(damaged),
        "sound.mp4": sound.read_bytes(),
        "picture.mp4": picture.getvalue(),
        "list.m3u8": b"#EXTM3U\n#EXTINF:9,\n" + bytes(tmp_path / "a.mp4") + b"\n#EXT-X-ENDLIST\n",
    }
    for name, data in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(MediaError) as caught:
            load_video(path, fps=20, limits=reader)
        assert name in str(caught.value)
        assert "convert it with ffmpeg" in str(caught.value)


def test_decoding_tells_the_frames_where_packets_do_not(tmp_path: Path, monkeypatch):
    path = media_files.write_video(tmp_path / "a.mp4", VFR, options={"bf": "2"})
    expected = load_video(path, limits=by("pyav"))

    def mismatch(*_):
        raise _frames.FrameMismatchError

    monkeypatch.setattr("omnitrace.media.video.index_frames", mismatch)
    video = load_video(path, limits=by("pyav"))
    assert np.array_equal(video.frames, expected.frames)
    assert np.array_equal(video.times, expected.times)


def test_raw_streams_have_no_timestamps(tmp_path: Path):
    path = tmp_path / "a.h264"
    media_files.write_video(path, [i / 25 for i in range(25)], options={"bf": "2"})
    video = load_video(path, fps=100)
    levels = [media_files.gray_level(frame) for frame in video.frames]
    assert np.allclose(levels, range(25), atol=1.0)


def test_no_handles_leak_and_threads_agree(tmp_path: Path):
    path = media_files.write_video(tmp_path / "a.mp4", VFR, audio=media_files.tone(48_000, 1))
    (tmp_path / "bad.mp4").write_bytes(path.read_bytes()[:3000])
    expected = load_video(path)
    handles = Path("/proc/self/fd")

    def opened() -> int:
        return sum(
            str(tmp_path) in str(handle.readlink())
            for handle in handles.iterdir()
            if handle.is_symlink()
        )

    with ThreadPoolExecutor(4) as pool:
        for video in pool.map(load_video, [path] * 12):
            assert np.array_equal(video.frames, expected.frames)
            assert np.array_equal(video.audio.samples, expected.audio.samples)
    with pytest.raises(MediaError):
        load_video(tmp_path / "bad.mp4")
    if handles.exists():
        assert opened() == 0


def test_previews(tmp_path: Path):
    video = load_video(media_files.write_video(tmp_path / "a.mp4", VFR, size=(320, 240)), fps=8)
    jpegs, times = video_previews(video, count=5)
    assert len(jpegs) == len(times) == 5
    assert times[0] == 0
    assert times[-1] == video.times[-1]
    assert PIL.Image.open(io.BytesIO(jpegs[2])).size == (160, 120)
    single = load_video(np.zeros((1, 2, 2, 3), np.uint8))
    assert len(video_previews(single)[0]) == 1

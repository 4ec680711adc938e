"""Damaged media end no process but the worker's, and what is decoded there is the same."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from omnitrace import Tracer
from omnitrace.errors import InputError, MediaError
from omnitrace.media import MediaLimits, load_audio, load_image, load_video
from omnitrace.media._worker import WORKER, Worker
from tests.helpers import media_files

HERE = MediaLimits(isolate=False)
posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks")


def png(mode: str = "RGB", size: tuple[int, int] = (37, 23)) -> bytes:
    channels = len(PIL.Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(values.squeeze(-1) if channels == 1 else values, mode).save(buffer, "PNG")
    return buffer.getvalue()


def abortion(path: Path) -> Path:
    """Write a video that makes decord abort the process: its table of times claims nine rows."""
    media_files.write_video(path, [i / 8 for i in range(16)], rate=8)
    data = bytearray(path.read_bytes())
    data[data.index(b"stts") + 11] = 9
    path.write_bytes(data)
    return path


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process that is not our child ends soon."""
    end = time.monotonic() + seconds
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # it has ended, and nobody waits for it
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_images_are_the_same(mode: str):
    data = png(mode) if mode != "I;16" else png16()
    apart, here = load_image(data), load_image(data, limits=HERE)
    assert np.array_equal(np.asarray(apart.pixels), np.asarray(here.pixels))
    assert (apart.sha256, apart.data, apart.pixels.info) == (here.sha256, here.data, {})


def png16() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.arange(37 * 23, dtype=np.uint16).reshape(23, 37) * 70).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


def test_audio_and_video_are_the_same(tmp_path: Path):
    sound = media_files.tone(44_100, 1.3)
    soundfile.write(tmp_path / "a.wav", sound, 44_100)
    media_files.write_audio(tmp_path / "a.m4a", "aac", sound, 44_100)
    for name in ("a.wav", "a.m4a"):
        apart, here = load_audio(tmp_path / name), load_audio(tmp_path / name, limits=HERE)
        assert np.array_equal(apart.samples, here.samples)
        assert apart.sha256 == here.sha256
    path = media_files.write_video(tmp_path / "a.mp4", [0, 0.1, 0.3, 1.2], audio=sound)
    for source in (path, path.read_bytes()):
        film, same = load_video(source, fps=5), load_video(source, fps=5, limits=HERE)
        for name in ("frames", "times", "frame_indices"):
            assert np.array_equal(getattr(film, name), getattr(same, name))
        assert (film.fps, film.duration, film.sha256) == (same.fps, same.duration, same.sha256)
        assert np.array_equal(film.audio.samples, same.audio.samples)


def test_a_decoder_that_kills_its_process_is_an_error_and_others_go_on(tmp_path: Path):
    pytest.importorskip("decord")
    path = abortion(tmp_path / "abort.mp4")
    limits = MediaLimits(video_reader="decord")
    for _ in range(2):
        with pytest.raises(MediaError, match=r"abort\.mp4' made its decoder fail") as caught:
            load_video(path, limits=limits)
        assert "SIGABRT" in str(caught.value)
        assert "isolate=False" in caught.value.fix
        assert load_image(png()).width == 37
    assert len(load_video(path).frames) == 4  # PyAV reads what can be read


def test_requests_go_on_after_a_medium_that_kills_its_decoder(tmp_path: Path, reference: Tracer):
    pytest.importorskip("decord")
    path = abortion(tmp_path / "abort.mp4")
    tracer = reference.with_options(limits=MediaLimits(video_reader="decord"))
    ask = {"type": "text", "text": "What colour is the lamp?"}
    good = [{"type": "text", "text": "The lamp is red."}, ask]
    bad = [{"type": "video", "video": str(path)}, ask]
    texts = []
    for content in (good, bad, good):
        try:
            request = [{"role": "user", "content": content}]
            texts.append(tracer.trace(request, max_new_tokens=2).text)
        except MediaError:
            texts.append(None)
    assert texts == [texts[0], None, texts[0]]


def test_what_takes_too_long_is_an_error(tmp_path: Path):
    path = media_files.write_long_flac(tmp_path / "long.flac", minutes=20, rate=192_000)
    load_image(png())
    before = WORKER.pid
    with pytest.raises(MediaError, match=r"long\.flac' took longer than 0\.\d+ s") as caught:
        load_audio(path, limits=MediaLimits(max_decode_seconds=0.05))
    assert "max_decode_seconds" in caught.value.fix
    assert load_image(png()).width == 37
    assert WORKER.pid != before


@posix
@pytest.mark.parametrize("when", ["idle", "decoding"])
def test_the_process_is_started_again(tmp_path: Path, when: str):
    path = media_files.write_long_flac(tmp_path / "long.flac", minutes=30, rate=192_000)
    load_image(png())
    first = WORKER.pid
    assert first is not None
    if when == "idle":
        os.kill(first, signal.SIGKILL)
        while WORKER._process is not None and WORKER._process.poll() is None:
            time.sleep(0.01)
    else:
        killer = threading.Timer(0.1, os.kill, (first, signal.SIGKILL))
        killer.start()
        with pytest.raises(MediaError, match="SIGKILL"):
            load_audio(path)
        killer.join()
    assert load_image(png()).width == 37
    assert WORKER.pid not in (None, first)


def test_limits_count_decoded_bytes(tmp_path: Path):
    bomb = media_files.write_long_flac(tmp_path / "bomb.flac", minutes=59, rate=192_000)
    assert bomb.stat().st_size < 1_000_000
    for limits in (MediaLimits(), HERE):
        with pytest.raises(MediaError, match=r"bomb\.flac.*27\d{8} bytes.*max_audio_bytes"):
            load_audio(bomb, limits=limits)
    with pytest.raises(MediaError, match=r"100x90 pixels, 27000 bytes.*max_image_bytes"):
        load_image(png("L", (100, 90)), limits=MediaLimits(max_image_bytes=20_000))
    for limits in (MediaLimits(), HERE):
        with pytest.raises(MediaError, match="max_image_bytes"):  # 300 MB
            load_image(bomb_png(9_999), limits=limits)
    path = media_files.write_video(tmp_path / "a.mp4", [0], audio=media_files.tone(48_000, 1))
    with pytest.raises(MediaError, match=r"audio track.*at 48000 Hz.*max_audio_bytes"):
        load_video(path, limits=MediaLimits(max_audio_bytes=50_000))


def bomb_png(side: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@posix
def test_large_files_that_are_no_media_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1_900_000_000)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(MediaError, match=r"sparse' has 1900000000 bytes.*max_image_bytes"):
        load_image(path)
    for load, kind in ((load_audio, "audio"), (load_video, "video")):
        with pytest.raises(MediaError, match=f"sparse' cannot be decoded as {kind}"):
            load(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
def test_memory_is_bounded():
    data = bomb_png(4_000)  # 16 MB as Pillow holds it, and 64 MB as RGB
    with pytest.raises(MediaError, match=r"<bytes> takes more than 30000000 bytes of memory"):
        load_image(data, limits=MediaLimits(max_worker_bytes=30_000_000))
    assert load_image(data, limits=MediaLimits(max_worker_bytes=300_000_000)).width == 4_000


def test_threads_share_one_process():
    sizes = [(30 + i, 20) for i in range(24)]
    load_image(png())
    before = WORKER.pid
    with ThreadPoolExecutor(6) as pool:
        images = list(pool.map(lambda size: load_image(png("RGB", size)), sizes))
    assert [image.pixels.size for image in images] == sizes
    assert WORKER.pid == before


@posix
def test_a_forked_process_has_its_own_and_takes_it_along(tmp_path: Path):
    """Killed while it decodes, too: nothing may outlive its parent."""
    path = media_files.write_long_flac(tmp_path / "long.flac", minutes=50, rate=192_000)
    load_image(png())
    ours = WORKER.pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            load_image(png())
            os.write(writing, f"{WORKER.pid}\n".encode())
            load_audio(path, limits=MediaLimits(max_audio_bytes=1 << 40))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as said:
        theirs = int(said.readline())
    time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert theirs != ours
    assert gone(theirs)
    assert load_image(png()).width == 37
    assert WORKER.pid == ours


@posix
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path):
    """The script has no guard around its main part, and Ctrl-C goes to its whole group."""
    path = media_files.write_long_flac(tmp_path / "long.flac", minutes=50, rate=192_000)
    script = f"""
        import os, sys, threading, time
        from omnitrace.media import MediaLimits, load_audio, load_image
        from omnitrace.media import _worker_child
        from omnitrace.media._worker import WORKER
        print(sorted({{"torch", "transformers", "librosa", "decord"}} & set(sys.modules)))
        load_image({png()!r})
        print(WORKER.pid)
        threading.Timer(0.2, os.killpg, (0, 2)).start()
        try:
            load_audio({str(path)!r}, limits=MediaLimits(max_audio_bytes=1 << 40))
        except KeyboardInterrupt:
            print("interrupted")
        load_image({png()!r})
        print(WORKER.pid)
    """
    done = subprocess.run(
        [sys.executable, "-"],
        input=textwrap.dedent(script),
        text=True,
        capture_output=True,
        start_new_session=True,
        timeout=60,
        check=True,
    )
    heavy, first, word, second = done.stdout.split("\n")[:4]
    assert (heavy, word, done.stderr) == ("[]", "interrupted", "")
    assert first != second
    assert gone(int(first))
    assert gone(int(second))


def test_warnings_come_from_the_worker_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.warns(PIL.Image.DecompressionBombWarning):
        load_image(png())
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MediaError, match="decompression bomb"):
        load_image(png())


def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch):
    worker = Worker()
    monkeypatch.setattr("omnitrace.media._worker._MAIN", "import nowhere")
    monkeypatch.setattr("omnitrace.media.image.WORKER", worker)
    with pytest.raises(MediaError, match=r"cannot be started.*No module named 'nowhere'"):
        load_image(png())
    assert worker.pid is None
    assert load_image(png(), limits=HERE).width == 37


def test_isolation_is_on_or_off():
    with pytest.raises(InputError, match="isolate"):
        MediaLimits(isolate="no")  # type: ignore[arg-type]

"""What decoding media in the worker process costs, beside decoding them in this one.

Both take turns at the same files, each after a first medium that is not counted: the worker
process is started once for all media of a process, and that is timed by itself. A third turn
decodes the videos here with decord instead of PyAV.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from common.medians import median_interval
from common.report import Result, Table, fill_in, parser, run_benchmark
from common.turns import rotated

ROUNDS: Final = 10
STARTS: Final = 5

_COLUMNS: Final = (
    "medium",
    "decoded MB",
    "here ms",
    "worker ms",
    "worker ÷ here [95 %]",
    "processor time, worker ÷ here",
    "decord here ÷ here",
)


def write_media(folder: Path) -> dict[str, Path]:
    """Write media of everyday sizes; noise that is smooth enough to be compressed as photos are."""
    import numpy as np
    import PIL.Image
    import soundfile

    draw = np.random.default_rng(0)

    def picture(width: int, height: int) -> Any:
        coarse = draw.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        return PIL.Image.fromarray(coarse).resize((width, height))

    def sound(seconds: float, rate: int) -> Any:
        return (0.1 * draw.normal(size=(round(seconds * rate), 2))).astype(np.float32)

    made = {
        "JPEG, 640 by 480": folder / "small.jpg",
        "JPEG, 4000 by 3000": folder / "photo.jpg",
        "PNG, 1920 by 1080": folder / "screen.png",
        "WAV, 30 s at 48 kHz": folder / "a.wav",
        "FLAC, 1 min at 44.1 kHz": folder / "a.flac",
        "MP4, 12 frames of 6 s, 1280 by 720, with sound": folder / "a.mp4",
    }
    names = list(made.values())
    picture(640, 480).save(names[0], quality=90)
    picture(4000, 3000).save(names[1], quality=90)
    picture(1920, 1080).save(names[2])
    soundfile.write(names[3], sound(30, 48_000), 48_000)
    soundfile.write(names[4], sound(60, 44_100), 44_100)
    _write_video(names[5], [np.asarray(picture(1280, 720)) for _ in range(6)], sound(6, 48_000))
    return made


def _write_video(path: Path, pictures: Sequence[Any], samples: Any) -> None:
    """Write a picture a second, which moves, at 25 frames a second, and stereo sound."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="stereo")
        for i in range(25 * len(pictures)):
            moved = np.roll(pictures[i // 25], 4 * i, axis=1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        container.mux(audio.encode(frame))
        container.mux(audio.encode())


def loader(path: Path) -> Callable[..., Any]:
    """Return what loads a file of ours."""
    from omnitrace.media import load_audio, load_image, load_video

    kinds = {".mp4": load_video, ".wav": load_audio, ".flac": load_audio}
    return kinds.get(path.suffix, load_image)


def decoded_bytes(medium: Any) -> int:
    """Return how many bytes the arrays of a loaded medium have."""
    if hasattr(medium, "pixels"):
        return 3 * medium.width * medium.height
    if hasattr(medium, "frames"):
        sound = 0 if medium.audio is None else medium.audio.samples.nbytes
        return medium.frames.nbytes + sound
    return medium.samples.nbytes


@contextmanager
def timed(spent: list[tuple[float, float]]) -> Iterator[None]:
    """Note the seconds that something takes, and those of processors, of the worker too."""
    before = time.perf_counter(), _processor_seconds()
    yield
    spent.append((time.perf_counter() - before[0], _processor_seconds() - before[1]))


def _processor_seconds() -> float:
    return time.process_time() + _worker_seconds()


def _worker_seconds() -> float:
    """Return the processor time of the worker process, where the system says it."""
    from omnitrace.media._worker import WORKER

    stat = Path(f"/proc/{WORKER.pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def starts_of(path: Path, count: int) -> list[tuple[float, float]]:
    """Return how long a first medium takes, and the processor time of the worker started for it."""
    from omnitrace.media import load_image
    from omnitrace.media._worker import WORKER

    spent = []
    for _ in range(count):
        WORKER.close()
        begun = time.perf_counter()
        load_image(path)
        spent.append((time.perf_counter() - begun, _worker_seconds()))
    return spent


def measure(given: argparse.Namespace) -> Result:
    """Run the whole comparison."""
    from omnitrace.media import MediaLimits

    modes = {
        "here": MediaLimits(isolate=False),
        "worker": MediaLimits(),
        "decord": MediaLimits(isolate=False, video_reader="decord"),
    }
    rows: list[list[str]] = []
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        media = write_media(Path(folder))
        starts = starts_of(next(iter(media.values())), given.starts)
        for name, path in media.items():
            load = loader(path)
            used = [mode for mode in modes if mode != "decord" or path.suffix == ".mp4"]
            size = max(decoded_bytes(load(path, limits=modes[mode])) for mode in used)
            spent: dict[str, list[tuple[float, float]]] = {mode: [] for mode in used}
            for number in range(given.rounds):
                for mode in rotated(used, number):
                    with timed(spent[mode]):
                        load(path, limits=modes[mode])
            rows.append(_row(name, size, spent))
            values[name] = {"bytes": size, "spent": spent}
    return Result(
        name="media",
        title="Media decoded in the worker process and here",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"{given.rounds} rounds, in each of which the ways to decode take turns; medians; the "
            "ratio is the median of the rounds' ratios, with the order statistics that hold it at "
            "95 %",
            "reading the file, its SHA-256 and the copy into arrays of this process are part of it",
            "processor time: of this process and of the worker, summed over the rounds; where a "
            "machine has other work, times by the clock favour two processes over one",
            "starting the worker process, once for all media: "
            f"{statistics.median(seconds for seconds, _ in starts):.2f} s, of which it computes "
            f"{statistics.median(seconds for _, seconds in starts):.2f} s (medians of "
            f"{given.starts}, with the decoding of the smallest image)",
        ],
        settings={"rounds": given.rounds, "starts": given.starts},
        values=values | {"starts": starts},
    )


def _row(name: str, size: int, spent: dict[str, list[tuple[float, float]]]) -> list[str]:
    def ratio(mode: str) -> str:
        pairs = zip(spent[mode], spent["here"], strict=True)
        return median_interval([one[0] / other[0] for one, other in pairs]).text(2)

    def milliseconds(mode: str) -> str:
        return f"{1e3 * statistics.median(seconds for seconds, _ in spent[mode]):.1f}"

    processor = [sum(each for _, each in spent[mode]) for mode in ("worker", "here")]
    return [
        name,
        f"{size / 1e6:.1f}",
        milliseconds("here"),
        milliseconds("worker"),
        ratio("worker"),
        f"{processor[0] / processor[1]:.2f}",
        ratio("decord") if "decord" in spent else "",
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Decode media in the worker process and here.")
    made.add_argument("--rounds", type=int, help=f"by default {ROUNDS}, quick 2")
    made.add_argument("--starts", type=int, help=f"by default {STARTS}, quick 1")
    given = made.parse_args(arguments)
    return fill_in(
        given, {"rounds": 2 if given.quick else ROUNDS, "starts": 1 if given.quick else STARTS}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())

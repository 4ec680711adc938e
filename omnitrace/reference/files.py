"""Samples of the reference world as files: PNG, WAV, MP4, ``request.json`` and ``labels.jsonl``.

The same seed gives the same PNG, WAV and JSON bytes everywhere. An MP4 shows its frames at the same
times and plays the same samples; its bytes are the same for the same build of the encoders.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from omnitrace._utils.files import write_text
from omnitrace.evaluation.labels.io import write_labels
from omnitrace.evaluation.labels.schema import VERSION, Label, LabelledSpan, LabelledWord
from omnitrace.reference.assets import SAMPLE_RATE
from omnitrace.reference.render import VIDEO_FPS, render_audio, render_image, render_video
from omnitrace.reference.scenes import Audio, Image, Video
from omnitrace.reference.world import Sample, Statement, media_name

__all__ = [
    "LABELS",
    "REQUEST",
    "REQUESTS",
    "labels",
    "request",
    "write_sample",
    "write_samples",
]

REQUEST: Final = "request.json"
"""The file of one request."""
REQUESTS: Final = "requests.jsonl"
"""The file of many requests."""
LABELS: Final = "labels.jsonl"
"""The file of their labels."""


def request(sample: Sample) -> dict[str, Any]:
    """Build what ``request.json`` holds: the id and the messages, media as relative paths."""
    return {"id": sample.id, "messages": sample.messages}


def labels(sample: Sample) -> Label:
    """Build the line of ``labels.jsonl``: the right answer, each value word with its evidence."""
    return Label(
        version=VERSION,
        id=sample.id,
        response=sample.answer,
        spans=tuple(_span(statement) for statement in sample.statements),
    )


def _span(statement: Statement) -> LabelledSpan:
    words = tuple(
        LabelledWord(start=value.start, end=value.end, text=value.text, sources=value.sources)
        for value in statement.values
    )
    return LabelledSpan(
        start=statement.start,
        end=statement.end,
        text=statement.text,
        sources=statement.sources,
        words=words,
        category=statement.category,
    )


def write_sample(sample: Sample, folder: Path | str) -> Path:
    """Write a sample's media, request and labels into a folder, made if need be.

    Returns
    -------
    Path
        The path of ``request.json``.

    Raises
    ------
    InputError
        If the request or the labels cannot be written.
    OSError, av.FFmpegError
        If a medium cannot be written.
    """
    folder = Path(folder)
    _write_media(sample, folder)
    write_labels(folder / LABELS, [labels(sample)])
    document = json.dumps(request(sample), indent=1, ensure_ascii=False)
    return write_text(folder / REQUEST, f"{document}\n")


def write_samples(samples: Iterable[Sample], folder: Path | str) -> Path:
    """Write many samples: ``requests.jsonl``, ``labels.jsonl``, and a folder of media for each.

    Returns
    -------
    Path
        The path of ``requests.jsonl``; errors are those of :func:`write_sample`.
    """
    folder = Path(folder)
    lines: list[str] = []
    known: list[Label] = []
    for sample in samples:
        _write_media(sample, folder / sample.id)
        lines.append(json.dumps(_inside(sample.id, request(sample)), ensure_ascii=False))
        known.append(labels(sample))
    write_labels(folder / LABELS, known)
    return write_text(folder / REQUESTS, "".join(f"{line}\n" for line in lines))


def _inside(folder: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose media lie in a folder."""
    (message,) = record["messages"]
    content = [
        part if part["type"] == "text" else {**part, part["type"]: f"{folder}/{part[part['type']]}"}
        for part in message["content"]
    ]
    return {**record, "messages": [{**message, "content": content}]}


def _write_media(sample: Sample, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, scene in enumerate(sample.scenes):
        if isinstance(scene, Image):
            pixels = PILImage.fromarray(render_image(scene))
            pixels.save(folder / media_name(part, scene), optimize=False)
        elif isinstance(scene, Audio):
            _write_wav(folder / media_name(part, scene), render_audio(scene))
        elif isinstance(scene, Video):
            _write_mp4(folder / media_name(part, scene), scene)


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def _write_mp4(path: Path, video: Video) -> None:
    import av

    sound = video.sound
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        pictures = container.add_stream("libx264", rate=VIDEO_FPS)
        pictures.height, pictures.width = video.height, video.width
        pictures.pix_fmt = "yuv420p"
        pictures.codec_context.thread_count = 1
        # One quantiser for all: with x264's rate control the same frames give other bytes each run.
        pictures.options = {"qp": "18", "preset": "medium"}
        # FLAC gives back every sample at its time; AAC would make the track a little longer. All
        # streams must be there before the first packet.
        track = None
        if sound is not None:
            track = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono", format="s16")
        for pixels in render_video(video):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if sound is not None:
            _write_track(container, track, render_audio(sound))


def _write_track(container: Any, stream: Any, samples: NDArray[np.int16]) -> None:
    """Encode mono samples in the portions that the encoder takes."""
    import av

    size = stream.codec_context.frame_size  # the first packet has opened all encoders
    for start in range(0, len(samples), size):
        portion = np.ascontiguousarray(samples[None, start : start + size])
        frame = av.AudioFrame.from_ndarray(portion, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = start, Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())

"""Samples of the reference world as files: PNG, WAV, MP4, ``request.json`` and ``labels.json``.

The same seed gives the same PNG, WAV and JSON bytes. The frames handed to the video encoder are the
same too, but the bytes of the MP4 can differ from run to run.
"""

from __future__ import annotations

import dataclasses
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from omnitrace.reference.render import (
    SAMPLE_RATE,
    VIDEO_FPS,
    render_audio,
    render_image,
    render_video,
)
from omnitrace.reference.world import MEDIA_NAMES, Sample

__all__ = ["labels", "request", "write_sample"]


def request(sample: Sample) -> dict[str, Any]:
    """Build what ``request.json`` holds: the id and the messages, media as relative paths."""
    return {"id": sample.id, "messages": sample.messages}


def labels(sample: Sample) -> dict[str, Any]:
    """Build what ``labels.json`` holds: the right answer and the evidence of each statement."""
    return {
        "id": sample.id,
        "answer": sample.answer,
        "statements": [
            {
                "text": statement.text,
                "start": statement.start,
                "end": statement.end,
                "value": {
                    "text": statement.value,
                    "start": statement.value_start,
                    "end": statement.value_end,
                },
                "category": statement.category,
                "evidence": [dataclasses.asdict(evidence) for evidence in statement.evidence],
            }
            for statement in sample.statements
        ],
    }


def write_sample(sample: Sample, folder: Path | str) -> Path:
    """Write a sample's media, request and labels into a folder, made if need be.

    Returns
    -------
    Path
        The path of ``request.json``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if sample.image is not None:
        pixels = render_image(sample.image, sample.seed)
        PILImage.fromarray(pixels).save(folder / MEDIA_NAMES["image"], optimize=False)
    if sample.audio is not None:
        _write_wav(folder / MEDIA_NAMES["audio"], render_audio(sample.audio, sample.seed))
    if sample.video is not None:
        _write_mp4(folder / MEDIA_NAMES["video"], render_video(sample.video, sample.seed))
    (folder / "labels.json").write_text(_json(labels(sample)), encoding="utf-8")
    path = folder / "request.json"
    path.write_text(_json(request(sample)), encoding="utf-8")
    return path


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def _write_mp4(path: Path, frames: NDArray[np.uint8]) -> None:
    import av

    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "18", "preset": "medium"}
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

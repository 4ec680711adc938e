"""What a trace remembers of the media it was given."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from omnitrace.errors import MediaError
from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    LoadedVideo,
    image_preview,
    video_previews,
    waveform,
)
from omnitrace.sources.parts import MediaPart
from omnitrace.types import MediaRecord

__all__ = ["media_record"]


def media_record(part: MediaPart) -> MediaRecord:
    """Describe one medium: digest, size, duration, small previews."""
    media = part.media
    if isinstance(media, LoadedImage):
        return MediaRecord(
            message=part.message,
            part=part.part,
            modality=part.modality,
            name=media.name,
            sha256=media.sha256,
            size=(media.width, media.height),
            previews=(image_preview(media),),
            read=media.encoded,
        )
    if isinstance(media, LoadedAudio):
        return MediaRecord(
            message=part.message,
            part=part.part,
            modality=part.modality,
            name=media.name,
            sha256=media.sha256,
            duration=media.whole or media.duration,
            waveform=_waveform(media, media.whole),
            read=media.encoded,
        )
    previews, times = video_previews(media)
    return MediaRecord(
        message=part.message,
        part=part.part,
        modality=part.modality,
        name=media.name,
        sha256=media.sha256,
        size=(media.width, media.height),
        duration=media.duration,
        frame_times=tuple(float(t) for t in media.times),
        previews=tuple(previews),
        preview_times=tuple(float(t) for t in times),
        waveform=()
        if media.audio is None
        else _waveform(media.audio, media.duration if media.seconds else None),
        read=_reader(media),
    )


def _waveform(audio: LoadedAudio, whole: float | None) -> tuple[float, ...]:
    """Return the peaks; of a part those of the whole recording, flat where it was not read."""
    if whole is None:
        return waveform(audio)
    around = (
        round(max(0.0, each) * audio.sample_rate) for each in (audio.start, whole - audio.end)
    )
    return waveform(dataclasses.replace(audio, samples=np.pad(audio.samples, tuple(around))))


def _reader(video: LoadedVideo) -> Callable[[], bytes] | None:
    """Return what reads the video again; it must not keep the decoded frames alive."""
    source, sha256 = video.source, video.sha256
    if source is None:
        return None

    def read() -> bytes:
        data = source.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MediaError(
                f"{source.label} is not the video that was traced any more",
                fix="trace it again, or save without media=True",
            )
        return data

    return read

"""What a trace remembers of the media it was given."""

from __future__ import annotations

from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    image_preview,
    video_previews,
    waveform,
)
from omnitrace.sources.messages import MediaPart
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
            data=media.encoded(),
        )
    if isinstance(media, LoadedAudio):
        return MediaRecord(
            message=part.message,
            part=part.part,
            modality=part.modality,
            name=media.name,
            sha256=media.sha256,
            duration=media.duration,
            waveform=waveform(media),
            data=media.encoded(),
        )
    previews, times = video_previews(media)
    return MediaRecord(
        message=part.message,
        part=part.part,
        modality=part.modality,
        name=media.name,
        sha256=media.sha256,
        size=(int(media.frames.shape[2]), int(media.frames.shape[1])),
        duration=media.duration,
        frame_times=tuple(float(t) for t in media.times),
        previews=tuple(previews),
        preview_times=tuple(float(t) for t in times),
        waveform=() if media.audio is None else waveform(media.audio),
        data=media.original(),
    )

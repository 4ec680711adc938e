"""The media of a request as the processor takes them, with or without the sound of videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omnitrace.errors import MediaError, NotSupportedError
from omnitrace.media import LoadedAudio, LoadedVideo
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.unitizers.user_defined import name_of

__all__ = ["RequestMedia", "request_media", "takes_sound"]


@dataclass(frozen=True, slots=True)
class RequestMedia:
    """The media of a request in the orders in which the processor takes them.

    ``audio`` holds, with ``video_sound``, the sound of videos where these stand.
    """

    images: list[MediaPart]
    videos: list[MediaPart]
    audio: list[tuple[MediaPart, LoadedAudio]]
    video_sound: bool

    def of(self, modality: str) -> list[MediaPart]:
        """Return the parts of a modality in prompt order."""
        if modality == "audio":
            return [part for part, _ in self.audio if part.modality == "audio"]
        return self.images if modality == "image" else self.videos

    def from_videos(self) -> list[int | None]:
        """Return, for each audio, the number of the video whose sound it is."""
        return [
            self.videos.index(part) if part.modality == "video" else None for part, _ in self.audio
        ]


def request_media(
    conversation: Conversation, options: SourceOptions, processor: Any
) -> RequestMedia:
    """Collect the media, and decide whether the videos' sound is among them.

    It is one switch for all videos of a request.

    Raises
    ------
    MediaError
        If the sound of a silent video is asked for.
    NotSupportedError
        If the model takes no sound of videos, that of all of them or none, or only at one rate.
    """
    images, videos = list(conversation.media("image")), list(conversation.media("video"))
    sound = _uses_sound(videos, options, processor)
    audio: list[tuple[MediaPart, LoadedAudio]] = []
    for part in conversation.media():
        if isinstance(part.media, LoadedAudio):
            audio.append((part, part.media))
        elif sound and isinstance(part.media, LoadedVideo):
            assert part.media.audio is not None, "checked by _uses_sound"
            audio.append((part, part.media.audio))
    return RequestMedia(images, videos, audio, sound)


def _sound(part: MediaPart) -> LoadedAudio | None:
    assert isinstance(part.media, LoadedVideo)
    return part.media.audio


def takes_sound(processor: Any) -> bool:
    """Whether a processor can interleave the sound of a video with its pictures."""
    from transformers.processing_utils import OmniModalProcessorMixin

    return isinstance(processor, OmniModalProcessorMixin)


def _uses_sound(videos: list[MediaPart], options: SourceOptions, processor: Any) -> bool:
    sounding = [part for part in videos if _sound(part) is not None]
    wanted = options.use_audio_in_video
    if wanted is True and videos and not takes_sound(processor):
        raise NotSupportedError(
            f"{type(processor).__name__} takes no sound of videos, but use_audio_in_video is True",
            fix="set SourceOptions.use_audio_in_video to 'auto' or False",
        )
    if wanted is True and videos and not sounding:
        raise MediaError(
            f"{name_of(videos[0])} has no sound, but use_audio_in_video is True",
            fix="set SourceOptions.use_audio_in_video to 'auto' or False",
        )
    if wanted is False or not sounding or not takes_sound(processor):
        return False
    if len(sounding) < len(videos):
        silent = next(part for part in videos if _sound(part) is None)
        raise NotSupportedError(
            f"{name_of(silent)} is silent and {name_of(sounding[0])} has sound; the model "
            "uses the sound of either all videos of a request or none",
            fix="set SourceOptions.use_audio_in_video to False, or pass the sound as audio",
        )
    rates = sorted({part.media.fps for part in videos if isinstance(part.media, LoadedVideo)})
    if len(rates) > 1:
        raise NotSupportedError(
            f"the videos were sampled at different rates ({rates} frames per second), "
            "and the model interleaves sound at one rate",
            fix="lower SourceOptions.video_fps to the lowest of them",
        )
    return True

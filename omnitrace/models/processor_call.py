"""One call of a processor: its arguments for the media of a request, and their true times."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from omnitrace.errors import MediaError, ModelError
from omnitrace.media import LoadedVideo
from omnitrace.models.picture_sizes import check_sizes, keeps_sizes, shown_frames, shown_image
from omnitrace.models.request_media import RequestMedia, takes_sound
from omnitrace.sources.parts import MediaPart

__all__ = ["call_processor"]

_RATE: Final = 16_000


def call_processor(
    processor: Any, prompt: str, media: RequestMedia, *, add_special_tokens: bool
) -> dict[str, Any]:
    """Run the processor over a rendered prompt and its media.

    Videos go in as they were sampled, with the time of each frame in milliseconds, so that every
    time that the processor writes or derives is the true one.

    Returns
    -------
    dict
        What the processor gives, with ``text_replacement_offsets``.

    Raises
    ------
    InputError
        If a picture cannot be shown at the size that its message asks for.
    MediaError
        If the processor refuses the media.
    ModelError
        If the processor does not say what it puts in place of them.
    """
    import transformers  # waits: commands that load no model start without it

    kwargs: dict[str, Any] = {}
    if media.images:
        kwargs["images"] = [shown_image(part, processor) for part in media.images]
        if keeps_sizes(media.images):
            kwargs["images_kwargs"] = {"do_resize": False}
    if media.audio:
        kwargs["audio"] = [audio.samples for _, audio in media.audio]
        kwargs["audio_kwargs"] = {"sampling_rate": _RATE}
    if media.videos:
        kwargs["videos"] = [
            torch.from_numpy(shown_frames(part, processor)).permute(0, 3, 1, 2)
            for part in media.videos
        ]
        kwargs["videos_kwargs"] = _video_arguments(processor, media)
        if keeps_sizes(media.videos):
            kwargs["videos_kwargs"]["do_resize"] = False
    if media.video_sound:
        kwargs["load_audio_from_video"] = True
        kwargs["audio_from_video_indices"] = media.from_videos()
    try:
        output = processor(
            text=[prompt],
            return_tensors="pt",
            return_text_replacement_offsets=True,
            return_metadata=True,
            text_kwargs={"add_special_tokens": add_special_tokens},
            **kwargs,
        )
    except ValueError as error:  # the processor's own limits, e.g. on aspect ratio
        raise MediaError(f"the model's processor refuses the media: {error}") from error
    found = dict(output)
    check_sizes(media.images, processor, found)
    check_sizes(media.videos, processor, found)
    if media.videos:
        _set_seconds(processor, found, media)
    if (media.images or media.videos or media.audio) and "text_replacement_offsets" not in found:
        raise ModelError(
            f"{type(processor).__name__} of transformers {transformers.__version__} does not "
            "say what it puts in place of media",
            legal="processors that take return_text_replacement_offsets",
            fix="use transformers 5.23 or newer, where all but a few do",
        )
    return found


def _video_arguments(processor: Any, media: RequestMedia) -> dict[str, Any]:
    videos = [_video(part) for part in media.videos]
    arguments: dict[str, Any] = {"do_sample_frames": False}
    if takes_sound(processor):
        size = processor.video_processor.temporal_patch_size
        return arguments | {"fps": size / _seconds_per_grid(processor, videos[0])}
    return arguments | {
        "video_metadata": [
            {
                "total_num_frames": round(video.duration * 1000),
                "fps": 1000.0,
                "frames_indices": [round(float(time) * 1000) for time in video.times],
                "width": video.width,
                "height": video.height,
                "duration": video.duration,
            }
            for video in videos
        ]
    }


def _seconds_per_grid(processor: Any, video: LoadedVideo) -> float:
    """Return the seconds of a temporal patch, such that all count chunks of sound alike.

    The processor counts in float64 and the model in float32; where float32 cannot hold the
    seconds, a patch on the edge of a chunk would fall before it for one and after it for the
    other, and the model's positions would be those of other tokens. A millionth puts it after.
    """
    seconds: float = processor.video_processor.temporal_patch_size / video.fps
    return seconds if float(np.float32(seconds)) == seconds else seconds * (1 + 1e-6)


def _set_seconds(processor: Any, found: dict[str, Any], media: RequestMedia) -> None:
    """Give each video the seconds of its own temporal patches; processors take one for all."""
    for name in ("video_second_per_grid", "second_per_grid_ts"):
        if name in found and not media.video_sound:
            size = processor.video_processor.temporal_patch_size
            found[name] = torch.tensor([size / _video(part).fps for part in media.videos])


def _video(part: MediaPart) -> LoadedVideo:
    assert isinstance(part.media, LoadedVideo)
    return part.media

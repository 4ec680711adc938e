"""User media, decoded and validated: images, audio and video as arrays, with limits and digests.

Everything that a user can get wrong ends in an :class:`omnitrace.errors.MediaError`. All functions
may be called from several threads, and no file stays open. Decoding is done by Pillow, soundfile,
PyAV, decord and librosa.
"""

from omnitrace.media.audio import SAMPLE_RATE, LoadedAudio, load_audio
from omnitrace.media.image import LoadedImage, load_image
from omnitrace.media.limits import MediaLimits
from omnitrace.media.preview import image_preview, video_previews, waveform
from omnitrace.media.source import Source, resolve_source
from omnitrace.media.video import LoadedVideo, load_video

__all__ = [
    "SAMPLE_RATE",
    "LoadedAudio",
    "LoadedImage",
    "LoadedVideo",
    "MediaLimits",
    "Source",
    "image_preview",
    "load_audio",
    "load_image",
    "load_video",
    "resolve_source",
    "video_previews",
    "waveform",
]

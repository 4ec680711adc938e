"""User media, decoded and validated: images, audio and video as arrays, with limits and digests.

Everything that a user can get wrong ends in an :class:`omnitrace.errors.MediaError`. All functions
may be called from several threads, and no file stays open. Files and bytes are decoded in a worker
process (see ``_worker``), arrays and PIL images here.

Which library does what:

========== ==================================================================================
Pillow     reads images, and turns them as EXIF says
soundfile  reads audio files of the formats that it knows (WAV, FLAC, Ogg, MP3), and writes WAV
PyAV       reads all other audio, the sound of videos, and videos
decord     decodes the frames of common videos where the user chooses it, to the same pixels
soxr       resamples audio to 16 kHz
========== ==================================================================================
"""

from omnitrace.media.audio import SAMPLE_RATE, LoadedAudio, load_audio
from omnitrace.media.clip import Clip
from omnitrace.media.image import LoadedImage, load_image
from omnitrace.media.limits import MediaLimits
from omnitrace.media.preview import image_preview, video_previews, waveform
from omnitrace.media.source import Source, resolve_source
from omnitrace.media.video import LoadedVideo, load_video

__all__ = [
    "SAMPLE_RATE",
    "Clip",
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

"""What the scenes of the reference world look and sound like, as arrays.

The arrays are what the files hold: pixels of the PNG, samples of the WAV, and the frames that are
handed to the video encoder. Noise is seeded by the sample.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from omnitrace.reference.scenes import IMAGE_SIZE, Audio, Image, Shape, Video

__all__ = [
    "SAMPLE_RATE",
    "VIDEO_FPS",
    "VIDEO_SIZE",
    "render_audio",
    "render_image",
    "render_video",
]

SAMPLE_RATE: Final = 16_000
VIDEO_FPS: Final = 8
VIDEO_SIZE: Final = 56


def render_image(image: Image, seed: int) -> NDArray[np.uint8]:
    """Draw an image as uint8 ``[height, width, 3]``."""
    canvas = PILImage.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), image.background)
    draw = ImageDraw.Draw(canvas)
    for shape in image.shapes:
        _draw(draw, shape)
    return _noisy(np.asarray(canvas), seed, 4.0)


def render_audio(audio: Audio, seed: int) -> NDArray[np.int16]:
    """Play an audio as int16 samples at :data:`SAMPLE_RATE`, with soft edges and faint noise."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    edge = np.minimum(1.0, np.minimum(time, 1.0 - time) / 0.02)
    rng = np.random.default_rng((seed, 2))
    wave = np.concatenate(
        [edge * tone.amplitude * np.sin(2 * np.pi * tone.hertz * time) for tone in audio.tones]
    )
    wave += rng.standard_normal(wave.size, dtype=np.float32) * 0.004
    samples: NDArray[np.int16] = np.round(np.clip(wave, -1.0, 1.0) * 32767.0).astype(np.int16)
    return samples


def render_video(video: Video, seed: int, *, fps: int = VIDEO_FPS) -> NDArray[np.uint8]:
    """Film a video as uint8 frames ``[frames, height, width, 3]``, ``fps`` of them a second."""
    colours = np.repeat(np.asarray(video.rgbs, dtype=np.uint8), fps, axis=0)
    frames = np.broadcast_to(colours[:, None, None, :], (len(colours), VIDEO_SIZE, VIDEO_SIZE, 3))
    return _noisy(frames, seed + 1, 4.0)


def _noisy(pixels: NDArray[np.uint8], seed: int, strength: float) -> NDArray[np.uint8]:
    rng = np.random.default_rng((seed, 1))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * strength
    return np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8)


def _draw(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    """Fill a shape so that it touches all four sides of its box."""
    x0, y0, x1, y1 = shape.box
    x1, y1 = x1 - 1, y1 - 1
    x, y = (x0 + x1) // 2, (y0 + y1) // 2
    arm = (x1 - x0) // 6
    if shape.shape == "circle":
        draw.ellipse((x0, y0, x1, y1), fill=shape.rgb)
    elif shape.shape == "square":
        draw.rectangle((x0, y0, x1, y1), fill=shape.rgb)
    elif shape.shape == "triangle":
        draw.polygon([(x, y0), (x1, y1), (x0, y1)], fill=shape.rgb)
    elif shape.shape == "diamond":
        draw.polygon([(x, y0), (x1, y), (x, y1), (x0, y)], fill=shape.rgb)
    else:
        draw.rectangle((x - arm, y0, x + arm, y1), fill=shape.rgb)
        draw.rectangle((x0, y - arm, x1, y + arm), fill=shape.rgb)

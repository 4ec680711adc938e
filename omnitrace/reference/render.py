"""What the scenes of the reference world look and sound like, as arrays.

The arrays are what the files hold: pixels of the PNG, samples of the WAV, and the frames that are
handed to the video encoder. Noise is seeded by the scene.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from omnitrace.reference.assets import SAMPLE_RATE, glyph, spoken_digit
from omnitrace.reference.scenes import Appearance, Audio, Image, ImageItem, SoundEvent, Video
from omnitrace.reference.words import DIGITS

__all__ = [
    "VIDEO_FPS",
    "item_boxes",
    "item_mask",
    "render_audio",
    "render_image",
    "render_video",
    "video_frames",
    "video_masks",
]

VIDEO_FPS: Final = 8
_LIGHT: Final = 40.0  # how much brighter the right, and how much bluer the bottom of a picture is
_BAND: Final = 6  # rows of pixels whose hull stands for what an item covers of them
_SOFT: Final = 0.02  # seconds in which a tone swells and fades


def render_image(image: Image) -> NDArray[np.uint8]:
    """Draw an image as uint8 ``[height, width, 3]``."""
    canvas = _background(image.width, image.height, image.grey)
    for item in image.items:
        _paint(canvas, item_mask(item), item.box, item.rgb)
    return _noisy(canvas, image.seed)


def render_audio(audio: Audio) -> NDArray[np.int16]:
    """Render an audio part as int16 samples at 16 kHz, with faint noise."""
    rng = np.random.default_rng((audio.seed, 2))
    wave = rng.standard_normal(round(audio.seconds * SAMPLE_RATE), dtype=np.float32) * 0.004
    for event in audio.events:
        sound = _sound(event)
        first = round(event.start * SAMPLE_RATE)
        wave[first : first + len(sound)] += sound[: len(wave) - first]
    samples: NDArray[np.int16] = np.round(np.clip(wave, -1.0, 1.0) * 32767.0).astype(np.int16)
    return samples


def render_video(video: Video, *, fps: int = VIDEO_FPS) -> NDArray[np.uint8]:
    """Render a video as uint8 frames ``[frames, height, width, 3]``, ``fps`` of them a second."""
    return video_frames(video, np.arange(round(video.seconds * fps)) / fps)


def video_frames(video: Video, times: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Render a video at ``times``, in seconds; each frame depends only on its own time."""
    background = _background(video.width, video.height, video.grey)
    frames = np.empty((len(times), video.height, video.width, 3), dtype=np.uint8)
    for number, time in enumerate(times):
        canvas = background.copy()
        for seen in video.appearances:
            if seen.start <= time < seen.end:
                box = where(seen, float(time))
                _paint(canvas, _shape_mask(seen.shape, box[2] - box[0]), box, seen.rgb)
        frames[number] = _noisy(canvas, video.seed + 1 + round(float(time) * 1000))
    return frames


def video_masks(video: Video, times: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return how much of a pixel an appearance covers, ``[appearances, times, height, width]``."""
    masks = np.zeros((len(video.appearances), len(times), video.height, video.width, 1), np.float32)
    for number, seen in enumerate(video.appearances):
        for k, time in enumerate(times):
            if seen.start <= time < seen.end:
                box = where(seen, float(time))
                _paint(masks[number, k], _shape_mask(seen.shape, box[2] - box[0]), box, (1,))
    return masks[..., 0]


def where(seen: Appearance, time: float) -> tuple[int, int, int, int]:
    """Return the box of a moving shape at a time, in pixels, half-open."""
    share = (time - seen.start) / (seen.end - seen.start)
    x0, y0, x1, y1 = seen.path
    x, y = round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0))
    return (x - seen.radius, y - seen.radius, x + seen.radius, y + seen.radius)


def item_mask(item: ImageItem) -> NDArray[np.float32]:
    """Return how much of each pixel of an item's box the item covers, 0 to 1."""
    size = item.box[2] - item.box[0]
    if item.kind == "shape":
        return _shape_mask(item.name, size)
    return _digit_mask(item.font, DIGITS.index(item.name), size)


def item_boxes(item: ImageItem) -> tuple[tuple[float, float, float, float], ...]:
    """Return boxes that together are what an item covers: one for every few rows of pixels."""
    covered = item_mask(item) >= 0.5
    left, top = item.box[:2]
    found = []
    for start in range(0, len(covered), _BAND):
        band = covered[start : start + _BAND]
        rows, columns = np.flatnonzero(band.any(axis=1)), np.flatnonzero(band.any(axis=0))
        if len(rows):
            x0, x1 = float(left + columns[0]), float(left + columns[-1] + 1)
            y0, y1 = float(top + start + rows[0]), float(top + start + rows[-1] + 1)
            found.append((x0, y0, x1, y1))
    return tuple(found)


@functools.cache
def _shape_mask(shape: str, size: int) -> NDArray[np.float32]:
    """Fill a shape so that it touches all four sides of its box."""
    scale = 4  # drawn large and made small, for soft edges
    far = size * scale - 1
    middle = far // 2
    canvas = PILImage.new("L", (size * scale, size * scale), 0)
    draw = ImageDraw.Draw(canvas)
    if shape == "circle":
        draw.ellipse((0, 0, far, far), fill=255)
    elif shape == "square":
        draw.rectangle((0, 0, far, far), fill=255)
    elif shape == "triangle":
        draw.polygon([(middle, 0), (far, far), (0, far)], fill=255)
    elif shape == "diamond":
        draw.polygon([(middle, 0), (far, middle), (middle, far), (0, middle)], fill=255)
    else:
        arm = far // 6
        draw.rectangle((middle - arm, 0, middle + arm, far), fill=255)
        draw.rectangle((0, middle - arm, far, middle + arm), fill=255)
    return _cover(canvas.resize((size, size), PILImage.Resampling.BOX))


@functools.cache
def _digit_mask(font: int, digit: int, size: int) -> NDArray[np.float32]:
    kept = PILImage.fromarray(glyph(font, digit))
    return _cover(kept.resize((size, size), PILImage.Resampling.BILINEAR))


def _cover(grey: PILImage.Image) -> NDArray[np.float32]:
    cover: NDArray[np.float32] = np.asarray(grey, dtype=np.float32) / np.float32(255.0)
    return cover


def _background(width: int, height: int, grey: int) -> NDArray[np.float32]:
    """Draw light from the right and a blue ground, so that a place's light shows where it is."""
    canvas = np.full((height, width, 3), float(grey), dtype=np.float32)
    canvas += (np.linspace(-1.0, 1.0, width, dtype=np.float32) * _LIGHT)[None, :, None]
    canvas[..., 2] += (np.linspace(-1.0, 1.0, height, dtype=np.float32) * _LIGHT)[:, None]
    return canvas


def _paint(
    canvas: NDArray[np.float32],
    mask: NDArray[np.float32],
    box: tuple[int, int, int, int],
    colour: tuple[int, ...],
) -> None:
    """Lay a colour over the canvas where the mask says; what lies outside is cut off."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    cover = mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0], None]
    under = canvas[y0:y1, x0:x1]
    canvas[y0:y1, x0:x1] = under + cover * (np.asarray(colour, dtype=np.float32) - under)


def _noisy(pixels: NDArray[np.float32], seed: int, strength: float = 4.0) -> NDArray[np.uint8]:
    rng = np.random.default_rng((seed, 1))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * strength
    return np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8)


def _sound(event: SoundEvent) -> NDArray[np.float32]:
    if event.kind == "digit":
        spoken = spoken_digit(event.voice, DIGITS.index(event.name))
        return spoken.astype(np.float32) * np.float32(event.amplitude / 32768.0)
    time = np.arange(round((event.end - event.start) * SAMPLE_RATE)) / SAMPLE_RATE
    edge = np.minimum(1.0, np.minimum(time, time[-1] - time) / _SOFT)
    tone = edge * event.amplitude * np.sin(2 * np.pi * event.hertz * time)
    return np.asarray(tone, dtype=np.float32)

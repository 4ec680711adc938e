"""The official processor of Qwen2.5-Omni, small or with the limits of the real checkpoint."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from transformers import (
    Qwen2_5OmniProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from omnitrace.media import (
    LoadedAudio,
    LoadedImage,
    LoadedVideo,
    load_audio,
    load_image,
    load_video,
)
from omnitrace.models.base import Encoded
from omnitrace.models.media_tokens import placeholder_ids
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.reference.training.build import (
    CHAT_TEMPLATE,
    build_model,
    build_processor,
    build_tokenizer,
)
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import MediaPart, Part, TextPart
from omnitrace.sources.token_map import Geometry, TextTokens, TimeTokens

RATE = 16_000


@functools.cache
def small() -> ProcessorAdapter:
    """Build the reference model, untrained, with its processor."""
    tokenizer = build_tokenizer()
    return ProcessorAdapter(build_model(tokenizer).eval(), build_processor(tokenizer))


@functools.cache
def large() -> ProcessorAdapter:
    """Build the same model with the pixel limits, mel bins and clip length of the real one."""
    tokenizer = build_tokenizer()
    del tokenizer.init_kwargs["size"]  # else it overrides the image processor's
    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(cap_pixels_per_frame=False),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128, chunk_length=300, return_attention_mask=True
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    return ProcessorAdapter(small().model, processor)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Make white noise, loud enough that no mel frame is at the floor."""
    samples = np.random.default_rng(seed).normal(size=max(1, round(seconds * RATE)))
    return (0.1 * samples).astype(np.float32)


def audio(samples: np.ndarray) -> LoadedAudio:
    return load_audio(samples)


def image(width: int, height: int, seed: int = 0) -> LoadedImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return load_image(pixels)


def video(
    frames: int,
    rate: float,
    *,
    width: int = 64,
    height: int = 56,
    fps: float | None = None,
    sound: float | None = None,
    seed: int = 0,
) -> LoadedVideo:
    """Make ``frames`` at ``rate``, sampled at ``fps``, with ``sound`` seconds of noise."""
    shape = (frames, height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    loaded = load_video((pixels, rate), fps=rate if fps is None else fps)
    if sound is None:
        return loaded
    return dataclasses.replace(loaded, audio=audio(noise(sound, seed)))


def conversation(*content: Any) -> Conversation:
    """Make one user message of texts and loaded media."""
    parts: list[Part] = []
    for number, item in enumerate(content):
        if isinstance(item, str):
            parts.append(TextPart(0, number, "user", item, number < len(content) - 1))
        else:
            kinds = {LoadedImage: "image", LoadedAudio: "audio", LoadedVideo: "video"}
            parts.append(MediaPart(0, number, "user", kinds[type(item)], item))  # type: ignore[arg-type]
    return Conversation(("user",), tuple(parts))


def encode(adapter: ProcessorAdapter, *content: Any, **options: Any) -> Encoded:
    return adapter.encode(conversation(*content), SourceOptions(**options))


def of_part(encoded: Encoded, part: int) -> list[Any]:
    """Return the geometries of one part: one, or pictures and sound of a video."""
    return [tokens for tokens in encoded.geometry if tokens.part.part == part]


def check_positions(adapter: ProcessorAdapter, encoded: Encoded) -> None:
    """Check that every placeholder token belongs to one geometry, of the right modality."""
    ids = encoded.prompt_ids
    assert ids == tuple(encoded.inputs["input_ids"][0].tolist())
    seen: list[int] = []
    expected: dict[int, list[int]] = {}
    for tokens in encoded.geometry:
        seen += tokens.positions
        if not isinstance(tokens, TextTokens):
            token = token_id(adapter, tokens)
            expected.setdefault(token, []).extend(tokens.positions)
    assert len(set(seen)) == len(seen)
    for token in adapter.media_tokens:
        assert [i for i, own in enumerate(ids) if own == token] == sorted(expected.get(token, []))


def token_id(adapter: ProcessorAdapter, tokens: Geometry) -> int:
    kind = tokens.modality if isinstance(tokens, TimeTokens) else "image"
    (found,) = placeholder_ids(adapter.model.config)[kind]
    return found


def mrope(adapter: ProcessorAdapter, encoded: Encoded) -> np.ndarray:
    """Ask the model for its own position ids: [time, height, width] × prompt."""
    inputs = encoded.inputs
    mask = inputs.get("feature_attention_mask")
    found, _ = adapter.model.get_rope_index(
        inputs["input_ids"],
        inputs.get("image_grid_thw"),
        inputs.get("video_grid_thw"),
        inputs["attention_mask"],
        encoded.generate_options.get("use_audio_in_video", False),
        None if mask is None else mask.sum(-1),
        inputs.get("video_second_per_grid"),
    )
    ids: np.ndarray = found[:, 0].numpy()
    return ids

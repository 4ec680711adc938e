"""Tiny, randomly initialised vision-language and omni models, each with a request of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers as tf

from omnitrace.reference.training.build import build_model, build_processor

_TEXT = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [2, 1, 1],
    },
}
_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 32,
}
_START, _END, _IMAGE, _VIDEO = 90, 91, 92, 93


def qwen3_vl() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Qwen3-VL, whose early layers get picture features a second time (DeepStack)."""
    config = tf.Qwen3VLConfig(
        text_config=_TEXT | {"head_dim": 8},
        vision_config=_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]},
        image_token_id=_IMAGE,
        video_token_id=_VIDEO,
        vision_start_token_id=_START,
        vision_end_token_id=_END,
    )
    torch.manual_seed(0)
    return sharpened(tf.Qwen3VLForConditionalGeneration(config)), picture()


def glm4v() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make GLM-4.1V."""
    config = tf.Glm4vConfig(
        text_config=_TEXT,
        vision_config=_VISION | {"image_size": 16},
        image_token_id=_IMAGE,
        video_token_id=_VIDEO,
        image_start_token_id=_START,
        image_end_token_id=_END,
    )
    torch.manual_seed(0)
    return sharpened(tf.Glm4vForConditionalGeneration(config)), picture()


def qwen2_5_omni() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Qwen2.5-Omni's Thinker; the request has text, an image, sound and a video."""
    processor = build_processor()
    rng = np.random.default_rng(0)
    text = (
        "<|im_start|>user\nThe lamp.<|vision_bos|><|IMAGE|><|vision_eos|>"
        "<|audio_bos|><|AUDIO|><|audio_eos|> <|vision_bos|><|VIDEO|><|vision_eos|>What?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    inputs = processor(
        text=[text],
        images=[rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)],
        audio=[rng.normal(size=32000).astype(np.float32) * 0.1],
        videos=[torch.from_numpy(rng.integers(0, 255, (4, 3, 56, 56), dtype=np.uint8))],
        videos_kwargs={"fps": 2.0, "do_sample_frames": False},
        return_tensors="pt",
    )
    return sharpened(build_model(processor.tokenizer, seed=3), by=3), dict(inputs)


FAMILIES = {"qwen2.5-omni": qwen2_5_omni, "qwen3-vl": qwen3_vl, "glm-4.1v": glm4v}


def sharpened(model: Any, by: float = 4.0) -> Any:
    """Scale the decoder's weights, so that rows differ from uniform; no token ends the response."""
    with torch.no_grad():
        for parameter in model.get_decoder().parameters():
            if parameter.dim() > 1:
                parameter.mul_(by)
    model.generation_config.eos_token_id = None
    return model.eval()


def picture() -> dict[str, torch.Tensor]:
    """Make a request with a picture of 4 × 6 patches, six tokens after merging 2 × 2."""
    ids = torch.tensor([[5, 17, 3, _START, *[_IMAGE] * 6, _END, 60, 22, 9]])
    generator = torch.Generator().manual_seed(4)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == _IMAGE).long(),
        "pixel_values": torch.randn(24, 3 * 2 * 4 * 4, generator=generator),
        "image_grid_thw": torch.tensor([[1, 4, 6]]),
    }


def placeholders(model: Any) -> list[int]:
    """Return the ids that stand for media; a random model may write them, and none may follow."""
    config = model.config
    names = ("image_token_id", "video_token_id", "audio_token_id")
    return [int(getattr(config, name)) for name in names if hasattr(config, name)]

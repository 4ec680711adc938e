"""Tiny Gemma 3 and Gemma 4 with a picture, whose tokens see each other, also those behind them."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from tests.helpers.tiny_multimodal_models import sharpened

_TEXT = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 12,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 4,
}
_START, _END, _IMAGE = 90, 91, 92


def gemma3() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Gemma 3; the picture is positions 4 to 7."""
    config = tf.Gemma3Config(
        text_config=_TEXT | {"query_pre_attn_scalar": 4},  # attention is even where it is large
        vision_config=_VISION | {"image_size": 8},
        mm_tokens_per_image=4,
        boi_token_index=_START,
        eoi_token_index=_END,
        image_token_index=_IMAGE,
    )
    torch.manual_seed(0)
    model = sharpened(tf.Gemma3ForConditionalGeneration(config))
    with torch.no_grad():
        model.model.multi_modal_projector.mm_input_projection_weight.normal_(0, 0.3)
    inputs = _inputs(4, "token_type_ids")
    return model, inputs | {"pixel_values": _pixels(1, 3, 8, 8)}


def gemma4(ahead: bool = True) -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Gemma 4, with per-layer inputs and shared keys; the picture is positions 4 to 9."""
    config = tf.Gemma4Config(
        text_config=_TEXT
        | {
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 8,
            "global_head_dim": 8,
            "num_kv_shared_layers": 2,
            "use_bidirectional_attention": "vision" if ahead else None,
        },
        vision_config=_VISION
        | {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "pooling_kernel_size": 2,
            "position_embedding_size": 16,
        },
        audio_config=None,
        boi_token_id=_START,
        eoi_token_id=_END,
        image_token_id=_IMAGE,
        video_token_id=93,
        audio_token_id=94,
        boa_token_id=95,
    )
    torch.manual_seed(0)
    model = sharpened(tf.Gemma4ForConditionalGeneration(config), by=3.0)
    places = torch.tensor([[[x, y] for y in range(4) for x in range(6)]])
    pixels = _pixels(1, 24, 3 * 4 * 4).sigmoid()
    media = {"pixel_values": pixels, "image_position_ids": places}
    return model, _inputs(6, "mm_token_type_ids") | media


def _inputs(tokens: int, kinds: str) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[5, 17, 3, _START, *[_IMAGE] * tokens, _END, 60, 22, 9]])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        kinds: (ids == _IMAGE).long(),
    }


def _pixels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))

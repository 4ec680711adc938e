"""Tiny models whose deeper layers are fed more than the input embeddings, each with a response."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers as tf

from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.types import ImageRegion, Layout, Modality, SourceUnit, TextRange
from tests.helpers import naive_ablation as naive
from tests.helpers import tiny_multimodal_models as multimodal

_TEXT = {
    "vocab_size": 96,
    "vocab_size_per_layer_input": 96,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_size_per_layer_input": 8,
    "sliding_window": 12,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def gemma3n(shared: int = 0) -> Any:
    """Make the text model of Gemma 3n; ``shared`` layers have the keys of earlier ones."""
    config = tf.Gemma3nTextConfig(
        **_TEXT,
        num_kv_shared_layers=shared,
        intermediate_size=[48] * 4,
        activation_sparsity_pattern=[0.0] * 4,
        altup_num_inputs=2,
        laurel_rank=4,
    )
    torch.manual_seed(0)
    return _sharpened(tf.Gemma3nForCausalLM(config))


def gemma4(shared: int = 0) -> Any:
    """Make the text model of Gemma 4; ``shared`` layers have the keys of earlier ones."""
    config = tf.Gemma4TextConfig(
        **_TEXT, num_kv_shared_layers=shared, intermediate_size=48, global_head_dim=8
    )
    torch.manual_seed(0)
    return _sharpened(tf.Gemma4ForCausalLM(config))


def _sharpened(model: Any) -> Any:
    """Scale the weights, those of what every layer is fed most: errors of it must show."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "per_layer" in name and parameter.dim() > 1:
                parameter.mul_(4)
            if not parameter.any():  # how far the layers of Gemma 3n heed it begins at zero
                parameter.normal_(std=0.5)
    return multimodal.sharpened(model)


TEXT_FAMILIES: dict[str, Callable[[], Any]] = {
    "gemma-3n": gemma3n,
    "gemma-3n-shared-keys": functools.partial(gemma3n, shared=2),
    "gemma-4": gemma4,
    "gemma-4-shared-keys": functools.partial(gemma4, shared=2),
}

_EXPERTS = {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_DEEPSTACK = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
_PLACEHOLDERS = {
    "image_token_id": 92,
    "video_token_id": 93,
    "vision_start_token_id": 90,
    "vision_end_token_id": 91,
}


def qwen3_vl_moe() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Qwen3-VL with experts."""
    config = tf.Qwen3VLMoeConfig(
        text_config=multimodal._TEXT | _EXPERTS,
        vision_config=multimodal._VISION | _DEEPSTACK,
        **_PLACEHOLDERS,
    )
    torch.manual_seed(0)
    model = multimodal.sharpened(tf.Qwen3VLMoeForConditionalGeneration(config))
    return model, multimodal.picture()


def qwen3_omni() -> tuple[Any, dict[str, torch.Tensor]]:
    """Make Qwen3-Omni's Thinker."""
    config = tf.Qwen3OmniMoeThinkerConfig(
        text_config=multimodal._TEXT | _EXPERTS,
        vision_config=multimodal._VISION | _DEEPSTACK | {"image_size": 16},
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 32,
            "output_dim": 32,
            "downsample_hidden_size": 16,
        },
        audio_token_id=94,
        audio_start_token_id=95,
        user_token_id=1,
        **_PLACEHOLDERS,
    )
    torch.manual_seed(0)
    model = multimodal.sharpened(tf.Qwen3OmniMoeThinkerForConditionalGeneration(config))
    inputs = multimodal.picture()
    del inputs["mm_token_type_ids"]
    return model, inputs


Units = Sequence[tuple[Modality, tuple[int, ...]]]

#: Of the request of :func:`tests.helpers.tiny_multimodal_models.picture`.
_UNITS: Units = (
    ("text", (1, 2)),
    ("image", (4, 5)),
    ("image", (6, 7, 8, 9)),
    ("text", (11, 12)),
)
_RESPONSE = [40, 41, 42, 43]


def scorers(name: str, dtype: torch.dtype = torch.float32) -> ResponseScorer:
    """Return the scorer of a family's response."""
    if name in TEXT_FAMILIES:
        return naive.scorer(TEXT_FAMILIES[name]().to(dtype))
    model, inputs = multimodal.qwen3_vl()
    return picture_scorer(model.to(dtype), inputs)


def picture_scorer(
    model: Any, inputs: dict[str, torch.Tensor], units: Units = _UNITS, **options: Any
) -> ResponseScorer:
    """Return the scorer of a response to the picture and the words around it."""
    length = inputs["input_ids"].shape[1]
    unit_index = np.full(length, -1, dtype=np.int32)
    kinds = np.zeros(length, dtype=np.uint8)
    found = []
    for number, (modality, positions) in enumerate(units):
        unit_index[list(positions)] = number
        kinds[list(positions)] = 2
        where = (
            TextRange(0, 0, number, number + 1)
            if modality == "text"
            else ImageRegion(0, 1, (0.0, 0.0, 12.0, 8.0), (2, 3), tuple(p - 4 for p in positions))
        )
        found.append(SourceUnit(f"u{number}", modality, where, positions))
    made = Layout(kinds, unit_index, tuple(found))
    return ResponseScorer(
        CausalLMAdapter(model, None), with_response(inputs), made, _RESPONSE, **options
    )


def with_response(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the inputs of the picture's request and all tokens of the response but the last."""
    rest = torch.tensor([_RESPONSE[:-1]])
    fill = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 0}
    added = {name: torch.full_like(rest, value) for name, value in fill.items() if name in inputs}
    given = dict(inputs)
    for name, value in {"input_ids": rest, **added}.items():
        given[name] = torch.cat([given[name], value], dim=1)
    return given

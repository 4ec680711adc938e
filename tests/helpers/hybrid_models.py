"""Tiny text models with layers that carry what they have read in a state."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from tests.helpers.tiny_models import COMMON

_COMMON = {**COMMON, "num_hidden_layers": 4}
_DELTA = {
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 16,
}
_MAMBA = {"mamba_n_groups": 1, "mamba_d_state": 8}

#: By family: the names of its classes, and what its configuration needs.
_CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "qwen3.5": ("Qwen3_5TextConfig", "Qwen3_5ForCausalLM", _DELTA),
    "qwen3-next": (
        "Qwen3NextConfig",
        "Qwen3NextForCausalLM",
        _DELTA
        | {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
    ),
    "falcon-h1": (  # both in every layer
        "FalconH1Config",
        "FalconH1ForCausalLM",
        _MAMBA | {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_ssm": 64, "head_dim": 8},
    ),
    "bamba": (
        "BambaConfig",
        "BambaForCausalLM",
        _MAMBA | {"attn_layer_indices": [1, 3], "mamba_n_heads": 8, "mamba_d_head": 8},
    ),
    "jamba": (  # without positions
        "JambaConfig",
        "JambaForCausalLM",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 2,
            "mamba_d_state": 8,
            "use_mamba_kernels": False,
        },
    ),
    "lfm2": (
        "Lfm2Config",
        "Lfm2ForCausalLM",
        {"layer_types": ["conv", "full_attention"] * 2, "full_attn_idxs": None},
    ),
    "recurrent-gemma": (  # with a window
        "RecurrentGemmaConfig",
        "RecurrentGemmaForCausalLM",
        {
            "block_types": ["recurrent", "attention"],
            "lru_width": 32,
            "head_dim": 8,
            "attention_window_size": 64,
        },
    ),
}

FAMILIES = tuple(_CONFIGS)


def hybrid(family: str, **changed: Any) -> Any:
    """Make a tiny model of a family; ``changed`` entries of its configuration are others."""
    config_name, class_name, extra = _CONFIGS[family]
    config = getattr(tf, config_name)(**_COMMON | extra | changed)
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    model = getattr(tf, class_name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    model.generation_config.eos_token_id = None
    return model

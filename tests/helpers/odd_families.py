"""Tiny models of families whose attention or cache is unlike that of most."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from tests.helpers.tiny_models import COMMON

_COMMON = {**COMMON, "num_hidden_layers": 4}
_LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
}


def llama4(chunk: int) -> Any:
    """Make Llama 4, every other layer of which attends within chunks."""
    return made(
        "Llama4",
        "Llama4TextConfig",
        head_dim=8,
        num_local_experts=2,
        intermediate_size_mlp=32,
        attention_chunk_size=chunk,
        no_rope_layer_interval=2,
    )


def deepseek_v3(**changed: Any) -> Any:
    """Make DeepSeek-V3, whose cache holds latents."""
    experts = {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
    }
    return made("DeepseekV3", **_LATENT | experts | changed)


def minicpm3(**changed: Any) -> Any:
    """Make MiniCPM3, whose cache holds latents too."""
    return made("MiniCPM3", **_LATENT | changed)


def diffllama(**changed: Any) -> Any:
    """Make DiffLlama, whose layers attend twice."""
    return made("DiffLlama", **changed)


def zamba2(**changed: Any) -> Any:
    """Make Zamba2, whose attention modules do not know their layer."""
    return made(
        "Zamba2",
        **{
            "num_hidden_layers": 6,
            "num_key_value_heads": 4,
            "hybrid_layer_ids": [1, 3, 5],
            "layers_block_type": ["mamba", "hybrid"] * 3,
            "mamba_ngroups": 1,
            "n_mamba_heads": 8,
            "mamba_d_state": 8,
            "mamba_headdim": 8,
            "num_mem_blocks": 1,
            "use_mem_rope": False,
        }
        | changed,
    )


def made(family: str, config_name: str = "", **entries: Any) -> Any:
    """Make a tiny model of a family; SDPA where ``entries`` of its configuration do not say."""
    attention = entries.pop("attention", "sdpa")
    config = getattr(tf, config_name or f"{family}Config")(**_COMMON | entries)
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = getattr(tf, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    model.generation_config.eos_token_id = None
    return model

"""Tiny, randomly initialised models of real families."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

COMMON = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "mistral-sliding": ("Mistral", {"sliding_window": 6}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "qwen2-mixed-window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "gemma3-mixed-window": ("Gemma3Text", {"sliding_window": 6, "head_dim": 8}),
    "gemma2-softcap-eager": ("Gemma2", {"sliding_window": 6, "head_dim": 8}),
}

#: A prompt within their vocabulary; two tokens come twice.
PROMPT = {"input_ids": torch.tensor([[5, 17, 3, 88, 41, 5, 17, 60, 22, 9]])}
PROMPT["attention_mask"] = torch.ones_like(PROMPT["input_ids"])


def tiny(family: str, *, dtype: torch.dtype = torch.float32) -> Any:
    """Return a tiny model of a family, always with the same weights; SDPA where it can."""
    name, extra = FAMILIES[family]
    attention = "eager" if family.endswith("eager") else "sdpa"
    if name == "Gemma3Text":
        config = tf.Gemma3TextConfig(**COMMON, **extra)
        model_class = tf.Gemma3ForCausalLM
    else:
        config = getattr(tf, f"{name}Config")(**COMMON, **extra)
        model_class = getattr(tf, f"{name}ForCausalLM")
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = model_class(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough that rows differ from uniform
            if parameter.dim() > 1:
                parameter.mul_(4)
    model.generation_config.eos_token_id = None
    return model

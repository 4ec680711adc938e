"""The configuration of a tiny Llama for a tokenizer."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig


def tiny_llama_config(tokenizer: Any) -> LlamaConfig:
    """Return two layers of four heads in two groups, with the tokenizer's words and marks."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

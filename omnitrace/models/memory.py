"""Estimates of what a forward pass takes beside the weights."""

from __future__ import annotations

from typing import Any

__all__ = ["cache_bytes", "row_bytes"]


def row_bytes(
    model: Any, tokens: int, logits: int, itemsize: int, *, gradients: bool = False
) -> int:
    """Estimate the bytes that a pass takes for each row.

    Parameters
    ----------
    model, itemsize:
        The model, and the bytes of a number in it.
    tokens, logits:
        Tokens of a row, and of how many of them logits are computed.
    gradients:
        Whether the graph of all layers is kept.
    """
    config = model.config.get_text_config(decoder=True)
    vocabulary = int(model.get_input_embeddings().num_embeddings)
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", 4 * width) or 4 * width)
    layer = tokens * (8 * width + 3 * inner) * itemsize
    if gradients:
        layer *= 2 * int(getattr(config, "num_hidden_layers", 1))
    return 12 * logits * vocabulary + layer  # logits in float32, with two temporaries


def cache_bytes(model: Any, tokens: int, itemsize: int) -> int:
    """Estimate the bytes of the keys and values of so many tokens, in all layers."""
    config = model.config.get_text_config(decoder=True)
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    width = int(getattr(config, "head_dim", 0) or int(config.hidden_size) // heads)
    groups = int(getattr(config, "num_key_value_heads", heads) or heads)
    layers = int(getattr(config, "num_hidden_layers", 1))
    return 2 * tokens * layers * groups * width * itemsize

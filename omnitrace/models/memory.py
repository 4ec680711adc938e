"""What a model's weights, cache and passes take, from its modules and its configuration alone.

Every figure in bytes is computed here, for a loaded model as for one without weights (on "meta").
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from transformers import DynamicCache

__all__ = [
    "MEMORY",
    "DecoderShape",
    "batch_row_bytes",
    "cache_bytes",
    "kept_bytes",
    "largest_weight",
    "row_bytes",
    "rows_within",
    "shape_of",
    "weight_bytes",
]

#: Bytes that the passes which run at once may take beside the weights, unless told otherwise.
MEMORY: Final = 2**30
_MOST_ROWS: Final = 64


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers; what several share counts once."""
    found: dict[int, torch.Tensor] = {
        id(each): each for each in itertools.chain(model.parameters(), model.buffers())
    }
    return sum(each.numel() * each.element_size() for each in found.values())


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The sizes of a text decoder: layers, width of its embeddings, heads, width of a head."""

    layers: int
    width: int
    heads: int
    head_width: int


def shape_of(model: Any) -> DecoderShape:
    """Return the sizes of a model's text decoder."""
    config = model.config.get_text_config(decoder=True)
    heads, width = _heads(config), int(config.hidden_size)
    head_width = int(getattr(config, "v_head_dim", 0) or getattr(config, "head_dim", 0) or 0)
    layers = int(getattr(config, "num_hidden_layers", 1))
    return DecoderShape(layers, width, heads, head_width or width // heads)


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
    inner = getattr(config, "intermediate_size", None) or 4 * width
    # Gemma 3n has one of its own for each layer.
    inner = max(map(int, inner)) if isinstance(inner, list | tuple) else int(inner)
    if gradients:  # parameters are frozen: products with them keep nothing
        layer = tokens * (8 * width + 3 * inner) * itemsize
        layer *= int(getattr(config, "num_hidden_layers", 1))
    else:  # of the attention and the perceptron, whichever is larger
        layer = tokens * max(8 * width, 3 * width + 3 * inner) * itemsize
    # Logits in float32 and their logarithms, and what the model itself gives where that is less.
    number = 8 + (itemsize if itemsize < 4 else 0)
    return number * logits * vocabulary + layer


def batch_row_bytes(model: Any, new: int, total: int, logits: int, itemsize: int) -> int:
    """Estimate the bytes of one of several rows that continue a shared prefix, with its mask.

    Parameters
    ----------
    model, logits, itemsize:
        As for :func:`row_bytes`.
    new, total:
        Tokens of a row that run, and all of them.
    """
    masked = 5 * new * total  # a byte a pair of positions, and the same as a number
    cached = cache_bytes(model, total, itemsize)
    return row_bytes(model, new, logits, itemsize) + masked + cached


def rows_within(memory: int, row: int) -> int:
    """Return how many rows of so many bytes run at once: at least 1, at most 64."""
    return max(1, min(_MOST_ROWS, memory // row))


def cache_bytes(model: Any, tokens: int, itemsize: int) -> int:
    """Return the bytes of the keys and values of so many tokens, in all layers that cache some.

    A layer with a sliding window keeps no more than that, one that attends to the keys of another
    layer keeps none, and one with linear attention keeps states of a fixed size, which are not
    counted.
    """
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if not layers:
        layers = [None] * int(getattr(config, "num_hidden_layers", 1))
    own = len(layers) - int(getattr(config, "num_kv_shared_layers", 0) or 0)
    projections = _projections(model)
    usual = _latent(model, config) or _key_and_value(config)
    total = 0
    for index, layer in enumerate(layers):
        if index >= own or (layer is not None and not hasattr(layer, "keys")):
            continue
        window = getattr(layer, "sliding_window", None)
        kept = tokens if window is None else min(tokens, int(window) - 1)
        total += kept * projections.get(index, usual) * itemsize
    return total


def kept_bytes(model: Any, tokens: int, itemsize: int, memory: int) -> int:
    """Return the same where it is no more than half of a memory, else 0: then it is not kept."""
    needed = cache_bytes(model, tokens, itemsize)
    return needed if needed <= memory // 2 else 0


def _heads(config: Any) -> int:
    return int(getattr(config, "num_attention_heads", 1) or 1)


def _latent(model: Any, config: Any) -> int | None:
    """Return the numbers of a latent that keys and values are computed from, where that is cached.

    So do DeepSeek V3 and its kin, Kimi among them.
    """
    if any(hasattr(module, "expand_kv") for module in model.get_decoder().modules()):
        return int(config.kv_lora_rank) + int(config.qk_rope_head_dim)
    return None


def _key_and_value(config: Any) -> int:
    """Return how many numbers a layer caches of each token, by its configuration."""
    heads = _heads(config)
    latent = getattr(config, "qk_nope_head_dim", None)
    if latent:  # MiniCPM3 caches what its latent becomes: keys and values of all heads
        return heads * (int(latent) + int(config.qk_rope_head_dim) + int(config.v_head_dim))
    groups = int(getattr(config, "num_key_value_heads", heads) or heads)
    width = int(getattr(config, "head_dim", 0) or int(config.hidden_size) // heads)
    return 2 * groups * width


def _projections(model: Any) -> dict[int, int]:
    """Return the same by the projections of each layer, where it has one for keys and values each.

    Layers of one model may differ (Gemma 4).
    """
    found: dict[int, int] = {}
    for module in model.get_decoder().modules():
        index = getattr(module, "layer_idx", None)
        key, value = getattr(module, "k_proj", None), getattr(module, "v_proj", None)
        if not isinstance(index, int) or key is None:
            continue
        widths = [getattr(each, "out_features", None) for each in (key, value or key)]
        known = [each for each in widths if isinstance(each, int)]
        if len(known) == 2:
            found.setdefault(index, sum(known))
    return found


def largest_weight(model: nn.Module) -> int:
    """Return the bytes of a model's largest parameter."""
    sizes = (math.prod(each.shape) * each.element_size() for each in model.parameters())
    return max(sizes, default=0)

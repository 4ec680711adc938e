"""Keys and values of the row with every unit kept, from which rows that begin like it go on."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from omnitrace.capture.cache_argument import CACHE_NAMES
from omnitrace.models.forward import forward_parameters
from omnitrace.models.memory import kept_bytes

__all__ = ["KeptRow", "empty_cache", "fork", "kept_row", "new_cache"]

_KINDS: Final = (DynamicLayer, DynamicSlidingWindowLayer)


class KeptRow:
    """What a model keeps of the first tokens of prompt and response, with every unit kept.

    Parameters
    ----------
    cache:
        Keys and values of these tokens, batch 1, or of more.
    length:
        The number of tokens.
    """

    def __init__(self, cache: DynamicCache, length: int) -> None:
        self._cache = cache
        self.length = length

    @property
    def bytes(self) -> int:
        """What it holds."""
        tensors = [each for layer in self._cache.layers for each in (layer.keys, layer.values)]
        return sum(each.nbytes for each in tensors if each is not None)

    def first(self, tokens: int) -> DynamicCache:
        """Return a cache of the first tokens, which grows on its own."""
        new = fork(self._cache)
        for layer in new.layers:
            _cut(layer, min(tokens, self.length))
        return new


def _cut(layer: Any, tokens: int) -> None:
    if layer.is_initialized:
        layer.keys, layer.values = (each[..., :tokens, :] for each in (layer.keys, layer.values))
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = tokens


def fork(cache: DynamicCache) -> DynamicCache:
    """Return a cache that grows on its own: layers replace their tensors, they never write them."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    return new


def new_cache(model: Any) -> DynamicCache:
    """Return an empty cache with the layers of a model's decoder."""
    return DynamicCache(config=model.config.get_text_config(decoder=True))


def empty_cache(model: Any, tokens: int, dtype: torch.dtype, memory: int) -> DynamicCache | None:
    """Return what keeps a row of so many tokens, or None where that cannot be, or takes too much.

    Parameters
    ----------
    model, dtype:
        The model, and what its decoder is fed.
    tokens, memory:
        Tokens of the row, and the bytes that all passes may take.
    """
    if forward_parameters(model).isdisjoint(CACHE_NAMES):
        return None
    if any(getattr(module, "_is_stateful", False) for module in (model, model.get_decoder())):
        return None
    cache = new_cache(model)
    if not all(type(layer) in _KINDS for layer in cache.layers):
        return None
    windows = (getattr(layer, "sliding_window", None) for layer in cache.layers)
    if any(window is not None and window <= tokens for window in windows):
        return None  # it would hold the last tokens only
    return cache if kept_bytes(model, tokens, dtype.itemsize, memory) else None


def kept_row(cache: Any, tokens: int) -> KeptRow | None:
    """Return the first tokens of a cache, or None unless it holds all of them in every layer."""
    if type(cache) is not DynamicCache or not all(type(layer) in _KINDS for layer in cache.layers):
        return None
    held = [layer.keys for layer in cache.layers if layer.is_initialized]  # others share theirs
    whole = all(len(keys) == 1 and keys.shape[-2] == cache.get_seq_length() for keys in held)
    if not held or not whole or cache.get_seq_length() < tokens:
        return None
    return KeptRow(cache, tokens)

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

__all__ = ["KeptRow", "empty_cache", "kept_row"]

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
        """Return a cache of the first tokens, which grows on its own.

        It shares the tensors: layers replace theirs, they never write them.
        """
        new = copy.copy(self._cache)
        new.layers = [_first(layer, min(tokens, self.length)) for layer in self._cache.layers]
        return new


def _first(layer: Any, tokens: int) -> Any:
    new = copy.copy(layer)
    if new.is_initialized:
        new.keys, new.values = (each[..., :tokens, :] for each in (layer.keys, layer.values))
    if hasattr(new, "cumulative_length"):
        new.cumulative_length = tokens
    return new


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
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
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

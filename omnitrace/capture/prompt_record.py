"""What is left of reading a prompt: the model's cache, and how far its layers looked.

Whoever runs the same prompt again, as verification does, need not read it another time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from omnitrace.capture.attention_hooks import AttentionCall, Tap, untap
from omnitrace.capture.cache_argument import given_cache
from omnitrace.capture.visibility import AttentionReach

__all__ = ["PromptRecord"]


class PromptRecord:
    """Notes the cache that a response is written with, and how far layers looked on its prompt.

    Parameters
    ----------
    prompt_length:
        The number of tokens of the prompt.
    modules:
        The attention modules of all layers.

    Attributes
    ----------
    modules:
        As given.
    """

    def __init__(self, prompt_length: int, modules: Sequence[nn.Module]) -> None:
        self.modules = modules
        self._prompt_length = prompt_length
        self._cache: DynamicCache | None = None
        self._reach = AttentionReach()
        self._read = self._ended = False

    def take(self) -> DynamicCache | None:
        """Return the cache, which may hold some of the response; None where it does not just grow.

        Once the response is written, it is given away: it is kept no longer than it is needed.
        """
        cache = self._cache
        if self._ended:
            self._cache = None
        return cache

    @property
    def reach(self) -> AttentionReach:
        """A copy of what was seen of the layers."""
        return self._reach.copied()

    def taps(self, modules: Sequence[nn.Module], taps: Sequence[Tap]) -> list[Tap]:
        """Return a tap for each of all layers that shows its calls to the given ones, too."""
        given = dict(zip(modules, taps, strict=True))
        return [self._tap(given.get(module)) for module in self.modules]

    def _tap(self, tap: Tap | None) -> Tap:
        def call(seen: AttentionCall) -> torch.Tensor | None:
            if not self._read:
                self._reach(seen)
            return None if tap is None else tap(seen)

        return call

    @contextlib.contextmanager
    def attached(self, model: nn.Module, others: Sequence[nn.Module]) -> Iterator[None]:
        """Note the cache that ``model`` is called with inside the block.

        Once it has read the prompt, the modules ``others`` are tapped no more.
        """

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            cache = given_cache(kwargs)
            if self._cache is None and type(cache) is DynamicCache:
                self._cache = cache
            if self._cache is None or self._cache.get_seq_length() >= self._prompt_length:
                self._read = True
                untap(others)
                handle.remove()

        handle = model.register_forward_pre_hook(before, with_kwargs=True)
        try:
            yield
        except BaseException:
            self._cache = None
            raise
        finally:
            self._ended = True
            handle.remove()

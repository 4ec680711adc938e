"""Observe a model's attention without changing what it computes.

``transformers`` looks its attention function up by the name in the configuration. We register one
function per base implementation (SDPA, FlashAttention, eager) that calls the base untouched and
then shows the call to a *tap*, if the attention module carries one. A tap may hand back a tensor of
the same values with its own gradient. The base's name stays inside ours
because ``transformers`` reads it: without "sdpa" or "flash" in the name, some families would
silently lose attention sinks, softcaps or masks.

The names of ``transformers`` that this file relies on are listed in
``tests/capture/test_transformers_canary.py``.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from omnitrace.errors import ModelError

__all__ = [
    "AttentionCall",
    "Tap",
    "attention_layers",
    "attention_modules",
    "tapped",
    "untap",
    "untapped",
]

_PREFIX = "omnitrace_"
_TAP = "_omnitrace_tap"
_NOTHING = contextlib.nullcontext()


class AttentionCall(NamedTuple):
    """One call of a decoder layer's attention, as the model made it.

    ``query`` is ``[batch, heads, queries, dim]``; ``key`` and ``value`` are
    ``[batch, key-value heads, keys, dim]``, after normalisation and rotary embedding and including
    the cache; ``output`` is ``[batch, queries, heads, dim]``. ``weights`` is the full attention
    where the base returns it (eager), else None.
    """

    module: nn.Module
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    options: dict[str, Any]
    output: torch.Tensor
    weights: torch.Tensor | None

    @property
    def scale(self) -> float:
        """The factor of the logits."""
        return self.options.get("scaling") or float(self.query.shape[-1] ** -0.5)

    @property
    def softcap(self) -> float | None:
        """What bounds the logits smoothly (Gemma 2)."""
        return self.options.get("softcap")

    @property
    def sinks(self) -> torch.Tensor | None:
        """Logits ``[heads]`` that take part in the softmax and are dropped (gpt-oss)."""
        return self.options.get("s_aux")

    @property
    def kernel_window(self) -> int | None:
        """The sliding window, where the kernel keeps it and no mask shows it (FlashAttention)."""
        if self.mask is not None and self.mask.dim() == 4:
            return None
        return self.options.get("sliding_window")

    @property
    def forgets(self) -> bool:
        """Whether the layer's cache lets old keys go: those before its window, or its chunk."""
        if self.options.get("sliding_window") is not None:
            return True
        kinds = getattr(getattr(self.module, "config", None), "layer_types", None) or ()
        layer = getattr(self.module, "layer_idx", -1)
        return 0 <= layer < len(kinds) and kinds[layer] == "chunked_attention"  # Llama 4


Tap: TypeAlias = Callable[[AttentionCall], torch.Tensor | None]


class _Watch:
    """Tells the calls of the thread that taps a model from those of others.

    Another thread gets what the model computes, and its calls are shown to nobody. But it may have
    changed what the model keeps from one call to the next, such as the place of the next token, so
    the tapped run goes no further.
    """

    __slots__ = ("_other", "_thread")

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._other: str | None = None

    def own(self) -> bool:
        """Return whether this thread is the one; raise there if another has called the model."""
        if threading.get_ident() != self._thread:
            self._other = threading.current_thread().name
            return False
        if self._other is not None:
            raise ModelError(
                f"the thread {self._other!r} called the model while it was being traced here",
                legal="other threads that call it through a Tracer, where they wait",
                fix="let that thread use a Tracer, or a model that is loaded for it alone",
            )
        return True


class _Tapping(NamedTuple):
    """A tap at its place in a module."""

    tap: Tap
    watch: _Watch


def _base_function(base: str, module: nn.Module) -> Callable[..., Any]:
    if base == "eager":  # not in the registry: each modeling module has its own
        function = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if function is None:
            raise ModelError(
                f"{type(module).__name__} has no eager attention function to capture",
                fix="load the model with attn_implementation='sdpa'",
            )
        return function  # type: ignore[no-any-return]
    return ALL_ATTENTION_FUNCTIONS[base]  # type: ignore[no-any-return]


def _attention_beside(base: str) -> Callable[..., Any]:
    def attention(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        function = _base_function(base, module)
        tapping: _Tapping | None = module.__dict__.get(_TAP)
        if tapping is None or not tapping.watch.own():
            return function(module, query, key, value, attention_mask, *args, **kwargs)
        # A graph through the base would only be thrown away.
        with torch.no_grad() if torch.is_grad_enabled() else _NOTHING:
            output, weights = function(module, query, key, value, attention_mask, *args, **kwargs)
        call = AttentionCall(module, query, key, value, attention_mask, kwargs, output, weights)
        replaced = tapping.tap(call)
        return (output if replaced is None else replaced), weights

    return attention


def _registered_name(base: str) -> str:
    """Return our name for ``base``, registering it on first use."""
    name = _PREFIX + base
    if name not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        AttentionInterface.register(name, _attention_beside(base))
    if base in ALL_MASK_ATTENTION_FUNCTIONS.valid_keys():
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return name


def attention_layers(decoder: nn.Module) -> list[tuple[int, nn.Module]]:
    """Return the decoder's self-attention modules and the indices of their layers, in layer order.

    They are the modules with an integer ``layer_idx`` that are not cross-attention and have no
    such module inside (a decoder layer may carry the index too). What carries a state (linear
    attention, Mamba) is among them, though it never attends.
    """
    indexed = [
        (name, module)
        for name, module in decoder.named_modules()
        if isinstance(getattr(module, "layer_idx", None), int)
        and "cross" not in name.lower()
        and not getattr(module, "is_cross_attention", False)
    ]
    leaves = [
        (_layer(name, module), module)
        for name, module in indexed
        if not any(other.startswith(f"{name}.") for other, _ in indexed)
    ]
    return sorted(leaves, key=lambda item: item[0])


def attention_modules(decoder: nn.Module) -> list[nn.Module]:
    """Return the modules of :func:`attention_layers`."""
    return [module for _, module in attention_layers(decoder)]


def _layer(name: str, module: Any) -> int:
    """Return the index of a module's layer; where weights are shared (Zamba2), by its name."""
    number = re.search(r"(?:^|\.)(\d+)\.", name)
    return int(number[1]) if module.layer_idx < 0 and number else int(module.layer_idx)


@contextlib.contextmanager
def tapped(model: nn.Module, modules: Sequence[nn.Module], taps: Sequence[Tap]) -> Iterator[None]:
    """Show every attention call of ``modules`` to the tap of the same place, then undo it all.

    Calls of other threads are not shown; after one, the next call of this thread raises a
    ModelError that names the other.

    On exit, also after an exception, the attention implementation of every touched configuration,
    the taps, and any ``rope_deltas`` that generation leaves on the model are as they were.
    """
    # A module without a configuration cannot look our function up; so the probe captures nothing.
    configs: dict[int, Any] = {
        id(module.config): module.config for module in modules if hasattr(module, "config")
    }
    implementations = {key: config._attn_implementation for key, config in configs.items()}
    deltas = [
        (module, module.rope_deltas)
        for module in model.modules()
        if "rope_deltas" in module.__dict__
    ]
    watch = _Watch()
    try:
        for key, config in configs.items():
            # The public setter walks all towers; the vision and audio towers must keep theirs.
            config._attn_implementation_internal = _registered_name(
                (implementations[key] or "eager").removeprefix(_PREFIX)
            )
        for module, tap in zip(modules, taps, strict=True):
            module.__dict__[_TAP] = _Tapping(tap, watch)
        yield
    finally:
        for module in modules:
            module.__dict__.pop(_TAP, None)
        for key, config in configs.items():
            config._attn_implementation_internal = implementations[key]
        for module, value in deltas:
            module.rope_deltas = value


def untap(modules: Sequence[nn.Module]) -> None:
    """Show no further attention call of ``modules`` to the taps that they carry."""
    for module in modules:
        module.__dict__.pop(_TAP, None)


@contextlib.contextmanager
def untapped(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Show no attention call of ``modules`` inside the block to the taps that they carry."""
    taps = [(module, module.__dict__.pop(_TAP)) for module in modules if _TAP in module.__dict__]
    try:
        yield
    finally:
        for module, tapping in taps:
            module.__dict__[_TAP] = tapping

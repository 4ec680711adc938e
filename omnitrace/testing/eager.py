"""The slow reference of rows and gradients: one whole pass of the decoder with eager attention.

Eager attention returns all of its weights, ``n²`` numbers a head, and autograd can differentiate
through them. Nothing of the capture is used; towers keep their own attention.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import attention_modules

__all__ = ["eager_attention", "eager_pass"]


@contextlib.contextmanager
def eager_attention(decoder: nn.Module) -> Iterator[None]:
    """Let the decoder attend eagerly inside the block."""
    holders = [decoder, *attention_modules(decoder)]
    configs: dict[int, Any] = {
        id(config): config for each in holders if (config := getattr(each, "config", None))
    }
    before = {key: config._attn_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]


def eager_pass(
    model: Any,
    decoder: nn.Module,
    inputs: Mapping[str, Any],
    *,
    modules: Sequence[nn.Module] | None = None,
    last: int | None = None,
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Run the model once, with its decoder's attention eager.

    Parameters
    ----------
    model, decoder, inputs:
        The model, its decoder, and all arguments of its forward pass.
    modules:
        The attention modules whose weights are wanted; by default all that return them.
    last:
        Keep the weights of so many queries at the end, not of all; then without a graph.

    Returns
    -------
    list of torch.Tensor, torch.Tensor
        The weights of each layer, ``[batch, heads, queries, keys]``; and the logits.
    """
    wanted = attention_modules(decoder) if modules is None else modules
    found: dict[int, torch.Tensor] = {}

    def hook(number: int) -> Any:
        def after(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:
                weights = output[1]
                found[number] = weights if last is None else weights[:, :, -last:].detach().clone()

        return after

    handles = [module.register_forward_hook(hook(number)) for number, module in enumerate(wanted)]
    try:
        with eager_attention(decoder):
            output = model(**inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [found[number] for number in sorted(found)], output.logits

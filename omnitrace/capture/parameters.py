"""Where a model's weights are stored, and whether they need gradients.

A device map may leave weights on the CPU or on disk and have a hook bring them to the device that
computes, for the time of one call. Between calls such a parameter is on "meta", without content,
and every call puts a new object in its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from omnitrace.capture.quantised import dequantised

__all__ = ["frozen", "input_device", "loaded_weight"]


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Let no parameter of ``model`` require gradients inside the block.

    Parameters are restored by name: an offloaded layer has new parameter objects after the block.
    """
    trained = {name for name, each in _named(model) if each.requires_grad}
    try:
        for _, parameter in _named(model):
            parameter.requires_grad_(False)
        yield
    finally:
        for name, parameter in _named(model):
            if name in trained:
                parameter.requires_grad_(True)


def _named(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(model.named_parameters(remove_duplicate=False))


def input_device(model: Any) -> torch.device:
    """Return the device that token ids are put on: the one that runs the input embeddings."""
    embeddings = model.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    if device.type != "meta":
        return device
    hook = getattr(embeddings, "_hf_hook", None)
    for each in getattr(hook, "hooks", (hook,)):
        execution = getattr(each, "execution_device", None)
        if execution is not None:
            return torch.device(execution)
    return device


def loaded_weight(module: Any) -> torch.Tensor | None:
    """Return ``module.weight``, detached, fetched for the moment where it is offloaded.

    Of a quantised layer these are the numbers that its codes stand for.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return None
    if not weight.is_meta:
        return dequantised(module, weight)
    from accelerate.utils import align_module_device  # what put it there is installed

    with align_module_device(module):
        return dequantised(module, module.weight)

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
from omnitrace.errors import NotSupportedError

__all__ = ["check_differentiable", "frozen", "input_device", "loaded_weight"]


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
    """Return the parameters that can require gradients at all."""
    named = model.named_parameters(remove_duplicate=False)
    return [(name, parameter) for name, parameter in named if not parameter.is_inference()]


def check_differentiable(model: nn.Module) -> None:
    """Refuse a model whose weights were made under ``torch.inference_mode()``.

    Raises
    ------
    NotSupportedError
        If nothing can be differentiated through its weights.
    """
    name = next((name for name, each in model.named_parameters() if each.is_inference()), None)
    if name is not None:
        raise NotSupportedError(
            f"{name} was made under torch.inference_mode(), so no gradient can be computed",
            legal="models that are made or loaded outside of torch.inference_mode()",
            fix="load the model before you enter it",
        )


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

"""Run a model on inputs of one's own and leave it exactly as it was found."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from omnitrace.capture.interface import model_lock, tapped
from omnitrace.capture.weights import frozen

__all__ = ["forward_parameters", "last_logits", "undisturbed"]


def forward_parameters(model: Any) -> frozenset[str]:
    """Return the names of the arguments that ``model.forward`` declares."""
    return frozenset(inspect.signature(model.forward).parameters)


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Run ``model`` inside in evaluation mode and with frozen parameters, then undo all of it.

    Mode of every module, ``requires_grad`` of every parameter and any ``rope_deltas`` are as they
    were, also after an error; nobody else's run comes between. Inference mode is off inside.
    """
    training = [module for module in model.modules() if module.training]
    with (
        model_lock(model),
        torch.inference_mode(False),
        tapped(model, (), ()),
        frozen(model),
    ):
        try:
            model.eval()
            yield
        finally:
            for module in training:
                module.training = True


@contextlib.contextmanager
def last_logits(model: Any, tokens: int) -> Iterator[dict[str, Any]]:
    """Yield arguments for forward passes inside that compute only the last ``tokens`` logits.

    A model without ``logits_to_keep`` would compute all of them, the largest tensor of a pass; a
    hook then shortens what its head is given.
    """
    arguments: dict[str, Any] = {"use_cache": False, "return_dict": True}
    head = model.get_output_embeddings()
    if "logits_to_keep" in forward_parameters(model):
        yield arguments | {"logits_to_keep": tokens}
        return
    if head is None:
        yield arguments
        return

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, -tokens:], *args[1:]) if args else args

    handle = head.register_forward_pre_hook(before)
    try:
        yield arguments
    finally:
        handle.remove()

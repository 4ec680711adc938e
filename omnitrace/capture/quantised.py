"""Layers whose weights are codes: what they stand for, and whether they can be differentiated."""

from __future__ import annotations

import copy
import weakref
from typing import Any, Final

import torch
from torch import nn

from omnitrace.errors import NotSupportedError

__all__ = ["check_backward", "dequantised"]

_PLAIN: Final = (torch.Tensor, nn.Parameter)
_TOLERANCE: Final = 0.1  # activations in eight bits too: their steps are a few per cent
_checked: Final = weakref.WeakSet[nn.Module]()


def dequantised(module: Any, weight: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a weight's codes stand for; a weight that is none as it is."""
    kind = type(weight).__name__
    if getattr(getattr(weight, "quant_state", None), "packing_format_for_cpu", False):
        return _unpacked(weight)
    if kind in ("Params4bit", "Int8Params"):
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        found: torch.Tensor = dequantize_bnb_weight(weight, getattr(module, "state", None))
        return found.detach()
    if type(weight) not in _PLAIN:
        try:
            return weight.dequantize().detach()
        except (RuntimeError, NotImplementedError):  # no codes, or such as cannot be read
            return weight.detach()
    return weight.detach()


def _unpacked(weight: Any) -> torch.Tensor:
    """Return the numbers of four-bit codes that bitsandbytes has put in another order.

    It does so at a layer's first call, on processors with bfloat16, and its own reader does not
    notice.
    """
    from bitsandbytes import functional

    state = copy.copy(weight.quant_state)  # which the inverse changes
    codes, state = functional._convert_weight_packed_for_cpu_inverse(weight.data, state)
    numbers: torch.Tensor = functional.dequantize_4bit(codes, state)
    return numbers.detach()


def _is_coded(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and (
        not weight.is_floating_point() or type(weight) not in _PLAIN
    )


def check_backward(model: nn.Module) -> None:
    """Refuse a model with a quantised layer whose kernel gives no gradients, or wrong ones.

    One layer of each kind is tried, once a model: along its own gradient, a layer must grow as
    fast as the gradient says.

    Raises
    ------
    NotSupportedError
        If it does not.
    """
    if model in _checked:
        return
    kinds: dict[type[Any], nn.Module] = {}
    for module in model.modules():
        if _is_coded(module) and hasattr(module, "in_features"):
            kinds.setdefault(type(module), module)
    for kind, layer in kinds.items():
        problem = _problem(layer, getattr(model, "dtype", torch.float32))
        if problem:
            raise NotSupportedError(
                f"{kind.__name__}, a quantised layer of the model, {problem}",
                legal="models whose layers can be differentiated",
                fix="use a signal without gradients, such as 'value-attention', or load the model "
                "without quantisation",
            )
    _checked.add(model)


def _problem(layer: Any, dtype: torch.dtype) -> str:
    """Say what is wrong with a layer's gradients; nothing if they are right."""
    device = layer.weight.device
    draws = torch.Generator().manual_seed(0)
    shape = (1, 4, int(layer.in_features))
    given = torch.randn(shape, generator=draws).to(device, dtype).requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        try:
            output = layer(given)
            along = torch.randn(output.shape, generator=draws).to(device, output.dtype)
            (gradient,) = torch.autograd.grad((output * along).sum(), given, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            return f"cannot be differentiated: {str(error).splitlines()[0]}"
    if gradient is None or not gradient.any():
        return "gives no gradients"
    with torch.no_grad():
        step = gradient * (given.norm() / gradient.norm())
        grown = ((layer(given + step) - output).float() * along.float()).sum()
    expected = (gradient.float() * step.float()).sum()
    return "" if abs(grown / expected - 1) <= _TOLERANCE else "gives wrong gradients"

"""Everything about a model, and about torch, that a trace must leave as it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["model_change", "model_state", "torch_change", "torch_state"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_VALUES = "the values of"

State = dict[str, Any]


def model_state(model: nn.Module, *, values: bool = True) -> State:
    """Record what :func:`model_change` compares; weights are copied, unless ``values`` is False."""
    state: State = {}
    for name, module in model.named_modules():
        where = f" of {name!r}" if name else ""
        state[f"the training mode{where}"] = module.training
        state[f"the attributes{where}"] = sorted(module.__dict__)
        for kind in _HOOKS:
            state[f"the{kind.replace('_', ' ')}{where}"] = sorted(getattr(module, kind))
        config = getattr(module, "config", None)
        if config is not None:
            attention = getattr(config, "_attn_implementation", None)
            state[f"the attention implementation{where}"] = attention
        if "rope_deltas" in module.__dict__:
            deltas = module.__dict__["rope_deltas"]
            state[f"the rope_deltas{where}"] = None if deltas is None else deltas.tolist()
    for name, parameter in model.named_parameters():
        state[f"requires_grad of {name!r}"] = parameter.requires_grad
        state[f"the gradient of {name!r}"] = parameter.grad is None
    for name, value in model.state_dict().items() if values else ():
        state[f"{_VALUES} {name!r}"] = value.detach().clone()
    return state


def model_change(model: nn.Module, before: State) -> str | None:
    """Say what of ``model`` is not as it was ``before``; None if everything is."""
    values = any(what.startswith(_VALUES) for what in before)
    return _change(before, model_state(model, values=values))


def torch_state() -> State:
    """Record the settings of torch in this thread, and its random state."""
    return {
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch's random state": torch.get_rng_state(),
    }


def torch_change(before: State) -> str | None:
    """Say which setting of torch is not as it was ``before``; None if all are."""
    return _change(before, torch_state())


def _change(before: State, after: State) -> str | None:
    for what in before | after:
        old, new = before.get(what), after.get(what)
        if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
            if not torch.equal(old, new):
                return f"{what} changed"
        elif old != new:
            return f"{what} changed from {old!r} to {new!r}"
    return None

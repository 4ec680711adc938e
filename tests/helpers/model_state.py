"""What of a model must be as it was before, and the check that it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def state(model: nn.Module) -> dict[str, Any]:
    """Return weights, attention implementations, attributes and mode."""
    return {
        "implementations": [
            (name, module.config._attn_implementation)
            for name, module in model.named_modules()
            if hasattr(module, "config")
        ],
        "attributes": {name: sorted(module.__dict__) for name, module in model.named_modules()},
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "training": model.training,
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    """Compare with what :func:`state` returned, which loses its weights."""
    after = state(model)
    weights, expected = after.pop("weights"), before.pop("weights")
    assert after == before
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def flags_and_hooks(model: Any) -> dict[str, Any]:
    """Return what gradients and forward hooks would change, module by module."""
    return {
        "requires_grad": [each.requires_grad for each in model.parameters()],
        "training": [module.training for module in model.modules()],
        "hooks": [
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in model.modules()
        ],
        "rope_deltas": [module.__dict__.get("rope_deltas") for module in model.modules()],
    }

"""Where a model runs."""

from __future__ import annotations

from typing import Any

import torch

from omnitrace.errors import InputError

__all__ = ["cache_bytes", "checked_device", "row_bytes", "usual_device"]


def usual_device() -> str:
    """Return where the command line runs models: a CUDA device where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device that exists.

    Raises
    ------
    InputError
        If it is not a name of torch's, or this machine has no such device.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"the device is {device!r}", legal="a name of torch's, such as cpu, cuda or cuda:1"
        ) from error
    if found.type not in ("cpu", "meta") and (found.index or 0) >= _count(found.type):
        here = [f"{kind}:{i}" for kind in ("cuda", "mps") for i in range(_count(kind))]
        raise InputError(
            f"torch finds no device {str(device)!r} here",
            legal=", ".join(["cpu", *here]),
            fix="" if here else "check the driver, and that torch was built for the device",
        )
    return found


def _count(kind: str) -> int:
    module = getattr(torch, kind, None)
    count = getattr(module, "device_count", None)
    return int(count()) if count is not None else 0


def row_bytes(
    model: Any, tokens: int, logits: int, itemsize: int, *, gradients: bool = False
) -> int:
    """Estimate the bytes that a pass takes for each row.

    Parameters
    ----------
    model, itemsize:
        The model, and the bytes of a number in it.
    tokens, logits:
        Tokens of a row, and of how many of them logits are computed.
    gradients:
        Whether the graph of all layers is kept.
    """
    config = model.config.get_text_config(decoder=True)
    vocabulary = int(model.get_input_embeddings().num_embeddings)
    width = int(config.hidden_size)
    inner = getattr(config, "intermediate_size", None) or 4 * width
    # Gemma 3n has one of its own for each layer.
    inner = max(map(int, inner)) if isinstance(inner, list | tuple) else int(inner)
    layer = tokens * (8 * width + 3 * inner) * itemsize
    if gradients:
        layer *= 2 * int(getattr(config, "num_hidden_layers", 1))
    return 12 * logits * vocabulary + layer  # logits in float32, with two temporaries


def cache_bytes(model: Any, tokens: int, itemsize: int) -> int:
    """Estimate the bytes of the keys and values of so many tokens, in all layers."""
    config = model.config.get_text_config(decoder=True)
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    width = int(getattr(config, "head_dim", 0) or int(config.hidden_size) // heads)
    groups = int(getattr(config, "num_key_value_heads", heads) or heads)
    layers = int(getattr(config, "num_hidden_layers", 1))
    return 2 * tokens * layers * groups * width * itemsize

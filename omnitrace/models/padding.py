"""Whether a model reads a padded sequence as it reads the sequence alone."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from omnitrace.capture.parameters import input_device
from omnitrace.errors import OmnitraceError
from omnitrace.media import MediaLimits
from omnitrace.models.forward import carries_states, undisturbed
from omnitrace.models.generation import generation_config
from omnitrace.sources.messages import read_messages
from omnitrace.sources.options import SourceOptions

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter

__all__ = ["refuses_padding"]

_LONG: Final = "The red lamp is in the kitchen, and the blue chair stands beside the door."
_SHORT: Final = "It rains."
_TOKENS: Final = 3
# Largest difference of the logits, relative to the largest of them.
_TOLERANCE: Final = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_KNOWN: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def refuses_padding(adapter: ModelAdapter, softmax_layers: int) -> str | None:
    """Return why requests of this model cannot share a batch; None if they can.

    A short text and a longer one are continued by a few tokens, together and each alone; the logits
    must agree. That is done once for a model.

    Parameters
    ----------
    adapter:
        The model.
    softmax_layers:
        How many of its layers have softmax attention.
    """
    model = adapter.model
    if model not in _KNOWN:
        if carries_states(model, softmax_layers):
            _KNOWN[model] = (
                f"layers of {adapter.source} carry what they have read in states, padding too"
            )
        else:
            _KNOWN[model] = _tried(adapter)
    return _KNOWN[model] or None


def _tried(adapter: ModelAdapter) -> str:
    options = SourceOptions()
    try:
        inputs = [
            adapter.encode(
                read_messages(
                    [{"role": "user", "content": [{"type": "text", "text": text}]}],
                    options=options,
                    limits=MediaLimits(),
                    media_root=None,
                ),
                options,
            ).inputs
            for text in (_SHORT, _LONG)
        ]
        together = _continued(adapter, adapter.collate(inputs))
        alone = [_continued(adapter, dict(each)) for each in inputs]
    except (OmnitraceError, RuntimeError, ValueError, IndexError) as error:
        return f"{adapter.source} does not take a padded batch: {error}"
    bound = _TOLERANCE.get(adapter.model.dtype, 1e-3)
    for index, expected in enumerate(alone):
        difference = _difference(together[index], expected[0])
        if difference > bound:
            return (
                f"{adapter.source} computes other logits for a padded prompt than for the prompt "
                f"alone (relative difference {difference:.2g})"
            )
    return ""


def _continued(adapter: ModelAdapter, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits of the next tokens, float32 ``[batch, tokens, vocabulary]``."""
    model = adapter.model
    wanted: dict[str, Any] = {
        "max_new_tokens": _TOKENS,
        "min_new_tokens": _TOKENS,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    config, _ = generation_config(model, wanted)
    device = input_device(model)
    with undisturbed(model), torch.no_grad():
        found = model.generate(
            **{name: value.to(device) for name, value in inputs.items()}, generation_config=config
        )
    return torch.stack(found.logits, dim=1).float()


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Compare the logits of one sequence, up to the first token that was chosen otherwise."""
    same = found.argmax(dim=-1) == expected.argmax(dim=-1)
    steps = 1 + int(same.long().cumprod(dim=0)[:-1].sum())
    scale = float(expected[:steps].abs().max().clamp_min(1e-6))
    return float((found[:steps] - expected[:steps]).abs().max()) / scale

"""A signal on sequences of a left-padded batch, and on the same sequences by themselves.

The tracer runs one request at a time; here the capture is driven directly.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.gradients import GradientCapture
from omnitrace.models.generation import TokenStreamer
from omnitrace.signals.base import TokenSignal, gradient_target

__all__ = ["padded_difference", "tiny_model"]

_NEW: Final = 4
_LONG: Final = (5, 17, 3, 88, 41, 5, 17, 60, 22, 9)
_SHORT: Final = (31, 8, 64, 2, 77, 50)


@functools.cache
def tiny_model(vocabulary: int = 96) -> Any:
    """Return a Llama of four small layers, untrained, always with the same weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # sharp enough that rows differ from uniform
                parameter.mul_(4)
    return model


def padded_difference(signal: TokenSignal, *, tolerance: float) -> str | None:
    """Say how padding changes the scores; None if it does not.

    Gradients are taken of one sequence at a time, so a signal that needs them gets no batch.
    """
    alone = [_scores(signal, [ids])[0] for ids in (_LONG, _SHORT)]
    if gradient_target(signal.needs) is None:
        beside = _scores(signal, [_LONG, _SHORT])
    else:
        beside = [alone[0], _scores(signal, [_SHORT], width=len(_LONG))[0]]
    for name, expected, found in zip(("longer", "padded"), alone, beside, strict=True):
        pad = found.shape[1] - expected.shape[1]
        scale = float(expected.max())
        if float(found[:, :pad].abs().sum()) > tolerance * scale:
            return f"gave padding the score {float(found[:, :pad].max()):g}"
        apart = (found[:, pad:] - expected).abs()
        if float(apart.max()) > tolerance * scale:
            token, position = divmod(int(apart.argmax()), apart.shape[1])
            return (
                f"gave token {token} of the {name} sequence the score "
                f"{float(found[token, pad + position]):g} at position {position}, and by itself "
                f"{float(expected[token, position]):g}"
            )
    return None


def _scores(
    signal: TokenSignal, prompts: Sequence[Sequence[int]], width: int = 0
) -> list[torch.Tensor]:
    """Score each of ``prompts``, padded on the left to one length, float32 ``[new, context]``."""
    model = tiny_model()
    length = max(width, *map(len, prompts))
    rows = [[0] * (length - len(ids)) + list(ids) for ids in prompts]
    mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts]
    inputs = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask)}
    modules = attention_modules(model.get_decoder())
    layers = list(signal.layers(range(len(modules))))
    values = "values" in signal.needs
    target = gradient_target(signal.needs)
    if target is None:
        plain = RowCapture(layers, length, values=values)
        with tapped(model, [modules[layer] for layer in layers], plain.taps):
            _generate(model, inputs)
        return [signal.score(plain.rows(_NEW, batch=i)).float() for i in range(len(prompts))]
    capture = GradientCapture(layers, range(len(modules)), length, target=target, values=values)
    return [_stepwise(signal, capture, model, modules, inputs)]


def _stepwise(
    signal: TokenSignal,
    capture: GradientCapture,
    model: Any,
    modules: Sequence[nn.Module],
    inputs: dict[str, torch.Tensor],
) -> torch.Tensor:
    steps: list[torch.Tensor] = []

    def push(token_id: int) -> None:
        capture.select(token_id)
        steps.append(signal.score(capture.rows(1)).float()[0])
        capture.drop(1)

    with tapped(model, modules, capture.taps), capture.attached(model, model.get_decoder()):
        _generate(model, inputs, streamer=TokenStreamer(push))
    width = steps[-1].shape[0]
    return torch.stack([nn.functional.pad(step, (0, width - step.shape[0])) for step in steps])


def _generate(model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> None:
    model.generate(**inputs, max_new_tokens=_NEW, do_sample=False, **options)

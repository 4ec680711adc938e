"""Check that a model's attention can be captured correctly, and that capture changes no output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall, attention_modules, model_lock, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.parameters import input_device
from omnitrace.errors import ModelError

__all__ = ["probe"]

_TOKENS = 8
# Largest difference of (row times values) to the layer's own output, relative to its scale.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class _Checked:
    """A tap that keeps what is needed to compare rows with what the layer really computed."""

    def __init__(self, tap: Any) -> None:
        self.tap = tap
        self.last: AttentionCall | None = None

    def __call__(self, call: AttentionCall) -> None:
        self.tap(call)
        self.last = call


def _difference(rows: torch.Tensor, call: AttentionCall) -> float:
    """Compare ``rows @ values`` with the last position of the layer's output."""
    values = call.value.float()
    values = values.repeat_interleave(rows.shape[1] // values.shape[1], dim=1)
    expected = call.output[:, -1].float()
    found = torch.matmul(rows, values)[:, :, 0].reshape(expected.shape)
    scale = float(expected.abs().max().clamp_min(1e-6))
    return float((found - expected).abs().max()) / scale


def probe(model: Any, decoder: nn.Module, *, what: str) -> list[tuple[int, nn.Module]]:
    """Return the decoder layers whose attention can be traced, as (index, module).

    Runs a few tokens with and without capture. Layers without softmax attention (recurrent,
    linear) give no rows and are left out.

    Raises
    ------
    ModelError
        If no layer can be captured (the family bypasses ``transformers``' attention
        interface), if capture changes the logits, or if the rows do not explain the layers'
        outputs.
    """
    modules = attention_modules(decoder)
    embeddings = model.get_input_embeddings()
    limit = min(int(embeddings.num_embeddings), 1000)
    device = input_device(model)
    ids = torch.arange(_TOKENS, device=device).remainder(max(1, limit - 1)).unsqueeze(0)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    capture = RowCapture(range(len(modules)), _TOKENS, use_cache=False)
    taps = [_Checked(tap) for tap in capture.taps]
    was_training = model.training
    model.eval()
    try:
        with model_lock(model), torch.no_grad():
            with tapped(model, (), ()):  # restores what a forward leaves on the model
                plain = model(**inputs).logits
            with tapped(model, modules, taps):
                captured = model(**inputs).logits
    finally:
        model.train(was_training)
    if not torch.equal(plain, captured):
        raise ModelError(
            f"{what} computes other logits while its attention is captured",
            legal="models that use transformers' attention interface",
            fix="load it with attn_implementation='eager'",
        )
    observed = [i for i, tap in enumerate(taps) if tap.last is not None]
    if not observed:
        raise ModelError(
            f"{what} does not use transformers' attention interface, so nothing can be captured",
            legal="families whose attention calls ALL_ATTENTION_FUNCTIONS",
        )
    _check_rows(what, [taps[i] for i in observed])
    return [(int(modules[i].layer_idx), modules[i]) for i in observed]  # type: ignore[arg-type]


def _check_rows(what: str, taps: Sequence[_Checked]) -> None:
    for tap in taps:
        assert tap.last is not None
        difference = _difference(tap.tap.rows(1), tap.last)
        if difference > _TOLERANCE.get(tap.last.output.dtype, 1e-3):
            raise ModelError(
                f"the attention of {what} is not the softmax that was captured (layer "
                f"{tap.tap.layer}: relative difference {difference:.2g})",
                fix="load it with attn_implementation='eager', which returns its own weights",
            )

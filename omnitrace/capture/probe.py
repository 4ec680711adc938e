"""Check that a model's attention can be captured correctly, and that capture changes no output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import AttentionCall, attention_layers, tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.exclusive import evaluated, model_lock
from omnitrace.capture.parameters import input_device
from omnitrace.errors import ModelError, NotSupportedError

__all__ = ["check_cached_keys", "probe"]

_TOKENS = 8
# Largest difference of (row times values) to the layer's own output, relative to its scale.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class _Checked:
    """A tap that keeps what is needed to compare rows with what the layer really computed."""

    def __init__(self, tap: Any) -> None:
        self.tap = tap
        self.last: AttentionCall | None = None
        self.calls = 0

    def __call__(self, call: AttentionCall) -> None:
        if call.mask is not None and not isinstance(call.mask, torch.Tensor):
            raise ModelError(
                f"the attention masks of {type(call.module).__name__} are of the type "
                f"{type(call.mask).__name__}, which cannot be read token by token",
                legal="attention whose masks are tensors, unlike that of 'flex_attention'",
                fix="load the model with attn_implementation='sdpa'",
            )
        self.calls += 1
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
        interface), if a layer attends more than once, if capture changes the logits, or if the rows
        do not explain the layers' outputs.
    """
    layers = attention_layers(decoder)
    modules = [module for _, module in layers]
    inputs = {**_words(model, _TOKENS), "use_cache": False}
    capture = RowCapture([layer for layer, _ in layers], _TOKENS, use_cache=False)
    taps = [_Checked(tap) for tap in capture.taps]
    with model_lock(model).held(), evaluated(model), torch.no_grad():
        with tapped(model, (), ()):  # restores what a forward leaves on the model
            plain = model(**inputs).logits
        with tapped(model, modules, taps):
            captured = model(**inputs).logits
    if not torch.isfinite(plain[..., -1, :]).any():
        raise ModelError(
            f"{what} computes logits that are all NaN or infinite",
            legal="models whose logits are numbers",
            fix="load it with dtype=torch.bfloat16 or torch.float32, and check the weights",
        )
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
    found = [layers[i] for i in observed]
    _check_calls(what, found, [taps[i] for i in observed])
    _check_rows(what, [taps[i] for i in observed])
    return found


def check_cached_keys(model: Any, layers: Mapping[int, nn.Module], *, what: str) -> None:
    """Check that layers cache the keys that they attend to, as gradients of single steps need.

    Runs a few tokens.

    Raises
    ------
    NotSupportedError
        If a layer caches something else, such as latents from which it makes keys (DeepSeek-V3).
    """
    modules = list(layers.values())
    taps = [_Checked(lambda call: None) for _ in modules]
    with (
        model_lock(model).held(),
        evaluated(model),
        torch.no_grad(),
        tapped(model, modules, taps),
    ):
        cache = model(**_words(model, _TOKENS), use_cache=True).past_key_values
    held = list(getattr(cache, "layers", ()))
    for layer, module, tap in zip(layers, modules, taps, strict=True):
        if getattr(module, "is_kv_shared_layer", False):
            continue  # another layer's, which is checked itself
        index = int(module.layer_idx)  # type: ignore[arg-type]
        keys = getattr(held[index], "keys", None) if 0 <= index < len(held) else None
        assert tap.last is not None
        if not isinstance(keys, torch.Tensor) or not torch.equal(keys, tap.last.key):
            raise NotSupportedError(
                f"layer {layer} of {what} caches something else than the keys that it attends to, "
                "and gradients of a single step would not reach what it makes them of",
                legal="gradients in models whose layers cache their keys and values",
                fix="use a signal that needs rows only, such as 'value-attention'",
            )


def _words(model: Any, tokens: int) -> dict[str, torch.Tensor]:
    embeddings = model.get_input_embeddings()
    limit = min(int(embeddings.num_embeddings), 1000)
    ids = torch.arange(tokens, device=input_device(model)).remainder(max(1, limit - 1))
    return {"input_ids": ids[None], "attention_mask": torch.ones_like(ids[None])}


def _check_calls(
    what: str, layers: Sequence[tuple[int, nn.Module]], taps: Sequence[_Checked]
) -> None:
    calls_of: Counter[int] = Counter()
    for (layer, _), tap in zip(layers, taps, strict=True):
        calls_of[layer] += tap.calls
    for layer, calls in calls_of.items():
        if calls > 1:
            raise ModelError(
                f"layer {layer} of {what} attends {calls} times a pass, so that none of its rows "
                "says by itself what it reads",
                legal="families whose layers attend once",
            )


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

"""Quantised layers: their weights are read as numbers, and wrong gradients are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from omnitrace import NotSupportedError, Tracer
from omnitrace.capture.parameters import loaded_weight
from omnitrace.capture.quantised import check_backward
from omnitrace.models.causal_lm import CausalLMAdapter
from tests.helpers.text_adapters import own_text_adapter
from tests.helpers.two_documents import two_documents

QUESTION = two_documents(0)


class Coded(nn.Module):
    """A linear layer of eight-bit codes, whose gradient is ``scale`` times the true one."""

    def __init__(self, linear: nn.Linear, scale: float | None) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.step = float(linear.weight.detach().abs().max()) / 127
        self.gradient_scale = scale
        codes = (linear.weight / self.step).round().to(torch.int8)
        self.weight = nn.Parameter(codes, requires_grad=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        output = given @ (self.weight.to(given.dtype) * self.step).t()
        if self.gradient_scale is None:
            return output.detach()
        return output.detach() + self.gradient_scale * (output - output.detach())


def coded(scale: float | None) -> Any:
    """Return a model whose perceptrons consist of such layers."""
    adapter = own_text_adapter()
    for layer in adapter.model.model.layers:
        for name in ("gate_proj", "up_proj", "down_proj"):
            setattr(layer.mlp, name, Coded(getattr(layer.mlp, name), scale))
    return adapter


@pytest.mark.parametrize(
    ("scale", "said"), [(None, "cannot be diff"), (0.0, "no gra"), (0.5, "wr")]
)
@pytest.mark.parametrize("signal", ["grad-sam", "mask-gradient"])
def test_a_kernel_without_true_gradients_is_refused(
    signal: str, scale: float | None, said: str
) -> None:
    adapter = coded(scale)
    with pytest.raises(NotSupportedError, match=f"Coded, a quantised layer of the model, .*{said}"):
        Tracer(adapter=adapter, signal=signal).trace(QUESTION, max_new_tokens=2)
    assert Tracer(adapter=adapter, signal="attention-mean").trace(QUESTION, max_new_tokens=2).spans


def test_a_kernel_with_true_gradients_is_used() -> None:
    adapter = coded(1.0)
    check_backward(adapter.model)
    trace = Tracer(adapter=adapter, signal="grad-sam").trace(QUESTION, max_new_tokens=2)
    assert np.asarray(trace.scores).any()
    check_backward(own_text_adapter().model)


def _wide() -> CausalLMAdapter:
    """Return an adapter of a tiny model whose layers have whole blocks of 64 codes."""
    adapter = own_text_adapter()
    config = copy.deepcopy(adapter.model.config)
    config.hidden_size, config.head_dim = 64, 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CausalLMAdapter(type(adapter.model)(config).eval(), adapter.tokenizer)


def _torchao(model: Any) -> Any:
    quantisation = pytest.importorskip("torchao.quantization")
    quantisation.quantize_(model, quantisation.Int8WeightOnlyConfig())
    return model


def _bitsandbytes(four: bool) -> Callable[[Any], Any]:
    def replaced(model: Any) -> Any:
        bnb = pytest.importorskip("bitsandbytes")
        for layer in model.model.layers:
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                old = getattr(layer.self_attn, name)
                kind = bnb.nn.Linear4bit if four else bnb.nn.Linear8bitLt
                more = {"compute_dtype": torch.float32} if four else {"has_fp16_weights": False}
                new = kind(old.in_features, old.out_features, bias=False, **more)
                new.load_state_dict(old.state_dict(), strict=False)
                setattr(layer.self_attn, name, new.to("cpu"))
        return model

    return replaced


def test_codes_that_a_call_puts_in_another_order_are_read_as_before() -> None:
    """As bitsandbytes does on processors with bfloat16."""
    bnb = pytest.importorskip("bitsandbytes")
    layer = bnb.nn.Linear4bit(64, 32, bias=False, compute_dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer.load_state_dict({"weight": torch.randn(32, 64)}, strict=False)
    layer = layer.to("cpu").eval()
    before = loaded_weight(layer)
    assert before is not None
    with torch.no_grad():
        layer(torch.ones(1, 64))
    again = loaded_weight(layer)
    assert again is not None
    torch.testing.assert_close(again.float(), before.float(), atol=0.05, rtol=0.02)


@pytest.mark.parametrize(
    "quantise",
    [_torchao, _bitsandbytes(True)],
    ids=["torchao", "bitsandbytes-4"],
)
@pytest.mark.parametrize("signal", ["value-attention", "grad-sam"])
def test_a_quantised_model_scores_as_its_numbers_do(
    signal: str, quantise: Callable[[Any], Any]
) -> None:
    adapter, plain = _wide(), _wide()
    model = quantise(adapter.model)
    # On processors with bfloat16 the kernel of bitsandbytes computes in it, without gradients.
    rough = any(getattr(module, "support_avx512bf16_for_cpu", False) for module in model.modules())
    if rough and signal == "grad-sam":
        with pytest.raises(NotSupportedError, match="Linear4bit"):
            Tracer(model=model, processor=adapter.tokenizer, signal=signal)
        return
    found = Tracer(model=model, processor=adapter.tokenizer, signal=signal)
    trace = found.trace(QUESTION, max_new_tokens=3)
    for name, module in model.named_modules():
        weight = loaded_weight(module) if isinstance(module, nn.Linear) else None
        if weight is not None:
            plain.model.get_submodule(name).weight = nn.Parameter(weight.float())
    expected = Tracer(adapter=plain, signal=signal).replay(QUESTION, trace.token_ids)
    replayed = found.replay(QUESTION, trace.token_ids)
    np.testing.assert_allclose(replayed.scores, expected.scores, atol=2e-2 if rough else 1e-4)

"""Models whose weights lie elsewhere than where they are used: a device map's offloaded layers.

Offloaded to the CPU and run on it, weights go the same ways as with an accelerator: between calls
they are on "meta", and every call puts new parameters in place.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import attach_align_device_hook

from omnitrace import Tracer
from omnitrace.capture.parameters import frozen, input_device, loaded_weight
from omnitrace.models.causal_lm import CausalLMAdapter
from tests.helpers.builtin_signals import BUILTIN_TOKEN_SIGNALS
from tests.helpers.leave_one_out import LeaveOneOut
from tests.helpers.text_adapters import text_adapter
from tests.helpers.tiny_models import tiny

CPU = torch.device("cpu")
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The red lamp is in the kitchen. The chair is blue."},
            {"type": "text", "text": "Where is the lamp?"},
        ],
    }
]


def offloaded(model: Any, how: str, folder: Path | None = None) -> Any:
    """Return a copy of ``model`` of which every second layer, or all, is offloaded.

    Or it is spread by a device map: the first layer on the processor, the others in ``folder``.
    """
    model = copy.deepcopy(model)
    if how == "processor and disk":
        places = {
            name: "disk" if name.startswith("model.layers.") and not name.endswith(".0") else "cpu"
            for name in [
                *(f"model.{each}" for each, _ in model.model.named_children() if each != "layers"),
                *(f"model.layers.{number}" for number in range(len(model.model.layers))),
                "lm_head",
            ]
        }
        return accelerate.dispatch_model(
            model, places, main_device="cpu", offload_dir=str(folder), force_hooks=True
        )
    if how == "everything":
        return accelerate.cpu_offload(model, execution_device=CPU)
    for layer in model.get_decoder().layers[1::2]:
        weights = {name: value.clone() for name, value in layer.state_dict().items()}
        attach_align_device_hook(layer, execution_device=CPU, offload=True, weights_map=weights)
    return model


def flags(model: Any) -> dict[str, tuple[bool, str]]:
    return {name: (p.requires_grad, p.device.type) for name, p in model.named_parameters()}


@pytest.mark.parametrize("how", ["every second layer", "everything", "processor and disk"])
@pytest.mark.parametrize("signal", BUILTIN_TOKEN_SIGNALS)
def test_every_signal_scores_as_if_nothing_were_offloaded(
    signal: str, how: str, tmp_path: Path
) -> None:
    adapter = text_adapter()
    expected = Tracer(adapter=adapter, signal=signal).trace(MESSAGES, max_new_tokens=5)
    model = offloaded(adapter.model, how, tmp_path)
    assert any(parameter.is_meta for parameter in model.parameters())
    before = flags(model)
    tracer = Tracer(adapter=CausalLMAdapter(model, adapter.tokenizer), signal=signal)
    live = tracer.trace(MESSAGES, max_new_tokens=5)
    replayed = tracer.replay(MESSAGES, live.token_ids)
    assert live.token_ids == expected.token_ids
    for found in (live, replayed):
        atol = 1e-4 * float(expected.scores.max())
        np.testing.assert_allclose(found.scores, expected.scores, atol=atol)
    assert flags(model) == before, "parameters want gradients as they did, and lie where they did"


def test_a_span_signal_measures_an_offloaded_model() -> None:
    adapter = text_adapter()
    response = "The lamp is in the kitchen."
    expected = Tracer(adapter=adapter, signal=LeaveOneOut()).replay(MESSAGES, response)
    model = offloaded(adapter.model, "everything")
    before = flags(model)
    other = CausalLMAdapter(model, adapter.tokenizer)
    found = Tracer(adapter=other, signal=LeaveOneOut()).replay(MESSAGES, response)
    assert expected.spans[0].effects
    for unit, effect in expected.spans[0].effects.items():
        assert found.spans[0].effects is not None
        assert found.spans[0].effects[unit].value == pytest.approx(effect.value, abs=1e-4)
    assert flags(model) == before


def test_parameters_that_want_gradients_are_found_again_by_name() -> None:
    model = offloaded(tiny("llama"), "every second layer")
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 == 0)
    before = flags(model)
    with frozen(model), torch.no_grad():
        assert not any(parameter.requires_grad for parameter in model.parameters())
        model(input_ids=torch.tensor([[5, 17, 3]]))
    assert flags(model) == before


def test_where_inputs_go_and_weights_are_found() -> None:
    model = tiny("llama")
    assert input_device(model) == CPU
    moved = offloaded(model, "everything")
    assert moved.get_input_embeddings().weight.is_meta
    assert input_device(moved) == CPU
    projection = moved.model.layers[0].self_attn.o_proj
    found = loaded_weight(projection)
    assert found is not None
    assert torch.equal(found, model.model.layers[0].self_attn.o_proj.weight)
    assert projection.weight.is_meta
    assert loaded_weight(torch.nn.ReLU()) is None

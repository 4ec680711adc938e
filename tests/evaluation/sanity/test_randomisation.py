"""Parameter randomisation: what is drawn, what it tells, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, NotSupportedError, Tracer
from omnitrace.evaluation.sanity import (
    CONTROL,
    Case,
    parameter_randomisation,
    randomised_layers,
)
from omnitrace.evaluation.sanity.cases import beyond_size
from omnitrace.evaluation.sanity.randomisation import _counts, decoder_layers
from omnitrace.models.causal_lm import CausalLMAdapter
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.tiny_models import FAMILIES, tiny


def changed(model: Any, before: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the parameters that are not what they were."""
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def copies(model: Any) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in model.named_parameters()}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_layers_are_randomised_from_the_last_and_restored(family: str) -> None:
    model = tiny(family)
    adapter = CausalLMAdapter(model, None)
    assert decoder_layers(adapter) == list(model.model.layers)
    before, everything = copies(model), state(model)
    with randomised_layers(adapter, seed=3) as randomise:
        randomise(1)
        last = changed(model, before)
        assert last
        assert all(name.startswith("model.layers.2.") for name in last)
        drawn = copies(model)
        randomise(3)
        assert {name.split(".")[2] for name in changed(model, before)} == {"0", "1", "2"}
        assert not changed(model, drawn) & last  # a layer is drawn once
    assert not changed(model, before)
    assert_unchanged(model, everything)


def test_weights_are_drawn_with_the_moments_of_the_originals() -> None:
    model = tiny("llama")
    adapter = CausalLMAdapter(model, None)
    weight = model.model.layers[2].mlp.up_proj.weight
    with torch.no_grad():
        weight.add_(0.5)
    before = copies(model)
    draws = []
    for seed in (0, 0, 1):
        with randomised_layers(adapter, seed=seed) as randomise:
            randomise(1)
            draws.append(weight.detach().clone())
    original = before["model.layers.2.mlp.up_proj.weight"]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert abs(float(draws[0].mean() - original.mean())) < 0.1 * float(original.std())
    assert float(draws[0].std()) == pytest.approx(float(original.std()), rel=0.1)
    correlation = np.corrcoef(draws[0].flatten(), original.flatten())[0, 1]
    assert abs(correlation) < 0.1


def test_weights_are_restored_after_an_exception(
    reference: Tracer, tracers: dict[str, Tracer], case: Case
) -> None:
    model = reference.adapter.model
    before, seen = copies(model), []

    def break_off(text: str) -> None:
        seen.append((text, changed(model, before)))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parameter_randomisation(tracers, [case], progress=break_off)
    assert seen[1][1], "the first stage has changed no weight"
    assert not changed(model, before)


def test_a_signal_that_ignores_the_model_fails(tracers: dict[str, Tracer], case: Case) -> None:
    found = parameter_randomisation(tracers, [case], stages=2)
    assert found.layers == len(decoder_layers(tracers["blind"].adapter))
    assert {stage.randomised for stage in found.stages} == {1, found.layers}
    for name in ("blind", CONTROL):
        stages = [stage for stage in found.stages if stage.signal == name]
        assert [stage.correlation.value for stage in stages] == pytest.approx([1.0, 1.0])
        assert [stage.same_top.value for stage in stages] == [1.0, 1.0]
        assert found.passed[name] is False
    # Nothing but size is left of the control, and all of the blind signal beyond it.
    assert np.isnan(found.final(CONTROL).beyond_size.value)
    assert found.final("blind").beyond_size.value == pytest.approx(1.0)
    attention = found.final("attention-mean")
    assert attention.correlation.value < 0.95
    assert attention.correlation.count == len(case.trace.spans)
    assert set(found.length) == {"attention-mean", "blind"}
    strict = parameter_randomisation({"blind": tracers["blind"]}, [case], stages=1, threshold=-1)
    assert strict.threshold == -1
    assert strict.passed["blind"] is False


def test_what_is_left_beyond_size_by_hand() -> None:
    sizes = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0]])
    first = np.array([[2.0, 1.0, 4.0, 3.0], [1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    second = np.array([[1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0]])
    # Ranks correlate by 0 with each other, by 0.6 and 0.8 with size; then sizes are all equal;
    # then the first ranks by size alone.
    expected = [(0 - 0.6 * 0.8) / np.sqrt((1 - 0.6**2) * (1 - 0.8**2)), 0.8, np.nan]
    np.testing.assert_allclose(beyond_size(first, second, sizes), expected, atol=1e-12)


def test_the_stages_are_spread_and_end_with_all_layers() -> None:
    assert _counts(3, 8) == [1, 2, 3]
    assert _counts(4, 1) == [4]
    spread = _counts(32, 8)
    assert (spread[0], spread[-1], len(spread)) == (1, 32, 8)
    assert spread == sorted(spread)


def test_what_cannot_be_randomised_is_refused(tracers: dict[str, Tracer], case: Case) -> None:
    model = tiny("llama")
    before = copies(model)
    packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False)
    model.model.layers[1].register_parameter("packed", packed)
    adapter = CausalLMAdapter(model, None)
    with (
        pytest.raises(NotSupportedError, match=r"'packed' of .* is of the type torch.int8"),
        randomised_layers(adapter),
    ):
        pytest.fail("it was lent")
    assert changed(model, before | {"model.layers.1.packed": packed}) == set()
    with pytest.raises(InputError, match="0 stages of 1 responses"):
        parameter_randomisation(tracers, [case], stages=0)
    with pytest.raises(InputError, match="the threshold is 2"):
        parameter_randomisation(tracers, [case], threshold=2)

"""What weights, caches and passes take, beside what they really take."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from omnitrace.models.base import LoadOptions
from omnitrace.models.loading import load_adapter
from omnitrace.models.memory import (
    MEMORY,
    batch_row_bytes,
    cache_bytes,
    largest_weight,
    row_bytes,
    rows_within,
    shape_of,
    weight_bytes,
)
from omnitrace.models.pretrained import load_model
from omnitrace.testing.families import TINY, tiny_family
from tests.helpers.side_input_models import gemma3n, gemma4
from tests.helpers.tiny_models import FAMILIES, tiny

IDS = torch.tensor([[5, 17, 3, 88, 41, 5, 17, 60, 22, 9] * 3])


def held(model: Any) -> int:
    """Return the bytes of the keys and values that a real cache holds after a pass."""
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    declared = inspect.signature(model.forward).parameters
    name = "past_key_values" if "past_key_values" in declared else "cache"
    with torch.no_grad():
        model(input_ids=IDS, use_cache=True, **{name: cache})
    layers = [layer for layer in cache.layers if getattr(layer, "keys", None) is not None]
    return sum(each.nbytes for layer in layers for each in (layer.keys, layer.values))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_models_cache_takes_what_is_predicted(family: str) -> None:
    model = tiny(family)
    assert cache_bytes(model, IDS.shape[1], 4) == held(model)


@pytest.mark.parametrize("family", TINY)
def test_a_cache_of_every_family_takes_what_is_predicted(family: str) -> None:
    model = tiny_family(family).model
    assert cache_bytes(model, IDS.shape[1], model.dtype.itemsize) == held(model)


def test_without_weights_a_model_takes_as_many_bytes_as_with_them() -> None:
    loaded = load_adapter("reference", LoadOptions()).model
    empty = load_adapter("reference", LoadOptions(weights=False)).model
    assert all(each.is_meta for each in empty.parameters())
    assert not empty.training
    assert weight_bytes(empty) == weight_bytes(loaded)
    assert empty.dtype == loaded.dtype
    assert largest_weight(empty) == largest_weight(loaded)


def test_without_weights_a_model_has_the_precision_that_is_asked_for() -> None:
    full = load_adapter("reference", LoadOptions(weights=False)).model
    half = load_adapter("reference", LoadOptions(weights=False, dtype="bfloat16")).model
    assert half.dtype == torch.bfloat16
    assert weight_bytes(half) < 0.6 * weight_bytes(full)


def test_tied_weights_count_once() -> None:
    model = load_adapter("reference", LoadOptions()).model
    embeddings = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is embeddings
    assert weight_bytes(model) < sum(
        each.nbytes for _, each in model.named_parameters(remove_duplicate=False)
    ) + sum(each.nbytes for each in model.buffers())


def test_a_width_of_its_own_for_each_layer_counts() -> None:
    assert gemma3n().config.intermediate_size == [48] * 4
    assert gemma4().config.intermediate_size == 48
    assert row_bytes(gemma3n(), 100, 10, 4) == row_bytes(gemma4(), 100, 10, 4)


def test_a_graph_takes_more_than_a_pass_and_more_layers_more() -> None:
    model = tiny("llama")
    assert shape_of(model).layers == 3
    plain, graph = (row_bytes(model, 50, 5, 4, gradients=each) for each in (False, True))
    assert graph > plain


def test_rows_that_run_at_once_stay_within_the_memory() -> None:
    model = tiny("llama")
    row = batch_row_bytes(model, 20, 40, 5, 4)
    assert row > row_bytes(model, 20, 5, 4) + cache_bytes(model, 40, 4)
    assert rows_within(3 * row, row) == 3
    assert rows_within(1, row) == 1
    assert rows_within(MEMORY, row) == 64


@pytest.mark.parametrize("family", TINY)
def test_every_family_is_built_without_weights(family: str, tmp_path: Path) -> None:
    made = tiny_family(family).model
    made.config.save_pretrained(tmp_path)
    empty = load_model(type(made), str(tmp_path), LoadOptions(weights=False, dtype="float32"))
    assert all(each.is_meta for each in empty.parameters())
    assert weight_bytes(empty) == weight_bytes(made)
    assert cache_bytes(empty, 100, 4) == cache_bytes(made, 100, 4)
    assert shape_of(empty) == shape_of(made)

"""Every family of the table, on tiny models of its own classes with its own processor."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitrace import Tracer
from omnitrace.models import families
from omnitrace.models.families import FAMILIES, Family, family_of, place_of
from omnitrace.models.places import images, times
from omnitrace.models.places.unknown import whole_medium
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.testing import check_adapter
from omnitrace.testing.families import TINY, tiny_family
from omnitrace.testing.requests import request
from omnitrace.types import Modality

BY_NAME = {family.name: family for family in FAMILIES}


def together(family: Family) -> list[tuple[Modality, ...]]:
    """Return what can be asked in one request: all, or all but one of those that cannot."""
    apart = [kind for kinds in family.not_together for kind in kinds]
    if not apart:
        return [family.modalities]
    return [tuple(m for m in family.modalities if m not in apart or m == kept) for kept in apart]


def test_every_family_has_a_tiny_model() -> None:
    assert set(TINY) == set(BY_NAME)
    assert len(BY_NAME) == len(FAMILIES)


@pytest.mark.parametrize("name", TINY)
def test_the_adapter_keeps_its_contract(name: str) -> None:
    adapter = tiny_family(name)
    assert adapter.family is BY_NAME[name]
    assert adapter.family is not None
    for modalities in together(adapter.family):
        check_adapter(adapter, modalities)


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_is_loaded_by_its_folder(name: str, tmp_path: Path) -> None:
    adapter = tiny_family(name)
    adapter.model.save_pretrained(tmp_path)
    adapter.processor.save_pretrained(tmp_path)
    messages = request(together(BY_NAME[name])[0])
    loaded = Tracer.from_pretrained(str(tmp_path), signal="attention-mean")
    assert type(loaded.adapter) is ProcessorAdapter
    assert type(loaded.adapter.model) is type(adapter.model)
    found = loaded.trace(messages, max_new_tokens=3)
    expected = Tracer(adapter=adapter, signal="attention-mean").trace(messages, max_new_tokens=3)
    assert found.prompt_ids == expected.prompt_ids
    assert found.token_ids == expected.token_ids
    assert found.layout.units == expected.layout.units


@pytest.mark.parametrize("name", TINY)
def test_every_token_of_an_image_is_in_its_unit(name: str) -> None:
    if "image" not in BY_NAME[name].modalities:
        return
    adapter = tiny_family(name)
    tracer = Tracer(adapter=adapter, signal="attention-mean")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 210, 3), dtype=np.uint8)
    image = {"type": "image", "image": pixels}
    content = [image, {"type": "text", "text": "What?"}]
    trace = tracer.trace([{"role": "user", "content": content}], max_new_tokens=1)
    fed = {i for i, token in enumerate(trace.prompt_ids) if token in adapter.media_tokens}
    mapped = [p for unit in trace.units if unit.modality == "image" for p in unit.positions]
    assert len(mapped) == len(set(mapped))
    assert set(mapped) <= fed
    # Two families end the rows of a grid with a token that shows nothing.
    ends = BY_NAME[name].places["image"] in (images.base_and_rows, images.rows_then_overview)
    assert (len(fed) > len(mapped)) == ends


def test_a_processor_that_nobody_described_is_mapped_whole_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter = tiny_family("qwen2.5-omni")
    monkeypatch.setattr(families, "FAMILIES", ())
    assert family_of(adapter.model.config) is None
    assert place_of(adapter.processor, "image") is whole_medium
    messages = request(("text", "image", "audio", "video"))
    tracer = Tracer(adapter=adapter, signal="attention-mean")
    said = "Qwen2_5OmniProcessor.* is one source unit"
    with pytest.warns(RuntimeWarning, match=said):
        check_adapter(adapter, ("text", "image", "audio", "video"))
    with pytest.warns(RuntimeWarning, match=said):
        trace = tracer.trace(messages, max_new_tokens=2)
    units = [unit for unit in trace.units if unit.modality != "text"]
    assert [unit.modality for unit in units] == ["image", "audio", "video"]
    fed = sum(token in adapter.media_tokens for token in trace.prompt_ids)
    assert sum(len(unit.positions) for unit in units) == fed


def rules() -> list[Any]:
    return [getattr(module, name) for module in (images, times) for name in module.__all__]


def test_a_rule_of_places_fits_on_a_screen() -> None:
    """Adding a family of a known rule takes one entry; of a new rule, one short function more."""
    for rule in rules():
        (function,) = ast.parse(inspect.getsource(rule)).body
        assert isinstance(function, ast.FunctionDef)
        code = function.body[1:]  # behind the docstring
        assert (code[-1].end_lineno or 0) - code[0].lineno < 30, rule.__name__
    (table,) = (
        node
        for node in ast.parse(inspect.getsource(families)).body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "FAMILIES"
    )
    assert isinstance(table.value, ast.Tuple)
    for entry in table.value.elts:
        assert entry.end_lineno is not None
        assert entry.end_lineno - entry.lineno < 30

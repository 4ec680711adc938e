"""Measured effects in files: found again, kept through an interruption, never mistaken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omnitrace import InputError
from omnitrace.ablation import Cache, DecoderOperator, LazyScorer, measure
from omnitrace.ablation.scorer import ResponseScorer
from tests.helpers import naive_ablation as naive
from tests.helpers.tiny_models import tiny


def measured(path: Path, masks: np.ndarray, made: Any = None, **options: Any) -> Any:
    made = made or naive.family("llama")
    return measure(made, naive.SPANS, masks, cache=path, **options)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    masks = naive.drawn(10)
    first = measured(tmp_path / "new" / "folder", masks)
    (file,) = (tmp_path / "new" / "folder").iterdir()
    again = measured(file.parent, masks[::-1])
    assert again.rows == again.run_tokens == again.naive_tokens == 0
    assert (again.tokens == first.tokens[::-1]).all()
    assert (again.full == first.full).all()
    more = np.concatenate([masks, naive.drawn(5, seed=9)])
    third = measured(file.parent, more)
    assert 0 < third.rows <= 5
    np.testing.assert_allclose(
        third.tokens, naive.by_attention(naive.family("llama"), more), atol=1e-4
    )
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    masks = naive.drawn(4)
    measured(tmp_path, masks)
    (file,) = tmp_path.iterdir()
    assert len(file.stem) == 64
    with safe_open(file, framework="numpy") as opened:
        about = json.loads(opened.metadata()["omnitrace"])
        assert opened.get_tensor("logprobs").shape == (5, 7)
    assert about["format"] == "omnitrace-effects"
    assert about["operators"] == {"text": "attention"}
    assert about["response"] == naive.RESPONSE


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    masks = naive.drawn(24)
    made = naive.scorer(tiny("llama"), memory=1)
    done = 0

    def stop(rows: int, total: int) -> None:
        nonlocal done
        done = rows
        if rows >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, masks, made, progress=stop)
    found = measured(tmp_path, masks)
    assert found.rows == len(np.unique(masks, axis=0)) - done
    np.testing.assert_allclose(found.tokens, naive.by_attention(made, masks), atol=1e-4)


def lazy(made: list[ResponseScorer], units: Any = naive.UNITS, **changed: Any) -> LazyScorer:
    """Announce the scorer of ``naive``; ``made`` is called when it is made."""

    def make() -> ResponseScorer:
        made.append(naive.scorer(tiny("llama"), units))
        return made[-1]

    given = {
        "make": make,
        "source_units": naive.layout().units,
        "response": tuple(naive.RESPONSE),
        "key": {"model": "llama", "prompt": naive.PROMPT},
        "model": "a tiny model",
    }
    return LazyScorer(**(given | changed))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_scorer_is_made_only_where_a_mask_is_new(tmp_path: Path, in_memory: bool) -> None:
    masks = naive.drawn(6)
    cache = Cache() if in_memory else tmp_path
    made: list[ResponseScorer] = []
    first = measure(lazy(made), naive.SPANS, masks, cache=cache)
    np.testing.assert_allclose(
        first.tokens, naive.by_attention(naive.family("llama"), masks), atol=1e-4
    )
    assert len(made) == 1
    again = measure(lazy(made), naive.SPANS, masks[:2], cache=cache)
    assert len(made) == 1
    assert (again.tokens == first.tokens[:2]).all()
    assert (again.units, again.sizes.tolist()) == (first.units, first.sizes.tolist())
    assert (again.rows, again.naive_tokens) == (0, 0)
    more = np.concatenate([masks, naive.drawn(3, seed=5)])
    assert 0 < measure(lazy(made), naive.SPANS, more, cache=cache).rows <= 3
    assert len(made) == 2
    if in_memory:
        assert list(tmp_path.iterdir()) == []
        return
    (file,) = tmp_path.iterdir()
    with safe_open(file, framework="numpy") as opened:
        assert json.loads(opened.metadata()["omnitrace"])["model"] == "a tiny model"


def test_what_a_lazy_scorer_is_of_is_not_mistaken(tmp_path: Path) -> None:
    masks = naive.drawn(2)
    made: list[ResponseScorer] = []
    measure(lazy(made), naive.SPANS, masks, cache=tmp_path)
    other = (*naive.UNITS[:5], (36, 37))
    for number, each in enumerate(
        [
            lazy(made, key={"model": "another"}),
            lazy(made, other, source_units=naive.layout(other).units),
        ]
    ):
        measure(each, naive.SPANS, masks, cache=tmp_path)
        assert len(made) == number + 2
    measure(lazy(made), naive.SPANS, masks, cache=tmp_path, operator="mean")
    assert len(list(tmp_path.iterdir())) == 4
    for wrong in (lazy(made, other), lazy(made, response=(1, 2, 3))):
        with pytest.raises(InputError, match="not those it was announced for"):
            measure(wrong, (), naive.drawn(2))
    with pytest.raises(InputError, match=r"a span of tokens 3 to 7.*within 0 and 3"):
        measure(lazy(made, response=(1, 2, 3)), naive.SPANS, naive.drawn(2))


class Zero(DecoderOperator):
    name = "zero"

    def __init__(self, level: float = 0.0) -> None:
        self.parameters = {"level": level}

    def substitutes(self, scorer: ResponseScorer) -> torch.Tensor:
        return torch.full_like(scorer.embeddings[0], self.parameters["level"])


def test_what_differs_in_anything_has_a_file_of_its_own(tmp_path: Path) -> None:
    masks = naive.drawn(2)
    measured(tmp_path, masks)
    changed = tiny("llama")
    with torch.no_grad():
        changed.model.layers[1].mlp.up_proj.weight.mul_(1.01)
    others: list[Any] = [
        (naive.scorer(changed), {}),
        (naive.scorer(tiny("llama"), foils=[None, 50, None, 51, None, None, 52]), {}),
        (naive.scorer(tiny("llama"), units=(*naive.UNITS[:5], (36, 37))), {}),
        (naive.family("llama"), {"operator": "mean"}),
        (naive.family("llama"), {"operator": Zero()}),
        (naive.family("llama"), {"operator": Zero(1.0)}),
    ]
    for number, (made, options) in enumerate(others):
        found = measured(tmp_path, masks, made, **options)
        assert found.rows == 2
        assert len(list(tmp_path.iterdir())) == number + 2


def test_a_broken_file_is_named_and_replaced(tmp_path: Path) -> None:
    masks = naive.drawn(3)
    first = measured(tmp_path, masks)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"no safetensors at all")
    with pytest.warns(RuntimeWarning, match=r"cannot be read and is replaced") as warned:
        again = measured(tmp_path, masks)
    assert str(file) in str(warned[0].message)
    assert (again.tokens == first.tokens).all()
    assert measured(tmp_path, masks).rows == 0


def test_one_operator_in_a_few_lines_acts_as_it_says() -> None:
    made = naive.family("llama")
    masks = naive.drawn(5)
    found = measure(made, naive.SPANS, masks, operator=Zero())
    left = torch.stack([naive.kept(made, mask) for mask in masks])
    embeddings = made.embeddings * left[:, :, None]
    np.testing.assert_allclose(found.tokens, made.logprobs(embeddings).numpy(), atol=1e-4)

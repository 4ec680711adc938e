"""The row with every unit kept: rows go on from its keys and values, and nothing else changes."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace.ablation import leave_one_out, measure
from omnitrace.ablation.kept_row import kept_row
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.models.causal_lm import CausalLMAdapter
from tests.helpers import naive_ablation as naive
from tests.helpers.hybrid_models import FAMILIES as HYBRIDS
from tests.helpers.hybrid_models import hybrid
from tests.helpers.tiny_models import FAMILIES, tiny

UNITS = len(naive.UNITS)
LENGTH = len(naive.PROMPT) + len(naive.RESPONSE) - 1
LOOPS = {"attention": naive.by_attention, "mean": naive.by_mean}


def every_mask() -> np.ndarray:
    ends = np.array([[True] * UNITS, [False] * UNITS])
    return np.concatenate([ends, leave_one_out(UNITS), ~leave_one_out(UNITS), naive.drawn(20)])


def windowed(window: int) -> Any:
    """Return a model whose layers look back so many tokens."""
    model = tiny("mistral-sliding")
    model.config.sliding_window = window
    for module in attention_modules(model.model):
        module.sliding_window = window  # type: ignore[assignment]
    return model


def assert_as_the_loop(made: ResponseScorer, operator: str) -> None:
    masks = every_mask()
    found = measure(made, naive.SPANS, masks, operator=operator)
    np.testing.assert_allclose(found.tokens, LOOPS[operator](made, masks), atol=1e-4)
    alone = np.concatenate(
        [measure(made, naive.SPANS, m[None], operator=operator).tokens for m in masks]
    )
    np.testing.assert_allclose(alone, found.tokens, atol=1e-4)


@pytest.mark.parametrize("operator", ["attention", "mean"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_effects_equal_a_loop_of_whole_passes(family: str, operator: str) -> None:
    made = naive.scorer(tiny(family), keep=True)
    assert (made.kept is not None) == made.reach.full
    assert_as_the_loop(made, operator)


@pytest.mark.parametrize("memory", [1, 2**16, 2**30])
def test_the_memory_changes_no_effect(memory: int) -> None:
    made = naive.scorer(tiny("llama"), keep=True, memory=memory)
    if made.kept is not None:
        assert made.kept.bytes <= memory // 2
    assert (made.kept is None) == (memory == 1)
    assert_as_the_loop(made, "attention")


@pytest.mark.parametrize(("window", "kept"), [(LENGTH - 1, False), (LENGTH + 1, True)])
def test_a_window_that_all_of_it_fits_into(window: int, kept: bool) -> None:
    made = naive.scorer(windowed(window), keep=True)
    assert (made.kept is not None) == kept
    assert_as_the_loop(made, "attention")


@pytest.mark.parametrize("family", HYBRIDS)
def test_a_state_is_not_kept(family: str) -> None:
    made = naive.scorer(hybrid(family), keep=True)
    assert made.recurrent
    assert made.kept is None
    masks = naive.drawn(3)
    found = measure(made, naive.SPANS, masks, operator="mean")
    np.testing.assert_allclose(found.tokens, naive.by_mean(made, masks), atol=1e-4)


def test_a_mask_runs_only_what_follows_the_first_ablated_unit() -> None:
    made = naive.scorer(tiny("llama"), keep=True)
    for number, unit in enumerate(naive.UNITS):
        found = measure(made, naive.SPANS, ~np.eye(UNITS, dtype=bool)[number][None])
        assert found.run_tokens == LENGTH - unit[0] - len(unit)
    both = measure(made, naive.SPANS, leave_one_out(UNITS)[-2:])
    assert both.run_tokens <= 2 * (LENGTH - naive.UNITS[-2][0])


def read(model: Any, written: int = 3) -> PromptRecord:
    """Read the prompt as generation does, and write some tokens."""
    record = PromptRecord(len(naive.PROMPT), attention_modules(model.model))
    with tapped(model, record.modules, record.taps((), ())), record.attached(model, ()):
        ids = torch.tensor([naive.PROMPT])
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=written, do_sample=False
        )
    return record


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_prompt_that_was_read_is_not_read_again(family: str) -> None:
    model = tiny(family)
    whole = naive.scorer(model)
    ran: list[int] = []
    module = attention_modules(model.model)[-1]
    handle = module.register_forward_pre_hook(
        lambda module, args, kwargs: ran.append(
            (args[0] if args else kwargs["hidden_states"]).shape[1]
        ),
        with_kwargs=True,
    )
    record = read(model)
    ran.clear()
    made = naive.scorer(model, prompt=record)
    handle.remove()
    assert ran == [len(naive.RESPONSE) if whole.reach.full else LENGTH]
    assert (made.reach.full, made.reach.causal) == (whole.reach.full, whole.reach.causal)
    assert len(made.reach.modules) == len(whole.reach.modules)
    assert (made.kept is not None) == whole.reach.full
    np.testing.assert_allclose(made.full, whole.full, atol=1e-5)
    for operator in LOOPS:
        assert_as_the_loop(made, operator)


def test_a_window_that_only_the_prompt_fits_into() -> None:
    model = windowed(len(naive.PROMPT) + 2)
    made = naive.scorer(model, prompt=read(model))
    assert made.kept is None
    assert not made.reach.full
    assert_as_the_loop(made, "attention")


def test_of_a_response_of_one_token_all_is_run() -> None:
    model = tiny("llama")
    ids = torch.tensor([naive.PROMPT])
    made = ResponseScorer(
        CausalLMAdapter(model, None),
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        naive.layout(),
        [40],
        prompt=read(model),
    )
    assert made.reach.full
    assert made.kept is not None
    masks = every_mask()
    found = measure(made, [naive.span_of_all(made)], masks)
    np.testing.assert_allclose(found.tokens, naive.by_attention(made, masks), atol=1e-4)


def test_in_half_precision_all_is_run() -> None:
    """Steps and passes round differently there, and a replay is to say what the trace said."""
    model = tiny("llama", dtype=torch.bfloat16)
    made = naive.scorer(model, prompt=read(model))
    assert made.kept is not None
    np.testing.assert_array_equal(made.full, naive.scorer(model).full)


def test_a_prompt_is_given_away_once_the_response_is_written() -> None:
    model = tiny("llama")
    record = read(model)
    cache = record.take()
    assert cache is not None
    gone = weakref.ref(cache)
    del cache
    assert record.take() is None
    assert gone() is None


def test_nothing_is_kept_longer_than_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[weakref.ref[Any]] = []

    def noted(*args: Any) -> Any:
        row = kept_row(*args)
        assert row is not None
        rows.extend([weakref.ref(row), weakref.ref(row._cache)])
        return row

    monkeypatch.setattr("omnitrace.ablation.recording.kept_row", noted)
    made = naive.scorer(tiny("llama"), keep=True)
    measure(made, naive.SPANS, every_mask())
    *read, _, _ = rows
    assert all(each() is None for each in read), "that of the prompt alone"
    assert made.kept is not None
    del made
    assert all(each() is None for each in rows)


def test_a_generation_that_fails_leaves_nothing() -> None:
    model = tiny("llama")
    record = PromptRecord(len(naive.PROMPT), attention_modules(model.model))

    def fail() -> None:
        ids = torch.tensor([naive.PROMPT])
        with tapped(model, record.modules, record.taps((), ())), record.attached(model, ()):
            model.generate(ids, max_new_tokens=2, do_sample=False)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert record.take() is None

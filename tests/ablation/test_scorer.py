"""The response scorer: against the model's own forward pass, and leaving no trace in the model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from omnitrace import InputError, ModelError, Tracer
from omnitrace.ablation import ablated_logprobs, span_logprobs
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine.prepare import read_request
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.types import Modality
from tests.helpers.model_state import assert_unchanged, flags_and_hooks, state
from tests.helpers.reference_categories import ONE_SOURCE
from tests.helpers.tiny_models import FAMILIES, tiny
from tests.helpers.tiny_scorer import PROMPT, RESPONSE, UNITS, inputs, layout, scorer, span


def plain(model: Any) -> torch.Tensor:
    """Return float32 ``[T, vocabulary]`` of log-probabilities, from token ids."""
    with torch.no_grad():
        logits = model(**inputs()).logits[0, len(PROMPT) - 1 :]
    return logits.float().log_softmax(dim=-1)


def of_response(logprobs: torch.Tensor) -> torch.Tensor:
    return logprobs[torch.arange(len(RESPONSE)), torch.tensor(RESPONSE)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_its_own_embeddings_give_the_models_logprobs(family: str, dtype: torch.dtype) -> None:
    model = tiny(family, dtype=dtype)
    made = scorer(model)
    assert made.units == ("a", "b", "c")
    assert made.modalities == ("text",) * 3
    assert made.embeddings.shape == (1, len(PROMPT) + len(RESPONSE) - 1, 32)
    assert not made.embeddings.requires_grad
    found = made.logprobs(made.embeddings)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0], of_response(plain(model)).float(), atol=1e-5, rtol=1e-5)


def test_rows_run_alone_or_together_give_the_same() -> None:
    model = tiny("llama")
    together, alone = scorer(model), scorer(model, memory=1)
    assert together.rows() == 64
    assert together.rows(gradients=True) >= 1
    assert alone.rows() == 1
    keep = torch.rand((7, 3), generator=torch.Generator().manual_seed(0)) > 0.5
    spans = [span(0, 2), span(1, 5), span(3, 3)]
    seen: list[tuple[int, int]] = []
    found = span_logprobs(
        alone, keep, spans, operator="mean", progress=lambda *done: seen.append(done)
    )
    assert keep.all(dim=1).any()  # which ran when the scorer was made
    different = len(torch.unique(keep, dim=0)) - 1
    assert different == 4
    assert seen == [(i, different) for i in range(1, 5)]
    assert alone.forwards == different
    assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)
    assert_close(found, span_logprobs(together, keep, spans, operator="mean"))
    values = together.logprobs(together.masked(keep))
    assert_close(found[:, 0], values[:, :2].sum(dim=1))
    assert_close(found[:, 1], values[:, 1:].sum(dim=1))
    assert not found[:, 2].any()
    usual = ablated_logprobs(together, keep, operator="attention").float()
    assert_close(span_logprobs(together, keep, spans), together.summed(usual, spans))
    assert together.logprobs(together.embeddings[:0]).shape == (0, 5)


def test_an_ablated_unit_carries_the_mean_of_its_modality() -> None:
    made = scorer(tiny("llama"))
    keep = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    masked = made.masked(keep)
    own = made.embeddings[0]
    mean = own[[1, 2, 3, 4, 5, 7]].mean(dim=0)
    for row, kept in enumerate(keep):
        for position in range(own.shape[0]):
            owner = next((i for i, each in enumerate(UNITS.values()) if position in each), None)
            expected = own[position] if owner is None or kept[owner] else mean
            torch.testing.assert_close(masked[row, position], expected)


def test_gradients_are_those_of_the_model() -> None:
    model = tiny("qwen3")
    made = scorer(model, memory=1)
    ours = made.embeddings.repeat(2, 1, 1).requires_grad_()
    made.logprobs(ours)[:, 2].sum().backward()
    theirs = made.embeddings.clone().requires_grad_()
    logits = model(inputs_embeds=theirs).logits[0, len(PROMPT) - 1 :]
    logits.log_softmax(dim=-1)[2, RESPONSE[2]].backward()
    for row in ours.grad:  # type: ignore[union-attr]
        torch.testing.assert_close(row, theirs.grad[0], atol=1e-5, rtol=1e-4)  # type: ignore[index]
    with torch.no_grad():
        assert not made.logprobs(ours).requires_grad
    assert not made.logprobs(made.embeddings).requires_grad


def test_with_foils_only_contrasted_tokens_count() -> None:
    model = tiny("gemma2-softcap-eager")
    foils = [None, 50, None, None, 51]
    found = scorer(model, foils=foils).logprobs(scorer(model).embeddings)[0]
    expected = plain(model)
    for t, foil in enumerate(foils):
        wanted = 0.0 if foil is None else float(expected[t, RESPONSE[t]] - expected[t, foil])
        assert float(found[t]) == pytest.approx(wanted, abs=1e-4)


def test_the_model_is_left_as_it_was_found_also_after_an_error() -> None:
    model = tiny("llama")
    model.train()
    model.model.layers[1].eval()
    model.lm_head.weight.requires_grad_(False)
    before, weights = flags_and_hooks(model), state(model)
    made = scorer(model)
    made.logprobs(made.embeddings.clone().requires_grad_()).sum().backward()
    assert flags_and_hooks(model) == before
    assert all(each.grad is None for each in model.parameters())

    def broken(*_: Any) -> None:
        raise RuntimeError("a layer")

    handle = model.model.layers[2].register_forward_hook(broken)
    with pytest.raises(RuntimeError, match="a layer"):
        made.logprobs(made.embeddings)
    with pytest.raises(RuntimeError, match="a layer"):
        scorer(model)
    handle.remove()
    assert flags_and_hooks(model) == before
    assert_unchanged(model, weights)


def test_it_works_inside_inference_mode() -> None:
    model = tiny("llama")
    with torch.inference_mode():
        made = scorer(model)
        span_logprobs(made, torch.ones((1, 3), dtype=torch.bool), [span(0, 5)])
    assert not made.embeddings.is_inference()


class WithIds(tf.LlamaForCausalLM):  # type: ignore[misc]
    """A model whose logits depend on its token ids in a way that embeddings do not show."""

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, **kwargs: Any) -> Any:
        output = super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **kwargs)
        if input_ids is not None:
            output.logits[..., 40] += 1.0
        return output


def test_a_model_that_reads_more_than_embeddings_is_refused() -> None:
    with pytest.raises(ModelError, match="WithIds does more with this request"):
        scorer(WithIds(tiny("llama").config).eval())


def test_bad_arguments_are_refused() -> None:
    model = tiny("llama")
    made = scorer(model)
    keep = torch.ones((3, 3), dtype=torch.bool)
    with pytest.raises(InputError, match="3 forward passes are more than max_forwards=2"):
        span_logprobs(made, keep, [span(0, 5)], max_forwards=2)
    assert made.forwards == 0
    for bad in (keep.float(), keep[0], keep[:, :2]):
        with pytest.raises(InputError, match="keep is"):
            span_logprobs(made, bad, [])
    with pytest.raises(InputError, match="a span of tokens 0 to 6"):
        span_logprobs(made, keep, [span(0, 6)])
    with pytest.raises(InputError, match="embeddings of shape"):
        made.logprobs(made.embeddings[:, 1:])
    short = {name: value[:, :12] for name, value in inputs().items()}
    with pytest.raises(InputError, match="12 input tokens for a prompt of 9 tokens"):
        ResponseScorer(CausalLMAdapter(model, None), short, layout(), RESPONSE)
    with pytest.raises(InputError, match="1 foils"):
        scorer(model, foils=[None])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    order: tuple[Modality, ...] = ("video", "text", "audio", "image")
    seed = held_out_seed(1122)  # a short video; asks about it, the sound and the image
    drawn = make_sample(seed, questions=3, order=order, categories=ONE_SOURCE, long=False)
    return drawn, write_sample(drawn, tmp_path_factory.mktemp("scored"))


def test_all_modalities_are_scored_where_they_stand(
    reference: Tracer, sample: tuple[Sample, Path]
) -> None:
    drawn, path = sample
    model = reference.adapter.model
    before = flags_and_hooks(model)
    messages = json.loads(path.read_text())["messages"]
    made = reference.scorer(messages, drawn.answer, media_root=path.parent)
    assert set(made.modalities) == {"text", "image", "audio", "video"}
    assert flags_and_hooks(model) == before
    request = read_request(reference.setup, messages, path.parent)
    ids = reference.adapter.tokenizer(drawn.answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(**request.inputs_with(ids, torch.device("cpu"))).logits
    expected = logits[0, request.prompt_length - 1 :].log_softmax(dim=-1)
    expected = expected[torch.arange(len(ids)), torch.tensor(ids)]
    torch.testing.assert_close(made.logprobs(made.embeddings)[0], expected, atol=1e-4, rtol=0)
    asked = {statement.category.partition("-")[0] for statement in drawn.statements}
    assert len(asked) == 3
    for modality in asked:
        keep = torch.tensor([[each != modality for each in made.modalities]])
        change = made.logprobs(made.masked(keep))[0] - expected
        assert float(change.abs().max()) > 1.0, modality


def test_a_model_is_checked_once_for_a_kind_of_request(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    runs: list[int] = []
    run = ResponseScorer._run

    def counted(self: ResponseScorer, embeddings: torch.Tensor) -> torch.Tensor:
        runs.append(len(embeddings))
        return run(self, embeddings)

    monkeypatch.setattr(ResponseScorer, "_run", counted)
    first, second = scorer(model), scorer(model)
    assert runs == [1]
    np.testing.assert_array_equal(first.full, second.full)
    scorer(tiny("llama"))
    assert runs == [1, 1]

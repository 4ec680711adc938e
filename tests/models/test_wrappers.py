"""A model is traced as it is inside of its wrappers, or its wrapper is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from torch import nn

from omnitrace import ModelError, NotSupportedError, Tracer
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.models.wrappers import unwrapped
from tests.helpers.text_adapters import own_text_adapter
from tests.helpers.two_documents import two_documents

QUESTION = two_documents(0)


class PeftModel(nn.Module):
    """Has what :func:`unwrapped` asks of PEFT's own class."""

    def __init__(self, model: Any, **config: Any) -> None:
        super().__init__()
        self.inner = model
        usual = {"peft_type": "LORA", "is_prompt_learning": False}
        self.peft_config = {"mine": SimpleNamespace(**(usual | config))}
        self.active_adapters = ["mine"]

    def get_base_model(self) -> Any:
        return self.inner


class FullyShardedDataParallel(nn.Module):
    """Named as torch's own class."""


@pytest.mark.parametrize("signal", ["attention-mean", "grad-sam", "mask-gradient"])
def test_a_compiled_model_is_traced_as_it_was(signal: str) -> None:
    adapter = own_text_adapter()
    compiled = torch.compile(adapter.model, backend="eager")
    traced = Tracer(model=compiled, processor=adapter.tokenizer, signal=signal)
    assert traced.adapter.model is adapter.model
    expected = Tracer(adapter=adapter, signal=signal).trace(QUESTION, max_new_tokens=3)
    found = traced.trace(QUESTION, max_new_tokens=3)
    assert found.token_ids == expected.token_ids
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_wrappers_are_taken_off_one_by_one() -> None:
    adapter = own_text_adapter()
    model = adapter.model
    wrapped = torch.compile(nn.DataParallel(PeftModel(model)), backend="eager")
    assert unwrapped(wrapped) is model
    assert unwrapped(model) is model
    assert CausalLMAdapter(nn.DataParallel(model), adapter.tokenizer).model is model
    assert Tracer(model=nn.DataParallel(model), processor=adapter.tokenizer).adapter.model is model


def test_what_does_more_than_the_model_inside_is_refused_by_name() -> None:
    adapter = own_text_adapter()
    refused = {
        "virtual tokens": PeftModel(
            adapter.model, peft_type="PREFIX_TUNING", is_prompt_learning=True
        ),
        "XLORA": PeftModel(adapter.model, peft_type="XLORA"),
        "its own tokens": PeftModel(adapter.model, alora_invocation_tokens=[5, 6]),
        "spread by FullyShardedDataParallel": FullyShardedDataParallel(),
    }
    for said, model in refused.items():
        with pytest.raises(NotSupportedError, match=said):
            Tracer(model=model, processor=adapter.tokenizer)


def test_a_model_that_was_compiled_in_place_is_refused() -> None:
    adapter = own_text_adapter()
    adapter.model.compile(backend="eager")
    with pytest.raises(NotSupportedError, match="compiled in place"):
        Tracer(model=adapter.model, processor=adapter.tokenizer)


_TENSOR_PARALLEL = """
import sys
import torch.distributed
from transformers import AutoModelForCausalLM, AutoTokenizer
from omnitrace import ModelError, NotSupportedError, Tracer

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto").eval()
assert torch.distributed.get_world_size() == 2
try:
    Tracer(model=model, processor=AutoTokenizer.from_pretrained(sys.argv[1]))
except NotSupportedError as error:
    open(f"{sys.argv[2]}/{torch.distributed.get_rank()}", "w").write(str(error))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_tensor_parallelism_is_refused() -> None:
    adapter = own_text_adapter()
    adapter.model._tp_size = 2  # as from_pretrained sets it; the real thing is below
    with pytest.raises(NotSupportedError, match="the attention of its own heads only"):
        Tracer(model=adapter.model, processor=adapter.tokenizer)


@pytest.mark.minutes
@pytest.mark.timeout(240)
def test_tensor_parallelism_is_refused_in_every_process(tmp_path: Path) -> None:
    """Each process would score by its own half of the heads, and say nothing of it."""
    adapter = own_text_adapter()
    adapter.model.save_pretrained(tmp_path / "model")
    adapter.tokenizer.save_pretrained(tmp_path / "model")
    script, said = tmp_path / "run.py", tmp_path / "said"
    script.write_text(_TENSOR_PARALLEL, encoding="utf-8")
    said.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", script, tmp_path / "model", said]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in ("0", "1"):
        text = (said / rank).read_text(encoding="utf-8")
        assert "each process sees the attention of its own heads only" in text


class TestPeft:
    """With the real package, where it is installed."""

    @staticmethod
    def lora(model: Any, **options: Any) -> Any:
        peft = pytest.importorskip("peft")
        torch.manual_seed(1)
        chosen = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], **options}
        config = peft.LoraConfig(
            r=4, lora_alpha=64, task_type="CAUSAL_LM", init_lora_weights=False, **chosen
        )
        return peft.get_peft_model(model, config).eval()

    @pytest.mark.parametrize("signal", ["attention-mean", "grad-sam", "mask-gradient"])
    def test_deltas_count_as_if_merged(self, signal: str) -> None:
        adapter = own_text_adapter()
        merged = self.lora(own_text_adapter().model).merge_and_unload().eval()
        expected = Tracer(model=merged, processor=adapter.tokenizer, signal=signal)
        found = Tracer(model=self.lora(adapter.model), processor=adapter.tokenizer, signal=signal)
        one, other = (each.trace(QUESTION, max_new_tokens=4) for each in (found, expected))
        assert one.token_ids == other.token_ids
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)

    def test_virtual_tokens_are_refused(self) -> None:
        peft = pytest.importorskip("peft")
        adapter = own_text_adapter()
        kinds = (peft.PrefixTuningConfig, peft.PromptTuningConfig)
        for kind in kinds:
            config = kind(num_virtual_tokens=5, task_type="CAUSAL_LM")
            model = peft.get_peft_model(own_text_adapter().model, config).eval()
            with pytest.raises(NotSupportedError, match="virtual tokens"):
                Tracer(model=model, processor=adapter.tokenizer)


def _pipeline(model: Any, tokenizer: Any) -> Any:
    return tf.pipeline("text-generation", model=model, tokenizer=tokenizer)


def _t5(model: Any, tokenizer: Any) -> Any:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    return tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=len(tokenizer), **sizes)).eval()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_pipeline, "TextGenerationPipeline was given as the model"),
        (_t5, "T5ForConditionalGeneration is an encoder-decoder"),
        (lambda model, _: model.model, "LlamaModel writes no text"),
        (
            lambda model, _: tf.LlamaForSequenceClassification(model.config),
            "LlamaForSequenceClassification writes no text",
        ),
        (lambda *_: "llama", "a str was given as the model"),
    ],
)
def test_what_is_no_decoder_that_writes_text(made: Any, said: str) -> None:
    own = own_text_adapter()
    with pytest.raises(ModelError, match=said) as caught:
        Tracer(model=made(own.model, own.tokenizer), processor=own.tokenizer)
    assert caught.value.legal

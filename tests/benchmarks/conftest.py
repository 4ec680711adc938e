from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# Benchmarks import from their folder, as a program that lies there does.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(name="result")
def result_fixture() -> Callable[..., Any]:
    """Return what makes a small result of a benchmark."""
    from common.report import Bar, Result, Table

    def made(*, quick: bool = False) -> Result:
        return Result(
            name="sample",
            title="A sample",
            quick=quick,
            table=Table(("mode", "seconds"), [["a|b", "1.0"], ["c", "2.0"]], [1]),
            notes=["measured twice"],
            bars=[Bar("time", 1.04, 1.05), Bar("memory", 1.2, 1.1)],
            values={"raw": [1.0, 2.0]},
        )

    return made


@pytest.fixture(scope="session")
def small_adapter(smollm2_path: Path) -> Any:
    """Return an adapter of a tiny random model that reads with SmolLM2's own tokenizer."""
    from transformers import LlamaForCausalLM

    from omnitrace.models.causal_lm import CausalLMAdapter
    from tests.helpers import smollm2
    from tests.helpers.tiny_llama import tiny_llama_config

    tokenizer = copy.deepcopy(smollm2.tokenizer())
    config = tiny_llama_config(tokenizer)
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough that ablations do something
            if parameter.dim() > 1:
                parameter.mul_(4)
    return CausalLMAdapter(model, tokenizer, source="small")

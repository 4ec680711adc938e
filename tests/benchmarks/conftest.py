from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

# Benchmarks import each other by bare name, as a script in their folder does.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def small_adapter(smollm2_path: Path) -> Any:
    """Return an adapter of a tiny random model that reads with SmolLM2's own tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from omnitrace.models.causal_lm import CausalLMAdapter

    tokenizer = AutoTokenizer.from_pretrained(smollm2_path.parent, gguf_file=smollm2_path.name)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough that ablations do something
            if parameter.dim() > 1:
                parameter.mul_(4)
    return CausalLMAdapter(model, tokenizer, source="small")

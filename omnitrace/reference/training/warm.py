"""Start from a model that has been trained before, whatever its vocabulary, towers and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = ["warm_start"]


@torch.no_grad()
def warm_start(model: Any, tokenizer: Any, folder: Path) -> list[str]:
    """Copy from the model in ``folder`` what fits; return the names of what stays as it was.

    Embeddings go by the text of their tokens; words that are new get random ones, as long as those
    of the other words. A deeper model keeps the first layers below and the last ones above; a
    layer in between adds nothing at first, as its outputs start at zero.
    """
    from transformers import AutoTokenizer, Qwen2_5OmniThinkerForConditionalGeneration

    old = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder)
    weights = dict(old.named_parameters())
    depth, old_depth = (m.config.text_config.num_hidden_layers for m in (model, old))
    below = (old_depth + 1) // 2
    left: list[str] = []
    table = model.get_input_embeddings().weight
    for name, parameter in model.named_parameters():
        prefix, layers, rest = name.partition("language_model.layers.")
        source = name
        if layers:
            number, _, rest = rest.partition(".")
            added = below <= int(number) < below + depth - old_depth
            if added and rest in ("self_attn.o_proj.weight", "mlp.down_proj.weight"):
                parameter.zero_()
            moved = int(number) - (depth - old_depth) * (int(number) >= below)
            source = "" if added else f"{prefix}{layers}{moved}.{rest}"
        found = weights.get(source)
        if parameter is not table and found is not None and found.shape == parameter.shape:
            parameter.copy_(found)
        elif parameter is not table:
            left.append(name)
    old_table = old.get_input_embeddings().weight
    old_words = AutoTokenizer.from_pretrained(folder).get_vocab()
    length = old_table.norm(dim=-1).mean()
    table.copy_(torch.nn.functional.normalize(table, dim=-1) * length)
    for word, number in tokenizer.get_vocab().items():
        if word in old_words:
            table[number] = old_table[old_words[word]]
    return left

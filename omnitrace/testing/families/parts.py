"""What the tiny models share: a tokenizer over bytes, a chat template, and small sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

__all__ = ["MROPE", "PIXELS", "TEXT", "build", "chat_template", "tokenizer"]

TEXT: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
}
MROPE: Final[dict[str, Any]] = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "mrope_section": [2, 1, 1],
}
# Wider convolutions cut patches, whose pixels have an order.
_PATCH: Final = 8
PIXELS: Final = {"shortest_edge": 4 * 32 * 32, "longest_edge": 224 * 224}


def tokenizer(named: Mapping[str, str], more: Sequence[str] = ()) -> Any:
    """Make a tokenizer with one token a byte, and the special tokens that a processor asks for.

    Parameters
    ----------
    named:
        Special tokens by the attribute that the processor reads.
    more:
        Special tokens without one.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, **{letter: i + 1 for i, letter in enumerate(alphabet)}}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        extra_special_tokens={"im_start_token": "<|im_start|>", **named},
        clean_up_tokenization_spaces=False,
        model_max_length=TEXT["max_position_embeddings"],
    )
    if more:
        found.add_tokens(list(more), special_tokens=True)
    return found


def chat_template(**placeholders: str) -> str:
    """Return a template that writes each medium as its placeholder."""
    branches = "".join(
        "{%- elif part['type'] == '" + kind + "' -%}{{- '" + written + "' -}}"
        for kind, written in placeholders.items()
    )
    return (
        "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\\n' -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
        "{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'text' -%}{{- part['text'] -}}" + branches + "{%- endif -%}"
        "{%- endfor -%}{%- endif -%}{{- '<|im_end|>\\n' -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    )


def build(
    model_class: Any, config: Any, *, sharpen: float = 4.0, attention: str | None = "sdpa"
) -> Any:
    """Make a model with seeded weights, sharp enough that its attention is far from uniform.

    No token ends its response, and none that stands for a medium is written.
    """
    from omnitrace.models.media_tokens import placeholder_ids

    if attention is not None:
        config._attn_implementation = attention
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config)
    with torch.no_grad():
        _take_no_side(model)
        for name, parameter in model.get_decoder().named_parameters():
            if name.startswith("embed_tokens_extend"):  # Phi-4 has its towers in there
                continue
            if parameter.dim() > 1:
                parameter.mul_(sharpen)
            if "q_proj" in name or "k_proj" in name:
                parameter.mul_(3)
    placeholders = {each for found in placeholder_ids(model.config).values() for each in found}
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.generation_config.suppress_tokens = sorted(placeholders)
    return model.eval()


def _take_no_side(model: Any) -> None:
    """Make convolutions symmetric: a random one looks more to one side, a trained one does not."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            axes = tuple(range(2, module.weight.dim()))
            if max(module.weight.shape[2:]) < _PATCH:
                module.weight.copy_((module.weight + module.weight.flip(axes)) / 2)

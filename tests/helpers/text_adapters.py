"""A text adapter around a tiny untrained model, sound or broken in one place."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

from omnitrace.models.base import Encoded
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.reference.training.build import build_tokenizer
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import TextTokens
from omnitrace.testing.padding import tiny_model


@functools.cache
def _model_and_tokenizer() -> tuple[Any, Any]:
    tokenizer = build_tokenizer()
    return tiny_model(len(tokenizer)), tokenizer


def text_adapter(adapter_class: type[CausalLMAdapter] = CausalLMAdapter) -> CausalLMAdapter:
    """Wrap the tiny model."""
    model, tokenizer = _model_and_tokenizer()
    return adapter_class(model, copy.copy(tokenizer))


def own_text_adapter() -> CausalLMAdapter:
    """Wrap a copy of the tiny model, which a test may change."""
    model, tokenizer = _model_and_tokenizer()
    return CausalLMAdapter(copy.deepcopy(model), copy.copy(tokenizer))


class _Changed(CausalLMAdapter):
    def change(self, first: TextTokens) -> TextTokens:
        return first

    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        encoded = super().encode(conversation, options)
        first, *others = encoded.geometry
        assert isinstance(first, TextTokens)
        return dataclasses.replace(encoded, geometry=[self.change(first), *others])


class MapsTwice(_Changed):
    def change(self, first: TextTokens) -> TextTokens:
        return dataclasses.replace(first, positions=[first.positions[1], *first.positions[1:]])


class OutsideThePrompt(_Changed):
    def change(self, first: TextTokens) -> TextTokens:
        return dataclasses.replace(first, positions=[*first.positions[:-1], 10_000])


class OffByOne(_Changed):
    def change(self, first: TextTokens) -> TextTokens:
        return dataclasses.replace(first, ranges=[first.ranges[0], *first.ranges[:-1]])


class LosesTheMiddle(_Changed):
    def change(self, first: TextTokens) -> TextTokens:
        keep = [i for i in range(len(first.positions)) if i != 3]
        return dataclasses.replace(
            first,
            positions=[first.positions[i] for i in keep],
            ranges=[first.ranges[i] for i in keep],
        )


class WrongIds(CausalLMAdapter):
    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        encoded = super().encode(conversation, options)
        return dataclasses.replace(encoded, prompt_ids=encoded.prompt_ids[::-1])

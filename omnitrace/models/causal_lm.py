"""Any text model of ``transformers`` that uses its attention interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from omnitrace.errors import InputError
from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
from omnitrace.models.chat_template import locate_texts, text_geometry, tokenize_with_offsets
from omnitrace.models.pretrained import load_model
from omnitrace.models.rendering import check_shown, render
from omnitrace.models.wrappers import check_writes_text
from omnitrace.sources.messages import Conversation
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import TextPart

__all__ = ["CausalLMAdapter"]

_PARAGRAPH = "\n\n"


class CausalLMAdapter(ModelAdapter):
    """Adapter for ``AutoModelForCausalLM`` with a fast tokenizer.

    The text parts of a message are joined by a blank line. Without a chat template, so are the
    messages, and the model continues the text.
    """

    name = "causal_lm"

    def __init__(self, model: Any, processor: Any, **kwargs: Any) -> None:
        super().__init__(model, processor, **kwargs)
        check_writes_text(self.model)

    @classmethod
    def load(cls, path: str, options: LoadOptions) -> CausalLMAdapter:
        """Load model and tokenizer with the ``Auto`` classes; GGUF files are dequantised."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, **options.for_config())
        model = load_model(AutoModelForCausalLM, path, options)
        return cls(model, tokenizer, source=path, revision=options.revision)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, which is also the processor."""
        return self.processor

    def _contents(
        self, conversation: Conversation, texts: Sequence[str]
    ) -> Callable[[int], str | None]:
        by_part = dict(zip((id(part) for part in conversation.parts), texts, strict=True))

        def content(number: int) -> str | None:
            parts = conversation.of(number)
            if not parts and conversation.more_of(number).get("tool_calls"):
                return None
            return _PARAGRAPH.join(by_part[id(part)] for part in parts)

        return content

    def _render(self, conversation: Conversation, texts: Sequence[str]) -> str:
        content = self._contents(conversation, texts)
        if self._templated:
            return render(self.processor, conversation, content)
        return _PARAGRAPH.join(content(i) or "" for i in range(len(conversation.roles)))

    @property
    def _templated(self) -> bool:
        return bool(getattr(self.processor, "chat_template", None))

    def _check_template(self, conversation: Conversation) -> None:
        """Refuse what only a chat template can write."""
        asked = [*conversation.template, *(name for each in conversation.more for name in each)]
        if asked and not self._templated:
            raise InputError(
                f"{self.source} has no chat template, which {asked[0]!r} needs",
                fix="use a model for chats, or leave it out",
            )

    def encode(self, conversation: Conversation, options: SourceOptions) -> Encoded:
        """Render, tokenize and map a text conversation."""
        media = conversation.media()
        if media:
            raise InputError(
                f"{self.source} reads text only; "
                f'messages[{media[0].message}]["content"][{media[0].part}] is {media[0].modality}',
                legal="text parts",
                fix="use an omni-modal model, e.g. --model reference, with its processor",
            )
        parts = [part for part in conversation.parts if isinstance(part, TextPart)]
        self._check_template(conversation)
        prompt, anchors = locate_texts(lambda texts: self._render(conversation, texts), parts)
        if self._templated:
            content = self._contents(conversation, [part.text for part in parts])
            check_shown(self.processor, conversation, content, prompt)
        ids, offsets = tokenize_with_offsets(
            self.processor, prompt, add_special_tokens=not self._templated
        )
        # A tokenizer for training ends its texts; the response would begin behind the end.
        special = set(self.processor.all_special_ids)
        while len(ids) > 1 and ids[-1] in special and offsets[-1][0] == offsets[-1][1]:
            del ids[-1], offsets[-1]
        if not ids:
            raise InputError("the request has no text", legal="at least one word")
        input_ids = torch.tensor([ids], dtype=torch.long)
        return Encoded(
            inputs={"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)},
            prompt_ids=tuple(ids),
            geometry=text_geometry(parts, anchors, range(len(ids)), offsets),
        )

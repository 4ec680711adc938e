"""Responses as servers give them, made from token ids with the types of the openai package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion
from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}


def pieces_of(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """Return the bytes of each token of a byte-level vocabulary."""
    names = tokenizer.convert_ids_to_tokens(list(ids))
    return [bytes(_BYTE_OF[character] for character in name) for name in names]


def logprobs_of(tokenizer: Any, ids: Sequence[int], *, named: bool = False) -> dict[str, Any]:
    """Return the ``logprobs`` of a chat completion, its tokens named by id or by their bytes."""
    return {
        "content": [
            {
                "token": f"token_id:{token}" if named else piece.decode("utf-8", "replace"),
                "bytes": None if named else list(piece),
                "logprob": -0.5,
                "top_logprobs": [],
            }
            for token, piece in zip(ids, pieces_of(tokenizer, ids), strict=True)
        ],
        "refusal": None,
    }


def chat(*choices: Mapping[str, Any], **fields: Any) -> ChatCompletion:
    """Return a chat completion; a choice has ``content``, and fields beside its message."""
    return ChatCompletion.model_validate(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": index,
                    "finish_reason": choice.get("finish_reason", "stop"),
                    "message": {
                        "role": "assistant",
                        "content": None,
                        **{k: v for k, v in choice.items() if k in _MESSAGE},
                    },
                    **{k: v for k, v in choice.items() if k not in _MESSAGE},
                }
                for index, choice in enumerate(choices)
            ],
            **fields,
        }
    )


_MESSAGE = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls")


def completion(text: str, **choice: Any) -> Completion:
    """Return a completion of a prompt."""
    return Completion.model_validate(
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "text": text, **choice}],
        }
    )

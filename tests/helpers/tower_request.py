"""A request about a tower, the response to it, and a way to have any model write that response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnitrace import Tracer
from omnitrace.engine.prepare import read_request
from omnitrace.models.generation import forced
from omnitrace.types import Message

NOTE = "The tower is 324 metres tall. Gustave Eiffel built it in 1889. Dr. Smith saw it in 2003."
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": NOTE},
            {"type": "text", "text": "How tall is the tower, and who built it?"},
        ],
    }
]
ANSWER = (
    "The tower is 324 metres tall. Gustave Eiffel built it in 1889. "
    "Dr. Smith saw it in 2003, and nobody else did."
)


def dictated(tracer: Tracer, messages: Sequence[Message], response: str = ANSWER) -> dict[str, Any]:
    """Return generation options with which the model, whatever its weights, writes ``response``."""
    ids = tracer.adapter.tokenizer(response, add_special_tokens=False)["input_ids"]
    prompt_length = read_request(tracer.setup, messages, None).prompt_length
    return {
        "max_new_tokens": len(ids),
        "min_new_tokens": len(ids),
        "logits_processor": forced([ids], prompt_length),
    }

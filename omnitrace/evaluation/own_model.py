"""Ask the model of a tracer about what it wrote."""

from __future__ import annotations

from collections.abc import Sequence

from omnitrace.evaluation.asking import Ask
from omnitrace.evaluation.self_attribution import AskOf
from omnitrace.generation import greedy_ids
from omnitrace.sources.messages import read_messages
from omnitrace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Message

__all__ = ["ask_by"]


def ask_by(tracer: Tracer, *, max_new_tokens: int = 1024) -> AskOf:
    """Return who is asked about a trace: the model of a tracer, with the request before it.

    The model gets the request of the trace again, its media and texts, with the question after
    them in the last message. It answers greedily, and is left as it was.

    Parameters
    ----------
    tracer:
        A tracer of the model that wrote the answer.
    max_new_tokens:
        Longest reply, in tokens.
    """

    def of(trace: Trace) -> Ask:
        messages = trace.request()

        def ask(text: str, /) -> str:
            *earlier, last = messages
            content = [*last["content"], {"type": "text", "text": f"\n\n{text}"}]
            return _generated(tracer, [*earlier, {**last, "content": content}], max_new_tokens)

        return ask

    return of


def _generated(tracer: Tracer, messages: Sequence[Message], max_new_tokens: int) -> str:
    adapter = tracer.adapter
    conversation = read_messages(
        messages, options=tracer.sources, limits=tracer.limits, media_root=None
    )
    encoded = adapter.encode(conversation, tracer.sources)
    adapter.check_length(len(encoded.prompt_ids))
    ids = greedy_ids(adapter, encoded, max_new_tokens)
    reply: str = adapter.tokenizer.decode(list(ids), skip_special_tokens=True)
    return reply

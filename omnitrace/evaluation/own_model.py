"""Let the model of a tracer answer untraced: a request, or a question about what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omnitrace.evaluation.asking import Ask
from omnitrace.evaluation.self_attribution import AskOf
from omnitrace.generation import greedy_ids
from omnitrace.sources.messages import read_messages
from omnitrace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Message

__all__ = ["answer", "ask_by"]


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
            asked = [*earlier, {**last, "content": content}]
            ids = answer(tracer, asked, max_new_tokens=max_new_tokens)
            reply: str = tracer.adapter.tokenizer.decode(list(ids), skip_special_tokens=True)
            return reply

        return ask

    return of


def answer(
    tracer: Tracer,
    messages: Sequence[Message],
    *,
    media_root: Path | None = None,
    max_new_tokens: int,
) -> tuple[int, ...]:
    """Return the token ids that ``Tracer.trace`` would find without sampling; nothing is traced.

    Parameters
    ----------
    tracer:
        Holds the model, and the options under which it reads the request.
    messages, media_root:
        The request.
    max_new_tokens:
        Longest answer, in tokens.
    """
    adapter = tracer.adapter
    conversation = read_messages(
        messages, options=tracer.sources, limits=tracer.limits, media_root=media_root
    )
    encoded = adapter.encode(conversation, tracer.sources)
    adapter.check_length(len(encoded.prompt_ids))
    return greedy_ids(adapter, encoded, max_new_tokens)

"""What evaluation wants of a model: responses, replies about them, replays, its embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.self_citation import AskOf
from omnitrace.evaluation.labels.prompt import Ask
from omnitrace.models.generation import greedy_ids
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Message

__all__ = ["InputEmbeddings", "ask_by", "check_same_prompt", "replayed", "respond"]


def ask_by(tracer: Tracer, *, max_new_tokens: int = 1024) -> AskOf:
    """Return who is asked about a trace: the model of a tracer, with the request before it.

    The model gets the request of the trace again, its media and texts, with the question after
    them in the last message. It answers greedily, and is left as it was.

    Parameters
    ----------
    tracer:
        A tracer of the model that wrote the response.
    max_new_tokens:
        Longest reply, in tokens.
    """

    def of(trace: Trace) -> Ask:
        messages = trace.request()

        def ask(text: str, /) -> str:
            *earlier, last = messages
            content = [*last["content"], {"type": "text", "text": f"\n\n{text}"}]
            asked = [*earlier, {**last, "content": content}]
            ids = respond(tracer, asked, max_new_tokens=max_new_tokens)
            reply: str = tracer.adapter.tokenizer.decode(list(ids), skip_special_tokens=True)
            return reply

        return ask

    return of


def respond(
    tracer: Tracer,
    messages: Sequence[Message],
    *,
    media_root: Path | None = None,
    template: Mapping[str, Any] | None = None,
    max_new_tokens: int,
) -> tuple[int, ...]:
    """Return the token ids that ``Tracer.trace`` would find without sampling; nothing is traced.

    Parameters
    ----------
    tracer:
        Holds the model, and the options under which it reads the request.
    messages, media_root, template:
        The request; ``template`` has its ``tools`` and ``chat_template_kwargs``.
    max_new_tokens:
        Longest response, in tokens.
    """
    adapter = tracer.adapter
    conversation = tracer.read(messages, media_root=media_root, **(template or {}))
    encoded = adapter.encode(conversation, tracer.setup.sources)
    adapter.check_length(len(encoded.prompt_ids))
    return greedy_ids(adapter, encoded, max_new_tokens)


def replayed(
    tracer: Tracer, trace: Trace, *, measured: Callable[[np.ndarray], None] | None = None
) -> Trace:
    """Attribute the response of a trace again, with the signal and options of a tracer.

    Parameters
    ----------
    tracer:
        Of the model that wrote the response.
    trace:
        The response and its request.
    measured:
        As for ``Tracer.replay``.

    Raises
    ------
    InputError
        If the trace does not hold its media, or its request is of other tokens with this model.
    """
    again = tracer.replay(
        trace.request(), trace.token_ids, measured=measured, **trace.provenance.template
    )
    check_same_prompt(again, trace)
    return again


def check_same_prompt(again: Trace, trace: Trace) -> None:
    """Refuse a trace that was made again, but of other tokens than the first one.

    Raises
    ------
    InputError
        If it was.
    """
    if again.prompt_ids != trace.prompt_ids:
        raise InputError(
            f"with {again.provenance.model} the request becomes other tokens than in the trace",
            legal="the model that wrote the response, and a trace that is not redacted",
            fix=f"name its model, {trace.provenance.model!r}",
        )


class InputEmbeddings:
    """The input embeddings of a model as a table, of which only the rows that are read are made.

    ``shape`` is ``(vocabulary, width)``; indexed with token ids it gives float32 ``[ids, width]``.
    """

    def __init__(self, model: Any) -> None:
        self._module = model.get_input_embeddings()
        self.shape = tuple(self._module.weight.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            rows = self._module(torch.tensor(ids, device=self._module.weight.device))
        found: np.ndarray = rows.float().cpu().numpy()
        return found

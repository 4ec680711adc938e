"""Ask the model of a tracer about what it wrote."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from omnitrace.capture.interface import model_lock, tapped
from omnitrace.capture.weights import input_device
from omnitrace.evaluation.asking import Ask
from omnitrace.evaluation.self_attribution import AskOf
from omnitrace.generation import generation_config
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
    model = adapter.model
    conversation = read_messages(
        messages, options=tracer.sources, limits=tracer.limits, media_root=None
    )
    encoded = adapter.encode(conversation, tracer.sources)
    adapter.check_length(len(encoded.prompt_ids))
    config, _ = generation_config(model, {"max_new_tokens": max_new_tokens})
    device = input_device(model)
    inputs = {name: value.to(device) for name, value in encoded.inputs.items()}
    was_training = model.training
    # Nothing is listened to; `tapped` puts back what generation leaves on the model.
    with model_lock(model), tapped(model, [], []), torch.no_grad():
        try:
            model.eval()
            ids = model.generate(**inputs, generation_config=config, **encoded.generate_options)
        finally:
            model.train(was_training)
    reply: str = adapter.tokenizer.decode(
        ids[0, len(encoded.prompt_ids) :].tolist(), skip_special_tokens=True
    )
    return reply

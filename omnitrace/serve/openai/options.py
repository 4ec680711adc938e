"""The parameters of a request made into options of the tracer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from omnitrace.models.detokenize import Detokenizer
from omnitrace.models.generation import TEMPERATURES
from omnitrace.serve.openai.errors import ApiError
from omnitrace.serve.openai.requests import AttributionRequest, ChatRequest

__all__ = ["StopAtText", "generation_options", "template_options"]

# What a template may also be given, though it is an argument of the method that renders it.
_READ: Final = frozenset(("documents",))


class StopAtText(StoppingCriteria):  # type: ignore[misc] # transformers is not typed
    """Ends a response where one of some texts is in it.

    transformers' own criterion for strings also looks at the end of the prompt: a response that
    completes what the chat template began would end there.

    Parameters
    ----------
    tokenizer:
        What decodes the response.
    stops:
        The texts, none of them empty.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, stops))
        self._detokenizer = Detokenizer(tokenizer)
        self._tail = ""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Read the last token; it is called once a token, behind it."""
        text = self._tail + self._detokenizer.push(int(input_ids[0, -1]))
        found = any(stop in text for stop in self._stops)
        self._tail = text[-(self._longest - 1) :] if self._longest > 1 else ""
        return torch.full((input_ids.shape[0],), found, device=input_ids.device, dtype=torch.bool)


def generation_options(request: ChatRequest, tokenizer: Any, most: int) -> dict[str, Any]:
    """Return the options of decoding, as ``Tracer.stream`` takes them.

    Decoding is greedy unless a temperature above 0, ``top_p``, ``top_k`` or ``min_p`` is given:
    attributions are then the same for the same request. What OpenAI has no name for is off when a
    response is sampled, whatever the checkpoint's own settings are.

    Parameters
    ----------
    request:
        What was asked.
    tokenizer:
        Of the model.
    most:
        The longest response that the server writes, in tokens.

    Raises
    ------
    ApiError
        If more tokens are asked for.
    """
    tokens = request.new_tokens
    if tokens is not None and tokens > most:
        raise ApiError(
            f"{tokens} new tokens are asked for",
            legal=f"at most {most}",
            param="max_tokens" if request.max_tokens is not None else "max_completion_tokens",
            code="invalid_value",
        )
    options: dict[str, Any] = {"max_new_tokens": tokens}
    if request.seed is not None:
        options["seed"] = request.seed % 2**64
    if request.repetition_penalty is not None:
        options["repetition_penalty"] = request.repetition_penalty
    if request.stops:
        options["stopping_criteria"] = StoppingCriteriaList([StopAtText(tokenizer, request.stops)])
    return options | _sampling(request)


def _sampling(request: ChatRequest) -> dict[str, Any]:
    narrowing = {"top_p": request.top_p, "top_k": request.top_k, "min_p": request.min_p}
    temperature = request.temperature
    if temperature is None and all(value is None for value in narrowing.values()):
        return {}
    if temperature is not None and temperature < TEMPERATURES[0]:
        return {}
    off = {"top_p": 1.0, "top_k": 0, "min_p": None}
    given = {name: off[name] if value is None else value for name, value in narrowing.items()}
    return {
        "do_sample": True,
        "temperature": 1.0 if temperature is None else temperature,
        **given,
    }


def template_options(request: ChatRequest | AttributionRequest, processor: Any) -> dict[str, Any]:
    """Return what the chat template is given beside the messages.

    Parameters
    ----------
    request:
        What was asked.
    processor:
        Of the model.

    Raises
    ------
    ApiError
        If an argument would change how the template is rendered: a template of the client's own
        would be a program that the server runs.
    """
    given = dict(request.chat_template_kwargs or {})
    settled = {*inspect.signature(processor.apply_chat_template).parameters, "chat_template"}
    for name in sorted((settled - _READ).intersection(given)):
        raise ApiError(
            f"chat_template_kwargs has {name!r}",
            legal="arguments that the template reads, such as enable_thinking",
            fix="pass 'tools' beside it" if name == "tools" else "leave it out",
            param="chat_template_kwargs",
        )
    tools = None if getattr(request, "tool_choice", None) == "none" else request.tools
    return {
        **({"tools": tools} if tools else {}),
        **({"chat_template_kwargs": given} if given else {}),
    }

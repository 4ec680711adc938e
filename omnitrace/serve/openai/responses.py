"""A traced response in OpenAI's format: whole, or in chunks while it is written."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final, Literal

from omnitrace.engine.setup import Setup
from omnitrace.serve.openai.attribution import Attribution, annotations_of, attribution_of, delta_of
from omnitrace.serve.openai.written import Piece, Written
from omnitrace.trace.events import Event, ProvisionalEvent, SpanEvent, TokenEvent
from omnitrace.trace.trace import Trace

__all__ = ["ChatWriter", "opens_in_thought", "read_answer", "replayed"]

FinishReason = Literal["stop", "length"]
# Clients read either: that of vLLM and OpenRouter, and that of DeepSeek, which was before.
_REASONING: Final = ("reasoning", "reasoning_content")


def begun(setup: Setup, *, opened: bool, stops: Sequence[str] = ()) -> Written:
    """Return the reader of a response that has not begun.

    Parameters
    ----------
    setup:
        The model, and how it marks thoughts.
    opened:
        Whether the response begins inside a thought.
    stops:
        Texts that end it.
    """
    thinking = setup.thinking
    silent = {} if thinking is None else thinking.silent_tokens(setup.adapter.tokenizer)
    return Written(thinking, opened=opened, silent=silent, stops=stops)


def opens_in_thought(trace: Trace) -> bool:
    """Say whether a response begins inside a thought, which its prompt has opened."""
    return bool(trace.provenance.segmentation.get("thinking", {}).get("opened"))


def read_answer(trace: Trace, setup: Setup, stops: Sequence[str] = ()) -> Written:
    """Read a response that is finished as it is read while it is written."""
    written = begun(setup, opened=opens_in_thought(trace), stops=stops)
    read = 0
    for token in trace.tokens:
        written.push(trace.text[token.start : token.end], token.id)
        read = token.end
    written.push(trace.text[read:])
    written.finish()
    return written


class ChatWriter:
    """Writes one response, with the same id and time in all of its chunks.

    Parameters
    ----------
    model:
        Name of the model, as the client asked for it.
    setup:
        The model that responds, and its options.
    stops:
        Texts that end the response.
    attributes:
        Whether the client wants attributions.
    usage:
        Whether a stream ends with a chunk that counts tokens.
    """

    def __init__(
        self,
        model: str,
        setup: Setup,
        *,
        stops: Sequence[str] = (),
        attributes: bool = True,
        usage: bool = False,
    ) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }
        self._setup = setup
        self._stops = tuple(stops)
        self._attributes = attributes
        self._usage = usage
        self._written: Written | None = None
        self._sent: set[str] = set()
        self._tokens = 0  # of the response, that were told
        self._read = 0  # their characters

    def completion(self, trace: Trace) -> dict[str, Any]:
        """Return a whole response."""
        written = read_answer(trace, self._setup, self._stops)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": written.content,
            "refusal": None,
            "annotations": annotations_of(trace, written),
        }
        if written.reasoning:
            message |= dict.fromkeys(_REASONING, written.reasoning)
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish_reason(trace, written),
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_of(trace, written),
            **self._attribution(trace, written),
        }

    def start(self, *, opened: bool) -> list[dict[str, Any]]:
        """Return the first chunk.

        Parameters
        ----------
        opened:
            Whether the response begins inside a thought.
        """
        self._written = begun(self._setup, opened=opened, stops=self._stops)
        return [self._chunk({"role": "assistant", "content": ""})]

    def take(self, event: Event) -> list[dict[str, Any]]:
        """Return the chunks of an event."""
        written = self._written
        assert written is not None, "start() comes first"
        if isinstance(event, TokenEvent):
            self._tokens += 1
            self._read = event.token.end
            return self._texts(written.push(event.token.text, event.token.id))
        if not self._attributes or not isinstance(event, SpanEvent | ProvisionalEvent):
            return []
        ended = [event.span] if isinstance(event, SpanEvent) else []
        provisional = event.span if isinstance(event, ProvisionalEvent) else None
        delta = delta_of(ended, provisional, written, self._sent)
        if delta is None:
            return []
        return [self._chunk({}, attribution=delta.model_dump(mode="json", exclude_none=True))]

    def end(self, trace: Trace) -> list[dict[str, Any]]:
        """Return the last chunks: what was held back, and the response's own attribution."""
        written = self._written
        assert written is not None, "start() comes first"
        pieces: list[Piece] = []
        for token in trace.tokens[self._tokens :]:  # there are no events without live supports
            pieces += written.push(trace.text[token.start : token.end], token.id)
            self._read = token.end
        # A last token gets what was left of a character when its event was out already.
        pieces += [*written.push(trace.text[self._read :]), *written.finish()]
        chunks = self._texts(pieces)
        whole = read_answer(trace, self._setup, self._stops)
        annotations = annotations_of(trace, whole)
        last = self._chunk(
            {"annotations": annotations} if annotations else {},
            finish_reason=_finish_reason(trace, whole),
            **self._attribution(trace, whole),
        )
        chunks.append(last)
        if self._usage:
            counted = {"choices": [], "usage": usage_of(trace, whole)}
            chunks.append({**self._head, "object": "chat.completion.chunk", **counted})
        return chunks

    def _texts(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        """Return a chunk for each run of pieces of one section."""
        chunks = []
        for section, group in itertools.groupby(pieces, lambda piece: piece.section):
            text = "".join(piece.text for piece in group)
            names = ("content",) if section == "answer" else _REASONING
            chunks.append(self._chunk(dict.fromkeys(names, text)))
        return chunks

    def _chunk(
        self, delta: dict[str, Any], finish_reason: FinishReason | None = None, **more: Any
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._usage else {}
        return {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [choice],
            **usage,
            **more,
        }

    def _attribution(self, trace: Trace, written: Written) -> dict[str, Any]:
        if not self._attributes:
            return {}
        return {"attribution": attribution_dict(trace, written, self._setup)}


def attribution_dict(trace: Trace, written: Written, setup: Setup) -> dict[str, Any]:
    """Return the attribution of a response as JSON-ready values, without what is not known."""
    found: Attribution = attribution_of(trace, written, setup.verify is not None)
    return found.model_dump(mode="json", exclude_none=True)


def replayed(trace: Trace, model: str, setup: Setup) -> dict[str, Any]:
    """Return the response of ``POST /v1/attributions``: the text that was given, its sources."""
    written = read_answer(trace, setup)
    return {
        "id": f"attr-{secrets.token_hex(12)}",
        "object": "response.attribution",
        "created": int(time.time()),
        "model": model,
        "content": written.content,
        **(dict.fromkeys(_REASONING, written.reasoning) if written.reasoning else {}),
        "attribution": attribution_dict(trace, written, setup),
        "usage": usage_of(trace, written),
    }


def usage_of(trace: Trace, written: Written) -> dict[str, Any]:
    """Count the tokens of a request and its response."""
    thoughts = 0
    if written.reasoning:
        places = (written.place(token.start, token.end) for token in trace.tokens)
        thoughts = sum(place is not None and place.section == "thought" for place in places)
    prompt, completion = len(trace.prompt_ids), len(trace.token_ids)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


def _finish_reason(trace: Trace, written: Written) -> FinishReason:
    return "stop" if written.stopped or trace.provenance.finished else "length"

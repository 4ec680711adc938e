"""The tracer: run a model on a request and say what supports each statement it writes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import torch

from omnitrace._utils.checks import check_options
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine.finished_traces import FinishedTraces
from omnitrace.engine.many_requests import ManyRequests
from omnitrace.engine.options import ReplayOptions, StreamOptions, TraceOptions, TracerOptions
from omnitrace.engine.prepare import (
    read_conversation,
    read_request_and_response,
    response_scorer,
    template_arguments,
)
from omnitrace.engine.run import finished, prepared, replayed, streamed
from omnitrace.engine.setup import Setup
from omnitrace.errors import InputError
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.loading import adapter_for, load_adapter
from omnitrace.signals.resolution import resolve
from omnitrace.sources.messages import Asked, Conversation
from omnitrace.sources.responses.given import Response
from omnitrace.streaming.async_stream import AsyncEventStream
from omnitrace.streaming.stream import Emitter, EventStream
from omnitrace.streaming.worker import Backlog
from omnitrace.trace.events import EndEvent
from omnitrace.trace.trace import Trace

__all__ = ["Tracer"]


class Tracer(ManyRequests, FinishedTraces):
    """Traces what a model writes to its sources.

    Parameters
    ----------
    model, processor:
        A ``transformers`` model and its processor (or tokenizer), already loaded.
    adapter:
        Instead of both, an adapter for a family that no plugin registers.
    options:
        See :class:`~omnitrace.engine.options.TracerOptions`:
        ``signal``, ``verify``, ``selection``, ``sources``, ``limits``,
        ``span_unit``, ``thinking``, ``salience``, ``block``.

    Attributes
    ----------
    setup:
        The model, the signals and the options, all checked.

    Raises
    ------
    ModelError
        If the model's attention cannot be captured, or not without changing the model.
    PluginError
        If the signal is unknown.
    InputError
        If the signal was made for another model, or for units that are cut in another way.
    """

    def __init__(
        self,
        model: Any = None,
        processor: Any = None,
        *,
        adapter: ModelAdapter | None = None,
        **options: Unpack[TracerOptions],
    ) -> None:
        if (adapter is None) == (model is None or processor is None):
            raise InputError(
                "the tracer has no model" if adapter is None else "the tracer has two models",
                legal="Tracer(model=…, processor=…), or Tracer(adapter=…), "
                "or Tracer.from_pretrained(name)",
            )
        check_options("Tracer", options, TracerOptions.__annotations__)
        self.setup = Setup.create(
            adapter if adapter is not None else adapter_for(model, processor), **options
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        device_map: str | Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        trust_remote_code: bool = False,
        **options: Unpack[TracerOptions],
    ) -> Tracer:
        """Load a model and make a tracer for it.

        Parameters
        ----------
        name:
            A hub id, a local folder, a GGUF file, ``"reference"`` (the small model in this
            package), or ``"reference-thinking"`` (one that writes its steps first).
        revision, dtype, device_map, attn_implementation, trust_remote_code:
            As for ``transformers``' ``from_pretrained``.
        device:
            Where the model is moved after loading, such as ``"cuda"``; by default it stays on the
            processor. ``device_map="auto"`` instead spreads it over all accelerators.
        options:
            As for :class:`Tracer`.
        """
        check_options("Tracer", options, TracerOptions.__annotations__)
        if (signal := options.get("signal")) is not None:
            resolve(signal)  # fail before loading gigabytes
        load = LoadOptions(
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
        )
        return cls(adapter=load_adapter(name, load), **options)

    def with_options(self, **options: Unpack[TracerOptions]) -> Self:
        """Return a tracer of the same model with other options; the model is not probed again.

        Parameters
        ----------
        options:
            As for :class:`Tracer`; the others stay as they are.
        """
        check_options("Tracer", options, TracerOptions.__annotations__)
        changed = type(self).__new__(type(self))
        changed.setup = self.setup.changed(**options)
        return changed

    @property
    def adapter(self) -> ModelAdapter:
        """The model, its processor, and how the two map tokens to sources."""
        return self.setup.adapter

    @property
    def streams(self) -> bool:
        """Whether :meth:`stream` works with this signal."""
        return self.setup.streams

    def read(
        self,
        messages: Asked,
        *,
        media_root: str | Path | None = None,
        tools: Sequence[Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """Check messages and decode their media, once for several calls.

        Parameters
        ----------
        messages, media_root, tools, chat_template_kwargs:
            As for :meth:`trace`. What is read already is returned as it is, with the tools and
            arguments, if there are any.

        Raises
        ------
        InputError, MediaError
            If the messages are malformed, their media cannot be used, or a conversation was read
            with options other than this tracer's.
        """
        template = template_arguments(tools, chat_template_kwargs)
        return read_conversation(self.setup, messages, media_root, template)

    def trace(self, messages: Asked, **options: Unpack[TraceOptions]) -> Trace:
        """Let the model respond to ``messages``, and trace the response.

        Parameters
        ----------
        messages:
            Chat messages; media as paths, bytes, data URLs, PIL images or arrays. Or what
            :meth:`read` returned for them, so that media are decoded once for several questions.
        options:
            See :class:`~omnitrace.engine.options.TraceOptions`: ``max_new_tokens``, ``seed``,
            ``media_root``, ``block``, ``tools``, ``chat_template_kwargs``; all others are passed on
            to the model's ``generate``.
            Decoding is greedy unless ``do_sample=True``.

        Raises
        ------
        InputError, MediaError
            If the request is malformed, too long, or its media cannot be used.
        NotSupportedError
            If ``generate`` is asked for something whose steps cannot be matched with tokens.
        """
        return finished(self.setup, prepared(self.setup, messages, **options))

    def stream(self, messages: Asked, **options: Unpack[StreamOptions]) -> EventStream:
        """Let the model respond to ``messages``, and yield events while it writes.

        Token events come in blocks of at most ``block``; a span event, with the signal's supports,
        as soon as its sentence has ended. The last event carries the whole trace, which is that of
        :meth:`trace` with the same ``block``: its supports are verified, where that was asked. The
        model runs in a thread of its own, and its rows are processed in a second one beside it.
        Leaving the loop, or closing the stream, stops both at the next token.

        Parameters
        ----------
        messages:
            As for :meth:`trace`.
        options:
            See :class:`~omnitrace.engine.options.StreamOptions`: those of :meth:`trace`, and
            ``provisional``, ``queue_size``, ``verify_spans`` and ``measured``.

        Raises
        ------
        NotSupportedError
            With a span signal that needs the whole response first; and as :meth:`trace`.
        """
        backlog = Backlog()
        made = streamed(self.setup, messages, options)
        return EventStream(functools.partial(made.run, backlog), backlog, made.begun)

    def astream(self, messages: Asked, **options: Unpack[StreamOptions]) -> AsyncEventStream:
        """Do what :meth:`stream` does, for ``async for``; the event loop is never held up.

        Arguments are those of :meth:`stream`. The request is read in the worker too, so that
        everything that is wrong with it is raised with the first event. Cancelling the task that
        waits for an event stops the model at the next token.
        """
        backlog = Backlog()

        def work(emit: Emitter) -> None:
            streamed(self.setup, messages, options).run(backlog, emit)

        return AsyncEventStream(work, backlog)

    async def atrace(self, messages: Asked, **options: Unpack[TraceOptions]) -> Trace:
        """Do what :meth:`trace` does in a thread of its own, without holding up the event loop.

        Arguments and errors are those of :meth:`trace`. Cancelling the task stops the model at the
        next token (a span signal that measures a finished response ends with that first).
        """

        def work(emit: Emitter) -> None:
            session = prepared(self.setup, messages, **options)
            emit(EndEvent(finished(self.setup, session, check=emit.check)))

        async with AsyncEventStream(work) as events:
            async for event in events:
                if isinstance(event, EndEvent):
                    return event.trace
        raise AssertionError("the worker ends with a trace or an error")

    def replay(
        self, messages: Asked, response: Response, **options: Unpack[ReplayOptions]
    ) -> Trace:
        """Attribute a response that exists already: from a server, a file, or a person.

        The response is teacher-forced: each of its tokens is scored as if the model had written it.
        Replaying what the model wrote greedily gives the supports of the live trace.

        Parameters
        ----------
        messages:
            The request, as for :meth:`trace`.
        response:
            The response: a text, token ids (a list, an array, a tensor), or a server's object: of
            OpenAI's chat completions, completions, Batch API and Responses API, or vLLM's
            ``RequestOutput``; as a mapping, or as an object of the ``openai`` package. Of an
            object, the most exact form is taken: ``token_ids``, ``token_id:N`` or the bytes in its
            log-probabilities, its text. Text is tokenized again; pass ids to be exact. Which it was
            is in ``trace.provenance.generation["response_ids"]``: ``"given"``, ``"logprobs"``,
            ``"bytes"`` or ``"text"``.
        options:
            See :class:`~omnitrace.engine.options.ReplayOptions`: ``media_root``, ``block``,
            ``choice`` (of a response object), ``against`` (another response to contrast with),
            ``measured``.

        Raises
        ------
        InputError
            If the request is malformed, the response is empty, or prompt and response are too long;
            if the server had another prompt or another tokenizer; or if the response has a token
            that stands for a medium, and the signal has no gradients: it is then read in one pass,
            where such a token asks for a medium.
        NotSupportedError
            If ``against`` is given and the signal has no gradients and is no span signal.
        """
        return replayed(self.setup, messages, response, options)

    def scorer(
        self,
        messages: Asked,
        response: Response,
        *,
        choice: int = 0,
        against: Response | None = None,
        media_root: str | Path | None = None,
        tools: Sequence[Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> ResponseScorer:
        """Return what measures a response under changed inputs, as a span signal is given it.

        Arguments are those of :meth:`replay`.
        """
        template = template_arguments(tools, chat_template_kwargs)
        given = read_request_and_response(
            self.setup, messages, response, against, media_root, template, choice=choice
        )
        return response_scorer(self.setup, given.request, given.ids, given.foils)

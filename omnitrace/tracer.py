"""The tracer: run a model on a request and say what supports each statement it writes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from omnitrace._utils.checks import check_whole
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.attribution.selection import CurationConfig
from omnitrace.capture.probe import probe
from omnitrace.engine.answer import PROVISIONAL, QUEUE_SIZE, answer_run, finished, streamed
from omnitrace.engine.prepare import read_answered, scorer_of
from omnitrace.engine.session import replay_run
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.media import MediaLimits
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.loading import adapter_for, load_adapter
from omnitrace.segmentation.salience import Salience
from omnitrace.segmentation.sentences import Unit as SpanUnit
from omnitrace.segmentation.thinking import Thinking
from omnitrace.signals.base import LiveSpanSignal, ModelBound, Need, Signal, gradient_target
from omnitrace.signals.resolve import resolve
from omnitrace.sources.messages import Asked, Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.streaming.async_stream import AsyncEventStream
from omnitrace.streaming.stream import Emitter, EventStream
from omnitrace.streaming.worker import Backlog
from omnitrace.trace.events import EndEvent
from omnitrace.trace.trace import Trace

__all__ = ["Tracer"]


class Tracer:
    """Traces what a model writes to its sources.

    Parameters
    ----------
    model, processor:
        A ``transformers`` model and its processor (or tokenizer), already loaded.
    adapter:
        Instead of both, an adapter for a family that no plugin registers.
    signal:
        Name of a registered signal, or a signal object. With a span signal, live or not, the token
        scores are those of "attention-mean", and supports are chosen by the effects that it gives.
    curation:
        How supports are chosen.
    sources:
        What counts as a source and how finely sources are cut.
    limits:
        Limits on media.
    span_unit:
        Spans are sentences or clauses of the response.
    thinking:
        How the model marks its thoughts, so that spans are told from those of the answer; None
        takes the whole response as the answer.
    salience:
        spaCy pipeline that weighs words; "auto" takes an installed one for the language, or
        spaCy's lexical attributes, which need no download.
    block:
        Tokens whose attention rows are read at once, unless a span ends before; larger is faster,
        smaller is livelier.

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
        signal: str | Signal = "attention-mean",
        curation: CurationConfig | None = None,
        sources: SourceOptions | None = None,
        limits: MediaLimits | None = None,
        span_unit: SpanUnit = "sentence",
        thinking: Thinking | None = Thinking(),  # noqa: B008 - frozen
        salience: str | None = "auto",
        block: int = 16,
    ) -> None:
        if (adapter is None) == (model is None or processor is None):
            raise InputError(
                "the tracer has no model" if adapter is None else "the tracer has two models",
                legal="Tracer(model=…, processor=…), or Tracer(adapter=…), "
                "or Tracer.from_pretrained(name)",
            )
        check_whole("block", block, 1)
        self.adapter = adapter if adapter is not None else adapter_for(model, processor)
        self.curation = curation or CurationConfig()
        self.sources = sources or SourceOptions()
        self.limits = limits or MediaLimits()
        self.span_unit = span_unit
        self.thinking = thinking
        self.salience = Salience.create(salience, self.sources.language)
        self.block = block
        self.signal, self.signal_package, self.span_signal, self.span_package = resolve(signal)
        chosen = self.signal if self.span_signal is None else self.span_signal
        if isinstance(chosen, ModelBound):
            chosen.check_model(self.adapter, self.sources)
        self._layers = probe(self.adapter.model, self.adapter.decoder, what=self.adapter.source)

    @classmethod
    def from_pretrained(
        cls,
        name: str = "reference",
        *,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        device_map: str | Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> Tracer:
        """Load a model and make a tracer for it.

        Parameters
        ----------
        name:
            ``"reference"`` (the small model in this package), ``"reference-thinking"`` (one that
            writes its steps first), a hub id, a local folder, or a GGUF file.
        revision, dtype, device_map, attn_implementation, trust_remote_code:
            As for ``transformers``' ``from_pretrained``.
        device:
            Where the model is moved after loading, such as ``"cuda"``; by default it stays on the
            processor. ``device_map="auto"`` instead spreads it over all accelerators.
        options:
            Anything that ``Tracer(...)`` takes.
        """
        if "signal" in options:
            resolve(options["signal"])  # fail before loading gigabytes
        load = LoadOptions(
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
        )
        return cls(adapter=load_adapter(name, load), **options)

    @property
    def live_signal(self) -> LiveSpanSignal | None:
        """The span signal, if it gives its effects while the model writes."""
        return self.span_signal if isinstance(self.span_signal, LiveSpanSignal) else None

    @property
    def needs(self) -> frozenset[Need]:
        """What the token signal and a live span signal read while the model writes."""
        live = self.live_signal
        return self.signal.needs | (frozenset() if live is None else live.needs)

    @property
    def streams(self) -> bool:
        """Whether :meth:`stream` works with this signal."""
        return self.span_signal is None or self.live_signal is not None

    def read(self, messages: Asked, *, media_root: str | Path | None = None) -> Conversation:
        """Check messages and decode their media, once for several calls.

        Parameters
        ----------
        messages, media_root:
            As for :meth:`trace`. What is read already is returned as it is.

        Raises
        ------
        InputError, MediaError
            If the messages are malformed, their media cannot be used, or a conversation was read
            with options other than this tracer's.
        """
        if not isinstance(messages, Conversation):
            return read_messages(
                messages,
                options=self.sources,
                limits=self.limits,
                media_root=None if media_root is None else Path(media_root),
            )
        if media_root is not None:
            raise InputError(
                f"the media root {str(media_root)!r} is given, and the media are read already",
                legal="messages with a media_root, or what read() returned, without one",
            )
        messages.check_options(self.sources)
        return messages

    def trace(
        self,
        messages: Asked,
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        media_root: str | Path | None = None,
        block: int | None = None,
        **generate: Any,
    ) -> Trace:
        """Answer ``messages`` and trace the answer.

        Parameters
        ----------
        messages:
            Chat messages; media as paths, bytes, data URLs, PIL images or arrays. Or what
            :meth:`read` returned for them, so that media are decoded once for several questions.
        max_new_tokens:
            Longest answer in tokens; None takes the generation settings', else 256.
        seed:
            Seed for sampling; torch's random state is restored afterwards. None leaves it alone.
        media_root:
            Folder that relative media paths start from.
        block:
            As for the tracer, if this answer is to be read otherwise.
        generate:
            Passed on to the model's ``generate``. Decoding is greedy unless ``do_sample=True``.

        Raises
        ------
        InputError, MediaError
            If the request is malformed, too long, or its media cannot be used.
        NotSupportedError
            If ``generate`` is asked for something whose steps cannot be matched with tokens.
        """
        run = answer_run(
            self,
            messages,
            max_new_tokens=max_new_tokens,
            seed=seed,
            media_root=media_root,
            block=block,
            **generate,
        )
        return finished(self, run)

    def stream(
        self,
        messages: Asked,
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        media_root: str | Path | None = None,
        block: int | None = None,
        provisional: int | None = PROVISIONAL,
        queue_size: int = QUEUE_SIZE,
        **generate: Any,
    ) -> EventStream:
        """Answer ``messages`` and yield events while the model writes.

        Token events come in blocks of at most ``block``; a span event, with final supports, as soon
        as its sentence has ended; the last event carries the whole trace, which is that of
        :meth:`trace` with the same ``block``. The model runs in a thread of its own, and what is
        made of its rows in a second one beside it. Leaving the loop, or closing the stream, stops
        both at the next token. Other arguments are those of :meth:`trace`.

        Parameters
        ----------
        block:
            Tokens whose rows are read at once; None takes the tracer's, 1 gives each token its
            event at once.
        provisional:
            After how many more tokens the text that is in no span yet gets provisional supports, at
            the end of the block; None for none.
        queue_size:
            How many blocks may wait to be worked on; decoding waits while there are more, which
            the stream's ``backlog`` counts. 0 does the work in the decoding loop.

        Raises
        ------
        NotSupportedError
            With a span signal that needs the whole answer first; and as :meth:`trace`.
        """
        backlog = Backlog()
        work = streamed(
            self,
            messages,
            max_new_tokens=max_new_tokens,
            seed=seed,
            media_root=media_root,
            block=block,
            provisional=provisional,
            queue_size=queue_size,
            **generate,
        )
        return EventStream(functools.partial(work, backlog), backlog)

    def astream(self, messages: Asked, **options: Any) -> AsyncEventStream:
        """Do what :meth:`stream` does, for ``async for``; the event loop is never held up.

        Arguments are those of :meth:`stream`. The request is read in the worker too, so that
        everything that is wrong with it is raised with the first event. Cancelling the task that
        waits for an event stops the model at the next token.
        """
        backlog = Backlog()

        def work(emit: Emitter) -> None:
            streamed(self, messages, **options)(backlog, emit)

        return AsyncEventStream(work, backlog)

    async def atrace(self, messages: Asked, **options: Any) -> Trace:
        """Do what :meth:`trace` does in a thread of its own, without holding up the event loop.

        Arguments and errors are those of :meth:`trace`. Cancelling the task stops the model at the
        next token (a span signal that measures a finished answer ends with that first).
        """

        def work(emit: Emitter) -> None:
            run = answer_run(self, messages, **options)
            emit(EndEvent(finished(self, run, check=emit.check)))

        async with AsyncEventStream(work) as events:
            async for event in events:
                if isinstance(event, EndEvent):
                    return event.trace
        raise AssertionError("the worker ends with a trace or an error")

    def replay(
        self,
        messages: Asked,
        response: str | Sequence[int],
        *,
        against: str | Sequence[int] | None = None,
        media_root: str | Path | None = None,
    ) -> Trace:
        """Attribute an answer that exists already: from a server, a file, or a person.

        The answer is teacher-forced: each of its tokens is scored as if the model had written it.
        Replaying what the model wrote greedily gives the supports of the live trace.

        Parameters
        ----------
        messages, media_root:
            The request, as for :meth:`trace`.
        response:
            The answer, as text or as token ids. Text is tokenized anew; pass ids to be exact.
        against:
            Another answer: each token that differs from its counterpart there is explained by what
            speaks for it and against the counterpart, in the context of ``response``; all
            other tokens get no scores. Needs a signal with gradients, or a span signal that
            measures: its effects are then on the difference of the two log-probabilities.

        Raises
        ------
        InputError
            If the request is malformed, the answer is empty, or prompt and answer are too long; or
            if the answer has a token that stands for a medium, and the signal has no gradients:
            it is then read in one pass, where such a token asks for a medium.
        NotSupportedError
            If ``against`` is given and the signal has no gradients and is no span signal.
        """
        silent = self.streams and gradient_target(self.signal.needs) is None
        if against is not None and silent:
            chosen = self.span_signal or self.signal
            raise NotSupportedError(
                f"the signal {chosen.name!r} cannot contrast two answers: attention does "
                "not depend on what else might have been written",
                legal="a signal with gradients, such as 'grad-sam', or a span signal that measures",
            )
        given = read_answered(self, messages, response, against, media_root)
        run = replay_run(self, given.request, given.ids, given.foils, block=self.block)
        return finished(self, run, given.foils)

    def scorer(
        self,
        messages: Asked,
        response: str | Sequence[int],
        *,
        against: str | Sequence[int] | None = None,
        media_root: str | Path | None = None,
    ) -> ResponseScorer:
        """Return what measures an answer under changed inputs, as a span signal is given it.

        Arguments are those of :meth:`replay`.
        """
        given = read_answered(self, messages, response, against, media_root)
        return scorer_of(self, given.request, given.ids, given.foils)

"""The tracer: run a model on a request and say what supports each statement it writes."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from omnitrace.capture.probe import probe
from omnitrace.capture.weights import input_device
from omnitrace.curation import CurationConfig
from omnitrace.errors import InputError, NotSupportedError, OmnitraceError
from omnitrace.media import MediaLimits
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.loading import adapter_for, load_adapter
from omnitrace.run import Request, Run, replay_run, traced_run
from omnitrace.scoring import ResponseScorer, Rewriting
from omnitrace.signals.base import Signal, gradient_target
from omnitrace.signals.resolve import resolve
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.spans.effects import measured_effects
from omnitrace.spans.salience import Salience
from omnitrace.spans.segment import Unit as SpanUnit
from omnitrace.spans.thinking import Thinking
from omnitrace.streaming import EventStream
from omnitrace.trace import Trace
from omnitrace.types import EndEvent, Event, Message

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
        Name of a registered signal, or a signal object. With a span signal the token scores are
        those of "attention-mean", and supports are chosen by the effects that it measures.
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
        Tokens whose attention rows are read at once; larger is faster, smaller is livelier.

    Raises
    ------
    ModelError
        If the model's attention cannot be captured, or not without changing the model.
    PluginError
        If the signal is unknown.
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
        if block < 1:
            raise InputError(f"block is {block}", legal="at least 1")
        self.adapter = adapter if adapter is not None else adapter_for(model, processor)
        self.curation = curation or CurationConfig()
        self.sources = sources or SourceOptions()
        self.limits = limits or MediaLimits()
        self.span_unit = span_unit
        self.thinking = thinking
        self.salience = Salience.create(salience, self.sources.language)
        self.block = block
        self.signal, self.signal_package, self.span_signal, self.span_package = resolve(signal)
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
            ``"reference"`` (the small model in this package), a hub id, a local folder, or a GGUF
            file.
        revision, dtype, device_map, attn_implementation, trust_remote_code:
            As for ``transformers``' ``from_pretrained``.
        device:
            Where the model is moved after loading.
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

    def trace(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        media_root: str | Path | None = None,
        **generate: Any,
    ) -> Trace:
        """Answer ``messages`` and trace the answer.

        Parameters
        ----------
        messages:
            Chat messages; media as paths, bytes, data URLs, PIL images or arrays.
        max_new_tokens:
            Longest answer in tokens; None takes the generation settings', else 256.
        seed:
            Seed for sampling; torch's random state is restored afterwards. None leaves it alone.
        media_root:
            Folder that relative media paths start from.
        generate:
            Passed on to the model's ``generate``. Decoding is greedy unless ``do_sample=True``.

        Raises
        ------
        InputError, MediaError
            If the request is malformed, too long, or its media cannot be used.
        NotSupportedError
            If ``generate`` is asked for something whose steps cannot be matched with tokens.
        """
        run = traced_run(
            self,
            self._read(messages, media_root),
            {"max_new_tokens": max_new_tokens, **generate},
            seed=seed,
            live=False,
            block=self.block,
        )
        return self._finished(run)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        media_root: str | Path | None = None,
        block: int = 1,
        **generate: Any,
    ) -> EventStream:
        """Answer ``messages`` and yield events while the model writes.

        Token events come as tokens are written, in blocks of ``block``; a span event comes as soon
        as its sentence has ended; the last event carries the whole trace. The model runs in a
        thread of its own; leaving the loop, or closing the stream, stops it at the next token.
        Arguments are those of :meth:`trace`.

        Raises
        ------
        NotSupportedError
            With a span signal, which needs the whole answer first; and as :meth:`trace`.
        """
        if self.span_signal is not None:
            raise NotSupportedError(
                f"{self.span_signal.name!r} is a span signal: it measures an answer that is "
                "finished, and cannot be streamed",
                legal="streams with a token signal, such as 'attention-mean'",
                fix="call trace() instead",
            )
        run = traced_run(
            self,
            self._read(messages, media_root),
            {"max_new_tokens": max_new_tokens, **generate},
            seed=seed,
            live=True,
            block=block,
        )

        def work(emit: Callable[[Event], None]) -> None:
            run.run(emit)
            emit(EndEvent(run.trace()))

        return EventStream(work)

    def replay(
        self,
        messages: Sequence[Message],
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
            other tokens get no scores. Needs a signal with gradients, or a span signal: its
            effects are then on the difference of the two log-probabilities.

        Raises
        ------
        InputError
            If the request is malformed, the answer is empty, or prompt and answer are too long.
        NotSupportedError
            If ``against`` is given and the signal has no gradients and is no span signal.
        """
        silent = self.span_signal is None and gradient_target(self.signal.needs) is None
        if against is not None and silent:
            raise NotSupportedError(
                f"the signal {self.signal.name!r} cannot contrast two answers: attention does "
                "not depend on what else might have been written",
                legal="a signal with gradients, such as 'grad-sam', or a span signal",
            )
        request, ids, foils = self._answered(messages, response, against, media_root)
        run = replay_run(self, request, ids, foils, block=self.block)
        return self._finished(run, foils)

    def scorer(
        self,
        messages: Sequence[Message],
        response: str | Sequence[int],
        *,
        against: str | Sequence[int] | None = None,
        media_root: str | Path | None = None,
    ) -> ResponseScorer:
        """Return what measures an answer under changed inputs, as a span signal is given it.

        Arguments are those of :meth:`replay`.
        """
        return self._scorer(*self._answered(messages, response, against, media_root))

    def _answered(
        self,
        messages: Sequence[Message],
        response: str | Sequence[int],
        against: str | Sequence[int] | None,
        media_root: str | Path | None,
    ) -> tuple[Request, list[int], list[int | None] | None]:
        """Read a request and its answer, and pair the answer with the one it is told from."""
        request = self._read(messages, media_root)
        ids = self._tokens_of(response, "response")
        self.adapter.check_length(request.prompt_length + len(ids) - 1)
        foils = None if against is None else _foils(ids, self._tokens_of(against, "against"))
        return request, ids, foils

    def _scorer(
        self, request: Request, ids: Sequence[int], foils: Sequence[int | None] | None
    ) -> ResponseScorer:
        device = input_device(self.adapter.model)
        return ResponseScorer(
            self.adapter,
            request.inputs_with(ids[:-1], device),
            request.layout,
            ids,
            options=request.encoded.generate_options,
            foils=foils,
            rewriting=Rewriting(request, lambda new: self.adapter.encode(new, self.sources)),
        )

    def _finished(self, run: Run, foils: Sequence[int | None] | None = None) -> Trace:
        """Run to the end; then let the span signal speak, if there is one."""
        run.run(lambda event: None)
        trace = run.trace()
        if self.span_signal is None or not trace.spans:
            return trace
        started = time.perf_counter()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                scorer = self._scorer(run.request, trace.token_ids, foils)
                effects = measured_effects(
                    self.span_signal, scorer, trace.spans, package=self.span_package
                )
        except OmnitraceError as error:
            error.text = trace.text
            raise
        seconds = round(time.perf_counter() - started, 6)
        timings = {**trace.provenance.timings, "effects": seconds}
        provenance = dataclasses.replace(trace.provenance, timings=timings)
        return dataclasses.replace(trace, provenance=provenance).with_effects(effects)

    def _tokens_of(self, text: str | Sequence[int], what: str) -> list[int]:
        if isinstance(text, str):
            ids = self.adapter.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = list(text)
        size = int(self.adapter.model.get_input_embeddings().num_embeddings)
        if not ids or not all(isinstance(i, int) and 0 <= i < size for i in ids):
            raise InputError(
                f"{what} is {text!r}"[:200], legal=f"text, or token ids of 0 to {size - 1}"
            )
        return [int(i) for i in ids]

    def _read(self, messages: Sequence[Message], media_root: str | Path | None) -> Request:
        """Read, encode and map a request."""
        started = time.perf_counter()
        conversation = read_messages(
            messages,
            options=self.sources,
            limits=self.limits,
            media_root=None if media_root is None else Path(media_root),
        )
        encoded = self.adapter.encode(conversation, self.sources)
        self.adapter.check_length(len(encoded.prompt_ids))
        layout = build_layout(len(encoded.prompt_ids), encoded.geometry, self.sources)
        return Request(conversation, encoded, layout, time.perf_counter() - started)


def _foils(ids: Sequence[int], others: Sequence[int]) -> list[int | None]:
    """Pair each token with what the other answer has in its place; None where nothing differs.

    Raises
    ------
    InputError
        If the answers have no token that takes another's place.
    """
    foils: list[int | None] = [None] * len(ids)
    matcher = difflib.SequenceMatcher(None, ids, others, autojunk=False)
    for tag, first, last, other_first, other_last in matcher.get_opcodes():
        if tag == "replace":
            count = min(last - first, other_last - other_first)
            foils[first : first + count] = others[other_first : other_first + count]
    if all(foil is None for foil in foils):
        raise InputError(
            "no word of the response stands in the place of another one of `against`",
            legal="two answers that differ in some words",
        )
    return foils

"""The tracer: run a model on a request and say what supports each statement it writes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from omnitrace.capture.interface import model_lock, tapped
from omnitrace.capture.probe import probe
from omnitrace.capture.rows import RowCapture
from omnitrace.curation import CurationConfig
from omnitrace.engine import Engine
from omnitrace.errors import InputError, NotSupportedError, PluginError
from omnitrace.generation import (
    TokenStreamer,
    defers,
    ended,
    generation_config,
    generation_record,
    seeded,
)
from omnitrace.media import MediaLimits
from omnitrace.models.base import Encoded, LoadOptions, ModelAdapter
from omnitrace.models.detokenize import Detokenizer
from omnitrace.models.loading import adapter_for, load_adapter
from omnitrace.plugins.manager import registry
from omnitrace.signals.base import SpanSignal, TokenSignal
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.records import media_record
from omnitrace.spans.salience import Salience
from omnitrace.spans.segment import Segmenter
from omnitrace.spans.segment import Unit as SpanUnit
from omnitrace.streaming import EventStream
from omnitrace.trace import Provenance, Trace
from omnitrace.types import EndEvent, Event, Layout, Message

__all__ = ["Tracer"]

_PACKAGES = ("omnitrace-attribution", "torch", "transformers", "numpy", "spacy", "sentencex")


class Tracer:
    """Traces what a model writes to its sources.

    Parameters
    ----------
    model, processor:
        A ``transformers`` model and its processor (or tokenizer), already loaded.
    adapter:
        Instead of both, an adapter for a family that no plugin registers.
    signal:
        Name of a registered signal, or a signal object.
    curation:
        How supports are chosen.
    sources:
        What counts as a source and how finely sources are cut.
    limits:
        Limits on media.
    span_unit:
        Spans are sentences or clauses of the response.
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
        signal: str | TokenSignal = "attention-mean",
        curation: CurationConfig | None = None,
        sources: SourceOptions | None = None,
        limits: MediaLimits | None = None,
        span_unit: SpanUnit = "sentence",
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
        self.salience = Salience.create(salience, self.sources.language)
        self.block = block
        self.signal = _signal(signal)
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
            options["signal"] = _signal(options["signal"])  # fail before loading gigabytes
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
        run = self._prepare(messages, media_root, max_new_tokens, seed, generate, live=False)
        run.generate(lambda event: None)
        return run.trace()

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
        """
        run = self._prepare(
            messages, media_root, max_new_tokens, seed, generate, live=True, block=block
        )

        def work(emit: Callable[[Event], None]) -> None:
            run.generate(emit)
            emit(EndEvent(run.trace()))

        return EventStream(work)

    def _prepare(
        self,
        messages: Sequence[Message],
        media_root: str | Path | None,
        max_new_tokens: int | None,
        seed: int | None,
        generate: dict[str, Any],
        *,
        live: bool,
        block: int | None = None,
    ) -> _Run:
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
        return _Run(
            self,
            conversation,
            encoded,
            layout,
            {"max_new_tokens": max_new_tokens, **generate},
            seed,
            live=live,
            block=self.block if block is None else block,
            encode_seconds=time.perf_counter() - started,
        )


def _signal(signal: str | TokenSignal) -> TokenSignal:
    made = registry().signal(signal).factory() if isinstance(signal, str) else signal
    if isinstance(made, TokenSignal):
        return made
    if isinstance(made, SpanSignal):
        raise NotSupportedError(
            f"{made.name!r} is a span signal; the tracer runs token signals",
            legal=", ".join(repr(name) for name in registry().signals),
        )
    raise PluginError(
        f"{signal!r} is no signal", legal="an object with name, parameters, layers() and score()"
    )


class _Run:
    """One request on its way through the model."""

    def __init__(
        self,
        tracer: Tracer,
        conversation: Conversation,
        encoded: Encoded,
        layout: Layout,
        generate: Mapping[str, Any],
        seed: int | None,
        *,
        live: bool,
        block: int,
        encode_seconds: float,
    ) -> None:
        self._tracer = tracer
        self._conversation = conversation
        self._encoded = encoded
        self._seed = seed
        self._config, self._extra = generation_config(tracer.adapter.model, generate)
        self._timings = {"encode": encode_seconds}
        by_index = dict(tracer._layers)
        wanted = list(tracer.signal.layers(sorted(by_index)))
        self._modules = [by_index[layer] for layer in wanted]
        self._layers = wanted
        capture = RowCapture(
            wanted,
            len(encoded.prompt_ids),
            use_cache=self._config.use_cache is not False,
            deferred=defers(self._config),
        )
        self._engine = Engine(
            layout=layout,
            capture=capture,
            signal=tracer.signal,
            detokenizer=Detokenizer(tracer.adapter.tokenizer),
            segmenter=Segmenter(unit=tracer.span_unit, language=tracer.sources.language),
            salience=tracer.salience,
            config=tracer.curation,
            block=block,
            live=live,
        )

    def generate(self, emit: Callable[[Event], None]) -> None:
        """Run the model, passing every event to ``emit`` as it happens."""
        model = self._tracer.adapter.model
        engine = self._engine

        def push(token_id: int) -> None:
            for event in engine.push(token_id):
                emit(event)

        extra = dict(self._extra)
        streamer = TokenStreamer(push, also=extra.pop("streamer", None))
        device = model.get_input_embeddings().weight.device
        inputs = {name: value.to(device) for name, value in self._encoded.inputs.items()}
        started = time.perf_counter()
        was_training = model.training
        with model_lock(model), seeded(self._seed):
            try:
                model.eval()
                with tapped(model, self._modules, engine.capture.taps):
                    model.generate(
                        **inputs,
                        **self._encoded.generate_options,
                        **extra,
                        generation_config=self._config,
                        streamer=streamer,
                    )
                    for event in engine.finish():
                        emit(event)
            finally:
                if was_training:
                    model.train()
        self._timings["generate"] = time.perf_counter() - started

    def trace(self) -> Trace:
        """Assemble the result."""
        engine = self._engine
        return Trace(
            messages=self._conversation.records(),
            text=engine.text,
            token_ids=tuple(engine.ids),
            prompt_ids=self._encoded.prompt_ids,
            layout=engine.layout,
            scores=engine.scores(),
            tokens=tuple(engine.tokens),
            spans=tuple(engine.spans),
            salience=engine.salience_weights(),
            media=tuple(media_record(part) for part in self._conversation.media()),
            config=engine.config,
            provenance=self._provenance(),
        )

    def _provenance(self) -> Provenance:
        tracer = self._tracer
        adapter = tracer.adapter
        config = adapter.model.config
        digest = hashlib.sha256(
            json.dumps(config.to_dict(), sort_keys=True, default=str).encode()
        ).hexdigest()
        return Provenance(
            model=adapter.source,
            adapter=adapter.name,
            revision=adapter.revision,
            config_digest=digest,
            processor=type(adapter.processor).__name__,
            attention=str(self._modules[0].config._attn_implementation),  # type: ignore[union-attr]
            dtype=str(adapter.model.dtype).removeprefix("torch."),
            signal={
                "name": tracer.signal.name,
                "parameters": dict(tracer.signal.parameters),
                "layers": self._layers,
            },
            generation=generation_record(self._config),
            seed=self._seed,
            salience=tracer.salience.name,
            segmentation={"unit": tracer.span_unit, "language": tracer.sources.language},
            versions={package: importlib.metadata.version(package) for package in _PACKAGES},
            timings={name: round(seconds, 6) for name, seconds in self._timings.items()},
            finished=ended(self._config, self._engine.ids),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

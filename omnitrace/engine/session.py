"""One request on its way through the model: live, or with a response that exists already."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import LogitsProcessor, LogitsProcessorList

from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.base import Capture
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.exclusive import evaluated, model_lock
from omnitrace.capture.gradients import GradientCapture
from omnitrace.capture.parameters import input_device
from omnitrace.capture.replay import ReplayCapture
from omnitrace.engine.assembler import Assembler, Block
from omnitrace.engine.decode_loop import Engine
from omnitrace.engine.prepare import RequestAndResponse
from omnitrace.engine.provenance import provenance_of
from omnitrace.engine.setup import Setup
from omnitrace.models.detokenize import Detokenizer
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.forward import kept_logits
from omnitrace.models.generation import (
    TokenStreamer,
    defers,
    ended,
    generation_config,
    generation_record,
    seeded,
    stop_at_last_position,
)
from omnitrace.segmentation.thinking import SectionSegmenter
from omnitrace.signals.base import gradient_target, subject_of
from omnitrace.signals.contract import chosen_layers
from omnitrace.sources.media_records import media_record
from omnitrace.streaming.worker import Backlog, Worker
from omnitrace.trace.events import Event
from omnitrace.trace.trace import Trace

__all__ = ["Session", "live_session", "replay_session"]


@dataclass(slots=True)
class Session:
    """What is running: the engine, the capture that feeds it, and the data for the provenance."""

    setup: Setup
    request: EncodedRequest
    capture: Capture
    modules: Sequence[nn.Module]
    layers: Sequence[int]
    engine: Engine
    work: Callable[[Session, Callable[[int], None]], None]
    generation: Mapping[str, Any]
    seed: int | None = None
    finished: Callable[[Sequence[int]], bool] = lambda ids: True
    timings: dict[str, float] = field(default_factory=dict)

    def run(
        self,
        emit: Callable[[Event], None],
        *,
        check: Callable[[], None] = lambda: None,
        queue_size: int = 0,
        backlog: Backlog | None = None,
    ) -> None:
        """Run the model, passing every event to ``emit`` as it happens.

        Parameters
        ----------
        emit:
            Takes the events; it is called in the worker, where there is one.
        check:
            Called at every token and while another thread has the model, to leave by an exception.
        queue_size:
            How many blocks may wait for a worker thread; 0 does the work in this thread.
        backlog:
            Counts how this thread and the worker keep pace.
        """
        adapter = self.setup.adapter
        model = adapter.model
        backlog = backlog or Backlog()

        lock = model_lock(model)
        with lock.held(check), lock.working(), seeded(self.seed), evaluated(model):
            started = time.perf_counter()
            with (
                _listening(model, adapter.decoder, self.modules, self.capture),
                self._blocks_to(emit, check, queue_size, backlog) as (hand_over, check_worker),
            ):

                def push(token_id: int) -> None:
                    check()
                    check_worker()
                    self.engine.push(token_id, hand_over)

                self.work(self, push)
                self.engine.finish(hand_over)
        self.timings = {
            "encode": self.request.seconds,
            "generate": time.perf_counter() - started,
            **({"waiting": backlog.seconds} if queue_size else {}),
        }
        self.engine.check()

    @contextlib.contextmanager
    def _blocks_to(
        self,
        emit: Callable[[Event], None],
        check: Callable[[], None],
        queue_size: int,
        backlog: Backlog,
    ) -> Iterator[tuple[Callable[[Block], None], Callable[[], None]]]:
        """Yield a function that takes blocks, and one that raises the error of an earlier block.

        All blocks are worked on when the context ends.
        """
        lock = model_lock(self.setup.adapter.model)

        def process(block: Block) -> None:
            with lock.working():
                for event in self.engine.assembler.process(block):
                    emit(event)

        if not queue_size:
            yield process, lambda: None
            return
        with Worker(process, queue_size, backlog, check) as worker:
            yield worker.put, worker.check

    def trace(self) -> Trace:
        """Assemble the result."""
        conversation, found = self.request.conversation, self.engine.assembler
        return Trace(
            messages=conversation.records(),
            text=found.text,
            token_ids=tuple(found.ids),
            prompt_ids=self.request.encoded.prompt_ids,
            layout=found.layout,
            scores=found.scores(),
            tokens=tuple(found.tokens),
            spans=tuple(found.spans),
            salience=found.salience_weights(),
            media=tuple(media_record(part) for part in conversation.media()),
            config=found.config,
            provenance=provenance_of(
                self.setup,
                layers=self.layers,
                generation={
                    **self.generation,
                    **({"template": dict(conversation.template)} if conversation.template else {}),
                },
                seed=self.seed,
                segmentation={
                    **self.engine.segmenter.record(),
                    **({"notes": list(conversation.notes)} if conversation.notes else {}),
                },
                timings=self.timings,
                finished=self.finished(self.engine.ids),
            ),
        )


def live_session(
    setup: Setup,
    request: EncodedRequest,
    generate: Mapping[str, Any],
    *,
    seed: int | None,
    block: int,
) -> Session:
    """Prepare to run the model with its own ``generate``."""
    config, extra = generation_config(setup.adapter.model, generate)
    stop_at_last_position(config, setup.adapter, request.prompt_length)

    def rows(layers: Sequence[int], values: bool) -> Capture:
        return RowCapture(
            layers,
            request.prompt_length,
            use_cache=config.use_cache is not False,
            deferred=defers(config),
            values=values,
        )

    def work(session: Session, push: Callable[[int], None]) -> None:
        arguments = dict(extra)
        streamer = TokenStreamer(push, also=arguments.pop("streamer", None))
        model = setup.adapter.model
        model.generate(
            **request.inputs(input_device(model)),
            **request.encoded.generate_options,
            **arguments,
            generation_config=config,
            streamer=streamer,
        )

    return _session(
        setup,
        request,
        rows,
        work,
        block=block,
        seed=seed,
        generation=generation_record(config),
        finished=lambda ids: ended(config, ids),
    )


def replay_session(
    setup: Setup,
    given: RequestAndResponse,
    *,
    block: int,
) -> Session:
    """Prepare to attribute a response that exists, and that the model need not have written.

    Rows come from one pass over prompt and response. Gradients come step by step from the cache, as
    in generation: ``generate`` runs, and can choose only the tokens of the response.
    """
    model = setup.adapter.model
    request, response, foils = given.request, given.ids, given.foils

    def rows(layers: Sequence[int], values: bool) -> Capture:
        return ReplayCapture(layers, request.prompt_length, values=values)

    def one_pass(session: Session, push: Callable[[int], None]) -> None:
        inputs = request.inputs_with(response, input_device(model))
        with torch.no_grad():
            # The logits of a long prompt would be the largest tensor of all.
            model(
                **inputs,
                **request.encoded.generate_options,
                use_cache=False,
                logits_to_keep=kept_logits(model, 1),
            )
        for token_id in response:
            push(token_id)

    def step_by_step(session: Session, push: Callable[[int], None]) -> None:
        config, _ = generation_config(model, {"max_new_tokens": len(response)})
        model.generate(
            **request.inputs(input_device(model)),
            **request.encoded.generate_options,
            generation_config=config,
            streamer=TokenStreamer(push),
            logits_processor=LogitsProcessorList([_Forced(response, request.prompt_length)]),
        )

    stepwise = gradient_target(setup.needs) is not None
    return _session(
        setup,
        request,
        rows,
        step_by_step if stepwise else one_pass,
        block=block,
        generation={
            "replay": True,
            "contrast": foils is not None,
            "response_ids": given.ids_from,
        },
        foils=foils,
        finished=lambda ids: given.finished,
    )


class _Forced(LogitsProcessor):  # type: ignore[misc]
    """Leaves ``generate`` one choice a step: the response's own token."""

    def __init__(self, response: Sequence[int], prompt_length: int) -> None:
        self._response = response
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self._response[input_ids.shape[1] - self._prompt_length]] = 0.0
        return forced


def _session(
    setup: Setup,
    request: EncodedRequest,
    rows: Callable[[Sequence[int], bool], Capture],
    work: Callable[[Session, Callable[[int], None]], None],
    *,
    block: int,
    generation: Mapping[str, Any],
    foils: Sequence[int | None] | None = None,
    **options: Any,
) -> Session:
    by_index = dict(setup.layers)
    every = sorted(by_index)
    signal, live = setup.signals.token, setup.live_signal
    layers = chosen_layers(signal, every, subject=subject_of(signal, setup.signals.token_package))
    read = list[int]()
    if live is not None:
        read = chosen_layers(live, every, subject=subject_of(live, setup.signals.span_package))
        layers = sorted({*layers, *read})
    values = "values" in setup.needs
    target = gradient_target(setup.needs)
    if target is None:
        capture = rows(layers, values)
        captured = layers
    else:
        capture = GradientCapture(
            layers, every, request.prompt_length, target=target, foils=foils, values=values
        )
        captured = every
    engine = Engine(
        capture=capture,
        assembler=Assembler(
            layout=request.layout,
            signal=signal,
            package=setup.signals.token_package,
            live=live,
            live_package=setup.signals.span_package,
            live_layers=frozenset(read),
            salience=setup.salience,
            config=setup.selection,
        ),
        detokenizer=Detokenizer(setup.adapter.tokenizer),
        segmenter=SectionSegmenter.after_prompt(
            setup.thinking,
            setup.adapter.tokenizer,
            request.encoded.prompt_ids,
            request.layout,
            unit=setup.span_unit,
            language=setup.sources.language,
        ),
        block=block,
    )
    return Session(
        setup,
        request,
        capture,
        [by_index[layer] for layer in captured],
        layers,
        engine,
        work,
        generation,
        **options,
    )


@contextlib.contextmanager
def _listening(
    model: Any, decoder: nn.Module, modules: Sequence[nn.Module], capture: Capture
) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(tapped(model, modules, capture.taps))
        if isinstance(capture, GradientCapture):
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(capture.attached(model, decoder))
        yield

"""One request on its way through the model: live, or with a response that exists already."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from omnitrace.capture.attention_hooks import attention_modules, untapped
from omnitrace.capture.base import Capture
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.exclusive import evaluated, model_lock
from omnitrace.capture.parameters import input_device
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.capture.replay import ReplayCapture
from omnitrace.engine.assembler import Block
from omnitrace.engine.attributed import Attributed
from omnitrace.engine.capturing import capturing, listening
from omnitrace.engine.prepare import RequestAndResponse
from omnitrace.engine.setup import Setup
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.forward import kept_logits
from omnitrace.models.generation import (
    TokenStreamer,
    defers,
    ended,
    forced,
    generation_config,
    generation_record,
    seeded,
    stop_at_last_position,
)
from omnitrace.signals.base import gradient_target
from omnitrace.streaming.worker import Backlog, Worker
from omnitrace.trace.events import Event

__all__ = ["Session", "live_session", "replay_record", "replay_session"]


@dataclass(slots=True, kw_only=True)
class Session(Attributed):
    """What is running: a request and its engine, the capture that feeds it, and the work itself.

    ``checked`` may call the model on what a block has completed, before its events are passed on,
    and is given what to call meanwhile; ``interruptions`` are the seconds that this took.
    """

    capture: Capture
    modules: Sequence[nn.Module]
    work: Callable[[Session, Callable[[int], None]], None]
    checked: Callable[[Session, Sequence[Event], Callable[[], None]], Iterator[Event]] | None = None
    interruptions: float = 0.0

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
                listening(model, adapter.decoder, self.modules, self.capture, self.prompt),
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
            **({"verify_spans": self.interruptions} if self.checked is not None else {}),
        }
        self.engine.check()

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """Let this thread call the model inside the block, between two tokens of the response.

        What the model keeps for its next token is left as it is, and nothing is captured.
        """
        started = time.perf_counter()
        modules = self.modules if self.prompt is None else self.prompt.modules
        with model_lock(self.setup.adapter.model).lent(), untapped(modules):
            yield
        self.interruptions += time.perf_counter() - started

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
                events: Iterable[Event] = self.engine.assembler.process(block)
                if self.checked is not None:
                    events = self.checked(self, [*events], check)
                for event in events:
                    emit(event)

        if not queue_size:
            yield process, lambda: None
            return
        with Worker(process, queue_size, backlog, check) as worker:
            yield worker.put, worker.check


def live_session(
    setup: Setup,
    request: EncodedRequest,
    generate: Mapping[str, Any],
    *,
    seed: int | None,
    block: int,
) -> Session:
    """Prepare to run the model with its own ``generate``."""
    model = setup.adapter.model
    config, extra = generation_config(model, generate)
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
        model.generate(
            **request.inputs(input_device(model)),
            **request.encoded.generate_options,
            **arguments,
            generation_config=config,
            streamer=streamer,
        )

    # Gradients need a cache of their own making.
    reads = setup.verify is not None and gradient_target(setup.needs) is None
    modules = attention_modules(setup.adapter.decoder) if reads else []
    return _session(
        setup,
        request,
        rows,
        work,
        block=block,
        prompt=PromptRecord(request.prompt_length, modules) if reads else None,
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
            logits_processor=forced([response], request.prompt_length),
        )

    stepwise = gradient_target(setup.needs) is not None
    return _session(
        setup,
        request,
        rows,
        step_by_step if stepwise else one_pass,
        block=block,
        foils=foils,
        **replay_record(given),
    )


def replay_record(given: RequestAndResponse) -> dict[str, Any]:
    """Return what the provenance says of a response that was given."""
    return {
        "generation": {
            "replay": True,
            "contrast": given.foils is not None,
            "response_ids": given.ids_from,
        },
        "finished": lambda ids: given.finished,
    }


def _session(
    setup: Setup,
    request: EncodedRequest,
    rows: Callable[[Sequence[int], bool], Capture],
    work: Callable[[Session, Callable[[int], None]], None],
    *,
    block: int,
    foils: Sequence[int | None] | None = None,
    **options: Any,
) -> Session:
    wanted = capturing(setup)
    capture: Capture | None = wanted.gradients(request.prompt_length, foils)
    if capture is None:
        capture = rows(wanted.layers, wanted.values)
    return Session(
        setup=setup,
        request=request,
        layers=wanted.layers,
        engine=wanted.engine(request, capture, block),
        capture=capture,
        modules=wanted.modules,
        work=work,
        **options,
    )

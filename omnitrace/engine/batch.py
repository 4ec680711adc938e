"""Several requests in one batch of the model: live, or with responses that exist already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from omnitrace.capture.batch import Batch
from omnitrace.capture.decode import RowCapture
from omnitrace.capture.exclusive import evaluated, model_lock
from omnitrace.capture.gradients import GradientCapture
from omnitrace.capture.parameters import input_device
from omnitrace.capture.replay import ReplayCapture
from omnitrace.engine.assembler import Block
from omnitrace.engine.attributed import Attributed
from omnitrace.engine.capturing import Capturing, capturing, listening
from omnitrace.engine.prepare import RequestAndResponse
from omnitrace.engine.session import replay_record
from omnitrace.engine.setup import Setup
from omnitrace.models.collate import Side
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.forward import kept_logits
from omnitrace.models.generation import (
    StepStreamer,
    defers,
    ended,
    forced,
    generation_config,
    generation_record,
    stop_tokens,
)

__all__ = ["BatchSession", "live_batch", "replay_batch"]

#: Takes the tokens of one step, one for each sequence.
_Push = Callable[[Sequence[int]], None]


@dataclass(slots=True, kw_only=True)
class BatchSession:
    """What is running: requests with their engines, and what all of them share.

    Attributes
    ----------
    members:
        The requests of the batch, in its order.
    batch:
        What listens to the model, and each sequence's part of it.
    modules:
        The modules that are listened to.
    work:
        Runs the model, and pushes the tokens of every step.
    ends:
        Whether the tokens of a member are its whole response.
    """

    members: Sequence[Attributed]
    batch: Batch
    modules: Sequence[nn.Module]
    work: Callable[[_Push], None]
    ends: Callable[[int, Sequence[int]], bool]

    def run(self) -> None:
        """Run the model; the members' traces can be assembled then.

        A member whose signal broke its contract does not hold up the others: its engine's
        ``check`` raises.
        """
        adapter = self.members[0].setup.adapter
        model = adapter.model
        lock = model_lock(model)
        with lock.held(), lock.working(), evaluated(model):
            started = time.perf_counter()
            with listening(model, adapter.decoder, self.modules, self.batch.capture):
                self.work(self._push)
                for index in range(len(self.members)):
                    self._end(index)
        self.batch.close()
        seconds = time.perf_counter() - started
        for member in self.members:
            member.timings = {"encode": member.request.seconds, "generate": seconds}

    def _push(self, ids: Sequence[int]) -> None:
        sequences = self.batch.sequences
        written = [
            None if sequence.ended else token
            for sequence, token in zip(sequences, ids, strict=True)
        ]
        if all(token is None for token in written):
            return
        self.batch.capture.select_all(written)
        for index, token in enumerate(written):
            if token is None:
                continue
            member = self.members[index]
            member.engine.push(token, _worked_on(member))
            if self.ends(index, member.engine.ids):
                self._end(index)
        self.batch.forget()

    def _end(self, index: int) -> None:
        sequence = self.batch.sequences[index]
        if not sequence.ended:
            self.members[index].engine.finish(_worked_on(self.members[index]))
            sequence.ended = True


def _worked_on(member: Attributed) -> Callable[[Block], None]:
    def process(block: Block) -> None:
        member.engine.assembler.process(block)

    return process


def live_batch(
    setup: Setup, requests: Sequence[EncodedRequest], generate: Mapping[str, Any], *, block: int
) -> BatchSession:
    """Prepare to run the model's own ``generate`` for several requests at once.

    Raises
    ------
    NotSupportedError
        If the adapter cannot join the inputs of the requests.
    """
    model = setup.adapter.model
    config, extra = generation_config(model, generate)
    stops = stop_tokens(config)
    if config.pad_token_id is None and stops:
        config.pad_token_id = stops[0]  # what generate() would take, with a warning
    pads = _pads(requests)
    width = max(each.prompt_length for each in requests)
    wanted = capturing(setup)

    capture = wanted.gradients(width) or RowCapture(
        wanted.layers,
        width,
        use_cache=config.use_cache is not False,
        deferred=defers(config),
        values=wanted.values,
        pads=pads,
    )
    inputs = _joined(requests, [each.encoded.inputs for each in requests], model)

    record = {
        "generation": generation_record(config),
        "finished": lambda ids: ended(config, ids),
    }

    def work(push: _Push) -> None:
        model.generate(**inputs, **extra, generation_config=config, streamer=StepStreamer(push))

    return _batch_session(
        wanted,
        requests,
        Batch(capture, pads),
        work,
        block=block,
        ends=lambda index, ids: ids[-1] in stops,
        records=[record] * len(requests),
    )


def replay_batch(setup: Setup, given: Sequence[RequestAndResponse], *, block: int) -> BatchSession:
    """Prepare to attribute several responses at once, which the model need not have written.

    Sequences are filled up on the right where one pass shows all rows, so that the model counts
    their positions as if they were alone, and on the left where gradients come step by step.

    Raises
    ------
    NotSupportedError
        As :func:`live_batch`.
    """
    wanted = capturing(setup)
    requests = [each.request for each in given]
    ids = [each.ids for each in given]
    stepwise = wanted.gradients(max(each.prompt_length for each in requests))
    batch, work = (
        _one_pass(wanted, requests, ids)
        if stepwise is None
        else _step_by_step(setup, stepwise, requests, ids)
    )
    return _batch_session(
        wanted,
        requests,
        batch,
        work,
        block=block,
        ends=lambda index, ids: len(ids) == len(given[index].ids),
        records=[replay_record(each) for each in given],
    )


def _one_pass(
    wanted: Capturing, requests: Sequence[EncodedRequest], responses: Sequence[Sequence[int]]
) -> tuple[Batch, Callable[[_Push], None]]:
    model = wanted.setup.adapter.model
    shortest = min(each.prompt_length for each in requests)
    firsts = [each.prompt_length - shortest for each in requests]

    capture = ReplayCapture(wanted.layers, shortest, values=wanted.values)
    whole = [
        each.inputs_with(response, torch.device("cpu"))
        for each, response in zip(requests, responses, strict=True)
    ]
    inputs = _joined(requests, whole, model, side="right")

    def work(push: _Push) -> None:
        with torch.no_grad():
            model(**inputs, use_cache=False, logits_to_keep=kept_logits(model, 1))
        for step in range(max(map(len, responses))):
            push([each[min(step, len(each) - 1)] for each in responses])

    return Batch(capture, [0] * len(requests), firsts), work


def _step_by_step(
    setup: Setup,
    capture: GradientCapture,
    requests: Sequence[EncodedRequest],
    responses: Sequence[Sequence[int]],
) -> tuple[Batch, Callable[[_Push], None]]:
    model = setup.adapter.model
    width = max(each.prompt_length for each in requests)
    config, _ = generation_config(model, {"max_new_tokens": max(map(len, responses))})
    inputs = _joined(requests, [each.encoded.inputs for each in requests], model)

    def work(push: _Push) -> None:
        model.generate(
            **inputs,
            generation_config=config,
            streamer=StepStreamer(push),
            logits_processor=forced(responses, width),
        )

    return Batch(capture, _pads(requests)), work


def _pads(requests: Sequence[EncodedRequest]) -> list[int]:
    """Return how much shorter each prompt is than the longest."""
    longest = max(each.prompt_length for each in requests)
    return [longest - each.prompt_length for each in requests]


def _joined(
    requests: Sequence[EncodedRequest],
    inputs: Sequence[Mapping[str, torch.Tensor]],
    model: Any,
    side: Side = "left",
) -> dict[str, Any]:
    """Return the inputs of a batch on the model's device, and the options that all of it needs."""
    device = input_device(model)
    joined = requests[0].adapter.collate(inputs, side=side)
    return {
        **{name: value.to(device) for name, value in joined.items()},
        **requests[0].encoded.generate_options,
    }


def _batch_session(
    wanted: Capturing,
    requests: Sequence[EncodedRequest],
    batch: Batch,
    work: Callable[[_Push], None],
    *,
    block: int,
    records: Sequence[Mapping[str, Any]],
    ends: Callable[[int, Sequence[int]], bool],
) -> BatchSession:
    members = [
        Attributed(
            setup=wanted.setup,
            request=request,
            layers=wanted.layers,
            engine=wanted.engine(request, sequence, block),
            generation={**record["generation"], "batch": {"size": len(requests)}},
            finished=record["finished"],
        )
        for request, sequence, record in zip(requests, batch.sequences, records, strict=True)
    ]
    return BatchSession(members=members, batch=batch, modules=wanted.modules, work=work, ends=ends)

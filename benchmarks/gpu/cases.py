"""The ways to run one request, each with its time and memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from common.decoding import Stopwatch
from gpu.requests import Asked
from omnitrace import Tracer
from omnitrace.errors import OmnitraceError

__all__ = ["MODES", "Bench", "Measured"]

#: What the model is made to write, again and again: several statements.
_WRITTEN: Final = "the lamp is red. the chair cost nine coins. a bell is heard. "
_BATCH: Final = 4
MODES: Final = (
    "untraced",
    "traced",
    "traced, values",
    "streamed",
    "grad-sam",
    "verified",
    "replayed",
    "batched",
    "eager",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case cost.

    ``seconds`` is all until the caller has the result, a request where several run together;
    ``prefill`` until the first token was selected and ``decode`` from there to the end of the loop,
    None where there is no loop. ``peak`` is by how many bytes the memory of the device grew, None
    on a processor. ``left_out`` says why there is nothing.
    """

    seconds: float | None = None
    prefill: float | None = None
    decode: float | None = None
    peak: int | None = None
    left_out: str = ""


class _Forced(LogitsProcessor):  # type: ignore[misc]
    """Leaves ``generate`` one choice a step."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self._ids = ids
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = torch.full_like(scores, -torch.inf)
        scores[:, self._ids[self._step % len(self._ids)]] = 0.0
        self._step += 1
        return scores


class Bench:
    """A model with its processor, ready to run a request in each mode.

    Parameters
    ----------
    model, processor:
        See :mod:`gpu.models`.
    new_tokens:
        How many tokens are written.
    attention:
        The implementation of the decoder's attention.
    """

    def __init__(self, model: Any, processor: Any, new_tokens: int, attention: str) -> None:
        model.set_attn_implementation(attention)
        self.tracer = Tracer(model, processor, signal="attention-mean")
        self.model = self.tracer.adapter.model
        self.attention = attention
        self.new_tokens = new_tokens
        ids = self.tracer.adapter.tokenizer(_WRITTEN, add_special_tokens=False)["input_ids"]
        self.written = tuple((ids * (new_tokens // len(ids) + 1))[:new_tokens])

    @property
    def modes(self) -> Mapping[str, Callable[[Asked, Stopwatch], int]]:
        """What runs in each mode; a run returns how many requests it answered."""
        return {
            "untraced": self._untraced,
            "traced": lambda asked, watch: self._traced(asked, watch),
            "traced, values": lambda asked, watch: self._traced(
                asked, watch, signal="value-attention", verify=False
            ),
            "streamed": self._streamed,
            "grad-sam": lambda asked, watch: self._traced(asked, watch, signal="grad-sam"),
            "verified": lambda asked, watch: self._traced(
                asked, watch, signal="value-attention", verify=True
            ),
            "replayed": self._replayed,
            "batched": self._batched,
            "eager": self._eager,
        }

    def measure(self, mode: str, asked: Asked) -> Measured:
        """Run a request in a mode; what fails says why."""
        self._synchronise()
        gc.collect()
        watch = Stopwatch()
        before = self._begin()
        started = watch.now()
        try:
            answered = self.modes[mode](asked, watch)
            self._synchronise()
        except torch.OutOfMemoryError:
            return self._failed("out of memory")
        except (OmnitraceError, NotImplementedError) as error:
            return self._failed(str(error)[:300])
        seconds = watch.now() - started
        peak = self._peak(before)
        first = watch.stamps[0] if watch.stamps and watch.ended else None
        return Measured(
            seconds / answered,
            None if first is None else first - started,
            None if first is None else watch.ended - first,
            peak,
        )

    def warm_up(self, asked: Asked) -> None:
        """Start kernels and fill caches outside of what is measured."""
        self._untraced(asked, Stopwatch(), new_tokens=2)
        self.tracer.trace(asked.messages, max_new_tokens=2)

    def untraced(self, asked: Asked) -> None:
        """Write the response without a tracer, handing on every token."""
        self._untraced(asked, Stopwatch())

    def traced(self, asked: Asked, signal: str) -> None:
        """Write the response with a tracer of a signal."""
        self._traced(asked, Stopwatch(), signal=signal)

    def _options(self, watch: Stopwatch) -> dict[str, Any]:
        forced = LogitsProcessorList([_Forced(self.written)])
        return {"max_new_tokens": self.new_tokens, "streamer": watch, "logits_processor": forced}

    def _traced(self, asked: Asked, watch: Stopwatch, **tracer: Any) -> int:
        used = self.tracer.with_options(**tracer) if tracer else self.tracer
        used.trace(asked.messages, **self._options(watch))
        return 1

    def _streamed(self, asked: Asked, watch: Stopwatch) -> int:
        with self.tracer.stream(asked.messages, **self._options(watch)) as events:
            for _ in events:
                pass
        return 1

    def _replayed(self, asked: Asked, watch: Stopwatch) -> int:
        self.tracer.replay(asked.messages, self.written)
        return 1

    def _batched(self, asked: Asked, watch: Stopwatch) -> int:
        if not hasattr(self.tracer, "trace_many"):
            raise NotImplementedError("Tracer.trace_many is not there")
        # The forced response counts its steps, and so cannot be shared; letters are written.
        requests = [asked.messages] * _BATCH
        list(self.tracer.trace_many(requests, batch_size=_BATCH, max_new_tokens=self.new_tokens))
        return _BATCH

    def _eager(self, asked: Asked, watch: Stopwatch) -> int:
        # Of the decoder alone: towers with eager attention would be out of memory before it.
        self.model.set_attn_implementation({"text_config": "eager"})
        try:
            return self._untraced(
                asked, watch, output_attentions=True, return_dict_in_generate=True
            )
        finally:
            self.model.set_attn_implementation({"text_config": self.attention})

    def _untraced(
        self, asked: Asked, watch: Stopwatch, new_tokens: int | None = None, **more: Any
    ) -> int:
        adapter = self.tracer.adapter
        conversation = self.tracer.read(asked.messages)
        encoded = adapter.encode(conversation, self.tracer.setup.sources)
        inputs = {name: each.to(self.model.device) for name, each in encoded.inputs.items()}
        options = self._options(watch)
        options["max_new_tokens"] = new_tokens or self.new_tokens
        with torch.no_grad():
            self.model.generate(
                **inputs, **encoded.generate_options, do_sample=False, **options, **more
            )
        return 1

    def _synchronise(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)

    def _begin(self) -> int:
        if self.model.device.type != "cuda":
            return 0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.model.device)
        return torch.cuda.memory_allocated(self.model.device)

    def _peak(self, before: int) -> int | None:
        if self.model.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.model.device) - before

    def _failed(self, why: str) -> Measured:
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return Measured(left_out=why)

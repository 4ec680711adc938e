"""The process of one model: runs its cases, and reports each as soon as it is measured."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import torch
from transformers.utils import is_flash_attn_2_available

from gpu.cases import MODES, Bench, Measured
from gpu.models import make_model
from gpu.requests import Asked, request_of
from gpu.waits import waits_of

__all__ = ["run_model"]

FLASH: Final = "flash_attention_2"
#: What is measured with FlashAttention: the modes whose rows come from beside it.
_WITH_FLASH: Final = ("untraced", "traced", "replayed")
_WAITING: Final = ("attention-mean", "value-attention")
_PROFILED: Final = 24  # tokens: more than one block; the profiler keeps every operator
_SIDE: Final = 64  # of a tiny model's picture
#: A longer prompt takes this power of the ratio of lengths longer; between a linear and a square.
_GROWTH: Final = 1.5

Report = Callable[[dict[str, Any]], None]


def run_model(given: argparse.Namespace, report: Report) -> None:
    """Measure one model, shortest prompts first, until the time is up.

    Parameters
    ----------
    given:
        The options of the command; ``given.worker`` names the model, and at ``given.until`` of the
        monotonic clock the time is up.
    report:
        Takes what was found, case by case.
    """
    started = time.monotonic()
    device = torch.device("cpu" if given.tiny else "cuda")
    dtype = torch.float32 if given.tiny else torch.bfloat16
    model, processor = make_model(given.worker, device, dtype, tiny=given.tiny)
    report({"seconds_to_make": round(time.monotonic() - started, 1)})
    cases = _Cases(report, given.until)
    flash = _without_flash(given)
    if flash:
        report({"attention": FLASH, "left_out": flash})
    for place, length in enumerate(given.lengths):
        bench = Bench(model, processor, given.new_tokens, "sdpa")
        asked = request_of(bench.tracer, length, side=_SIDE if given.tiny else None)
        if place == 0:
            bench.warm_up(asked)
            if "waits" in given.modes:
                few = Bench(model, processor, min(given.new_tokens, _PROFILED), "sdpa")
                _report_waits(few, asked, report)
        cases.run(bench, asked, [mode for mode in MODES if mode in given.modes])
        if not flash:
            bench = Bench(model, processor, given.new_tokens, FLASH)
            cases.run(bench, asked, [mode for mode in _WITH_FLASH if mode in given.modes])


class _Cases:
    """Runs cases while there is time, and leaves out those that cannot end or have no memory."""

    def __init__(self, report: Report, until: float) -> None:
        self._report, self._until = report, until
        self._took: dict[tuple[str, str], tuple[int, float]] = {}
        self._full: dict[tuple[str, str], int] = {}

    def run(self, bench: Bench, asked: Asked, modes: list[str]) -> None:
        """Run one request in some modes."""
        for mode in modes:
            key = bench.attention, mode
            why = self._reason_against(key, asked.tokens)
            started = time.monotonic()
            found = Measured(left_out=why) if why else bench.measure(mode, asked)
            if found.left_out == "out of memory":
                self._full[key] = asked.tokens
            elif not found.left_out:
                self._took[key] = asked.tokens, time.monotonic() - started
            about = {
                "attention": bench.attention,
                "tokens": asked.tokens,
                "pictures": asked.pictures,
                "seconds_of_audio": asked.seconds,
                "mode": mode,
            }
            self._report({**about, **asdict(found)})

    def _reason_against(self, key: tuple[str, str], tokens: int) -> str:
        if key in self._full:
            return f"out of memory at {self._full[key]} tokens already"
        left = self._until - time.monotonic()
        before, seconds = self._took.get(key, (tokens, 0.0))
        expected = seconds * max(1.0, tokens / before) ** _GROWTH
        if left <= max(expected, 1.0):
            return f"no time left: about {expected:.0f} s expected, {max(left, 0):.0f} s left"
        return ""


def _without_flash(given: argparse.Namespace) -> str:
    """Say why there is nothing of FlashAttention; empty where it can be used."""
    if given.tiny:
        return "FlashAttention needs a GPU"
    return "" if is_flash_attn_2_available() else "the package flash-attn is not installed"


def _report_waits(bench: Bench, asked: Asked, report: Report) -> None:
    """Count the waits that tracing adds to writing the same tokens."""
    plain = waits_of(lambda: bench.untraced(asked))
    for signal in _WAITING:
        traced = waits_of(lambda signal=signal: bench.traced(asked, signal))  # type: ignore[misc]
        report(
            {
                "waits": signal,
                "tokens": asked.tokens,
                "new_tokens": bench.new_tokens,
                "block": bench.tracer.setup.block,
                "untraced": dict(plain),
                "traced": dict(traced),
            }
        )


def print_report(found: dict[str, Any]) -> None:
    """Hand a finding to the process that started this one."""
    print(json.dumps(found), flush=True)

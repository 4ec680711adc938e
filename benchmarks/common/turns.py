"""Modes of decoding that take turns: in one process for time, in a fresh one each for memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from common.report import BenchmarkError

__all__ = ["MALLOC", "alternate", "grown_memory", "memory_in_own_process", "ratios", "rotated"]

#: glibc keeps freed memory or gives it back by rules that change as it runs, which moves the peak
#: by half from run to run; with fixed rules the resident size is what is really in use.
MALLOC: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


def rotated(modes: Sequence[str], by: int) -> list[str]:
    """Return the modes in another order for every alternation, so that none is always first."""
    by %= len(modes)
    return [*modes[by:], *modes[:by]]


def alternate(
    decoder: Any, alternations: int, eager: int, new_tokens: int
) -> tuple[list[list[Any]], str]:
    """Run untraced and traced beside each other, again and again, and eager attention after them.

    Also say why eager attention was left out, if it was.

    Raises
    ------
    BenchmarkError
        If tracing changed a token.
    """
    from rich.progress import track

    from common.decoding import eager_bytes
    from common.memory import available_bytes

    decoder.warm_up()
    left_out = ""
    need = eager_bytes(decoder.model, decoder.prompt_tokens)
    if eager and need * 1.25 > available_bytes():
        left_out = (
            f"eager at {decoder.prompt_tokens} tokens was left out: it keeps "
            f"{need / 1e9:.1f} GB of attention, {available_bytes() / 1e9:.1f} GB were free"
        )
        eager = 0
    rounds = []
    for number in track(range(alternations), description=f"{decoder.prompt_tokens} tokens"):
        timings = decoder.run_in_turns(rotated(("untraced", "traced"), number), new_tokens)
        if number < eager:
            timings.append(decoder.run("eager", new_tokens))
        by_mode = {timing.mode: timing for timing in timings}
        if by_mode["traced"].ids != by_mode["untraced"].ids:
            raise BenchmarkError("traced and untraced decoding wrote different tokens")
        rounds.append(timings)
    return rounds, left_out


def ratios(rounds: Sequence[Sequence[Any]], mode: str) -> list[float]:
    """Return decode time over untraced decode time, for each alternation that has both."""
    found = []
    for timings in rounds:
        seconds = {timing.mode: timing.decode for timing in timings}
        if mode in seconds:
            found.append(seconds[mode] / seconds["untraced"])
    return found


def memory_in_own_process(
    mode: str, prompt_tokens: int, given: argparse.Namespace, script: Path
) -> int | None:
    """Measure one mode's peak growth in a fresh process of ``script``.

    Returns None where it did not get the memory.
    """
    command = [sys.executable, str(script), "--memory-of", mode]
    command += ["--lengths", str(prompt_tokens), "--threads", str(given.threads)]
    command += ["--new-tokens", str(given.new_tokens)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode != 0:
        if mode == "eager":
            return None
        raise BenchmarkError(f"the memory run of {mode} failed:\n{done.stderr.strip()[-2000:]}")
    return int(json.loads(done.stdout.strip().splitlines()[-1])["growth"])


def grown_memory(
    prompt_tokens: int,
    modes: Sequence[str],
    runs: int,
    given: argparse.Namespace,
    script: Path,
) -> dict[str, list[int]]:
    """Return every mode's peak growths, each from a process of its own; eager runs once."""
    grown: dict[str, list[int]] = {mode: [] for mode in modes}
    for number in range(runs):
        for mode in rotated(modes, number):
            if mode == "eager" and number:
                continue
            growth = memory_in_own_process(mode, prompt_tokens, given, script)
            if growth is not None:
                grown[mode].append(growth)
    return grown

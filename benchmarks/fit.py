"""What learning the estimator's weights costs, on examples whose weights are known.

A thousand examples as a model of 36 layers with 32 heads would give them: attention shares of 1,152
heads on 16 units for 3 spans, and the log-probabilities of the spans under 32 masks in pairs of
complements. They are drawn, not measured: a tenth of the heads have a planted weight, and what the
masks do is linear in the shares, with noise. So beside the seconds stands how well each fit finds
the planted weights, and the planted effects in examples that it never saw. A fit is all of it: the
choice of the penalty (or rate and steps) on left-out examples, and the fit to all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.report import Bar, BenchmarkError, Result, Table, fill_in, parser, run_benchmark

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.estimator import Example, Fitted

SECONDS_LIMIT: Final = 5.0

HEADS: Final = 36 * 32
UNITS: Final = 16
SPANS: Final = 3
MASKS: Final = 32
EXAMPLES: Final = 1000
FRESH: Final = 50

# Heads look alike: what a head's logits are made of, as standard deviations.
_COMMON, _FAMILY, _OWN = 1.0, 0.7, 0.7
_FAMILIES: Final = 48
_PLANTED: Final = 0.1  # share of the heads that count
_NOISE: Final = 0.5  # of a target, in units of the spread of what is planted
_KINDS: Final = ("ridge", "nnls", "pearson")
_COLUMNS: Final = (
    "fit",
    "runs",
    "s",
    "CPU s",
    "chosen",
    "r of weights",
    "r of new effects",
    "same bits again",
)


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """Examples, the weights of their heads ``[F]``, and examples to be judged on."""

    examples: list[Example]
    fresh: list[Example]
    weights: np.ndarray


def plant(examples: int, heads: int = HEADS, seed: int = 0) -> Planted:
    """Draw examples that follow planted weights, and some more."""
    import numpy as np

    rng = np.random.default_rng(seed)
    weights = rng.normal(size=heads) * (rng.random(heads) < _PLANTED)
    families = rng.integers(_FAMILIES, size=heads)
    drawn = [_example(f"example {i}", weights, families, rng) for i in range(examples + FRESH)]
    return Planted(drawn[:examples], drawn[examples:], weights)


def _example(
    name: str, weights: np.ndarray, families: np.ndarray, rng: np.random.Generator
) -> Example:
    import numpy as np

    from omnitrace.ablation import random_masks
    from omnitrace.estimator import Example

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    logits = _COMMON * drawn(SPANS, 1, UNITS) + _OWN * drawn(SPANS, len(weights), UNITS)
    logits += _FAMILY * drawn(SPANS, _FAMILIES, UNITS)[:, families]
    shares = np.exp(logits)
    shares /= shares.sum(axis=2, keepdims=True)
    masks = random_masks(UNITS, MASKS, seed=name)
    effects = weights @ shares.astype(np.float64)
    planted = masks.astype(np.float64) @ effects.T
    noise = _NOISE * planted.std(axis=0) * rng.normal(size=planted.shape)
    tokens = rng.integers(5, 40, size=SPANS)
    # Spans differ in how much there is to lose, which a fit must not care about.
    logprobs = tokens * (planted + noise) - 10.0
    return Example(name, shares, masks, logprobs, ("text",) * UNITS, tokens)


def fitted(examples: Sequence[Example], kind: Any) -> Fitted:
    """Learn weights as training does."""
    from omnitrace.estimator import FitOptions, fit_weights

    return fit_weights(examples, FitOptions(kind=kind))


def digest(found: Fitted) -> str:
    """Return a SHA-256 of all that a fit found."""
    import numpy as np

    made = hashlib.sha256(repr((found.noise, found.chosen, found.tried)).encode())
    for each in (found.weights, found.covariance):
        if each is not None:
            made.update(np.ascontiguousarray(each).tobytes())
    return made.hexdigest()


def of_weights(found: Fitted, planted: Planted) -> float:
    """Return Pearson's correlation of learnt and planted weights of heads."""
    import numpy as np

    return float(np.corrcoef(found.weights[: len(planted.weights)], planted.weights)[0, 1])


def of_effects(found: Fitted, planted: Planted) -> float:
    """Return that of scores and planted effects of units, the mean over new examples' spans."""
    import numpy as np

    correlations = []
    for each in planted.fresh:
        scores = found.scores(each.features, each.modalities)
        effects = planted.weights @ each.features.astype(np.float64)
        correlations += [
            np.corrcoef(a, b)[0, 1] for a, b in zip(scores, effects, strict=True) if a.std() > 0
        ]
    return float(np.mean(correlations)) if correlations else 0.0


def elsewhere(given: argparse.Namespace) -> str:
    """Fit in a process of its own; return the digest of what it found."""
    command = [sys.executable, str(Path(__file__).resolve()), "--digest-only"]
    command += ["--examples", str(given.examples), "--threads", str(given.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"the second process failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def run_kind(kind: str, runs: int, planted: Planted) -> dict[str, Any]:
    """Fit again and again; return seconds, what was found, and whether it was always the same."""
    wall, cpu, digests = [], [], []
    found = None
    for _ in range(runs):
        started, spent = time.perf_counter(), time.process_time()
        found = fitted(planted.examples, kind)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - spent)
        digests.append(digest(found))
    assert found is not None
    return {
        "wall": wall,
        "cpu": cpu,
        "digests": digests,
        "chosen": found.chosen,
        "tried": found.tried,
        "weights": of_weights(found, planted),
        "effects": of_effects(found, planted),
    }


def measure(given: argparse.Namespace) -> Result:
    """Fit in every way."""
    import statistics

    import torch
    from threadpoolctl import threadpool_limits

    from omnitrace.estimator import fit_weights  # noqa: F401 - loaded before anything is timed

    torch.set_num_threads(given.threads)
    planted = plant(given.examples)
    rows, values = [], {}
    with threadpool_limits(given.threads):
        for kind in given.kinds:
            runs = given.runs if kind == "ridge" else 1
            one = values[kind] = run_kind(kind, runs, planted)
            if kind == "ridge":
                one["digests"].append(elsewhere(given))
            same = len(set(one["digests"])) == 1
            rows.append(
                [
                    kind,
                    str(runs),
                    f"{statistics.median(one['wall']):.2f}",
                    f"{statistics.median(one['cpu']):.2f}",
                    ", ".join(f"{name} {value:g}" for name, value in one["chosen"].items()),
                    f"{one['weights']:.3f}",
                    f"{one['effects']:.3f}",
                    ("yes" if same else "no") if len(one["digests"]) > 1 else "",
                ]
            )
    bars = []
    if "ridge" in values:
        ridge = values["ridge"]
        bars = [
            Bar(
                "ridge: CPU s of all threads, median",
                statistics.median(ridge["cpu"]),
                SECONDS_LIMIT,
            ),
            Bar("ridge: reruns with other bits", len(set(ridge["digests"])) - 1.0, 0.0),
        ]
    return Result(
        name="fit",
        title=f"Learning {HEADS:,} weights from {given.examples:,} examples",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"{given.examples:,} drawn examples of {SPANS} spans, {HEADS:,} heads, {UNITS} units "
            f"and {MASKS} masks in pairs of complements; a tenth of the heads have a weight, "
            f"heads look alike in {_FAMILIES} families, and a target has noise of {_NOISE:g} times "
            "the spread of what is planted",
            "a fit: normal equations or ascent, the choice of penalty (or rate and steps) on "
            f"left-out examples, and the fit to all; options as by default; {given.threads} "
            "thread(s)",
            "CPU s: of all threads; on an idle machine no fit takes longer on the clock than that",
            "r of weights: Pearson's correlation of learnt and planted weights; r of new effects: "
            f"that of scores and planted effects of units, mean over the spans of {FRESH} new "
            "examples",
            "same bits again: weights, their covariance, noise and all correlations that were "
            "tried, in every run and in a second process with as many threads",
        ],
        bars=bars,
        settings={name: getattr(given, name) for name in ("examples", "runs", "kinds", "threads")},
        values=values,
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Learn planted weights in every way.")
    made.add_argument("--examples", type=int, help=f"by default {EXAMPLES:,}, quick 100")
    made.add_argument("--runs", type=int, default=3, help="of ridge (%(default)s); others run once")
    made.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS))
    made.add_argument("--threads", type=int, default=1, help="of BLAS and torch (%(default)s)")
    made.add_argument("--digest-only", action="store_true", help=argparse.SUPPRESS)
    given = made.parse_args(arguments)
    fill_in(given, {"examples": 100 if given.quick else EXAMPLES})
    for name, least in (("examples", 2), ("runs", 1), ("threads", 1)):
        if getattr(given, name) < least:
            made.error(f"--{name} is {getattr(given, name)}: at least {least}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    if not given.digest_only:
        return run_benchmark(measure, given)
    from threadpoolctl import threadpool_limits

    planted = plant(given.examples)
    with threadpool_limits(given.threads):
        print(digest(fitted(planted.examples, "ridge")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

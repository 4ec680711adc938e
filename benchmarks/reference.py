"""How well attributions name the evidence on the reference world, where it is known.

Held-out samples are written as real files, answered by the reference model and traced. Two
measures, per modality of the evidence: *top-1*, whether the unit of highest mass at the value
word's tokens names the evidence, and *sentence F1* of the selected supports against the true units.
Attribution is measured for statements that the model got right; wrong ones are counted apart.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from _stats import Estimate, bootstrap_mean
from common import BenchmarkError, Result, Table, parser, run_benchmark

if TYPE_CHECKING:
    from _reference_truth import Judged

    from omnitrace import CurationConfig

MODALITIES: Final = ("text", "image", "audio", "video")
SIGNALS: Final = (
    "attention-mean",
    "attention-last",
    "value-attention",
    "grad-sam",
    "grad-sam-last",
)

#: What the full run switches, one at a time.
SWITCHES: Final[Mapping[str, Mapping[str, Any]]] = {
    "relay on": {"relay": True},
    "gate off": {"gate": False},
    "position weights off": {"position_weights": False},
    "confidence weight off": {"confidence_weight": False},
    "runs off": {"runs": False},
    "fallback off": {"fallback": False},
    "assign token-max": {"assign": "token-max"},
    "assign unit-mean": {"assign": "unit-mean"},
    "compete per modality": {"compete": "per-modality"},
    "one support at most": {"max_supports": 1},
}

#: A score of a statement, None where the method says nothing.
Scorer: TypeAlias = "Callable[[Judged], float | None]"


def supports_f1(config: CurationConfig | None = None) -> Scorer:
    """Score the supports of a statement's span, under another curation if one is given."""
    from _reference_truth import f1

    recurated: dict[int, Any] = {}

    def score(judged: Judged) -> float | None:
        if judged.span is None:
            return None
        trace = judged.trace
        if config is not None:
            if id(trace) not in recurated:
                recurated[id(trace)] = trace.recurate(config)
            trace = recurated[id(trace)]
        supports = trace.spans[judged.span.index].supports
        return f1(frozenset(support.unit.id for support in supports), judged.truth)

    return score


def top_one(config: CurationConfig | None = None) -> Scorer:
    """Score the unit of highest mass at the value word."""
    from _reference_truth import top_unit

    return lambda judged: float(top_unit(judged, config) in judged.truth)


def one_unit(choose: Callable[[Judged], str | None], *, as_f1: bool) -> Scorer:
    """Score a baseline that names one unit for each statement."""
    from _reference_truth import f1

    def score(judged: Judged) -> float | None:
        name = choose(judged)
        if as_f1:
            return f1(frozenset() if name is None else frozenset({name}), judged.truth)
        return float(name in judged.truth)

    return score


def estimates(statements: Sequence[Judged], score: Scorer, seed: int) -> dict[str, Estimate]:
    """Average over statements, per modality and over all; intervals resample whole samples."""
    found: dict[str, Estimate] = {}
    for modality in (*MODALITIES, "all"):
        groups: dict[int, list[float]] = {}
        for judged in statements:
            if modality in (judged.modality, "all"):
                value = score(judged)
                if value is not None:
                    groups.setdefault(judged.sample, []).append(value)
        found[modality] = bootstrap_mean(list(groups.values()), seed=seed)
    return found


def _load(name: str) -> Any:
    from omnitrace import Tracer
    from omnitrace.errors import ModelError

    try:
        return Tracer.from_pretrained(name, signal=SIGNALS[0])
    except ModelError as error:
        raise BenchmarkError(f"{error}\ntrain it: python -m omnitrace.reference.train") from error


def _collect(tracer: Any, samples: int) -> dict[str, list[Judged]]:
    from _reference_truth import trace_samples
    from rich.progress import track

    from omnitrace import Tracer

    found: dict[str, list[Judged]] = {}
    for signal in SIGNALS:
        run = tracer if signal == SIGNALS[0] else Tracer(adapter=tracer.adapter, signal=signal)
        judged = track(trace_samples(run, range(samples)), total=samples, description=signal)
        found[signal] = [statement for several in judged for statement in several]
    return found


def _baselines(prior: Any, *, as_f1: bool) -> dict[str, Scorer]:
    from _reference_truth import f1, longest_unit, random_unit

    scorers: dict[str, Scorer] = {
        "random unit": one_unit(random_unit, as_f1=as_f1),
        "longest unit": one_unit(lambda j: longest_unit(j.trace.units), as_f1=as_f1),
        "position prior": one_unit(lambda j: prior.unit(j.trace.units, j.modality), as_f1=as_f1),
    }
    if as_f1:
        scorers["all units"] = lambda j: f1(frozenset(u.id for u in j.trace.units), j.truth)
    return scorers


def measure(given: argparse.Namespace) -> Result:
    """Trace the samples with each signal and score everything."""
    import torch
    from _reference_truth import PRIOR_FROM, fit_prior

    torch.set_num_threads(given.threads)
    tracer = _load(given.model)
    prior = fit_prior(tracer, given.prior_samples)
    collected = _collect(tracer, given.samples)
    said = collected[SIGNALS[0]]
    right = {signal: [j for j in judged if j.span] for signal, judged in collected.items()}
    groups: list[tuple[str, str, dict[str, Estimate]]] = []
    sections: list[int] = []

    def add(measure: str, method: str, statements: Sequence[Judged], score: Scorer) -> None:
        groups.append((measure, method, estimates(statements, score, given.seed)))

    add("answers right", "value word", said, lambda j: float(j.span is not None))
    sections.append(0)
    for measure_name, scorer, is_f1 in (("top-1", top_one, False), ("F1", supports_f1, True)):
        for signal in SIGNALS:
            add(measure_name, signal, right[signal], scorer())
        for name, score in _baselines(prior, as_f1=is_f1).items():
            add(measure_name, name, right[SIGNALS[0]], score)
        sections.append(len(groups) - 1)
    if not given.quick:
        for name, change in SWITCHES.items():
            config = dataclasses.replace(tracer.curation, **change)
            if "assign" in change:
                add("top-1", f"{SIGNALS[0]}, {name}", right[SIGNALS[0]], top_one(config))
            add("F1", f"{SIGNALS[0]}, {name}", right[SIGNALS[0]], supports_f1(config))
        sections.append(len(groups) - 1)
    unlabelled = sum(not judged.truth for judged in said)
    wrong = sum(judged.span is None for judged in said)
    return Result(
        name="reference",
        title=f"Attribution on the reference world: {given.samples} held-out samples",
        quick=given.quick,
        table=Table(
            ("measure", "method", *MODALITIES, "all"),
            [
                [measure_name, method, *(found[m].text() for m in (*MODALITIES, "all"))]
                for measure_name, method, found in groups
            ],
            sections,
        ),
        notes=[
            f"{len(said)} statements; {wrong} were answered wrongly and are left out of top-1 and "
            f"F1; {unlabelled} have no unit that names their evidence and count as misses",
            "top-1: the unit of highest mass at the value word's tokens names the evidence; F1: of "
            "the supports of the sentence against the units that name the evidence, mean over "
            "sentences",
            "a unit names the evidence if more than half of the smaller of the two lies in the "
            "other",
            "intervals: 95 %, bootstrap over samples",
            f"position prior: the most frequent place of the true unit in {given.prior_samples} "
            f"other held-out samples (from number {PRIOR_FROM:,} on); it is told the modality",
            "random unit: one unit of the request, seeded; longest unit: the one of most tokens",
        ],
        settings={
            "model": given.model,
            "samples": given.samples,
            "prior_samples": given.prior_samples,
            "seed": given.seed,
        },
        values={
            "statements": len(said),
            "wrong": wrong,
            "unlabelled": unlabelled,
            "prior": dict(prior.places),
            "scores": [
                {
                    "measure": measure_name,
                    "method": method,
                    "estimates": {name: value.figures() for name, value in found.items()},
                }
                for measure_name, method, found in groups
            ],
        },
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Score attributions where the evidence is known.")
    made.add_argument("--samples", type=int, help="held-out samples; by default 200, quick 20")
    made.add_argument("--prior-samples", type=int, help="by default 200, quick 40")
    made.add_argument("--model", default="reference", help="a model folder, for other weights")
    made.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    made.add_argument("--threads", type=int, default=2)
    given = made.parse_args(arguments)
    given.samples = given.samples or (20 if given.quick else 200)
    given.prior_samples = given.prior_samples or (40 if given.quick else 200)
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())

"""Whether the path of the support predicts a wrong response early, on the reference world.

Requests with the same number of questions, a third as they are, a third with their evidence
weakened by noise, a third with the evidence of one statement in four removed, are answered and
traced; with ``--thinking`` they need several steps, which the model writes first, and half are as
they are, half weakened. A response is wrong if any of its statements is. How well the figures of a
trajectory separate wrong responses from right ones when a share of the response is written is what
vSTREAM asks; it reports an AUC of 0.69 for tortuosity at 30 %, on reasoning of thousands of tokens.
Traces are kept (``--cache``), so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.cache import CACHE, Kept, code_digest
from common.report import (
    BenchmarkError,
    Result,
    Table,
    add_validation,
    fill_in,
    parser,
    read_arguments,
    run_benchmark,
)
from common.workers import add_processes, workers_of

if TYPE_CHECKING:
    from omnitrace import Trace, Tracer
    from omnitrace.analysis import Prediction, Steps
    from omnitrace.evaluation.metrics.bootstrap import Estimate
    from trajectories.samples import Asked

#: The share of the response at which failure is predicted.
EARLY: Final = 0.3
#: Steps: spans, and windows of so many tokens.
WINDOWS: Final = (1, 2, 4)
SPANS: Final = "spans"


@dataclass(slots=True)
class Collected:
    """Steps of each response by the kind of step, and what is known of it."""

    steps: dict[str, list[Steps]] = field(default_factory=dict)
    right: list[bool] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    groundings: list[float] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    unsaid: int = 0


def measure(given: argparse.Namespace) -> Result:
    """Answer, trace and predict.

    Raises
    ------
    BenchmarkError
        If there is no model or signal, it cannot answer, or all responses are right or all wrong.
    """
    from omnitrace.analysis import predict_failure
    from omnitrace.errors import OmnitraceError

    try:
        found = collect(given)
        predictions = {
            kind: predict_failure(steps, found.right, draws=given.draws, seed=given.seed)
            for kind, steps in found.steps.items()
        }
    except OmnitraceError as error:
        raise BenchmarkError(str(error)) from error
    return result_of(given, found, predictions)


def collect(given: argparse.Namespace) -> Collected:
    """Answer and trace all requests; a response of nothing is left out and counted."""
    import torch
    from rich.progress import track

    from trajectories.samples import draw_asked

    torch.set_num_threads(given.threads)
    asked = draw_asked(
        given.samples, given.questions, validation=given.validation, thinking=given.thinking
    )
    with workers_of(given.processes, answering, given) as workers:
        if workers is not None:
            workers.map(keep, asked, what="answering and tracing")
    answered = answering(given)
    found = Collected()
    for each in track(asked, description="reading" if workers else "answering and tracing"):
        add(found, each, answered(each))
    return found


def answering(given: argparse.Namespace) -> Callable[[Asked], Trace]:
    """Load the model, and return what answers and traces a request or finds its trace."""
    from omnitrace import Tracer

    tracer = Tracer.from_pretrained(given.model, signal=given.signal)
    kept, about = Kept(given.cache), what_traces(tracer, given.signal)
    return lambda asked: answer(tracer, asked, kept, about)


def keep(answered: Callable[[Asked], Trace], asked: Asked) -> None:
    """Answer and trace a request in a worker; the parent finds the trace."""
    answered(asked)


def what_traces(tracer: Tracer, signal: str) -> dict[str, Any]:
    """Return what a trace depends on beside its request."""
    from common.examples import package_code
    from omnitrace.ablation.cache import model_digest

    samples = code_digest(Path(__file__).with_name("samples.py"))
    digest = model_digest(tracer.adapter.model)
    return {"model": digest, "signal": signal, "code": package_code(), "samples": samples}


def answer(tracer: Tracer, asked: Asked, kept: Kept, about: Mapping[str, Any]) -> Trace:
    """Write a request as files, and let the model answer it; or find the trace."""
    import tempfile

    from omnitrace import Trace
    from omnitrace.reference.files import write_sample

    sample = asked.sample
    request = {"seed": sample.seed, "messages": sample.messages, "condition": asked.condition}
    path = kept.path("traces", {**about, **request}, ".omnitrace")
    if path.is_file():
        return Trace.load(path)
    with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
        write_sample(sample, folder)
        trace = tracer.trace(sample.messages, media_root=folder)
    trace.save(path)
    return trace


def add(found: Collected, asked: Asked, trace: Trace) -> None:
    """Take one response in."""
    from omnitrace.analysis import TrajectoryConfig, steps_of
    from trajectories.samples import is_right

    by_span = steps_of(trace)
    if not len(by_span):
        found.unsaid += 1
        return
    found.sources.add(by_span.source)
    found.steps.setdefault(SPANS, []).append(by_span)
    for window in WINDOWS:
        config = TrajectoryConfig(by="tokens", window=window)
        found.steps.setdefault(_windows(window), []).append(steps_of(trace, config))
    # Thoughts are no statements, should the model have any.
    said = " ".join(span.text for span in trace.spans_of("answer"))
    found.right.append(is_right(asked, said))
    found.conditions.append(asked.condition)
    found.tokens.append(len(trace.tokens))
    early = trace.tokens[: max(1, round(EARLY * len(trace.tokens)))]
    found.groundings.append(sum(token.grounding for token in early) / len(early))


def result_of(
    given: argparse.Namespace, found: Collected, predictions: Mapping[str, Sequence[Prediction]]
) -> Result:
    """Put the figures into a table."""
    from omnitrace.analysis.trajectories import FIGURES

    rows: list[list[str]] = []
    sections: list[int] = []
    for kind, several in predictions.items():
        by = {(each.figure, each.elapsed): each for each in several}
        for figure in FIGURES:
            early, late = by[figure, EARLY], by[figure, 1.0]
            count = str(early.wrong + early.right)
            rows.append([kind, figure, early.auc.text(), count, late.auc.text()])
        sections.append(len(rows) - 1)
    inside = within(given, found)
    rows += [[name, "tortuosity", text, count, ""] for name, (text, count) in inside.items()]
    sections.append(len(rows) - 1)
    controls = controls_of(given, found)
    rows += [["control", name, each.text(), str(each.count), ""] for name, each in controls.items()]
    right = sum(found.right)
    steps = " of several steps" if given.thinking else ""
    return Result(
        name="trajectories",
        title=f"Failure predicted from the first {EARLY:.0%} of a response{steps}, AUC "
        "(reference world)",
        quick=given.quick,
        table=Table(
            ("steps", "figure", f"at {EARLY:.0%}", "responses", "of the whole response"),
            rows,
            sections,
        ),
        notes=notes_of(given, found, right),
        settings={
            name: getattr(given, name)
            for name in (
                "samples",
                "questions",
                "thinking",
                "signal",
                "model",
                "seed",
                "validation",
                "draws",
            )
        },
        values={
            "predictions": {k: [p.figures() for p in each] for k, each in predictions.items()},
            "controls": {name: each.figures() for name, each in controls.items()},
            "right": right,
            "wrong": len(found.right) - right,
            "unsaid": found.unsaid,
            "by condition": _by_condition(found),
            "source of span steps": sorted(found.sources),
        },
    )


def within(given: argparse.Namespace, found: Collected) -> dict[str, tuple[str, str]]:
    """Return the AUC of tortuosity among the responses of each condition, and their number."""
    from omnitrace.analysis import predict_failure
    from trajectories.samples import CONDITIONS

    rows = {}
    for condition in CONDITIONS[:2] if given.thinking else CONDITIONS:
        here = [i for i, each in enumerate(found.conditions) if each == condition]
        right = [found.right[i] for i in here]
        name = f"{given.main}, evidence {condition}"
        if len(set(right)) < 2:
            rows[name] = "–", str(len(here))  # noqa: RUF001
            continue
        (prediction,) = predict_failure(
            [found.steps[given.main][i] for i in here],
            right,
            shares=(EARLY,),
            figures=("tortuosity",),
            draws=given.draws,
            seed=given.seed,
        )
        rows[name] = prediction.auc.text(), str(prediction.wrong + prediction.right)
    return rows


def controls_of(given: argparse.Namespace, found: Collected) -> dict[str, Estimate]:
    """Return the AUC of what knows nothing of a path."""
    import numpy as np

    from omnitrace.evaluation.metrics.agreement import auroc
    from omnitrace.evaluation.metrics.bootstrap import bootstrap

    wrong = ~np.array(found.right, dtype=bool)
    controls = {
        "length of the response": np.array(found.tokens, dtype=float),
        f"little grounding in the first {EARLY:.0%}": -np.array(found.groundings),
    }
    return {
        name: bootstrap(
            len(wrong),
            lambda drawn, scores=scores: auroc(scores[drawn], wrong[drawn]),
            draws=given.draws,
            seed=given.seed,
        )
        for name, scores in controls.items()
    }


def notes_of(given: argparse.Namespace, found: Collected, right: int) -> list[str]:
    """Say how it was measured, and what that limits."""
    spans = [len(each) for each in found.steps.get(SPANS, [])]
    early = [len(each.until(EARLY)) for each in found.steps.get(given.main, [])]
    seeds = "validation" if given.validation else "held-out"
    conditions = ", ".join(
        f"{name}: {counts['right']} of {counts['responses']} right"
        for name, counts in _by_condition(found).items()
    )
    return [
        f"{given.samples} {seeds} samples with {given.questions} questions each; {right} responses "
        f"right, {len(found.right) - right} wrong ({conditions}); {found.unsaid} empty.",
        f"Signal {given.signal}; steps of spans rest on {' and '.join(sorted(found.sources))}, "
        "windows on masses. Intervals: bootstrap over responses.",
        f"Stated beforehand: the figure is the tortuosity of {given.main} at {EARLY:.0%}; the "
        "other rows are there to be compared, and are not chosen from.",
        f"The responses are short: {sum(spans) / len(spans):.1f} sentences and "
        f"{sum(found.tokens) / len(found.tokens):.0f} tokens on average"
        f"{', thoughts among them' if given.thinking else ''}. At {EARLY:.0%} a path of "
        f"{given.main} has {sum(early) / len(early):.1f} steps, one of spans hardly any; a "
        "statement that goes wrong later can be predicted only from what the whole request has in "
        "common. "
        "The paper's chains are thousands of tokens long.",
    ]


def _by_condition(found: Collected) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for condition, right in zip(found.conditions, found.right, strict=True):
        here = counts.setdefault(condition, {"responses": 0, "right": 0})
        here["responses"] += 1
        here["right"] += right
    return counts


def _windows(window: int) -> str:
    return "tokens" if window == 1 else f"windows of {window} tokens"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Predict wrong responses early from the trajectories of their support.")
    made.add_argument("--samples", type=int, help="by default 600, quick 24")
    made.add_argument("--questions", type=int, help="of each sample; by default 4, thinking 3")
    made.add_argument(
        "--thinking", action="store_true", help="questions of several steps, and their model"
    )
    made.add_argument("--signal", default="attention-mean", help="what traces (%(default)s)")
    made.add_argument("--model", help="a model folder, for other weights")
    made.add_argument(
        "--main",
        choices=[SPANS, *map(_windows, WINDOWS)],
        default=_windows(2),
        help="the steps whose tortuosity is the figure (%(default)s)",
    )
    add_validation(made, "samples")
    made.add_argument("--draws", type=int, default=1000, help="of the bootstrap (%(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    made.add_argument("--threads", type=int, default=2)
    add_processes(made, "the requests")
    made.add_argument(
        "--cache",
        type=Path,
        default=CACHE / "trajectories",
        metavar="FOLDER",
        help="where traces are kept (%(default)s)",
    )
    given = read_arguments(made, arguments)
    fill_in(
        given,
        {
            "samples": 24 if given.quick else 600,
            "questions": 3 if given.thinking else 4,
            "model": "reference-thinking" if given.thinking else "reference",
        },
    )
    for name, least in (("samples", 2), ("questions", 1), ("draws", 1)):
        if getattr(given, name) < least:
            made.error(f"--{name} is {getattr(given, name)}: at least {least}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))

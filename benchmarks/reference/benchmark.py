"""How well attributions name the evidence on the reference world, where it is known.

Samples are written as real files, answered by the reference model and traced by every signal. What
they say is judged by ``omnitrace.evaluation``, against the labels that the world comes with: per
modality of the evidence, for two sources, and for audio and video of a minute and more; strictly
(F1), and by all units that show what bears the value (cite-F1).
``--validation`` judges other samples, for choices; what is chosen is then reported once, without.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.report import (
    BenchmarkError,
    Result,
    add_validation,
    fill_in,
    parser,
    read_arguments,
    run_benchmark,
)
from common.workers import add_processes, each_of, workers_of

if TYPE_CHECKING:
    from common.world_samples import Drawn
    from omnitrace import Tracer
    from reference.rows import Collected

#: Every built-in signal; selection rules are switched for the first.
SIGNALS: Final = (
    "attention-mean",
    "attention-last",
    "value-attention",
    "grad-sam",
    "grad-sam-last",
    "estimator",
    "mask-gradient",
    "verified",
)


def measure(given: argparse.Namespace) -> Result:
    """Trace the samples with each signal and score everything."""
    import torch

    from reference.report import result_of
    from reference.rows import add_baselines, switched
    from reference.table import detail_markdown, details, lines_of

    torch.set_num_threads(given.threads)
    tracers = _load(given.model, given.signals, given.audio_units)
    first = tracers[given.signals[0]]
    selections = switched(first.setup.selection)
    found = _collect(tracers, given)
    add_baselines(found, given.seed)
    sections = lines_of(found, given.signals, selections, first.setup.selection, given.seed)
    more = details(found, given.signals, given.seed)
    if given.validation:
        print(f"{detail_markdown(more)}\n")
    if given.validation or given.pictures:
        _show_where(found, first, given.pictures)
    return result_of(given, found, sections, more, first.setup.selection)


def _load(model: str, signals: Sequence[str], audio_units: str) -> dict[str, Tracer]:
    from omnitrace.errors import InputError, ModelError, PluginError
    from reference.rows import make_tracers

    try:
        return make_tracers(model, signals, audio_units)
    except ModelError as error:
        raise BenchmarkError(
            f"{error}\ntrain it: python -m omnitrace.reference.training.train"
        ) from error
    except (InputError, PluginError) as error:
        raise BenchmarkError(str(error)) from error


def _collect(tracers: dict[str, Tracer], given: argparse.Namespace) -> Collected:
    from common.world_samples import draw_samples
    from reference.rows import Collected

    samples = draw_samples(
        given.samples,
        given.long_samples,
        validation=given.validation,
        aligned=given.aligned,
    )
    found = Collected()
    made = (_load, given.model, given.signals, given.audio_units)
    with workers_of(given.processes, *made) as workers:
        what = "answering and tracing"
        for one in each_of(workers, _one, samples, state=lambda: tracers, what=what):
            found.take(one)
    return found


def _one(tracers: dict[str, Tracer], drawn: Drawn) -> Collected:
    """Answer one sample, and score what each signal says of it."""
    from omnitrace.errors import OmnitraceError
    from reference.rows import Collected, answer, collect, switched

    found = Collected()
    first, *_ = tracers.values()
    try:
        collect(found, drawn, answer(tracers, drawn.sample), switched(first.setup.selection))
    except OmnitraceError as error:  # such as a medium that is too long for other weights
        raise BenchmarkError(f"{drawn.sample.id}: {error}") from error
    return found


def _show_where(found: Collected, tracer: Tracer, folder: Path | None) -> None:
    """Print where the first signal's supports lie, and draw cases if there is a folder for them."""
    from reference.cases import draw_cases, where_markdown

    print(where_markdown(found))
    if folder:
        print(f"wrote {len(draw_cases(found, tracer, folder))} pictures into {folder}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, and fill in what depends on ``--quick``."""
    made = parser("Score attributions where the evidence is known.")
    made.add_argument("--samples", type=int, help="by default 200, quick 20")
    made.add_argument(
        "--long-samples", type=int, help="more, with a long medium; by default 100, quick 8"
    )
    made.add_argument("--model", default="reference", help="a model folder, for other weights")
    made.add_argument(
        "--signals",
        type=lambda text: tuple(dict.fromkeys(text.split(","))),
        default=SIGNALS,
        metavar="A,B",
        help="by default all built-in ones; rules are switched for the first",
    )
    add_validation(made, "samples")
    made.add_argument(
        "--aligned",
        action="store_true",
        help="samples of the aligned world, in which evidence lies within whole units",
    )
    made.add_argument(
        "--audio-units", default="bins", metavar="UNITIZER", help="what cuts audio; default bins"
    )
    made.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw some right and some wrong cases"
    )
    made.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    made.add_argument("--threads", type=int, default=2)
    add_processes(made, "the samples")
    given = read_arguments(made, arguments)
    return fill_in(
        given,
        {
            "samples": 20 if given.quick else 200,
            "long_samples": 8 if given.quick else 100,
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))

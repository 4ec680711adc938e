"""Do units follow what is seen and heard? Unitizers on held-out samples of the reference world.

Every token is labelled by what it carries: the shape or digit whose box holds the middle of its
cell, the sound or appearance whose seconds hold its middle, or nothing. Purity is the share of
tokens that carry what most tokens of their unit carry; more units are purer whatever they follow,
so each unitizer that follows features stands beside the blind one with as many units.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from common.report import Result, Table, parser, run_benchmark
from common.workers import add_processes, each_of, workers_of

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter

#: Units of a medium, their purity, and how well they agree with the labels.
Row: TypeAlias = tuple[int, float, float]
#: By modality and unitizer.
Cuts: TypeAlias = list[tuple[tuple[str, str], Row]]

SAMPLES: Final = 200
QUICK: Final = 12

_COLUMNS: Final = (
    "medium",
    "unitizer",
    "media",
    "units a medium",
    "purity [95 %]",
    "adjusted Rand",
)
_ORDER: Final = ("image", "audio", "video")


def labels_of(scene: Any, tokens: Any) -> list[int]:
    """Return what each token carries: the number of the thing, from 1, or 0 for nothing."""
    from omnitrace.sources.token_map import GridTokens
    from omnitrace.sources.unitizers.time import centre

    if isinstance(tokens, GridTokens):
        boxes = [item.box for item in scene.items]
        cells = [tokens.cell(i) for i in range(len(tokens.positions))]
        middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in cells]
        return [
            next((k for k, b in enumerate(boxes, 1) if b[0] <= x < b[2] and b[1] <= y < b[3]), 0)
            for x, y in middles
        ]
    things = getattr(scene, "events", None) or getattr(scene, "appearances", ())
    seconds = [centre(tokens, i) for i in range(len(tokens.positions))]
    return [
        next((k for k, each in enumerate(things, 1) if each.start <= t < each.end), 0)
        for t in seconds
    ]


def candidates(tokens: Any, features: Any) -> Iterator[tuple[str, Any]]:
    """Yield names of unitizers and the unit of each token."""
    from omnitrace.sources.token_map import GridTokens
    from omnitrace.sources.unitizers.change_points import Changes
    from omnitrace.sources.unitizers.image import Grid
    from omnitrace.sources.unitizers.time import Bins
    from omnitrace.sources.unitizers.ward import Ward

    def cut(unitizer: Any) -> Any:
        if isinstance(tokens, GridTokens):
            return unitizer.cut(tokens, features)
        return unitizer.cut([tokens], features)[0]

    blind = Grid() if isinstance(tokens, GridTokens) else Bins()
    found = cut(blind)
    count = len(set(found.tolist()))
    yield blind.name, found
    if isinstance(tokens, GridTokens):
        yield "ward, as many as grid", cut(Ward(regions=count))
        yield "ward", cut(Ward())
        return
    yield "changes, as many as bins", cut(Changes(segments=count))
    own = cut(Changes())
    # The length that makes as many bins as there are changes.
    width = tokens.duration / len(set(own.tolist()))
    yield "bins, as many as changes", cut(Bins(width))
    yield "changes", own


def purity(truth: list[int], units: Any) -> float:
    """Return the share of tokens that carry what most tokens of their unit carry."""
    import numpy as np

    own = np.asarray(truth)
    most = [np.bincount(own[units == unit]).max() for unit in np.unique(units)]
    return float(sum(most) / len(own))


def load() -> ModelAdapter:
    """Load the reference model."""
    from omnitrace import Tracer

    return Tracer.from_pretrained("reference").adapter


def cut(adapter: ModelAdapter, number: int) -> Cuts:
    """Cut the media of a sample in every way."""
    from sklearn.metrics import adjusted_rand_score

    from omnitrace.media import MediaLimits
    from omnitrace.reference.files import write_sample
    from omnitrace.reference.world import held_out_seed, make_sample
    from omnitrace.sources.messages import read_messages
    from omnitrace.sources.options import SourceOptions
    from omnitrace.sources.request_files import read_requests
    from omnitrace.sources.token_map import TextTokens

    options, found = SourceOptions(), []
    sample = make_sample(held_out_seed(number), questions=2, order=_ORDER, long=False)
    with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
        request = read_requests(write_sample(sample, Path(folder)))[0]
        conversation = read_messages(
            request.messages, options=options, limits=MediaLimits(), media_root=request.media_root
        )
        encoded = adapter.encode(conversation, options)
        for tokens in encoded.geometry:
            if isinstance(tokens, TextTokens):
                continue
            # The sound of a video has no labels of its own here.
            if tokens.part.modality == "video" and tokens.modality == "audio":
                continue
            features = adapter.features(encoded, tokens)
            truth = labels_of(sample.scenes[tokens.part.part], tokens)
            for name, units in candidates(tokens, lambda _, own=features: own):
                rand = float(adjusted_rand_score(truth, units))
                row = (len(set(units.tolist())), purity(truth, units), rand)
                found.append(((tokens.part.modality, name), row))
    return found


def cut_all(given: argparse.Namespace, samples: int) -> dict[tuple[str, str], list[Row]]:
    """Cut the media of all samples, in their order."""
    with workers_of(given.processes, load) as workers:
        each = each_of(workers, cut, range(samples), state=load, what="cutting")
        found: dict[tuple[str, str], list[Row]] = {}
        for key, row in itertools.chain.from_iterable(each):
            found.setdefault(key, []).append(row)
    return found


def measure(given: argparse.Namespace) -> Result:
    """Cut, and average over media."""
    from omnitrace.evaluation.metrics.bootstrap import bootstrap_mean

    samples = QUICK if given.quick else SAMPLES
    found = cut_all(given, samples)
    rows, values = [], {}
    for (modality, name), measured in found.items():
        pure = bootstrap_mean([[row[1]] for row in measured])
        count, _, rand = (sum(column) / len(measured) for column in zip(*measured, strict=True))
        interval = f"{pure.value:.3f} [{pure.low:.3f}, {pure.high:.3f}]"
        rows.append((modality, name, str(len(measured)), f"{count:.1f}", interval, f"{rand:.2f}"))
        values[f"{modality}/{name}"] = {"units": count, "purity": pure.value, "rand": rand}
    return Result(
        name="units",
        title="The reference world: do units follow what is seen and heard?",
        quick=given.quick,
        table=Table(_COLUMNS, rows),
        notes=[
            f"{samples} held-out samples with an image, an audio and a video each; features of "
            "the reference model's own towers; nothing of the samples was used to choose defaults",
            "purity: share of tokens that carry what most tokens of their unit carry; the interval "
            "is of the mean, by bootstrap over media",
            "the images have few tokens, so that 'ward' makes its fewest regions, 16, of them; "
            "'as many as' compares at the same number of units",
        ],
        settings={"samples": samples},
        values=values,
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments."""
    made = parser("Whether units follow what is seen and heard.")
    add_processes(made, "the samples")
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_benchmark(measure, parse(arguments))


if __name__ == "__main__":
    raise SystemExit(main())

"""Held-out samples of the reference world, traced, with the true units of every statement.

A source unit is true for a statement if it names the labelled evidence, by the rule that
``omnitrace demo`` prints with: more than half of the smaller of the two lies in the other (a cell
of an image is larger than the shape that it shows).
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from omnitrace import CurationConfig, SourceUnit, Span, Trace, Tracer
from omnitrace.cli.demo import names_evidence
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import MODALITIES, Sample, Statement, held_out_seed, make_sample
from omnitrace.sources.layout import build_layout
from omnitrace.sources.messages import read_messages
from omnitrace.spans.build import tokens_of
from omnitrace.tracing import measure
from omnitrace.types import Modality

__all__ = [
    "Judged",
    "Prior",
    "f1",
    "fit_prior",
    "judge_sample",
    "longest_unit",
    "modality_of",
    "random_unit",
    "top_unit",
    "trace_samples",
    "true_units",
]

#: Held-out samples from this number on fit the position prior, those below are measured.
PRIOR_FROM: Final = 1_000_000
_BINS: Final = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """One labelled statement of one sample, and the span that says it.

    ``span`` is None where the model did not say it: the value is wrong, or the sentence missing.
    """

    sample: int
    statement: Statement
    trace: Trace
    span: Span | None
    truth: frozenset[str]

    @property
    def modality(self) -> Modality:
        """Where the evidence is."""
        return modality_of(self.statement)


def modality_of(statement: Statement) -> Modality:
    """Return the modality of a statement's evidence."""
    name = statement.category.partition("-")[0]
    return next(modality for modality in MODALITIES if modality == name)


def true_units(statement: Statement, units: Sequence[SourceUnit]) -> frozenset[str]:
    """Return the ids of the units that name the statement's evidence."""
    return frozenset(
        unit.id
        for unit in units
        if any(names_evidence(unit.locator, evidence) for evidence in statement.evidence)
    )


def judge_sample(number: int, sample: Sample, trace: Trace) -> list[Judged]:
    """Find the span of every labelled statement: the one with exactly its words."""
    spans = {span.text.strip(): span for span in reversed(trace.spans)}
    return [
        Judged(
            number, statement, trace, spans.get(statement.text), true_units(statement, trace.units)
        )
        for statement in sample.statements
    ]


def trace_samples(tracer: Tracer, numbers: Sequence[int]) -> Iterator[list[Judged]]:
    """Write each held-out sample as files, answer it with tracing, and judge its statements."""
    for number in numbers:
        sample = make_sample(held_out_seed(number))
        with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
            path = write_sample(sample, folder)
            trace = tracer.trace(sample.messages, media_root=path.parent)
        yield judge_sample(number, sample, trace)


def top_unit(judged: Judged, config: CurationConfig | None = None) -> str | None:
    """Return the unit of highest mass, summed over the tokens of the value word."""
    trace, statement, span = judged.trace, judged.statement, judged.span
    if span is None or not trace.units:
        return None
    lead = span.start + len(span.text) - len(span.text.lstrip()) - statement.start
    ranges = [(token.start, token.end) for token in trace.tokens]
    first, last = tokens_of(ranges, statement.value_start + lead, statement.value_end + lead)
    masses = measure(trace.scores, trace.layout, (config or trace.config).assign)
    summed = masses.assigned_units[first:last].sum(axis=0)
    return trace.units[int(np.argmax(summed))].id if summed.max(initial=0.0) > 0 else None


def f1(predicted: frozenset[str], truth: frozenset[str]) -> float:
    """Return the F1 of two sets: 1 for two empty ones, 0 where only one is empty."""
    if not predicted and not truth:
        return 1.0
    return 2 * len(predicted & truth) / (len(predicted) + len(truth))


def random_unit(judged: Judged, seed: int = 0) -> str:
    """Draw one unit of the request, seeded by the sample and the statement."""
    rng = random.Random(f"{seed}-{judged.sample}-{judged.statement.start}")
    return rng.choice(judged.trace.units).id


def longest_unit(units: Sequence[SourceUnit]) -> str:
    """Return the unit that most prompt tokens carry, the first of several."""
    return max(units, key=lambda unit: len(unit.positions)).id


def _places(units: Sequence[SourceUnit], modality: Modality) -> dict[str, float]:
    """Place of each unit of a modality among them, from 0 for the first to 1 for the last."""
    ids = [unit.id for unit in units if unit.modality == modality]
    return {name: i / max(1, len(ids) - 1) for i, name in enumerate(ids)}


@dataclass(frozen=True, slots=True)
class Prior:
    """The most frequent place of the true unit, for each modality.

    It knows which modality a statement asks about, and nothing else.
    """

    places: dict[Modality, float]

    def unit(self, units: Sequence[SourceUnit], modality: Modality) -> str | None:
        """Return the unit of the modality that is nearest to the place."""
        places = _places(units, modality)
        wanted = self.places.get(modality, 0.0)
        return min(places, key=lambda name: abs(places[name] - wanted), default=None)


def fit_prior(tracer: Tracer, samples: int) -> Prior:
    """Count the places of the true units in samples that are not measured; no model runs."""
    counts: dict[Modality, Counter[int]] = {modality: Counter() for modality in MODALITIES}
    for number in range(PRIOR_FROM, PRIOR_FROM + samples):
        sample = make_sample(held_out_seed(number))
        with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
            write_sample(sample, folder)
            conversation = read_messages(
                sample.messages,
                options=tracer.sources,
                limits=tracer.limits,
                media_root=Path(folder),
            )
            encoded = tracer.adapter.encode(conversation, tracer.sources)
        units = build_layout(len(encoded.prompt_ids), encoded.geometry, tracer.sources).units
        for statement in sample.statements:
            modality = modality_of(statement)
            places = _places(units, modality)
            for name in true_units(statement, units) & places.keys():
                counts[modality][round(places[name] * _BINS)] += 1
    return Prior(
        {
            modality: min(counted, key=lambda place: (-counted[place], place)) / _BINS
            for modality, counted in counts.items()
            if counted
        }
    )

"""Samples answered and traced with every signal, and what each method scores on each statement."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import numpy as np

from common.world_samples import Drawn, groups_of
from omnitrace import SelectionConfig, SourceOptions, Trace, Tracer
from omnitrace.attribution.masses import Assign
from omnitrace.evaluation.baselines.trivial import (
    PositionPrior,
    Prediction,
    all_units,
    longest_unit,
    random_units,
)
from omnitrace.evaluation.examples import LabelledItem, labelled_items
from omnitrace.evaluation.metrics.spans import METRICS
from omnitrace.evaluation.rows import TRACED, ScoreRow, score
from omnitrace.reference.files import labels, write_sample
from omnitrace.reference.world import Sample
from reference.where import outcome_of

__all__ = [
    "BASELINES",
    "ORACLE",
    "Collected",
    "Key",
    "add_baselines",
    "answer",
    "collect",
    "make_tracers",
    "switched",
]

#: A statement: the id of its sample and its number there.
Key = tuple[str, int]

BASELINES: Final = ("random unit", "all units", "longest unit", "position prior")
#: What naming exactly the units that show what bears the value scores.
ORACLE: Final = "every unit that shows it"

_SPAN_METRICS: Final = {name: METRICS[name] for name in ("f1", "cite_f1", "time_f1", "auprc")}
_WORD_METRICS: Final = {"top1": METRICS["top1"]}
# What weakens a rule that has no switch of its own.
_LOOSE: Final[Mapping[str, Mapping[str, Any]]] = {
    "coverage off": {"coverage": 1.0},
    "skipping off": {"p_min": 0.0, "run_min": 0.0},
    "grounding threshold off": {"min_grounding": 0.0},
    "one support at most": {"max_supports": 1},
    "confidence squared, as the paper": {"gamma": 2.0},
}
_RULES: Final = ("rollout", "gate", "position_weights", "confidence_weight", "runs", "fallback")


@dataclass(slots=True)
class Collected:
    """What was found so far.

    Attributes
    ----------
    rows:
        By method (a signal, what was switched, or a baseline): a row for each statement and one
        for its value word. Signals are scored as a trace is, under whatever selection.
    items:
        What the first signal says of each statement and word; baselines are scored on them.
    groups, outcomes:
        By statement: its groups, and where the first signal's supports lie.
    samples, answers:
        By id: the sample, and the token ids of the model's response.
    """

    rows: dict[str, list[ScoreRow]] = field(default_factory=dict)
    items: list[LabelledItem] = field(default_factory=list)
    groups: dict[Key, frozenset[str]] = field(default_factory=dict)
    outcomes: dict[Key, str] = field(default_factory=dict)
    samples: dict[str, Drawn] = field(default_factory=dict)
    answers: dict[str, Sequence[int]] = field(default_factory=dict)

    def add(self, method: str, items: Sequence[LabelledItem]) -> None:
        """Score what a signal says."""
        self.rows.setdefault(method, []).extend(
            _scored(item, TRACED, item.prediction) for item in items
        )

    def take(self, other: Collected) -> None:
        """Append what was found of more samples."""
        for method, rows in other.rows.items():
            self.rows.setdefault(method, []).extend(rows)
        self.items += other.items
        self.groups |= other.groups
        self.outcomes |= other.outcomes
        self.samples |= other.samples
        self.answers |= other.answers


def _scored(item: LabelledItem, method: str, said: Prediction | None) -> ScoreRow:
    return score(item, method, said, _SPAN_METRICS if item.word is None else _WORD_METRICS)


def make_tracers(
    model: str, signals: Sequence[str], audio_units: str = "bins"
) -> dict[str, Tracer]:
    """Load the model once, and make a tracer for each signal; ``audio_units`` cuts audio.

    The grounding threshold of the default selection was fitted to the default signal; the others
    would lose supports by it that they are not known to be wrong about, and do without.
    """
    first = Tracer.from_pretrained(model, sources=SourceOptions(audio=audio_units))
    usual = first.setup.selection
    without = dataclasses.replace(usual, min_grounding=0.0)
    default = first.setup.signals.token.name
    return {
        name: first.with_options(signal=name, selection=usual if name == default else without)
        for name in signals
    }


def switched(usual: SelectionConfig) -> dict[str, SelectionConfig]:
    """Return the selections in which one rule is not as usual, by what was done to it."""
    changes: dict[str, Mapping[str, Any]] = {
        f"{rule.replace('_', ' ')} {'off' if getattr(usual, rule) else 'on'}": {
            rule: not getattr(usual, rule)
        }
        for rule in _RULES
    }
    changes |= _LOOSE
    changes |= {f"assign {choice}": {"assign": choice} for choice in get_args(Assign)}
    changes |= {f"compete {each}": {"compete": each} for each in ("joint", "per-modality")}
    found = {name: dataclasses.replace(usual, **change) for name, change in changes.items()}
    return {name: config for name, config in found.items() if config != usual}


def answer(
    tracers: Mapping[str, Tracer], sample: Sample, response: str | Sequence[int] | None = None
) -> dict[str, Trace]:
    """Write a sample as files, let the model answer it, and attribute the response by every signal.

    The first signal is traced while the model writes, the others replay the same tokens.

    Parameters
    ----------
    tracers:
        By signal.
    sample:
        The sample.
    response:
        A response to attribute instead of the model's own: text or token ids.
    """
    first, *others = tracers
    with tempfile.TemporaryDirectory(prefix="omnitrace-benchmark-") as folder:
        write_sample(sample, folder)
        if response is None:
            trace = tracers[first].trace(sample.messages, media_root=folder)
        else:
            trace = tracers[first].replay(sample.messages, response, media_root=folder)
        found = {first: trace}
        for name in others:
            found[name] = tracers[name].replay(sample.messages, trace.token_ids, media_root=folder)
    return found


def collect(
    found: Collected,
    drawn: Drawn,
    traces: Mapping[str, Trace],
    selections: Mapping[str, SelectionConfig],
) -> None:
    """Score the traces of one sample, and the first of them under other selections."""
    label = labels(drawn.sample)
    found.samples[label.id] = drawn
    first, *others = traces
    found.answers[label.id] = traces[first].token_ids
    items = list(labelled_items(label, traces[first]))
    found.items += items
    found.add(first, items)
    for name in others:
        found.add(name, list(labelled_items(label, traces[name])))
    for name, config in selections.items():
        found.add(name, list(labelled_items(label, traces[first].reselect(config))))
    for item in items:
        if item.word is None:
            key = (item.example, item.span)
            found.groups[key] = groups_of(drawn, drawn.sample.statements[item.span])
            found.outcomes[key] = outcome_of(item, label.spans[item.span].sources)


def add_baselines(found: Collected, seed: int) -> None:
    """Score the methods that never look at the signal, and the oracle, on all that was collected.

    They are those of ``omnitrace evaluate``, except that the position prior knows the modality
    of the evidence: without it, it would say nothing of any but the most frequent one.
    """
    prior = PositionPrior()
    for item in found.items:
        if item.word is None:
            prior.add(item.example, item.units, item.truth)
    for item in found.items:
        key = f"{item.example}-{item.span}-{item.word}"
        said = (
            random_units(item.units, key, seed=seed),
            all_units(item.units),
            longest_unit(item.units),
            _for_modality(prior, item),
            _showing(item),
        )
        for name, prediction in zip((*BASELINES, ORACLE), said, strict=True):
            answered = prediction if item.prediction is not None else None
            found.rows.setdefault(name, []).append(_scored(item, name, answered))


def _showing(item: LabelledItem) -> Prediction:
    """Name exactly the units that show what bears the value, and so know the labels."""
    shown = frozenset().union(*item.shown)
    scores = np.array([float(unit.id in shown) for unit in item.units])
    return Prediction(scores, shown)


def _for_modality(prior: PositionPrior, item: LabelledItem) -> Prediction:
    """Let the prior choose one unit of every modality that the evidence is in."""
    modalities = sorted({unit.modality for unit in item.units if unit.id in item.truth})
    said = [
        prior.predict(item.units, without=item.example, modality=modality)
        for modality in modalities
    ]
    scores = sum((each.scores for each in said), start=np.zeros(len(item.units)))
    return Prediction(scores, frozenset().union(*(each.chosen for each in said)))

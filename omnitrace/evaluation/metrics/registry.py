"""Which metrics an evaluation computes: those of the registry, or the ones that were named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from omnitrace.errors import InputError, OmnitraceError, PluginError, unknown_name
from omnitrace.evaluation.baselines.trivial import Prediction
from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.metrics.labelled_causal import CAUSAL_METRICS, DEFAULT, SHARES
from omnitrace.evaluation.metrics.spans import Metric
from omnitrace.plugins.registry import Entry, registry

__all__ = ["TOGETHER", "MetricSet", "select_metrics"]


@dataclass(frozen=True, slots=True)
class MetricSet:
    """Metrics to compute: of spans and of words by name, and the names of what is no mean.

    ``named`` are the names in the order in which they were asked for; empty for the default ones.
    """

    spans: Mapping[str, Metric]
    words: Mapping[str, Metric]
    together: tuple[str, ...]
    named: tuple[str, ...] = ()


def select_metrics(names: Iterable[str] | None = None, *, measured: bool = False) -> MetricSet:
    """Choose metrics by name; without names, those of labels, of plugins, and the cheap of effects.

    A name of :data:`~omnitrace.evaluation.metrics.labelled_causal.SHARES` brings the two metrics
    along that it is the quotient of.

    Parameters
    ----------
    names:
        Names of metrics.
    measured:
        Whether a model measures effects; without one there are no metrics of them.

    Raises
    ------
    PluginError
        If there is no such metric, or one cannot be made.
    InputError
        If names are given, but none, or one is of effects and no model measures them.
    """
    entries = registry().metrics
    if names is None:
        left_out = CAUSAL_METRICS.keys() - (DEFAULT if measured else ())
        entries = {name: entry for name, entry in entries.items() if name not in left_out}
        return MetricSet(
            _made(entries.values()), _made(_of_words(entries.values())), tuple(TOGETHER)
        )
    named = tuple(dict.fromkeys(names))
    if not named:
        raise InputError("no metric is named", legal="at least one")
    for name in named:
        if name not in entries and name not in TOGETHER:
            raise unknown_name("metric", name, [*entries, *TOGETHER])
        if (name in CAUSAL_METRICS or name in SHARES) and not measured:
            raise InputError(
                f"the metric {name!r} is of measured effects, and no model measures them",
                legal="metrics of labels alone, or a model",
                fix="name the model that wrote them: --model NAME, or ModelAccess(measure=…)",
            )
    parts = [part for name in named for part in SHARES.get(name, (name,))]
    chosen = [entries[name] for name in dict.fromkeys(parts) if name in entries]
    together = tuple(name for name in named if name in TOGETHER)
    return MetricSet(_made(chosen), _made(_of_words(chosen)), together, named)


def _of_words(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.words]


def _made(entries: Iterable[Entry]) -> dict[str, Metric]:
    return {entry.name: _checked(entry) for entry in entries}


def _checked(entry: Entry) -> Metric:
    """Make a metric that names itself and its package where it fails."""
    metric = entry.make()
    subject = f"the metric {entry.name!r} of the package {entry.package!r}"

    def score(item: LabelledItem, prediction: Prediction, /) -> float | None:
        place = f"span {item.span} of {item.example!r}"
        try:
            value = metric(item, prediction)
            number = None if value is None else float(value)
        except OmnitraceError:
            raise
        except Exception as error:  # a plugin may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise PluginError(f"{subject} fails for {place}: {reason}") from error
        if number is not None and not math.isfinite(number):
            raise PluginError(
                f"{subject} gives {number} for {place}", legal="a finite number, or None"
            )
        return number

    return score


#: What is computed of all spans together, and is no mean over them: its name and what it is.
TOGETHER: Final[Mapping[str, str]] = {
    "micro_precision": "precision of the chosen units of all spans at once",
    "micro_recall": "recall of the same",
    "micro_f1": "F1 of the same",
    "abstention_f1": 'F1 of "ungrounded" against spans without evidence',
    "abstention_auroc": "AUROC of the grounding for the same",
    **{
        name: f"mean {part} by mean {whole} (needs --model)"
        for name, (part, whole) in SHARES.items()
    },
}

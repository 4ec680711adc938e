"""The tables of ``omnitrace list``: a heading, then one row for each thing that is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omnitrace.errors import PluginError
from omnitrace.plugins.registry import Entry, registry
from omnitrace.signals.contract import SignalFacts, describe

__all__ = ["LISTINGS"]

Row = tuple[str, ...]


def _signals() -> list[Row]:
    heading = ("name", "needs", "cost", "streams", "package", "summary")
    return [heading, *(_signal(describe(entry)) for entry in registry().signals.values())]


def _signal(facts: SignalFacts) -> Row:
    if facts.problem:
        summary = f"{facts.summary} (cannot be made: {facts.problem})".lstrip()
        return facts.name, "?", "?", "?", facts.package, summary
    needs = ", ".join(facts.needs)
    streams = "yes" if facts.streams else "no"
    return facts.name, needs, facts.cost, streams, facts.package, facts.summary


def _models() -> list[Row]:
    entries = registry().models.values()
    return [("name", "package", "summary"), *((e.name, e.package, e.summary) for e in entries)]


def _operators() -> list[Row]:
    entries = registry().operators.values()
    heading = ("name", "modalities", "package", "summary")
    return [heading, *((e.name, _modalities(e), e.package, e.summary) for e in entries)]


def _modalities(entry: Entry) -> str:
    try:
        return ", ".join(sorted(entry.make().modalities))
    except (PluginError, AttributeError):  # a broken plugin does not hide the others
        return "?"


def _metrics() -> list[Row]:
    from omnitrace.evaluation.aggregate import TOGETHER  # much to load for the other lists

    rows = [
        (e.name, "spans, words" if e.words else "spans", e.package, e.summary)
        for e in registry().metrics.values()
    ]
    together = [(name, "all spans", "omnitrace", text) for name, text in TOGETHER.items()]
    return [("name", "scores", "package", "summary"), *rows, *together]


def _unitizers() -> list[Row]:
    rows = [
        (e.name, ", ".join(e.modalities), e.package, e.summary)
        for e in registry().unitizers.values()
    ]
    return [("name", "modalities", "package", "summary"), *rows]


LISTINGS: Final[dict[str, Callable[[], list[Row]]]] = {
    "metrics": _metrics,
    "models": _models,
    "operators": _operators,
    "signals": _signals,
    "unitizers": _unitizers,
}

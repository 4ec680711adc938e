"""``omnitrace list``: a table of what is installed, one line for each thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from omnitrace.cli.console import make_console, print_table
from omnitrace.cli.exit_codes import guarded
from omnitrace.errors import InputError, PluginError
from omnitrace.plugins.registry import Entry, registry

if TYPE_CHECKING:
    from omnitrace.signals.describe import SignalFacts

__all__ = ["list_"]

TableLine: TypeAlias = tuple[str, ...]


def _signals() -> list[TableLine]:
    from omnitrace.signals.describe import describe

    heading = ("name", "needs", "cost", "streams", "package", "summary")
    return [heading, *(_signal(describe(entry)) for entry in registry().signals.values())]


def _signal(facts: SignalFacts) -> TableLine:
    if facts.problem:
        summary = f"{facts.summary} (cannot be made: {facts.problem})".lstrip()
        return facts.name, "?", "?", "?", facts.package, summary
    needs = ", ".join(facts.needs)
    streams = "yes" if facts.streams else "no"
    return facts.name, needs, facts.cost, streams, facts.package, facts.summary


def _models() -> list[TableLine]:
    return _summaries(registry().models.values())


def _exporters() -> list[TableLine]:
    return _summaries(registry().exporters.values())


def _executors() -> list[TableLine]:
    return _summaries(registry().executors.values())


def _summaries(entries: Iterable[Entry]) -> list[TableLine]:
    return [("name", "package", "summary"), *((e.name, e.package, e.summary) for e in entries)]


def _operators() -> list[TableLine]:
    entries = registry().operators.values()
    heading = ("name", "modalities", "package", "summary")
    return [heading, *((e.name, _modalities(e), e.package, e.summary) for e in entries)]


def _modalities(entry: Entry) -> str:
    try:
        return ", ".join(sorted(entry.make().modalities))
    except (PluginError, AttributeError):  # a broken plugin does not hide the others
        return "?"


def _metrics() -> list[TableLine]:
    from omnitrace.evaluation.metrics.registry import TOGETHER

    lines = [
        (e.name, "spans, words" if e.words else "spans", e.package, e.summary)
        for e in registry().metrics.values()
    ]
    together = [(name, "all spans", "omnitrace", text) for name, text in TOGETHER.items()]
    return [("name", "scores", "package", "summary"), *lines, *together]


def _unitizers() -> list[TableLine]:
    lines = [
        (e.name, ", ".join(e.modalities), e.package, e.summary)
        for e in registry().unitizers.values()
    ]
    return [("name", "modalities", "package", "summary"), *lines]


_LISTINGS: Final[dict[str, Callable[[], list[TableLine]]]] = {
    "executors": _executors,
    "exporters": _exporters,
    "metrics": _metrics,
    "models": _models,
    "operators": _operators,
    "signals": _signals,
    "unitizers": _unitizers,
}


@guarded
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="signals|models|operators|metrics|unitizers|exporters|executors",
            help="What to list.",
        ),
    ],
) -> None:
    """List the installed signals, models, operators, metrics, unitizers, exporters or executors.

    For a signal also: what it needs, what an answer costs with it, and whether its scores come
    while the model writes.
    """
    if kind not in _LISTINGS:
        raise InputError(f"there is no kind {kind!r}", legal=", ".join(sorted(_LISTINGS)))
    print_table(make_console(), _LISTINGS[kind]())

"""What every benchmark shares: its options, the machine it ran on, its table and its JSON file."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

__all__ = [
    "FOLDER",
    "RESULTS",
    "Bar",
    "BenchmarkError",
    "Result",
    "Table",
    "add_validation",
    "describe_machine",
    "environment",
    "fill_in",
    "markdown_table",
    "parser",
    "print_result",
    "read_arguments",
    "run_benchmark",
]

FOLDER: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = FOLDER / "results"

_PACKAGES: Final = ("omnitrace-attribution", "torch", "transformers", "numpy", "spacy", "sentencex")


class BenchmarkError(Exception):
    """The benchmark cannot run here; the message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: rows of text, in sections (indices of rows that a line is drawn after)."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    sections: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that must not exceed a limit."""

    what: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the figure keeps to the limit."""
        return self.value <= self.limit

    def text(self) -> str:
        """Say it in one line."""
        return (
            f"{'met' if self.met else 'MISSED'}: {self.what} {self.value:.3f} "
            f"(limit {self.limit:.2f})"
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a benchmark found.

    ``notes`` say how it was measured, ``values`` are the raw figures behind the table.
    """

    name: str
    title: str
    quick: bool
    table: Table
    notes: Sequence[str] = ()
    bars: Sequence[Bar] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON document: this, the machine, the versions and the date."""
        bars = [asdict(bar) | {"met": bar.met, "text": bar.text()} for bar in self.bars]
        return asdict(self) | {"bars": bars} | environment()


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks take."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a smaller run, of minutes")
    made.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    return made


def add_validation(made: argparse.ArgumentParser, what: str) -> None:
    """Add the option that judges other ``what``, for choices; see :func:`read_arguments`."""
    made.add_argument(
        "--validation", action="store_true", help=f"other {what}, for choices; nothing is written"
    )


def read_arguments(
    made: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Read arguments; of ``--validation`` nothing may be written."""
    given = made.parse_args(arguments)
    if given.validation and given.json:
        made.error("--validation is for choices: its figures are printed, not written to --json")
    return given


def fill_in(given: argparse.Namespace, defaults: Mapping[str, Any]) -> argparse.Namespace:
    """Set the options that were not given, where the default depends on another option."""
    for name, value in defaults.items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    return given


def environment() -> dict[str, Any]:
    """Describe the machine, the versions and the date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_gb": _memory_gb(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None


def describe_machine(document: dict[str, Any]) -> str:
    """Say in one line where and when a result was measured."""
    machine, versions = document["machine"], document["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{document['date']} on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; {packages}"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table, first column to the left and the others to the right."""
    lines = [
        "| " + " | ".join(map(_cell, columns)) + " |",
        "|" + "|".join(":---" if i == 0 else "---:" for i in range(len(columns))) + "|",
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def print_result(result: Result) -> None:
    """Print the table, the bars, the notes and the machine."""
    from rich.console import Console
    from rich.table import Table as RichTable

    # Written to a file or a pipe, a table keeps its width instead of wrapping at 80 columns.
    console = Console() if Console().is_terminal else Console(width=180)
    table = RichTable(title=result.title + (" (quick run)" if result.quick else ""))
    for number, column in enumerate(result.table.columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for number, row in enumerate(result.table.rows):
        table.add_row(*row, end_section=number in result.table.sections)
    console.print(table)
    for bar in result.bars:
        console.print(bar.text(), style="green" if bar.met else "red", markup=False)
    for note in result.notes:
        console.print(f"- {note}", markup=False, highlight=False)
    console.print(describe_machine(result.document()), style="dim", markup=False, highlight=False)


def run_benchmark(
    measure: Callable[[argparse.Namespace], Result], given: argparse.Namespace
) -> int:
    """Measure, print, and write the JSON file if one is wanted; the exit status."""
    try:
        result = measure(given)
    except BenchmarkError as error:
        print(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print("stopped: no table; what a cache keeps is found by the next run")
        return 130
    print_result(result)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result.document(), indent=1, ensure_ascii=False, allow_nan=False)
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0

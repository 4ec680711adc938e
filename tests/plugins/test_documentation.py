"""The documentation for plugin authors names what exists, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from omnitrace import builtin, testing
from omnitrace.cli.app import app
from omnitrace.plugins import hookspecs
from omnitrace.plugins.registry import Entry, build_registry
from omnitrace.signals.describe import COSTS, KNOWN_NEEDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PLUGINS = (DOCS / "reference" / "plugins.md").read_text(encoding="utf-8")
SIGNALS = (DOCS / "reference" / "signals.md").read_text(encoding="utf-8")
METRICS = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
COMMANDS = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
TUTORIAL = (DOCS / "tutorials" / "write-a-signal.md").read_text(encoding="utf-8")
UNITS = (DOCS / "how-to" / "cut-units.md").read_text(encoding="utf-8")
ABLATION = (DOCS / "explanation" / "ablation.md").read_text(encoding="utf-8")
BUILTINS = build_registry({"omnitrace": builtin})


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("register_")])
def test_every_hook_is_documented(hook: str) -> None:
    assert f"| `{hook}(register)` |" in PLUGINS
    assert getattr(hookspecs, hook).__doc__


@pytest.mark.parametrize("entry", BUILTINS.signals.values(), ids=lambda entry: entry.name)
def test_every_builtin_signal_is_documented(entry: Entry) -> None:
    assert f"| `{entry.name}` |" in SIGNALS
    assert entry.summary
    kind = type(entry.make())
    assert kind.__doc__
    assert kind.__doc__ not in {base.__doc__ for base in kind.__mro__[1:]}


@pytest.mark.parametrize("entry", BUILTINS.operators.values(), ids=lambda entry: entry.name)
def test_every_builtin_operator_is_documented(entry: Entry) -> None:
    assert f"| `{entry.name}`" in ABLATION
    assert type(entry.make()).__doc__


@pytest.mark.parametrize("entry", BUILTINS.unitizers.values(), ids=lambda entry: entry.name)
def test_every_builtin_unitizer_is_documented_with_its_parameters(entry: Entry) -> None:
    (row,) = [line for line in UNITS.splitlines() if line.startswith(f"| `{entry.name}`")]
    made = entry.make()
    assert all(f"`{name}`" in row for name in made.parameters)
    assert all(modality in row for modality in entry.modalities)
    assert entry.summary
    assert type(made).__doc__


def test_every_builtin_adapter_is_documented() -> None:
    for entry in BUILTINS.models.values():
        assert entry.summary
        assert entry.make().__doc__


@pytest.mark.parametrize("need", KNOWN_NEEDS)
def test_every_need_is_documented_with_its_cost(need: str) -> None:
    (row,) = [line for line in PLUGINS.splitlines() if line.startswith(f'| `"{need}"`')]
    assert row.endswith(f"| {COSTS[need]} |")


def test_the_tutorial_is_the_example_package() -> None:
    """Every line of the tutorial's class body stands in the package."""
    folder = ROOT / "plugins" / "omnitrace-example-signal"
    tutorial = TUTORIAL.partition("class DeepFocus(TokenSignal):")[2].partition("```")[0]
    code = (folder / "omnitrace_example_signal" / "__init__.py").read_text()
    for line in tutorial.splitlines():
        body = line.strip()
        assert body.startswith("def ") or body in code, body
    assert 'example-signal = "omnitrace_example_signal"' in TUTORIAL
    assert 'example-signal = "omnitrace_example_signal"' in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", testing.__all__)
def test_the_kit_is_documented(name: str) -> None:
    assert name in PLUGINS
    assert getattr(testing, name).__doc__


@pytest.mark.parametrize("entry", BUILTINS.metrics.values(), ids=lambda entry: entry.name)
def test_every_metric_is_documented(entry: Entry) -> None:
    kind, number, rest = re.match(r"(.*-)(\d)(.*)|", entry.name).groups()  # type: ignore[union-attr]
    first = f"{kind}1{rest}" if number else entry.name  # one row for top-1-drop, -3- and -5-
    assert f"`{first}`" in METRICS


def test_every_command_is_documented() -> None:
    command = typer.main.get_command(app)
    for name in command.list_commands(typer.Context(command)):  # type: ignore[attr-defined]
        assert f"`omnitrace {name}`" in COMMANDS

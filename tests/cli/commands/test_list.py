"""``omnitrace list``: what is installed, what it needs and costs, and what is broken."""

from __future__ import annotations

import pytest

from omnitrace import builtin
from omnitrace.plugins import registry as manager
from omnitrace.plugins.hookspecs import RegisterSignal, hookimpl
from tests.helpers.command_line import Run


def _row(stdout: str, name: str) -> list[str]:
    (line,) = [line for line in stdout.splitlines() if line.startswith(f"{name} ")]
    return [cell for cell in line.split("  ") if cell]


def test_signals(run: Run) -> None:
    result = run("list", "signals")
    assert result.exit_code == 0
    heading = result.stdout.splitlines()[0].split()
    assert heading == ["name", "needs", "cost", "streams", "package", "summary"]
    cells = [cell.strip() for cell in _row(result.stdout, "attention-mean")]
    assert cells[1:5] == ["rows", "1× decoding", "yes", "omnitrace"]  # noqa: RUF001
    assert "attention" in cells[5]
    cells = [cell.strip() for cell in _row(result.stdout, "grad-sam")]
    assert cells[1:5] == ["rows, logit-gradients", "≈2.5× decoding", "yes", "omnitrace"]  # noqa: RUF001


def test_models(run: Run) -> None:
    result = run("list", "models")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "package", "summary"]
    assert _row(result.stdout, "processor")


def test_operators(run: Run) -> None:
    result = run("list", "operators")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "modalities", "package", "summary"]
    cells = [cell.strip() for cell in _row(result.stdout, "silence")]
    assert cells[1:3] == ["audio", "omnitrace"]


def test_metrics(run: Run) -> None:
    result = run("list", "metrics")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "scores", "package", "summary"]
    assert [cell.strip() for cell in _row(result.stdout, "auprc")][1] == "spans, words"
    assert [cell.strip() for cell in _row(result.stdout, "f1")][1:3] == ["spans", "omnitrace"]
    assert [cell.strip() for cell in _row(result.stdout, "micro_f1")][1] == "all spans"
    assert "needs --model" in _row(result.stdout, "lds-share-of-oracle")[-1]


def test_unitizers(run: Run) -> None:
    result = run("list", "unitizers")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "modalities", "package", "summary"]
    cells = [cell.strip() for cell in _row(result.stdout, "ward")]
    assert cells[1:3] == ["image", "omnitrace"]
    assert [cell.strip() for cell in _row(result.stdout, "changes")][1] == "audio, video"


def test_an_unknown_kind(run: Run) -> None:
    result = run("list", "sginals")
    assert result.exit_code == 2
    assert "'sginals'" in result.stderr
    assert "models, operators, signals, unitizers" in result.stderr
    assert result.stdout == ""


class Broken:
    @hookimpl
    def register_signals(self, register: RegisterSignal) -> None:
        register("fails", lambda: 1 / 0, summary="a fine idea")  # type: ignore[arg-type,return-value]
        register("quiet\x1b[31m", dict)  # type: ignore[arg-type]


def test_broken_signals_are_listed_with_what_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = manager.build_registry({"omnitrace": builtin, "bad-package": Broken()})
    monkeypatch.setattr("omnitrace.cli.commands.list.registry", lambda: found)
    result = run("list", "signals")
    assert result.exit_code == 0
    cells = [cell.strip() for cell in _row(result.stdout, "fails")]
    assert cells[1:5] == ["?", "?", "?", "bad-package"]
    expected = "a fine idea (cannot be made: ZeroDivisionError: division by zero)"
    assert cells[5] == expected
    assert "\x1b" not in result.stdout
    assert "dict is no signal" in result.stdout
    assert len(result.stdout.splitlines()) == 1 + len(found.signals)

"""The pytest plugin: free for those who do not use it, and what it gives to those who do."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLUGIN = "omnitrace.testing.pytest_plugin"
ROOT = Path(__file__).parents[2]


def _pytest(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *args]
    return subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "250",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_registered_under_a_name_of_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"omnitrace": PLUGIN}
    for point in importlib.metadata.entry_points(group="pytest11", name="omnitrace"):
        assert point.value == PLUGIN


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    assert 'omnitrace.testing.pytest_plugin' in sys.modules\n"
        "    heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'spacy', 'sklearn'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = _pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_fixtures(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nomnitrace_signals = attention-mean attention-last\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "from omnitrace.testing import SignalConformance\n"
        "from omnitrace.testing.harness import reference\n"
        "def test_named(omnitrace_reference, omnitrace_signal):\n"
        "    assert omnitrace_reference is reference()\n"
        "    assert omnitrace_signal.startswith('attention-')\n"
        "class TestMine(SignalConformance):\n"
        "    signal = 'attention-last'\n"
    )
    done = _pytest(tmp_path, "-rA")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_mine.py::test_named[attention-mean]" in done.stdout
    assert "test_mine.py::test_named[attention-last]" in done.stdout
    assert "test_mine.py::TestMine::test_requirement[not-negative]" in done.stdout


def test_a_failure_names_the_requirement(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from omnitrace.testing import SignalConformance\n"
        "from omnitrace.signals.attention import AttentionMean\n"
        "class Negative(AttentionMean):\n"
        "    name = 'mine'\n"
        "    def score(self, rows):\n"
        "        return -super().score(rows)\n"
        "class TestMine(SignalConformance):\n"
        "    signal = Negative\n"
    )
    done = _pytest(tmp_path, "-k", "not-negative or shape")
    assert done.returncode == 1
    assert "ConformanceError: the signal 'mine' returned the score -" in done.stdout
    assert "Legal: scores are not negative." in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_without_named_signals_the_test_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_named(omnitrace_signal): ...\n")
    done = _pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout


@pytest.mark.parametrize("name", ["adapter", "signal"])
def test_a_class_without_a_subject_says_so(tmp_path: Path, name: str) -> None:
    base = f"{name.capitalize()}Conformance"
    (tmp_path / "test_mine.py").write_text(
        f"from omnitrace.testing import {base}\nclass TestMine({base}): ...\n"
    )
    done = _pytest(tmp_path)
    assert done.returncode != 0
    assert name in done.stdout

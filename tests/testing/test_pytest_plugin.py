"""The pytest plugin: free for those who do not use it, and what it gives to those who do."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import omnitrace.testing.suites  # noqa: F401
from omnitrace.testing.harness import reference

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


@pytest.fixture(scope="module")
def imported() -> None:
    """Import all that a trace needs: a run within this process forgets what it imported itself."""
    parts = [{"type": "text", "text": text} for text in ("The key is blue.", "What is blue?")]
    reference().trace([{"role": "user", "content": parts}], max_new_tokens=1)


def _within(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest in this process, where torch and the model are loaded."""
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)  # loads the plugin


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


@pytest.mark.usefixtures("imported")
def test_its_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nomnitrace_signals = attention-mean attention-last\n")
    pytester.makepyfile(
        """
        from omnitrace.testing import SignalConformance
        from omnitrace.testing.harness import reference

        def test_named(omnitrace_reference, omnitrace_signal):
            assert omnitrace_reference is reference()
            assert omnitrace_signal.startswith("attention-")

        class TestMine(SignalConformance):
            signal = "attention-last"
        """
    )
    done = _within(pytester, "-rA")
    assert done.ret == 0
    done.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_named?attention-mean?",
            "PASSED *::test_named?attention-last?",
            "PASSED *::TestMine::test_requirement?not-negative?",
        ]
    )


@pytest.mark.usefixtures("imported")
def test_a_failure_names_the_requirement(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from omnitrace.testing import SignalConformance
        from omnitrace.signals.attention import AttentionMean

        class Negative(AttentionMean):
            name = "mine"

            def score(self, rows):
                return -super().score(rows)

        class TestMine(SignalConformance):
            signal = Negative
        """
    )
    done = _within(pytester, "-k", "not-negative or shape")
    done.assert_outcomes(failed=1, passed=1, deselected=done.parseoutcomes()["deselected"])
    text = done.stdout.str()
    assert "ConformanceError: the signal 'mine' returned the score -" in text
    assert "Legal: scores are not negative." in text


def test_without_named_signals_the_test_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_named(omnitrace_signal): ...\n")
    done = _pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout


@pytest.mark.parametrize("name", ["adapter", "signal"])
def test_a_class_without_a_subject_says_so(pytester: pytest.Pytester, name: str) -> None:
    base = f"{name.capitalize()}Conformance"
    pytester.makepyfile(f"from omnitrace.testing import {base}\nclass TestMine({base}): ...\n")
    done = _within(pytester)
    assert done.ret != 0
    assert name in done.stdout.str()

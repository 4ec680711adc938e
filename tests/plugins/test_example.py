"""The example package, built and installed as a user would, adds a signal and changes no code.

The environment is a fresh one into which nothing but the wheel is installed; it sees the packages
of the one that runs the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins" / "omnitrace-example-signal"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, and install it into a fresh environment; return its interpreter."""
    python = _environment(tmp_path_factory.mktemp("installed"))
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    build = ["wheel", "--no-build-isolation", *offline, "--wheel-dir", wheels, EXAMPLE]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)
    return python


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment without the wheel."""
    return _environment(tmp_path_factory.mktemp("bare"))


def _environment(folder: Path) -> Path:
    """Make a virtual environment that sees this one's packages and Omnitrace's source."""
    venv.create(folder, with_pip=False)
    scripts = "Scripts" if os.name == "nt" else "bin"
    variables = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", variables))
    paths = [str(ROOT), *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    (packages / "others.pth").write_text("\n".join(paths) + "\n")
    return folder / scripts / "python"


def _run(python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [python, *command],
        env=_clean(),
        cwd=python.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _clean() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PYTHONIOENCODING": "utf-8", "COLUMNS": "250"}


def _omnitrace(python: Path, *args: str) -> str:
    return _run(python, "-c", "from omnitrace.cli.app import main; main()", *args).stdout


def test_it_is_listed(installed: Path, bare: Path) -> None:
    listing = _omnitrace(installed, "list", "signals").splitlines()
    (line,) = [line for line in listing if line.startswith("deep-focus ")]
    cells = line.split()
    package = "omnitrace-example-signal:example-signal"
    assert cells[1:6] == ["rows", "1×", "decoding", "yes", package]  # noqa: RUF001
    assert line.endswith("attention of the deeper layers, sharp heads first")
    assert "deep-focus" not in _omnitrace(bare, "list", "signals")


def test_it_traces(installed: Path) -> None:
    words = ("--text", "The red lamp is in the kitchen.", "--ask", "Where is the lamp?")
    args = ("trace", *words, "--signal", "deep-focus", "--json")
    trace: dict[str, Any] = json.loads(_omnitrace(installed, *args))
    signal = trace["provenance"]["signal"]
    assert signal["name"] == "deep-focus"
    assert signal["layers"] == [2, 3]
    assert trace["spans"]


def test_its_own_test_passes(installed: Path) -> None:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA")
    done = _run(installed, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert "PASSED" in done.stdout
    assert "later-tokens" in done.stdout

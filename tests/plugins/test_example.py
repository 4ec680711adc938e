"""The example package, built and installed as a user would, adds a signal and changes no code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.conftest import Environment

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins" / "omnitrace-example-signal"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without a network, and install it into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    build = ["wheel", "--no-build-isolation", *offline, "--wheel-dir", wheels, EXAMPLE]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder, wheel], check=True)
    return folder


def _run(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _omnitrace(*args: str, env: dict[str, str]) -> str:
    return _run("-c", "from omnitrace.cli.app import main; main()", *args, env=env).stdout


def test_it_is_listed(installed: Path, environment: Environment) -> None:
    listing = _omnitrace("list", "signals", env=environment(installed)).splitlines()
    (line,) = [line for line in listing if line.startswith("deep-focus ")]
    cells = line.split()
    package = "omnitrace-example-signal:example-signal"
    assert cells[1:6] == ["rows", "1×", "decoding", "yes", package]  # noqa: RUF001
    assert line.endswith("attention of the deeper layers, sharp heads first")
    assert "deep-focus" not in _omnitrace("list", "signals", env=environment())


def test_it_traces(installed: Path, environment: Environment) -> None:
    words = ("--text", "The red lamp is in the kitchen.", "--ask", "Where is the lamp?")
    args = ("trace", *words, "--signal", "deep-focus", "--json")
    trace: dict[str, Any] = json.loads(_omnitrace(*args, env=environment(installed)))
    signal = trace["provenance"]["signal"]
    assert signal["name"] == "deep-focus"
    assert signal["layers"] == [2, 3]
    assert trace["spans"]


def test_its_own_test_passes(installed: Path, environment: Environment) -> None:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA")
    done = _run("-m", "pytest", *options, str(EXAMPLE / "tests"), env=environment(installed))
    assert "PASSED" in done.stdout
    assert "later-tokens" in done.stdout

"""The example package, built and installed as a user would, adds a signal and changes no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.wheels import PLUGINS, build_wheel, environment, install, omnitrace, run

EXAMPLE = PLUGINS / "omnitrace-example-signal"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment; return its interpreter."""
    wheel = build_wheel(EXAMPLE, tmp_path_factory.mktemp("wheels"))
    return install(environment(tmp_path_factory.mktemp("installed")), wheel)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment without the wheel."""
    return environment(tmp_path_factory.mktemp("bare"))


def test_it_is_listed(installed: Path, bare: Path) -> None:
    listing = omnitrace(installed, "list", "signals").splitlines()
    (line,) = [line for line in listing if line.startswith("deep-focus ")]
    cells = line.split()
    package = "omnitrace-example-signal:example-signal"
    assert cells[1:6] == ["rows", "1×", "decoding", "yes", package]  # noqa: RUF001
    assert line.endswith("attention of the deeper layers, sharp heads first")
    assert "deep-focus" not in omnitrace(bare, "list", "signals")


def test_it_traces(installed: Path) -> None:
    words = ("--text", "The red lamp is in the kitchen.", "--ask", "Where is the lamp?")
    args = ("trace", *words, "--signal", "deep-focus", "--json")
    trace: dict[str, Any] = json.loads(omnitrace(installed, *args))
    signal = trace["provenance"]["signal"]
    assert signal["name"] == "deep-focus"
    assert signal["layers"] == [2, 3, 4]  # of five
    assert trace["spans"]


def test_its_own_test_passes(installed: Path) -> None:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA")
    done = run(installed, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert "PASSED" in done.stdout
    assert "later-tokens" in done.stdout

"""The plugin as a user installs it: from a wheel, listed, and with its own tests passing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.wheels import PLUGINS, build_wheel, environment, install, omnitrace, run

PLUGIN = PLUGINS / "omnitrace-ray"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment; return its interpreter."""
    wheel = build_wheel(PLUGIN, tmp_path_factory.mktemp("wheels"))
    return install(environment(tmp_path_factory.mktemp("installed")), wheel)


def test_it_is_listed(installed: Path) -> None:
    (line,) = omnitrace(installed, "list", "executors").splitlines()[-1:]
    assert line.split()[:2] == ["ray", "omnitrace-ray:ray"]


@pytest.mark.minutes
@pytest.mark.timeout(600)
def test_its_own_tests_pass(installed: Path) -> None:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA")
    assert "PASSED" in run(installed, "-m", "pytest", *options, str(PLUGIN / "tests")).stdout

"""The plugin as a user installs it: from a wheel, listed with what it needs and costs."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.wheels import PLUGINS, build_wheel, environment, install, omnitrace


def test_all_six_are_listed(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = build_wheel(PLUGINS / "omnitrace-captum", tmp_path / "wheels")
    python = install(environment(tmp_path / "environment"), wheel)
    lines = omnitrace(python, "list", "signals").splitlines()
    listed = [line.split() for line in lines if line.startswith("captum-")]
    assert len(listed) == 6
    for cells in listed:
        assert cells[1:6] == ["forwards", "many", "forwards", "no", "omnitrace-captum:captum"]

"""What the package asks of an environment: nothing that cannot be installed there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

PROJECT: Final[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
)["project"]


def needed(platform: str, machine: str) -> set[str]:
    """Return the names of the dependencies on a platform."""
    environment = {"sys_platform": platform, "platform_machine": machine}
    found = map(Requirement, PROJECT["dependencies"])
    return {each.name for each in found if not each.marker or each.marker.evaluate(environment)}


@pytest.mark.parametrize(
    ("platform", "machine", "has_decord"),
    [
        ("linux", "x86_64", True),
        ("win32", "AMD64", True),
        ("linux", "aarch64", False),
        ("darwin", "arm64", False),
        ("darwin", "x86_64", False),  # its last wheels there are for Python 3.8
    ],
)
def test_decord_is_asked_for_only_where_it_has_wheels(
    platform: str, machine: str, has_decord: bool
) -> None:
    names = needed(platform, machine)
    assert ("decord" in names) == has_decord
    assert {"av", "librosa", "soundfile", "captum"} <= names


def test_the_python_versions_are_named() -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [each.removeprefix(prefix) for each in PROJECT["classifiers"] if prefix in each]
    assert named == ["11", "12", "13", "14"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_viewer_is_in_the_wheel() -> None:
    root = Path(__file__).parents[1]
    inside = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    for folder in ("static", "templates"):
        files = list((root / "omnitrace" / "report" / folder).iterdir())
        assert files
        assert {path.relative_to(root).as_posix() for path in files} <= inside

"""Run the tests that depend on ``transformers`` with its lowest, installed and newest version.

    python tests/compat.py                  # all three
    python tests/compat.py lowest 5.21.1    # some of them, or any other version
    python tests/compat.py --others         # lowest and newest, where `make test` had another

The installed version is that of the environment; the others are installed beside it, in
``out/compat``, and come first on the path. It prints one line a version, and fails if any fails.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

ROOT: Final = Path(__file__).parents[1]
OUT: Final = ROOT / "out" / "compat"
WHICH: Final = ("lowest", "installed", "newest")
TESTS: Final = (
    *("tests/capture", "tests/models", "tests/ablation", "tests/testing", "tests/engine"),
    *("tests/estimator/test_signal.py", "tests/estimator/test_store.py"),
    *("tests/signals/test_heads.py", "tests/evaluation/calibration/test_run.py"),
    "tests/test_tracer.py",
)


class CompatError(Exception):
    """A version that cannot be tried."""


def supported() -> Requirement:
    """Return what ``pyproject.toml`` asks of transformers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = map(Requirement, project["dependencies"])
    return next(each for each in found if each.name == "transformers")


def pip(*arguments: str) -> str:
    """Run pip; what it says on failure is the error."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CompatError(said[-1] if said else done.stderr.strip())
    return done.stdout


def version_of(which: str) -> str:
    """Return the version that a word means."""
    if which == "installed":
        return importlib.metadata.version("transformers")
    if which == "lowest":
        lowest = next(each.version for each in supported().specifier if each.operator == ">=")
        return lowest if lowest.count(".") > 1 else f"{lowest}.0"
    if which == "newest":
        flags = ("--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", "-")
        found = json.loads(pip("install", *flags, str(supported())))
        return str(found["install"][0]["metadata"]["version"])
    return which


def folder_with(version: str) -> Path:
    """Install a version, and what it needs in another version than the environment has."""
    folder = OUT / version
    ready = folder / "ready"
    if ready.exists():
        return folder
    into = ("install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder))
    pip(*into, f"transformers=={version}")
    (there,) = importlib.metadata.distributions(name="transformers", path=[str(folder)])
    for needed in map(Requirement, there.requires or ()):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        if not needed.specifier.contains(importlib.metadata.version(needed.name)):
            pip(*into, str(needed))
    ready.touch()
    return folder


def run(version: str) -> bool:
    """Run the tests with a version, print a line, and say whether they passed."""
    installed = Version(version) == Version(version_of("installed"))
    path = [str(ROOT)] if installed else [str(folder_with(version)), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"}
    asked = [sys.executable, "-c", "import transformers; print(transformers.__version__)"]
    imported = subprocess.run(asked, env=environment, capture_output=True, text=True, cwd=ROOT)
    if not imported.stdout.strip() or Version(imported.stdout.strip()) != Version(version):
        said = (imported.stderr.strip().splitlines() or [imported.stdout.strip()])[-1]
        raise CompatError(f"it is not what Python imports: {said}")
    OUT.mkdir(parents=True, exist_ok=True)
    log = OUT / f"{version}.log"
    tests = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *TESTS]
    with log.open("w") as file:
        done = subprocess.run(tests, env=environment, stdout=file, stderr=file, cwd=ROOT)
    said = log.read_text().splitlines() or ["no output"]
    # What native libraries say at exit may stand behind pytest's own last line.
    summed = [line for line in said if " passed" in line or " failed" in line] or said
    print(f"transformers {version}: {summed[-1].strip(' =')}", flush=True)
    if done.returncode:
        failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
        print(*(f"  {line}" for line in failed[:20]), f"  all of it: {log}", sep="\n", flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Try each version once; return how many failed."""
    failures, tried = 0, set()
    if arguments == ["--others"]:  # the tests have just been run with the installed one
        arguments = ["lowest", "newest"]
        tried.add(Version(version_of("installed")))
    for which in arguments or WHICH:
        try:
            version = version_of(which)
            if Version(version) in tried:
                print(f"transformers {version}: the {which} one too, and tried", flush=True)
                continue
            tried.add(Version(version))
            failures += not run(version)
        except CompatError as error:
            print(f"transformers {which}: cannot be tried: {error}", flush=True)
            failures += 1
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

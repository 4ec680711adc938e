"""Wheels of the plugins in this repository, and fresh environments to install them into.

An environment holds what is installed into it. Beside that it sees the packages of the one that
runs the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"

_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
_OFFLINE = ["--no-index", "--no-deps"]


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of ``source`` into the empty ``folder``."""
    build = ["wheel", "--no-build-isolation", *_OFFLINE, "--wheel-dir", folder, source]
    subprocess.run([*_PIP, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(folder: Path) -> Path:
    """Make a virtual environment; return its interpreter."""
    venv.create(folder, with_pip=False)
    scripts = "Scripts" if os.name == "nt" else "bin"
    variables = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", variables))
    paths = [str(ROOT), *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    (packages / "others.pth").write_text("\n".join(paths) + "\n")
    return folder / scripts / "python"


def install(python: Path, wheel: Path) -> Path:
    """Install ``wheel`` into the environment of ``python``, and return the latter."""
    subprocess.run([*_PIP, "--python", python, "install", *_OFFLINE, wheel], check=True)
    return python


def run(python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run ``python`` outside the repository, in nobody's environment but its own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, *command],
        env={**kept, "PYTHONIOENCODING": "utf-8", "COLUMNS": "250"},
        cwd=python.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def omnitrace(python: Path, *args: str) -> str:
    """Run Omnitrace's command line; return what it prints."""
    return run(python, "-c", "from omnitrace.cli.app import main; main()", *args).stdout

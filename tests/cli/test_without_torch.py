"""Commands that need no model do not wait for torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from omnitrace.estimator import save
from omnitrace.evaluation.labels.io import write_labels
from tests.helpers.estimators import made_learned
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import multimodal_trace

_DRIVER = """
import sys
from omnitrace.cli.app import main

sys.argv = ["omnitrace", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "transformers", "captum", "decord"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a trace, its labels, and an estimator."""
    multimodal_trace().save(tmp_path / "a.omnitrace")
    write_labels(tmp_path / "labels.jsonl", [label("a")])
    save(tmp_path / "e.safetensors", made_learned())
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("show", "a.omnitrace"),
        ("export", "a.omnitrace", "--to", "csv"),
        ("label", "check", "labels.jsonl", "a.omnitrace"),
        ("estimator", "show", "e.safetensors"),
        ("evaluate", "a.omnitrace", "--labels", "labels.jsonl", "--json", "a.json"),
    ],
    ids=" ".join,
)
def test_a_command_without_a_model_imports_no_torch(folder: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).strip()

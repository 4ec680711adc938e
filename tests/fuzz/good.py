"""The good inputs that are made malformed: a trace, a label, an evaluation and an estimator."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["NAME", "Good", "make_good"]

#: The trace's id, which is its label's.
NAME = "harbour"


@dataclass(frozen=True)
class Good:
    """Files that every part of Omnitrace accepts, below one folder."""

    folder: Path

    @property
    def trace(self) -> Path:
        """A trace with text, an image, audio and a video, and its media."""
        return self.folder / f"{NAME}.omnitrace"

    @property
    def labels(self) -> Path:
        """Its label."""
        return self.folder / "labels.jsonl"

    @property
    def evaluation(self) -> Path:
        """What ``evaluate --json`` writes of the two."""
        return self.folder / "evaluation.json"

    @property
    def estimator(self) -> Path:
        """The estimator of the reference model."""
        return self.folder / "estimator.safetensors"

    @functools.cached_property
    def label(self) -> dict[str, Any]:
        """The label as a document."""
        found: dict[str, Any] = json.loads(self.labels.read_text(encoding="utf-8"))
        return found


def make_good(folder: Path) -> Good:
    """Write the good inputs into a folder."""
    from omnitrace.reference import assets
    from tests.helpers.command_line import run_command
    from tests.helpers.sample_labels import label
    from tests.helpers.sample_traces import multimodal_trace

    folder.mkdir(parents=True, exist_ok=True)
    good = Good(folder)
    multimodal_trace().save(good.trace, media=True)
    good.labels.write_text(label(NAME).line() + "\n", encoding="utf-8")
    done = run_command("evaluate", good.trace, "--labels", good.labels, "--json", good.evaluation)
    assert done.exit_code == 0, done.output
    source = Path(str(assets.__file__)).parent / good.estimator.name
    shutil.copy(source, good.estimator)
    return good

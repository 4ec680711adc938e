"""Answers that are attributed anew, so that labels of one answer judge any signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnitrace.cli.commands.trace import Progress, safe_name
from omnitrace.cli.exit_codes import say_mistake
from omnitrace.cli.input_files import Examples
from omnitrace.errors import OmnitraceError
from omnitrace.evaluation.labels.io import LabelScan
from omnitrace.sources.request_files import Entry, Request, RequestProblem
from omnitrace.trace.trace import Trace

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Anew", "label_id"]


class Anew:
    """Requests with the labelled answers, and traces with their own, for one signal after another.

    Parameters
    ----------
    examples, scan:
        What is judged, and the labels.

    Attributes
    ----------
    failed, unlabelled:
        Names of what could not be attributed by some signal, and of requests without a label:
        these have no answer.
    fitted:
        By the id of the label, bool ``[m, K]``: the masks that the newest signal measured.
    """

    def __init__(self, examples: Examples, scan: LabelScan) -> None:
        self.failed: list[str] = []
        self.unlabelled: list[str] = []
        self.fitted: dict[str, np.ndarray] = {}
        self._examples = examples
        self._scan = scan
        self._answers = {entry.label.id: entry.label.response for entry in scan.entries}

    def traces(
        self, tracer: Tracer, signal: str, progress: Progress
    ) -> Iterator[tuple[str, Trace]]:
        """Yield the id of the label and a trace by ``signal``; what fails is told, others go on.

        Parameters
        ----------
        tracer:
            Of the model that wrote the answers.
        signal:
            Its name.
        progress:
            Shows what is done.
        """
        own = tracer.with_options(signal=signal)
        self.fitted.clear()
        for name, what in self._examples:
            progress.show(f"{signal}: {name}")
            masks: list[np.ndarray] = []
            try:
                found = self._one(own, name, what, masks.append)
            except OmnitraceError as error:
                self._note(self.failed, name)
                with progress.paused():
                    say_mistake(f"{name}, {signal}: {error}")
                continue
            if found is not None:
                if masks:
                    self.fitted[found[0]] = np.concatenate(masks)
                yield found

    def _one(
        self, tracer: Tracer, name: str, what: Entry | Path, measured: Callable[[np.ndarray], None]
    ) -> tuple[str, Trace] | None:
        if isinstance(what, RequestProblem):
            raise what.error
        if isinstance(what, Request):
            if name not in self._answers:
                self._note(self.unlabelled, name)
                return None
            answer = self._answers[name]
            return name, tracer.replay(
                what.messages, answer, media_root=what.media_root, measured=measured
            )
        from omnitrace.evaluation.model_access import replayed  # it waits for torch

        return label_id(what, self._scan), replayed(tracer, Trace.load(what), measured=measured)

    @staticmethod
    def _note(names: list[str], name: str) -> None:
        if name not in names:
            names.append(name)


def label_id(path: Path, scan: LabelScan) -> str:
    """Return the id of the label that a trace file is named after; its own name without one."""
    ids = [entry.label.id for entry in scan.entries]
    if path.stem in ids:
        return path.stem
    of_name = [each for each in ids if safe_name(each) == path.stem]
    return of_name[0] if len(of_name) == 1 else path.stem

"""Attribute responses again, so that labels of one response evaluate any signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnitrace.errors import OmnitraceError
from omnitrace.evaluation.example_set import Examples, label_id
from omnitrace.evaluation.labels.io import LabelScan
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem
from omnitrace.trace.trace import Trace

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["Failure", "FailureCallback", "Reattribution", "no_failure"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that could not be attributed by a signal, and why."""

    example: str
    signal: str
    reason: str

    def __str__(self) -> str:
        return f"{self.example}, {self.signal}: {self.reason}"


#: Called with each failure as soon as it is known.
FailureCallback = Callable[[Failure], None]


def no_failure(failure: Failure) -> None:
    """Leave failures to be read at the end."""


class Reattribution:
    """Requests with the labelled responses, and traces with their own, by one signal after another.

    Parameters
    ----------
    examples, labels:
        What is evaluated, and the labels.

    Attributes
    ----------
    failures:
        What could not be attributed, for every signal.
    unlabelled:
        Names of requests without a label: these have no response.
    fitted:
        By the id of the label, bool ``[m, K]``: the masks that the newest signal measured.
    """

    def __init__(self, examples: Examples, labels: LabelScan) -> None:
        self.failures: list[Failure] = []
        self.unlabelled: list[str] = []
        self.fitted: dict[str, np.ndarray] = {}
        self._examples = examples
        self._labels = labels
        self._responses = {entry.label.id: entry.label.response for entry in labels.entries}

    def traces(
        self,
        tracer: Tracer,
        signal: str | None = None,
        *,
        progress: ProgressCallback = no_progress,
        failed: FailureCallback = no_failure,
    ) -> Iterator[tuple[str, Trace]]:
        """Yield the id of the label and a trace by a signal; of what fails, the others go on.

        Parameters
        ----------
        tracer:
            Of the model that wrote the responses.
        signal:
            Its name; None takes the tracer as it is.
        progress, failed:
            Called with what is being done, and with each failure.
        """
        if signal is None:
            signals = tracer.setup.signals
            signal_tracer, signal = tracer, (signals.span or signals.token).name
        else:
            signal_tracer = tracer.with_options(signal=signal)
        self.fitted.clear()
        for name, example in self._examples:
            progress(f"{signal}: {name}")
            masks: list[np.ndarray] = []
            try:
                found = self._replayed(signal_tracer, name, example, masks.append)
            except OmnitraceError as error:
                failure = Failure(name, signal, str(error))
                self.failures.append(failure)
                failed(failure)
                continue
            if found is not None:
                if masks:
                    self.fitted[found[0]] = np.concatenate(masks)
                yield found

    def _replayed(
        self,
        tracer: Tracer,
        name: str,
        example: FileEntry | Path,
        measured: Callable[[np.ndarray], None],
    ) -> tuple[str, Trace] | None:
        if isinstance(example, RequestProblem):
            raise example.error
        if isinstance(example, RequestEntry):
            if name not in self._responses:
                if name not in self.unlabelled:
                    self.unlabelled.append(name)
                return None
            response = self._responses[name]
            return name, tracer.replay(
                example.messages,
                response,
                media_root=example.media_root,
                measured=measured,
                **example.template,
            )
        from omnitrace.evaluation.model_access import replayed  # it waits for torch

        trace = replayed(tracer, Trace.load(example), measured=measured)
        return label_id(example, self._labels), trace

"""An executor without other processes: what it is given and gives passes as between processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Generator, Iterable
from typing import Any

from omnitrace.runs import Run
from omnitrace.sources import RequestEntry


class Death(BaseException):
    """Stands for the end of a process: nothing of it is cleaned up."""


class InProcess:
    """Works here, one item after the other, with copies of everything.

    Attributes
    ----------
    made:
        How many workers were made: the first, and one for each death.
    """

    def __init__(self) -> None:
        self.made = 0

    def map(
        self, make_worker: Callable[[], Callable[[Any], Any]], items: Iterable[Any]
    ) -> Generator[Any, None, None]:
        worker = None
        for item in items:
            while True:
                if worker is None:
                    worker = pickle.loads(pickle.dumps(make_worker))()
                    self.made += 1
                try:
                    result = worker(pickle.loads(pickle.dumps(item)))
                except Death:
                    worker = None
                    continue
                yield pickle.loads(pickle.dumps(result))
                break


def left(run: Run, entry: RequestEntry) -> None:
    """Do, in place of ``Run.abandoned``, what a system does for a dead process: close its files."""
    _, claim = run._begun.pop(entry.id)
    os.close(claim._handle)  # type: ignore[attr-defined]

"""Ctrl-C and SIGTERM end a command alike, and neither is lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["Stops", "Terminated", "stops"]


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C is, from a system that wants the process to end."""


class Stops:
    """What was asked for by a signal, kept: Python drops what is raised in a ``__del__``."""

    def __init__(self) -> None:
        self._asked: type[KeyboardInterrupt] | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Let SIGTERM end the command as Ctrl-C does, so that it says what is kept."""
        ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        self._asked = None
        usual = {}
        if threading.current_thread() is threading.main_thread():
            usual = {each: was for each, was in ours.items() if signal.getsignal(each) is was}
        for each in usual:
            signal.signal(each, self._take)
        try:
            yield
        finally:
            for each, was in usual.items():
                signal.signal(each, was)

    def _take(self, number: int, frame: object) -> None:
        self._asked = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        raise self._asked

    def check(self) -> None:
        """Leave by the exception, if somebody asked to stop and it was lost."""
        if self._asked is not None:
            raise self._asked


stops: Final = Stops()  # of the process: it has one pair of signals

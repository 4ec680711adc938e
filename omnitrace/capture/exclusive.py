"""Have a model to oneself: its lock, and its mode while one runs it.

Runs of one model follow each other, whoever asks for them. Whoever waits for a model can give up at
any moment, and a call that could never get it, because it comes out of the run that has it, is
refused at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Final

from torch import nn

from omnitrace.errors import NotSupportedError

__all__ = ["ModelLock", "evaluated", "model_lock"]

_POLL_SECONDS: Final = 0.05


class ModelLock:
    """Lets one thread at a time run a model; the thread that has it may take it again.

    A run of a tracer, though, takes it once. Its threads compute for it alone, and a second call on
    the model that one of them makes (from a logits processor, a streamer, a signal) would wait for
    the run, which waits for the call.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._workers: set[int] = set()

    @contextlib.contextmanager
    def held(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait for the model, and have it inside the block.

        Parameters
        ----------
        check:
            Called again and again while another thread has the model, to leave by an exception.

        Raises
        ------
        NotSupportedError
            As :meth:`refuse_nested`.
        """
        self.refuse_nested()
        while not self._lock.acquire(timeout=_POLL_SECONDS):
            check()
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let this thread compute for the run that has the model."""
        thread = threading.get_ident()
        new = thread not in self._workers
        self._workers.add(thread)
        try:
            yield
        finally:
            if new:
                self._workers.discard(thread)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let this thread, which computes for the run that has the model, call it by itself."""
        thread = threading.get_ident()
        self._workers.remove(thread)
        try:
            yield
        finally:
            self._workers.add(thread)

    def refuse_nested(self) -> None:
        """Refuse to wait for a run that waits for this thread.

        Raises
        ------
        NotSupportedError
            If this thread computes for a run of the model.
        """
        if threading.get_ident() in self._workers:
            raise NotSupportedError(
                "the model is called from inside a run that has it: from a logits processor, a "
                "stopping criterion, a streamer or a signal of a response that is being traced",
                legal="calls before or behind a run, or in another thread, where they wait for it",
                fix="make the call once the response has ended, or load the model a second time",
            )


_LOCKS: weakref.WeakKeyDictionary[nn.Module, ModelLock] = weakref.WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


def model_lock(model: nn.Module) -> ModelLock:
    """Return the one lock of ``model``: two traces of one model run after each other."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, ModelLock())


def _forget_locks() -> None:
    """Begin without locks in a forked process: the threads that hold them are not there."""
    global _LOCKS_GUARD
    _LOCKS_GUARD = threading.Lock()
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@contextlib.contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode inside the block, and every module back as it was."""
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        yield
    finally:
        for module in training:
            module.training = True

"""OpenMP teams: why only one thread should compute with several cores.

On the CPU torch computes with OpenMP, which gives every thread that computes a team of helpers of
its own. GNU's ``libgomp`` counts the helpers of all teams, idle ones too: once they are more than
the cores, no helper waits awake any more between two parallel regions. A decoding step has hundreds
of regions, and with two cores takes about an eighth longer then (``benchmarks/streaming.py``). So
what works beside a decoding loop computes alone, and a thread that only waits for another one
lets its team go.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["compute_alone", "numbers_kept", "release_team"]

_SOFT_PAUSE = 1  # omp_pause_soft: helpers come back with the next parallel region
_ONE_AT_A_TIME = threading.Lock()


def _forget_lock() -> None:
    """Begin without the lock in a forked process: a thread that held it is not there."""
    global _ONE_AT_A_TIME
    _ONE_AT_A_TIME = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def compute_alone() -> None:
    """Let torch have no helpers in this thread from now on.

    New threads of the process would do the same: start this one within
    :func:`numbers_kept`.
    """
    torch.get_num_threads()  # a thread's first look takes the process's number, also a later one's
    torch.set_num_threads(1)


@contextlib.contextmanager
def numbers_kept() -> Iterator[None]:
    """Undo what :func:`compute_alone` of another thread does to this one and to new ones."""
    with _ONE_AT_A_TIME:
        number = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(number)


def release_team() -> None:
    """Let this thread's helpers go; it gets others as soon as it computes again.

    Nothing happens where OpenMP is not GNU's.
    """
    for pause in _pauses():
        pause(_SOFT_PAUSE)


@functools.cache
def _pauses() -> Sequence[Callable[[int], int]]:
    """Find ``omp_pause_resource_all`` of every libgomp in the process (OpenMP 5.0, 3.2.44)."""
    loaded = ThreadpoolController().select(prefix="libgomp").lib_controllers
    libraries: list[ctypes.CDLL] = [each.dynlib for each in loaded]
    return [
        library.omp_pause_resource_all
        for library in libraries
        if hasattr(library, "omp_pause_resource_all")
    ]

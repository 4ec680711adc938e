"""How often a run waits for the device: what the profiler saw, and from where it was asked.

On a GPU a wait is a copy to the processor, or the end of a stream. On a CPU, where nothing waits,
the operators that would wait on a GPU are counted: those that read a number out of a tensor.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["calls_from", "waits_of"]

#: Events of the profiler in which the processor waits, by the start of their names.
_WAITS: Final = (
    *("aten::_local_scalar_dense", "aten::nonzero"),
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "Memcpy DtoH"),
)
#: What reads a tensor in Python.
_READS: Final = (
    *("item", "tolist", "numpy", "cpu", "nonzero"),
    *("__bool__", "__int__", "__float__", "__index__"),
)


def waits_of(run: Callable[[], object]) -> Counter[str]:
    """Return how often each wait happened in a run, in all threads."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as found:
        run()
    return Counter(
        wait for event in found.events() for wait in _WAITS if event.name.startswith(wait)
    )


@contextlib.contextmanager
def calls_from(package: str) -> Iterator[Counter[str]]:
    """Count where the code of a package reads tensors, by method, file and line, inside the block.

    Reads that the package lets others do for it are not seen.
    """
    found: Counter[str] = Counter()
    inside = f"/{package}/"

    def watched(name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            frame = sys._getframe(1)
            if inside in frame.f_code.co_filename:
                place = frame.f_code.co_filename.rsplit(inside, 1)[1]
                found[f"{name} {place}:{frame.f_lineno}"] += 1
            return read(tensor, *args, **kwargs)

        return call

    originals = {name: getattr(torch.Tensor, name) for name in _READS}
    try:
        for name, read in originals.items():
            setattr(torch.Tensor, name, watched(name, read))
        yield found
    finally:
        for name, read in originals.items():
            setattr(torch.Tensor, name, read)

"""Runs of Omnitrace over many processes, GPUs and machines, by Ray.

Importing this package does not import Ray; what uses it does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from omnitrace import hookimpl

if TYPE_CHECKING:
    from omnitrace.runs import RegisterExecutor
    from omnitrace_ray.data import RESULTS, TraceRows, trace_dataset
    from omnitrace_ray.executor import RayExecutor
    from omnitrace_ray.folder import FsspecFolder
    from omnitrace_ray.serving import serve_app

__all__ = [
    "RESULTS",
    "FsspecFolder",
    "RayExecutor",
    "TraceRows",
    "register_executors",
    "serve_app",
    "trace_dataset",
]

_PLACES: Final = {
    "RESULTS": "data",
    "FsspecFolder": "folder",
    "RayExecutor": "executor",
    "TraceRows": "data",
    "serve_app": "serving",
    "trace_dataset": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def _executor(**options: Any) -> RayExecutor:
    from omnitrace_ray.executor import RayExecutor

    return RayExecutor(**options)


@hookimpl
def register_executors(register: RegisterExecutor) -> None:
    """Register the executor under its name."""
    register("ray", _executor, summary="processes of Ray, on this machine or a cluster")

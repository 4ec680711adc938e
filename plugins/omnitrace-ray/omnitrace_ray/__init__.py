"""Runs of Omnitrace over many processes, GPUs and machines, by Ray.

Importing this package does not import Ray; what uses it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omnitrace import hookimpl

if TYPE_CHECKING:
    from omnitrace_ray.executor import RayExecutor

__all__ = ["RayExecutor", "register_executors"]


def __getattr__(name: str) -> Any:
    if name == "RayExecutor":
        from omnitrace_ray.executor import RayExecutor

        return RayExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _executor(**options: Any) -> RayExecutor:
    from omnitrace_ray.executor import RayExecutor

    return RayExecutor(**options)


@hookimpl
def register_executors(register: Any) -> None:
    """Register the executor under its name."""
    register("ray", _executor, summary="processes of Ray, on this machine or a cluster")

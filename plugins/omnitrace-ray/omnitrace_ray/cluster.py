"""The Ray that work runs on: one that is there, or one on this machine for as long as it takes."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from omnitrace.errors import InputError

__all__ = ["Share", "connected", "options_of", "share_of"]


@dataclass(frozen=True, slots=True)
class Share:
    """What of the cluster a run takes: ``actors`` processes, each with some GPUs and cores."""

    actors: int
    gpus: float
    cpus: float


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster for a block of code, unless the process is connected already.

    Parameters
    ----------
    address:
        As for ``ray.init``. None: the cluster that ``RAY_ADDRESS`` names or that runs on this
        machine; where there is none, a Ray of this machine alone, which ends with the block.
    """
    if ray.is_initialized():
        yield
        return
    # A Ray of our own tells nobody that it is used, unless the user wants it to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield
    finally:
        ray.shutdown()


def share_of(
    actors: int | None, gpus: float | None, cpus: float | None, *, others: float = 0.0
) -> Share:
    """Return what a run takes, with what is not said chosen by what the cluster has.

    By default every actor has one GPU where there are any, and there are as many actors as GPUs
    allow; without GPUs there is one actor, and actors share the cores but ``others`` of each
    machine, for tasks that run beside them.

    Raises
    ------
    InputError
        If no machine of the cluster has room for one actor.
    """
    machines = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    most_gpus = max((each.get("GPU", 0.0) for each in machines), default=0.0)
    most_cpus = max((each.get("CPU", 0.0) for each in machines), default=0.0)
    if gpus is None:
        gpus = 1.0 if most_gpus else 0.0
    if actors is None:
        actors = sum(math.floor(each.get("GPU", 0.0) / gpus) for each in machines) if gpus else 1
    if cpus is None:
        on_one = math.ceil(max(1, actors) / len(machines))
        cpus = 1.0 if gpus else max(1.0, (most_cpus - others) // on_one)
    for name, wanted, most in (("GPUs", gpus, most_gpus), ("cores", cpus, most_cpus)):
        if wanted > most:
            raise InputError(
                f"{name} for each actor: {wanted:g}, more than any machine of the cluster has",
                legal=f"up to {most:g}",
                fix=f"take fewer, or add a machine with {name} to the cluster first",
            )
    return Share(max(1, actors), gpus, cpus)


def options_of(share: Share) -> dict[str, Any]:
    """Return the resources of one actor, as ``ray.remote`` and ``map_batches`` take them."""
    return {"num_cpus": share.cpus, "num_gpus": share.gpus}

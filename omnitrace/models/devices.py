"""Where a model runs."""

from __future__ import annotations

import torch

from omnitrace.errors import InputError

__all__ = ["checked_device", "usual_device"]


def usual_device() -> str:
    """Return where the command line runs models: a CUDA device where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device that exists.

    Raises
    ------
    InputError
        If it is not a name of torch's, or this machine has no such device.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the device is {str(device)!r}", legal="a name of torch's, such as cpu, cuda or cuda:1"
        ) from error
    if found.type == "meta":
        raise InputError(
            "the device is 'meta', where nothing is computed", legal="cpu, cuda or cuda:1"
        )
    if found.type != "cpu" and (found.index or 0) >= _count(found.type):
        here = [f"{kind}:{i}" for kind in ("cuda", "mps") for i in range(_count(kind))]
        raise InputError(
            f"torch finds no device {str(device)!r} here",
            legal=", ".join(["cpu", *here]),
            fix="" if here else "check the driver, and that torch was built for the device",
        )
    return found


def _count(kind: str) -> int:
    module = getattr(torch, kind, None)
    count = getattr(module, "device_count", None)
    return int(count()) if count is not None else 0

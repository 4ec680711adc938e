"""Run all checks of the doctor on a model."""

from __future__ import annotations

import importlib.metadata
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import torch

from omnitrace._utils.process_memory import resident
from omnitrace.errors import InputError, OmnitraceError, did_you_mean
from omnitrace.models.base import ModelAdapter
from omnitrace.testing.doctor import ablation, maps, rows, writing
from omnitrace.testing.doctor.examined import Examined, Level
from omnitrace.testing.doctor.findings import Diagnosis, Finding, Line, not_applicable, wrong

__all__ = ["CHECKS", "diagnose"]

Progress: TypeAlias = Callable[[str, int, int], None]

CHECKS: Final[Mapping[str, Callable[[Examined], Finding]]] = MappingProxyType(
    {
        "token map": maps.token_map,
        "placeholders": maps.placeholders,
        "places in images": maps.image_places,
        "places in audio": maps.audio_places,
        "places in videos": maps.video_places,
        "layers with rows": rows.layers,
        "rows": rows.rows,
        "value norms": rows.value_norms,
        "gradients": rows.gradients,
        "same response": writing.non_interference,
        "left as found": writing.restoration,
        "attention mask": writing.attention_mask,
        "batch and padding": writing.batch,
        "side inputs": ablation.side_inputs,
        "ablation": ablation.ablation,
        "verified supports": ablation.verified,
        "mask-gradient": ablation.mask_gradient,
        "memory": writing.memory,
        "overhead": writing.overhead,
    }
)
"""By the name of the line, each check in the order in which they run."""


def diagnose(
    adapter: ModelAdapter,
    *,
    level: Level = "quick",
    checks: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Check whether a model is mapped, captured and ablated rightly, each with evidence.

    The model is left as it was found. A check that raises is a line "wrong".

    Parameters
    ----------
    adapter:
        The model with its processor, as ``Tracer(…).adapter`` holds it.
    level:
        "quick": 24 places a modality and a few masks; "full": 200 places, more requests and steps.
    checks:
        Only these, by the names of their lines; by default all of :data:`CHECKS`.
    progress:
        Called before each check with its name, how many are done, and how many there are.

    Raises
    ------
    InputError
        If there is no such level or check.
    """
    if level not in ("quick", "full"):
        raise InputError(f"level is {level!r}", legal="'quick', 'full'")
    chosen = list(CHECKS) if checks is None else list(checks)
    for name in chosen:
        if name not in CHECKS:
            known = ", ".join(map(repr, CHECKS))
            raise InputError(
                f"there is no check {name!r}", legal=known, fix=did_you_mean(name, CHECKS)
            )
    examined = Examined(adapter, level)
    started, lines = time.perf_counter(), list[Line]()
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(name, number, len(chosen))
        began = time.perf_counter()
        found = _found(CHECKS[name], examined)
        evidence = " ".join(found.evidence.split())
        lines.append(Line(name, found.status, evidence, time.perf_counter() - began))
    device = examined.device
    return Diagnosis(
        model=adapter.source,
        model_class=type(adapter.model).__name__,
        family=None if examined.family is None else examined.family.name,
        modalities=examined.modalities,
        level=level,
        versions=_versions(),
        hardware=f"{_device_name(device)}, {str(examined.dtype).removeprefix('torch.')}",
        lines=tuple(lines),
        seconds=time.perf_counter() - started,
        peak_memory=_peak(device),
    )


def _found(check: Callable[[Examined], Finding], examined: Examined) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check(examined)
    except torch.OutOfMemoryError as error:
        return not_applicable(f"too little memory for this check: {_first_line(error)}")
    except OmnitraceError as error:
        return wrong(_first_line(error))
    except Exception as error:  # whatever a model or a processor raises
        return wrong(f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    said = str(error).strip()
    return said.splitlines()[0] if said else repr(error)


def _versions() -> dict[str, str]:
    return {
        "omnitrace": importlib.metadata.version("omnitrace-attribution"),
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "Python": platform.python_version(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resident("VmHWM")

"""The signal and the calibration that options of a command name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.signals.base import Signal

__all__ = ["calibrated", "chosen_signal"]


def chosen_signal(
    name: str | None, estimator_file: Path | None, heads: Path | None
) -> str | Signal | None:
    """Return what ``--signal``, ``--estimator`` or ``--heads`` names.

    Raises
    ------
    InputError, PluginError
        If two of them are given, there is no such signal, or a file is none of them.
    """
    if heads is not None and (name is not None or estimator_file is not None):
        other = "--estimator" if name is None else f"--signal {name}"
        raise InputError(f"both {other} and --heads are given", legal="one of them")
    if heads is not None:
        from omnitrace.signals.heads import load_heads

        return load_heads(heads)
    if estimator_file is None:
        from omnitrace.plugins.registry import registry

        if name is not None:
            registry().signal(name)
        return name
    if name not in (None, "estimator"):
        raise InputError(f"both --signal {name} and --estimator are given", legal="one of them")
    from omnitrace.estimator.finished import load_signal

    return load_signal(estimator_file)


def calibrated(
    path: Path | None, signal: str | Signal | None, verify: bool | None
) -> SelectionConfig | None:
    """Return the selection of ``--calibration``.

    Raises
    ------
    InputError
        If the file is none, or nothing is verified.
    """
    if path is None:
        return None
    verifies = signal is None if verify is None else verify
    if not verifies and signal != "verified":
        raise InputError(
            "--calibration means nothing where supports are not verified",
            legal="no --signal, or --verify beside it",
        )
    from omnitrace.evaluation.calibration.store import read_calibration

    return read_calibration(path).selection()

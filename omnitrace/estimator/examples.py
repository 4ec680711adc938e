"""What the estimator learns from: features of spans, and what masks did to their probability."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from omnitrace._utils.files import make_folder, write_atomically
from omnitrace.errors import InputError
from omnitrace.estimator.features import MODALITIES
from omnitrace.types import Modality

__all__ = ["Example", "HeldOut", "digest_of_examples"]

_FORMAT: Final = "omnitrace-estimator-example"


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One answered request of ``K`` units and ``S`` spans, under ``m`` keep-masks.

    Attributes
    ----------
    name:
        The request's id.
    features:
        float32 ``[S, F, K]``.
    masks:
        bool ``[m, K]``, True where a unit is kept.
    logprobs:
        float64 ``[m, S]``: ``f(v)``, the log-probability of each span, in nats, up to a constant.
    modalities:
        Of the units.
    tokens:
        int64 ``[S]``: tokens of each span.
    """

    name: str
    features: np.ndarray
    masks: np.ndarray
    logprobs: np.ndarray
    modalities: tuple[Modality, ...]
    tokens: np.ndarray

    def __post_init__(self) -> None:
        spans, _, units = self.features.shape if self.features.ndim == 3 else (-1, -1, -1)
        good = (
            self.masks.shape[1:] == (units,)
            and self.masks.dtype == np.bool_
            and self.logprobs.shape == (len(self.masks), spans)
            and self.tokens.shape == (spans,)
            and len(self.modalities) == units
        )
        if not good:
            raise InputError(
                f"the example {self.name!r} has features of shape {self.features.shape}, masks "
                f"{self.masks.shape}, log-probabilities {self.logprobs.shape}",
                legal="[spans, features, units], bool [masks, units], [masks, spans]",
            )
        if not np.isfinite(self.features).all() or not np.isfinite(self.logprobs).all():
            raise InputError(
                f"the example {self.name!r} has values that are not finite",
                legal="finite features and log-probabilities",
            )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """An example that nothing is fitted on, and what it takes to evaluate and to calibrate.

    Attributes
    ----------
    example:
        Its masks are for evaluation.
    sized_masks, sized_logprobs:
        Masks that keep nearly the same number of tokens, bool ``[n, K]`` and float64 ``[n, S]``;
        none where the units do not allow any.
    sizes:
        int64 ``[K]``: tokens of each unit.
    effects:
        float64 ``[S, K]``: the measured effect of each unit alone, ``f(1) - f(1 - e_k)``; or, of
        an estimator of verified effects, what verification found, 0 for units that it did not name.
    baseline:
        float64 ``[S, K]``: the scores of "attention-mean", to compare with.
    """

    example: Example
    sized_masks: np.ndarray
    sized_logprobs: np.ndarray
    sizes: np.ndarray
    effects: np.ndarray
    baseline: np.ndarray


def save_example(path: Path, found: Example | HeldOut) -> None:
    """Write an example; it can be read by :func:`load_example`."""
    example = found.example if isinstance(found, HeldOut) else found
    tensors = {name: getattr(example, name) for name in ("features", "masks", "logprobs", "tokens")}
    if isinstance(found, HeldOut):
        more = ("sized_masks", "sized_logprobs", "sizes", "effects", "baseline")
        tensors |= {name: getattr(found, name) for name in more}
    about = {
        "format": _FORMAT,
        "name": example.name,
        "modalities": example.modalities,
        "held_out": isinstance(found, HeldOut),
    }
    make_folder(path.parent)
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with write_atomically(path) as file:
        file.write(save_tensors(contiguous, {"omnitrace": json.dumps(about, sort_keys=True)}))


def load_example(path: Path) -> Example | HeldOut | None:
    """Read an example; None where there is none, or the file is damaged and must be made again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["omnitrace"])
            read = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] != _FORMAT or not set(about["modalities"]) <= set(MODALITIES):
            return None
        modalities = tuple(about["modalities"])
        names = ("features", "masks", "logprobs", "tokens")
        kept = {name: read.pop(name) for name in names}
        example = Example(name=about["name"], modalities=modalities, **kept)
        return HeldOut(example, **read) if about["held_out"] else example
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, InputError):
        return None


def digest_of_examples(examples: Sequence[Example]) -> str:
    """Return a SHA-256 of all that was learnt from, in whatever order the examples come."""
    each = []
    for example in examples:
        digest = hashlib.sha256(json.dumps([example.name, example.modalities]).encode())
        for values in (example.features, example.masks, example.logprobs, example.tokens):
            digest.update(str(values.shape).encode() + np.ascontiguousarray(values).tobytes())
        each.append(digest.hexdigest())
    return hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest()

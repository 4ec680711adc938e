"""Measured log-probabilities in files, so that no mask is measured twice.

One file holds what was measured for one response in one request under one model and operator; its
name is the digest of all of these. It is a safetensors file, whose header carries a JSON document
that says what it is. A file is written whole and then renamed,
so that no reader sees a part.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save as save_tensors

from omnitrace._utils.files import make_folder, write_atomically
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.operators import Operator, OperatorsByModality
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.models.base import ModelAdapter

__all__ = ["Cache", "Store", "check_weights", "digest_of", "model_digest", "model_fingerprint"]

FORMAT: Final = "omnitrace-effects"
VERSION: Final = 1
_PAUSE: Final = 10.0  # seconds between two writes
_SAMPLE: Final = 64  # numbers of each parameter


class Store:
    """The masks that have been measured, and the response's log-probabilities under them.

    Parameters
    ----------
    path:
        The file; it need not exist. One that cannot be read is named in a warning and replaced.
    units, tokens:
        The sizes that stored values must have.
    about:
        A JSON-ready description of what is measured.
    """

    def __init__(self, path: Path | None, units: int, tokens: int, about: Mapping[str, Any]):
        self.path = path
        self._units, self._tokens = units, tokens
        self._about = dict(about)
        self._known: dict[bytes, np.ndarray] = {}
        self._unsaved = False
        self._saved = time.monotonic()
        if path is not None and path.exists():
            self._load(path)

    def get(self, mask: np.ndarray) -> np.ndarray | None:
        """Return float32 ``[T]`` for bool ``[units]``, or None if it was not measured yet."""
        return self._known.get(np.packbits(mask).tobytes())

    def add(self, mask: np.ndarray, values: np.ndarray) -> None:
        """Keep what was measured; it is written from time to time, and by :meth:`save`."""
        self._known[np.packbits(mask).tobytes()] = values
        self._unsaved = True
        if time.monotonic() - self._saved > _PAUSE:
            self.save()

    def save(self) -> None:
        """Write what is new."""
        if self.path is None or not self._unsaved:
            return
        make_folder(self.path.parent)
        keys = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(len(self._known), -1)
        about = {"format": FORMAT, "version": VERSION, **self._about}
        about |= {"units": self._units, "tokens": self._tokens}
        header = {"omnitrace": json.dumps(about, sort_keys=True)}
        values = np.stack(list(self._known.values()))
        with write_atomically(self.path) as file:
            file.write(save_tensors({"masks": keys.copy(), "logprobs": values}, header))
        self._unsaved = False
        self._saved = time.monotonic()

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})["omnitrace"])
                keys, values = file.get_tensor("masks"), file.get_tensor("logprobs")
            wanted = (FORMAT, VERSION, self._units, self._tokens)
            found = tuple(about[name] for name in ("format", "version", "units", "tokens"))
            width = (self._units + 7) // 8
            shaped = keys.shape == (len(values), width) and values.shape[1:] == (self._tokens,)
            if found != wanted or not shaped or keys.dtype != np.uint8:
                raise ValueError(f"it holds {found}, not {wanted}")
        except Exception as error:  # a foreign or damaged file can raise anything
            warnings.warn(
                f"the file of measured effects {path} cannot be read and is replaced: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        for key, row in zip(keys, values.astype(np.float32), strict=True):
            self._known[key.tobytes()] = row


class Cache:
    """Measured values of any number of responses, kept in memory and, if given, in a folder.

    Parameters
    ----------
    folder:
        Where files are kept; it need not exist. None keeps nothing beyond this object's life.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._stores: dict[str, Store] = {}

    def store(self, digest: str, units: int, tokens: int, about: Mapping[str, Any]) -> Store:
        """Return the store of this digest, always the same one; other arguments are a store's."""
        if digest not in self._stores:
            path = None if self.folder is None else self.folder / f"{digest}.safetensors"
            self._stores[digest] = Store(path, units, tokens, about)
        return self._stores[digest]


def digest_of(scorer: ResponseScorer | LazyScorer, chosen: OperatorsByModality) -> str:
    """Return a SHA-256 of all that a measured log-probability depends on but the mask.

    That is the model's configuration and weights (a sample of each), what its decoder is fed, the
    response and its foils, which position carries which unit, and the operators. For a scorer that
    is not made yet, its key stands for the model and what it is fed.
    """
    operators = sorted((kind, *_described(each)) for kind, each in chosen.items())
    units = [unit.id for unit in scorer.source_units]
    said: list[Any] = [FORMAT, VERSION, operators, units, scorer.response]
    tensors: tuple[torch.Tensor, ...] = ()
    if isinstance(scorer, LazyScorer):
        said += [[unit.positions for unit in scorer.source_units], dict(scorer.key)]
    else:
        said += [model_digest(scorer.model), scorer.foils, str(scorer.dtype)]
        tensors = scorer.embeddings, scorer.positions, scorer.unit_of
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()


def _described(operator: Operator) -> tuple[str, str, dict[str, Any]]:
    kind = type(operator)
    return operator.name, f"{kind.__module__}.{kind.__qualname__}", dict(operator.parameters)


def model_digest(model: Any) -> str:
    """Return a SHA-256 of a model's configuration and of up to 64 numbers of each parameter.

    The configuration names the version of ``transformers``, whose numbers may differ by a rounding.
    """
    return _digest_of_model(model, model.config.to_dict())


def check_weights(
    adapter: ModelAdapter, fingerprint: str, *, made: str, model: str, fix: str
) -> None:
    """Refuse another model than the one with a fingerprint.

    Parameters
    ----------
    adapter, fingerprint:
        The model, and what its fingerprint must be.
    made, model, fix:
        Of the message: what was made for which model, and how to make it for this one.

    Raises
    ------
    InputError
        If the model's weights are other ones.
    """
    if model_fingerprint(adapter.model) != fingerprint:
        raise InputError(
            f"{made} for {model!r}, and {adapter.source!r} has other weights",
            legal=f"the model with the fingerprint {fingerprint[:12]}…, in the same precision",
            fix=fix,
        )


def model_fingerprint(model: Any) -> str:
    """Return a SHA-256 of a model's family and of up to 64 numbers of each parameter.

    Unlike :func:`model_digest` it does not depend on where the model was loaded from, nor on what
    of the configuration loading, saving and versions of ``transformers`` change; so it identifies
    the model that something was made for.
    """
    return _digest_of_model(model, getattr(model.config, "model_type", ""))


def _digest_of_model(model: Any, config: Any) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, parameter in model.state_dict().items():
        flat = _flat(parameter)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)][:_SAMPLE]
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        if not sample.is_complex():
            digest.update(sample.to(torch.float64).cpu().numpy().tobytes())
    return digest.hexdigest()


def _flat(parameter: torch.Tensor) -> torch.Tensor:
    try:
        return parameter.detach().reshape(-1)
    except NotImplementedError:  # codes of a quantiser, which cannot be reshaped
        return parameter.dequantize().detach().reshape(-1)

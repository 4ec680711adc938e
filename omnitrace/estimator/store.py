"""A learned estimator in a file: one safetensors file whose header says what it is for.

The card in the header has the SHA-256 of the whole file, computed with zeros in its own place, so
that no changed bit becomes a changed effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from omnitrace._utils.documents import Count, parse_json, rename_member
from omnitrace._utils.files import read_bytes, reason_of, what_is, write_bytes
from omnitrace.errors import InputError
from omnitrace.estimator.calibration import Calibration
from omnitrace.estimator.features import OFFSETS, FeatureRecipe
from omnitrace.estimator.weights import FitKind, Fitted, Network
from omnitrace.types import Modality

if TYPE_CHECKING:
    from omnitrace.sources.options import SourceOptions

__all__ = ["Card", "Figures", "Learned", "ModelFacts", "TrainingFacts", "load", "save"]

FORMAT: Final = "omnitrace-estimator"
VERSION: Final = 4
_FIRST_SEALED: Final = 3  # files of earlier versions may have no checksum
_UNSEALED: Final = "0" * 64
_MAX_BYTES: Final = 256 * 2**20

#: Tensors of a network; their first axis is that of its hidden units.
_NETWORK: Final = ("inner", "bias", "outer")

_Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ModelFacts(_Model):
    """The model that an estimator was trained for.

    ``fingerprint`` is of its family and weights, wherever it is loaded from; ``layers`` are the
    decoder layers whose rows are read, each with as many ``heads``.
    """

    name: str
    adapter: str
    fingerprint: _Sha256
    layers: Annotated[tuple[Count, ...], Field(min_length=1)]
    heads: Annotated[int, Field(ge=1)]


class TrainingFacts(_Model):
    """What it was trained on: ``data`` is the digest of all that was learnt from.

    ``masks`` were dealt for each of the ``examples`` and ``spans``, with units ablated by
    ``operator``; ``held_out`` examples evaluated and calibrated it. With the ``target``
    "verified" it learnt the effects that verification finds, from no masks.
    """

    data: _Sha256
    examples: Count
    spans: Count
    held_out: Count
    masks: Count
    keep_rates: tuple[float, ...]
    operator: str
    modalities: tuple[Modality, ...]
    span_unit: str
    seed: int
    target: Literal["masks", "verified"] = "masks"


class FitFacts(_Model):
    """How weights were learnt, what was chosen, and how each choice did on left-out examples."""

    kind: FitKind
    offsets: bool
    noise: float = 0.0
    chosen: dict[str, float]
    tried: dict[str, float]


class CalibrationFacts(_Model):
    """A :class:`~omnitrace.estimator.calibration.Calibration`."""

    factor: float
    power: float
    quantile: float | None
    level: float
    examples: Count
    least: float = 0.0


class Figures(_Model):
    """A figure of the held-out examples, with its 95 % interval over examples."""

    value: float | None
    low: float | None
    high: float | None
    count: Count
    undefined: Count = 0


class Card(_Model):
    """All that a user must know about an estimator before using it.

    ``quality`` has figures of the held-out examples by metric, then by method: "estimator",
    "attention-mean", and the controls "uniform" and "unit-size".
    """

    format: Literal["omnitrace-estimator"] = FORMAT
    version: Literal[4] = VERSION
    model: ModelFacts
    sources: dict[str, Any]
    recipe: FeatureRecipe
    fit: FitFacts
    calibration: CalibrationFacts
    training: TrainingFacts
    quality: dict[str, dict[str, Figures]]
    versions: dict[str, str]
    created: str


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """An estimator: its card, weights and calibration.

    ``sha256`` is of the file that it was read from; None where it was not.
    """

    card: Card
    fitted: Fitted
    calibration: Calibration
    sha256: str | None = None

    @property
    def features(self) -> int:
        """Features of a unit: those of each head, and those beside (:class:`FeatureRecipe`)."""
        return _features(self.card)


def _features(card: Card) -> int:
    heads = len(card.model.layers) * card.model.heads
    return heads * card.recipe.per_head + card.recipe.beside


def sources_record(options: SourceOptions) -> dict[str, Any]:
    """Return how sources are cut, as JSON gives it back."""
    record = {**options.record(), "language": options.language}
    found: dict[str, Any] = json.loads(json.dumps(record))
    return found


def save(path: str | Path, learned: Learned) -> Path:
    """Write an estimator to one safetensors file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    tensors = {"weights": learned.fitted.weights}
    if learned.fitted.covariance is not None:
        tensors["covariance"] = learned.fitted.covariance
        tensors["noise"] = np.array([learned.fitted.noise], dtype=np.float64)
    network = learned.fitted.network
    if network is not None:
        tensors |= {name: np.ascontiguousarray(getattr(network, name)) for name in _NETWORK}
    return write_bytes(path, _sealed(tensors, learned.card.model_dump(mode="json")))


def load(path: str | Path) -> Learned:
    """Read an estimator.

    Raises
    ------
    InputError
        If the file is missing, no estimator, damaged, or of a newer version.
    """
    legal = "a file that `omnitrace estimator train` wrote"
    path = Path(path)
    if what_is(path) in ("", "folder"):
        raise InputError(f"there is no estimator {str(path)!r}", legal=legal)
    try:
        content = read_bytes(path, limit=_MAX_BYTES)
        read = load_tensors(content)
        card = _card(path, content, legal)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        found = f"the estimator {str(path)!r} cannot be read: {reason_of(error)}"
        raise InputError(found, legal=legal) from error
    calibration = Calibration(**dict(card.calibration))
    digest = hashlib.sha256(content).hexdigest()
    return Learned(card, _fitted(path, card, read), calibration, digest)


def _sealed(tensors: dict[str, np.ndarray], card: dict[str, Any]) -> bytes:
    """Return the bytes of a file, with its own checksum in the card."""
    about = json.dumps({**card, "checksum": _UNSEALED}, ensure_ascii=False)
    content = save_tensors(tensors, {"omnitrace": about})
    return _with_checksum(content, _UNSEALED, hashlib.sha256(content).hexdigest())


def _with_checksum(content: bytes, before: str, now: str) -> bytes:
    quoted = '\\"checksum\\": \\"{}\\"'  # JSON in a JSON string
    return content.replace(quoted.format(before).encode(), quoted.format(now).encode(), 1)


def _about(content: bytes) -> str:
    """Return what the header of a safetensors file, which is known to be one, says in our name.

    The library gives this of files only, and the tensors of what was read: a header is its length
    in 8 bytes, and JSON.
    """
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length].decode("utf-8"))
    return str(header.get("__metadata__", {}).get("omnitrace", ""))


def _card(path: Path, content: bytes, legal: str) -> Card:
    try:
        about = parse_json(_about(content) or "{}")
    except ValueError:
        about = {}
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is no estimator", legal=legal)
    version = about.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(
            f"{str(path)!r} is of version {version}",
            legal=f"up to {VERSION}",
            fix="update omnitrace",
        )
    checksum = about.pop("checksum", None)
    if checksum is not None or version in range(_FIRST_SEALED, VERSION + 1):
        unsealed = _with_checksum(content, str(checksum), _UNSEALED)
        if hashlib.sha256(unsealed).hexdigest() != checksum:
            raise InputError(
                f"{str(path)!r} was changed after it was written (its checksum differs)",
                legal=legal,
                fix="fetch the file again, or train it again",
            )
    if version == 1:
        about = _with_rollout(about)
    if version in range(1, VERSION):
        about["version"] = VERSION
    try:
        return Card.model_validate_json(json.dumps(about))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the card of {str(path)!r} is damaged: {where}: {first['msg']}", legal=legal
        ) from error


def _with_rollout(about: dict[str, Any]) -> dict[str, Any]:
    """Turn version 1 into 2, which calls rollout by that name and no longer "relay"."""
    return rename_member(about, "recipe", "relay", "rollout")


def _fitted(path: Path, card: Card, read: dict[str, np.ndarray]) -> Fitted:
    width = _features(card) + len(OFFSETS)
    shapes: dict[str, Sequence[int]] = {
        "weights": (width,),
        "covariance": (width, width),
        "noise": (1,),
    }
    posterior, networks = {"covariance", "noise"}, card.fit.kind == "mlp"
    if networks:
        hidden = len(read["bias"]) if read.get("bias", np.zeros(())).ndim else 0
        shapes = {"weights": (width,), "inner": (hidden, width)}
        shapes |= {"bias": (hidden,), "outer": (hidden,)}
    good = (set(shapes) - posterior) <= set(read) <= set(shapes)
    good &= len(posterior & set(read)) in (0, 2)
    good &= all(tuple(read[name].shape) == tuple(shapes[name]) for name in read if name in shapes)
    if not good or not all(np.isfinite(value).all() for value in read.values()):
        found = {name: list(value.shape) for name, value in read.items()}
        raise InputError(
            f"the tensors of {str(path)!r} are {found}",
            legal=f"finite weights of {width} numbers: {len(card.model.layers)} layers of "
            f"{card.model.heads} heads, {card.recipe.per_head} features each, "
            f"{card.recipe.beside} beside, and {len(OFFSETS)} "
            f"offsets{', and a network of as many' if networks else ''}",
            fix="train it again",
        )
    covariance = read.get("covariance")
    return Fitted(
        card.fit.kind,
        read["weights"].astype(np.float64),
        None if covariance is None else covariance.astype(np.float32),
        float(read["noise"][0]) if covariance is not None else None,
        dict(card.fit.chosen),
        dict(card.fit.tried),
        Network(*(read[name].astype(np.float64) for name in _NETWORK)) if networks else None,
    )

"""What a unitizer must provide: it cuts the tokens of one image, audio or video into units.

A unitizer sees where the tokens lie (and, if it asks, what the model's tower makes of them) and
says to which unit each belongs. So every token belongs to exactly one unit whatever it returns.
Ids, boxes, seconds and masks follow from that and are made elsewhere.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np

from omnitrace.errors import ConformanceError, InputError, NotSupportedError, PluginError

if TYPE_CHECKING:
    from omnitrace.sources.token_map import GridTokens, TimeTokens
    from omnitrace.speech.utterances import Utterance

__all__ = [
    "FeatureSource",
    "ImageUnitizer",
    "TimeUnitizer",
    "Unitizer",
    "check_count",
    "check_positive",
    "check_share",
    "checked_labels",
    "make_unitizer",
    "no_features",
    "spelled",
]

FeatureSource: TypeAlias = "Callable[[GridTokens | TimeTokens], np.ndarray]"
"""Gives float32 ``[tokens, dimensions]``: a feature for each token of a medium, in their order."""

# No medium has more units, or shorter ones.
_LEAST: Final = 1e-3
_MOST: Final = 10**9
_LABELS = "one integer for each token, as an array [tokens]"


def no_features(tokens: GridTokens | TimeTokens) -> np.ndarray:
    """Refuse: where the layout is made without a model there are no features."""
    raise NotSupportedError(
        "the unitizer needs features of the model's tower, and the layout is made without a model",
        legal="unitizers that need none: 'grid', 'whole', 'bins'",
        fix="pass features= to build_layout",
    )


class Unitizer(abc.ABC):
    """Cuts media into units. A dataclass of its parameters, all of them JSON values."""

    name: ClassVar[str]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters, for the provenance of traces; fields without repr are left out."""
        if not dataclasses.is_dataclass(self):
            return {}
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.repr}


class ImageUnitizer(Unitizer):
    """Cuts an image into regions."""

    @abc.abstractmethod
    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return int ``[tokens]``: a number for the region of each merged vision token.

        Parameters
        ----------
        tokens:
            A grid of ``rows × columns`` tokens, and in ``tokens.part.media`` the image itself.
        features:
            ``features(tokens)`` runs the model's vision tower once more; a unitizer that does not
            call it costs nothing.
        """


class TimeUnitizer(Unitizer):
    """Cuts audio, the pictures of a video, or both together, into stretches of time."""

    @abc.abstractmethod
    def cut(self, streams: Sequence[TimeTokens], features: FeatureSource) -> list[np.ndarray]:
        """Return int ``[tokens]`` for each stream: the number of each token's stretch.

        Numbers ascend with time, and streams that are cut together share them.

        Parameters
        ----------
        streams:
            The tokens of one medium: one stream, or the pictures and the sound of a video.
        features:
            ``features(stream)`` runs the model's tower for that stream once more.
        """

    def said(self, streams: Sequence[TimeTokens]) -> Sequence[Utterance]:
        """Return what is said in the medium, where the unitizer knows: utterances in order."""
        return ()


def checked_labels(unitizer: Unitizer, labels: Any, count: int) -> np.ndarray:
    """Return the labels renumbered from 0 in the order of their first tokens.

    Raises
    ------
    ConformanceError
        If they are not one integer for each of ``count`` tokens.
    """
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise ConformanceError(
            f"the unitizer {unitizer.name!r}",
            _LABELS,
            f"gave an array {list(found.shape)} of {found.dtype} for {count} tokens",
        )
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    renumbered: np.ndarray = place[inverse.reshape(-1)]
    return renumbered


def check_count(name: str, value: object, what: str) -> None:
    """Refuse a number of units that is no positive integer; None is left to the unitizer."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and 1 <= value <= _MOST):  # type: ignore[operator]
        raise InputError(
            f"{what} of the unitizer {name!r} is {value!r}",
            legal=f"an integer from 1 to {_MOST}, or None to let the medium decide",
        )


def check_positive(name: str, value: object, what: str) -> None:
    """Refuse what is no positive number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not _LEAST <= value <= _MOST:  # type: ignore[operator]
        raise InputError(
            f"{what} of the unitizer {name!r} is {value!r}",
            legal=f"a positive number, from {_LEAST} to {_MOST}",
        )


def check_share(name: str, value: object) -> None:
    """Refuse a share of variance that is not in (0, 1]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:  # type: ignore[operator]
        raise InputError(
            f"explained of the unitizer {name!r} is {value!r}",
            legal="a share of the variance, above 0 and at most 1",
        )


def make_unitizer(value: object, kind: type, modality: str, option: str) -> Any:
    """Make or take the unitizer of an option.

    Parameters
    ----------
    value:
        A registered name, a name with parameters (``"ward:regions=40"``; several are separated by
        commas, values are JSON or else strings), a mapping of ``name`` and ``parameters``, or a
        unitizer.
    kind:
        What it must be.
    modality:
        What it must be registered for.
    option:
        What the option is called in errors.

    Raises
    ------
    InputError
        If there is no such unitizer for the modality, or its parameters are not legal.
    PluginError
        If a plugin's unitizer cannot be made.
    """
    if isinstance(value, kind):
        return value
    names = [name for name, entry in _entries().items() if modality in entry.modalities]
    legal = ", ".join(repr(name) for name in sorted(names))
    name, parameters = _named(value, option, f"{legal}, or an object of class {kind.__name__}")
    if name not in names:
        raise InputError(
            f"{option} is {value!r}",
            legal=legal,
            fix="run `omnitrace list unitizers` to see what is installed",
        )
    made = _made(name, parameters, f"{option} is {value!r}")
    if not isinstance(made, kind):
        raise PluginError(
            f"the unitizer {name!r} of {_entries()[name].package!r} made a {type(made).__name__}",
            legal=f"an object of class {kind.__name__}",
        )
    return made


def _entries() -> Mapping[str, Any]:
    from omnitrace.plugins.registry import registry

    return registry().unitizers


def _named(value: object, option: str, legal: str) -> tuple[str, dict[str, Any]]:
    """Read ``"name:parameter=value,…"``, or a mapping of ``name`` and ``parameters``."""
    if isinstance(value, Mapping) and set(value) <= {"name", "parameters"} and "name" in value:
        if not isinstance(value.get("parameters", {}), Mapping):
            raise InputError(f"{option} is {value!r}", legal="parameters by their names")
        return str(value["name"]), dict(value.get("parameters", {}))
    if not isinstance(value, str):
        raise InputError(f"{option} is {value!r}", legal=legal)
    name, _, rest = value.partition(":")
    parameters: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, equals, raw = item.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(
                f"{option} is {value!r}", legal="a name, or 'name:parameter=value,parameter=value'"
            )
        try:
            parameters[key] = json.loads(raw)
        except (ValueError, RecursionError):
            parameters[key] = raw
    return name, parameters


def spelled(value: object) -> object:
    """Return a source option's record as the option is written: ``"ward:regions=40"``.

    Parameters that are None, and so let the medium decide, are left out. What is no record of a
    unitizer is returned as it is.
    """
    if not isinstance(value, Mapping) or "name" not in value:
        return value
    if not isinstance(value.get("parameters", {}), Mapping):
        return value
    options = [
        f"{key}={each if isinstance(each, str) else json.dumps(each)}"
        for key, each in value.get("parameters", {}).items()
        if each is not None
    ]
    return f"{value['name']}:{','.join(options)}" if options else str(value["name"])


def _made(name: str, parameters: Mapping[str, Any], found: str) -> Any:
    entry = _entries()[name]
    if not parameters:
        return entry.make()
    try:
        inspect.signature(entry.factory).bind(**parameters)
    except TypeError as error:
        names = ", ".join(inspect.signature(entry.factory).parameters)
        legal = f"the parameters {names}" if names else "no parameters"
        raise InputError(f"{found}: {error}", legal=legal) from None
    return entry.make(**parameters)

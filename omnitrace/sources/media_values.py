"""What a message part gives as its medium, made into what the loaders of ``omnitrace.media`` take.

Beside paths, bytes, URLs, PIL images and arrays: the objects of other interfaces
(``{"data", "format"}``, ``{"array", "sampling_rate"}``, ``{"bytes", "path"}``), torch tensors,
``(tensor, rate)`` of ``torchaudio.load``, open files, lists of frames, decoders of ``datasets``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnitrace.errors import InputError, did_you_mean
from omnitrace.media import MediaLimits, load_image
from omnitrace.types import Modality

__all__ = ["VALUE_KEYS", "found_value", "media_value"]

#: Keys under which a part names its medium, beside the name of its modality.
VALUE_KEYS: Final[dict[Modality, tuple[str, ...]]] = {
    "image": ("image_url", "input_image"),
    "audio": ("audio_url", "input_audio"),
    "video": ("video_url", "input_video"),
}
_PLAIN: Final = ("path", "url", "base64", "bytes", "data", "array")
_RATES: Final = ("sampling_rate", "sample_rate", "rate")
# Of an object that stands for a medium: what it is, and what says no more than its bytes do.
_BESIDE: Final = ("type", "format", "media_type", "mime_type", "detail", "filename", "name")


def found_value(raw: Mapping[str, Any], kind: Modality) -> tuple[str, Any] | None:
    """Return the key and the value of the medium that a part names, None if it names none."""
    names = (kind, *VALUE_KEYS[kind], *_PLAIN)
    given = [(name, raw[name]) for name in names if raw.get(name) is not None]
    if not given and isinstance(raw.get("source"), Mapping):
        return "source", raw["source"]
    return given[0] if given else None


def media_value(
    name: str, value: Any, kind: Modality, where: str, limits: MediaLimits, root: Path | None
) -> Any:
    """Return what the loader of a modality takes for the value under the key ``name``.

    Raises
    ------
    InputError
        If an object has unknown keys or names a file on a server, or base64 is broken.
    """
    if isinstance(value, Mapping):
        return _of_object(value, kind, where, limits, root)
    if name in ("base64", "data") and isinstance(value, str) and not value.startswith("data:"):
        return _decoded(value, where)
    if name == "array" and isinstance(value, list):
        return np.asarray(value, dtype=np.float32)
    return _of_python(value, kind, where, limits, root)


def _of_object(
    value: Mapping[str, Any], kind: Modality, where: str, limits: MediaLimits, root: Path | None
) -> Any:
    known = (*_PLAIN, *_RATES, *_BESIDE, "file_id", "file_data")
    for key in value:
        if key not in known:
            raise InputError(
                f"{where} has an object with the unknown key {str(key)[:80]!r}",
                legal=", ".join(known),
                fix=did_you_mean(str(key), known),
            )
    if value.get("file_id") is not None:
        raise InputError(
            f"{where} names a file on a server, by 'file_id'",
            legal="the file itself: a path, bytes or a data URL",
        )
    if value.get("file_data") is not None:
        value = {"data": value["file_data"]}
    rate = next((value[key] for key in _RATES if value.get(key) is not None), None)
    # datasets gives the bytes, and beside them a path that need not exist here.
    for name in ("array", "bytes", "base64", "data", "url", "path"):
        if value.get(name) is not None:
            found = media_value(name, value[name], kind, where, limits, root)
            return with_rate(found, rate, where) if rate is not None else found
    raise InputError(f"{where} has an object without a medium", legal=", ".join(_PLAIN))


def with_rate(value: Any, rate: Any, where: str) -> Any:
    """Return samples with their rate; a file has its own.

    Raises
    ------
    InputError
        If the value is no array, or has another rate already.
    """
    if isinstance(value, tuple) and len(value) == 2 and value[1] == rate:
        return value
    if isinstance(value, np.ndarray) and not isinstance(rate, bool):
        return value, rate
    raise InputError(
        f"{where} gives a sampling rate for what is no array of samples",
        legal="'sampling_rate' beside an array; a file says its own, and is resampled",
        fix="leave 'sampling_rate' out",
    )


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"{where} holds {len(text)} characters that are not base64 ({error})",
            legal="base64, or a data: URL",
        ) from error


def _of_python(
    value: Any, kind: Modality, where: str, limits: MediaLimits, root: Path | None
) -> Any:
    """Turn tensors, open files, decoders and lists of frames into arrays, bytes and images."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return _tensor(value, kind)
    if isinstance(value, tuple) and len(value) == 2 and not isinstance(value[1], str):
        first = _of_python(value[0], kind, where, limits, root)
        return first, value[1]
    if kind == "audio" and hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        return _tensor(samples.data, kind), samples.sample_rate
    if kind == "video" and hasattr(value, "get_frames_in_range"):
        return _tensor(value[:], kind), float(value.metadata.average_fps)
    if kind == "video" and isinstance(value, list) and value:
        return [
            load_image(
                media_value("image", frame, "image", f"{where}, frame {i}", limits, root),
                limits=limits,
                media_root=root,
            ).pixels
            for i, frame in enumerate(value)
        ]
    if hasattr(value, "read") and not isinstance(value, str | bytes | Path):
        data = value.getvalue() if hasattr(value, "getvalue") else value.read()
        if not isinstance(data, bytes):
            raise InputError(f"{where} is a file that was opened as text", fix='open it with "rb"')
        return data
    return value


def _tensor(value: Any, kind: Modality) -> np.ndarray:
    """Return a tensor as an array, its channels last where it holds pictures."""
    plain = value.detach().cpu()
    array: np.ndarray = (plain.float() if plain.is_floating_point() else plain).numpy()
    axis = {"image": -3, "video": -3}.get(kind)
    pictures = axis is not None and array.ndim == (3 if kind == "image" else 4)
    if pictures and array.shape[-3] in (1, 3, 4) and array.shape[-1] not in (3, 4):
        array = np.moveaxis(array, -3, -1)
        array = np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
    return array


def frames_of(value: Any) -> Sequence[Any] | np.ndarray | None:
    """Return the frames where a video is given as frames without a rate of their own."""
    return value if isinstance(value, list | np.ndarray) else None

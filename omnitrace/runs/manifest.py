"""What a run was asked for, in its ``run.json``: options, model, versions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from omnitrace._utils.documents import parse_json
from omnitrace._utils.paths import base_of_path, without_paths
from omnitrace.errors import RunError
from omnitrace.runs.digests import digest_of_values

if TYPE_CHECKING:
    from omnitrace.engine.setup import Setup
    from omnitrace.models.base import ModelAdapter
    from omnitrace.signals.base import Signal

__all__ = ["FORMAT", "VERSION", "Manifest", "asked_of", "model_record"]

FORMAT: Final = "omnitrace-run"
VERSION: Final = 1
_PACKAGES: Final = ("omnitrace-attribution", "torch", "transformers")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands in ``run.json``.

    Attributes
    ----------
    asked:
        The options that decide results, as :func:`asked_of` gives them.
    model:
        The model, as :func:`model_record` gives it; empty until it was loaded.
    input:
        The name of the file of requests, for people.
    salt:
        Empty, or what tells a run from an earlier one of the same options in the same folder.
    versions, created:
        Of the packages, and when the run was begun; they decide nothing.
    """

    asked: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    input: str = ""
    salt: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @classmethod
    def begin(cls, asked: Mapping[str, Any], *, input: str = "", salt: str = "") -> Manifest:
        """Return the manifest of a run that begins now."""
        return cls(
            asked=asked,
            input=base_of_path(input),
            salt=salt,
            versions={name: importlib.metadata.version(name) for name in _PACKAGES},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def digest(self) -> str:
        """What all traces of the run have in common: SHA-256 of options, model and salt."""
        fingerprint = self.model.get("fingerprint", "")
        return digest_of_values({"asked": self.asked, "model": fingerprint, "salt": self.salt})

    def to_bytes(self) -> bytes:
        """Return the content of ``run.json``."""
        plain = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Read ``run.json``.

        Raises
        ------
        RunError
            If it is damaged, foreign or of a newer version.
        """
        fix = "name another folder"
        try:
            plain = parse_json(data.decode("utf-8"))
        except ValueError as error:
            raise RunError(f"{where} is not JSON: {error}", fix=fix) from error
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
            raise RunError(f"{where} is not the manifest of a run", fix=fix)
        version = plain.pop("version", None)
        if not isinstance(version, int) or version > VERSION:
            raise RunError(
                f"{where} has the version {version!r}",
                legal=f"versions up to {VERSION}",
                fix="upgrade omnitrace-attribution, or name another folder",
            )
        known = {
            each.name: plain[each.name] for each in dataclasses.fields(cls) if each.name in plain
        }
        if not isinstance(known.get("asked"), dict) or not isinstance(known.get("model", {}), dict):
            raise RunError(f"{where} does not say what was asked for", fix=fix)
        return cls(**known)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in a few words which options differ, and how."""
    said = [
        f"{name} was {_short(before.get(name))}, now it is {_short(now.get(name))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return "; ".join(said)


def _short(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        value = value["name"]
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def asked_of(
    setup: Setup | None = None, /, *, generation: Mapping[str, Any], **options: Any
) -> dict[str, Any]:
    """Return the options that decide the results of a run, as JSON values.

    Parameters
    ----------
    setup:
        ``tracer.setup``; None where the model is not loaded yet.
    generation:
        What ``Tracer.trace`` is given besides the request, such as ``max_new_tokens`` and ``seed``.
    options:
        Without a setup: those of ``Tracer``.

    Raises
    ------
    PluginError, InputError
        If the signal is unknown, or verification means nothing with it.
    """
    if setup is None:
        values = _values_of(options)
    else:
        values = {name: getattr(setup, name) for name in _DECIDING}
        values |= {"signals": setup.signals, "verify": setup.verify, "salience": setup.pipeline}
    signals, verify, thinking = values["signals"], values["verify"], values["thinking"]
    return _json(
        {
            "signal": _signal(signals.token),
            "span_signal": None if signals.span is None else _signal(signals.span),
            "verify": None if verify is None else verify.to_dict(),
            "selection": values["selection"].to_dict(),
            "sources": values["sources"].record() | {"language": values["sources"].language},
            "thinking": None if thinking is None else dataclasses.asdict(thinking),
            "span_unit": values["span_unit"],
            "salience": values["salience"],
            "block": values["block"],
            "generation": dict(generation),
        }
    )


_DECIDING: Final = ("selection", "sources", "thinking", "span_unit", "block")


def _values_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``Setup.create`` would make of the options of a tracer."""
    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.engine.setup import Setup, chosen_signals
    from omnitrace.sources.options import SourceOptions

    usual = inspect.signature(Setup.create).parameters
    values = {
        name: options[name] if name in options else usual[name].default
        for name in (*_DECIDING, "salience")
    }
    values["selection"] = values["selection"] or SelectionConfig()
    values["sources"] = values["sources"] or SourceOptions()
    chosen = chosen_signals(options.get("signal"), options.get("verify"))
    values["signals"], values["verify"] = chosen
    return values


def model_record(adapter: ModelAdapter) -> dict[str, Any]:
    """Return what a manifest says of a model; its ``fingerprint`` is of the weights."""
    from omnitrace.ablation.cache import model_fingerprint

    return {
        "name": base_of_path(str(adapter.source)),
        "revision": adapter.revision,
        "adapter": adapter.name,
        "dtype": str(adapter.model.dtype).removeprefix("torch."),
        "fingerprint": model_fingerprint(adapter.model),
    }


def _signal(signal: Signal) -> dict[str, Any]:
    return {"name": signal.name, "parameters": without_paths(signal.parameters)}


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values; a function or an object of a user's own counts by its name."""

    def named(value: Any) -> str:
        kind = value if isinstance(value, type) or callable(value) else type(value)
        return f"{kind.__module__}.{getattr(kind, '__qualname__', type(kind).__qualname__)}"

    plain: dict[str, Any] = json.loads(json.dumps(values, default=named))
    return plain

"""The head of a report: what made the trace, in a line and in full, and what to beware of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

from omnitrace._utils.counted import counted
from omnitrace.trace.trace import Trace

__all__ = ["headline", "provenance_rows", "warnings_of"]

_TO: Final = "\N{EN DASH}"


def headline(trace: Trace) -> dict[str, Any]:
    """Return the names of model, signal and selection, and whether supports are verified."""
    made = trace.provenance
    verified = any(span.verdict is not None for span in trace.spans)
    effects = any(span.effects is not None for span in trace.spans)
    windows = PureWindowsPath(made.model)  # it knows both kinds of separator
    is_path = windows.is_absolute() or PurePosixPath(made.model).is_absolute()
    return {
        # The whole path is in the full provenance.
        "model": windows.name if is_path else made.model,
        "signal": str(made.signal.get("name", "")),
        "selection": "verified by ablation"
        if verified
        else "by effect"
        if effects
        else "by votes, not verified",
        "verified": verified,
    }


def warnings_of(trace: Trace) -> list[dict[str, str]]:
    """Return what a reader should beware of: each a ``level``, "warning" or "info", and a text."""
    found = [("warning", text) for text in _unsupported(trace)]
    made = trace.provenance
    limit = made.generation.get("max_new_tokens")
    if not made.finished and isinstance(limit, int) and len(trace.tokens) >= limit:
        found.append(("info", f"The response stops at max_new_tokens, {limit} tokens."))
    elif not made.finished:
        found.append(("info", "Generation was broken off; this is what there was until then."))
    layers = made.signal.get("layers")
    if isinstance(layers, list | tuple) and "layers" not in made.signal.get("parameters", {}):
        silent = sorted(set(range(max(layers, default=-1) + 1)) - set(layers))
        if silent:
            found.append(("info", f"Layers without attention rows: {_short(silent)}."))
    sinks = made.signal.get("sinks")
    if sinks:
        found.append(("info", f"Attention sinks were removed: {_short(sinks)}."))
    return [{"level": level, "text": text} for level, text in found]


def _unsupported(trace: Trace) -> list[str]:
    against = sum(span.verdict == "against-sources" for span in trace.spans)
    without = sum(not span.supports for span in trace.spans) - against
    statements = counted(len(trace.spans), "statement")
    texts = []
    if without:
        texts.append(f"{without} of {statements} {_has(without)} no source.")
    if against:
        texts.append(f"{against} of {statements} {_is(against)} against the sources.")
    return texts


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def provenance_rows(trace: Trace) -> list[tuple[str, str]]:
    """Return the whole provenance, as names and values."""
    made = trace.provenance
    signal = dict(made.signal)
    rows = [
        ("Model", _join(made.model, made.revision and f"revision {made.revision}", made.dtype)),
        ("Adapter", _join(made.adapter, made.attention, made.processor)),
        ("Configuration", made.config_digest),
        ("Signal", _join(str(signal.pop("name", "")), _pairs(signal))),
        ("Selection", _pairs(trace.config.to_dict())),
        ("Salience", made.salience),
        ("Segmentation", _pairs(made.segmentation)),
        ("Generation", _pairs(made.generation)),
        ("Seed", "" if made.seed is None else str(made.seed)),
        ("Media", ", ".join(f"{m.name} sha256:{m.sha256[:12]}" for m in trace.media)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in made.versions.items())),
        ("Timings", ", ".join(f"{k} {v:.3g} s" for k, v in made.timings.items())),
        ("Created", made.created),
    ]
    return [(name, value) for name, value in rows if value]


def _join(*values: str | None) -> str:
    return " · ".join(value for value in values if value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value == {}:
        return "none"
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, list | tuple):
        numbers = list(value)
        whole = all(isinstance(each, int) for each in numbers)
        if whole and len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]}{_TO}{numbers[-1]}"
    return json.dumps(value, ensure_ascii=False, default=str)

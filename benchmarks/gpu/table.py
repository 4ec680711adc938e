"""The table of ``gpu.py``, and what its notes say of waits and of what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["columns", "rows", "wait_notes"]

_COLUMNS: Final = (
    *("model", "attention", "prompt tokens", "mode", "prefill s", "decode s", "seconds"),
    *("÷ untraced", "peak GB"),
)
Found = Mapping[str, Sequence[Mapping[str, Any]]]


def columns() -> tuple[str, ...]:
    """Return the names of the columns."""
    return _COLUMNS


def rows(found: Found) -> tuple[list[list[str]], list[int]]:
    """Return the rows, and after which of them a line is drawn."""
    lines: list[list[str]] = []
    sections: list[int] = []
    for name, cases in found.items():
        plain = {
            (case["attention"], case["tokens"]): case["seconds"]
            for case in cases
            if case.get("mode") == "untraced" and case["seconds"]
        }
        before = None
        for case in cases:
            if "mode" not in case:
                continue
            key = case["attention"], case["tokens"]
            if before not in (None, key):
                sections.append(len(lines) - 1)
            before = key
            lines.append(_row(name, case, plain.get(key)))
        if lines:
            sections.append(len(lines) - 1)
    return lines, sections


def _row(name: str, case: Mapping[str, Any], plain: float | None) -> list[str]:
    head = [name, case["attention"], f"{case['tokens']:,}", case["mode"]]
    if case["left_out"]:
        return [*head, "", "", case["left_out"], "", ""]
    ratio = "" if plain is None else f"{case['seconds'] / plain:.2f}"
    peak = "" if case["peak"] is None else f"{case['peak'] / 1e9:.2f}"
    return [*head, _seconds(case["prefill"]), _seconds(case["decode"]), _seconds(case["seconds"]),
            ratio, peak]  # fmt: skip


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def wait_notes(found: Found) -> list[str]:
    """Say how many waits tracing adds, and what was left out as a whole."""
    notes: list[str] = []
    for name, cases in found.items():
        for case in cases:
            if "waits" in case:
                kinds = sorted({*case["untraced"], *case["traced"]})
                counts = ", ".join(
                    f"{kind} {case['untraced'].get(kind, 0)} → {case['traced'].get(kind, 0)}"
                    for kind in kinds
                )
                notes.append(
                    f"{name}, {case['waits']}: waits of untraced → traced for "
                    f"{case['new_tokens']} tokens in blocks of {case['block']}: {counts}"
                )
            elif "mode" not in case and case.get("left_out"):
                what = f"{case['attention']}: " if "attention" in case else ""
                notes.append(f"{name}: {what}{case['left_out']}")
    return notes

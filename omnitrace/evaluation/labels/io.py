"""Read and write label files; every mistake is reported in a line of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from omnitrace._utils.counted import counted
from omnitrace._utils.documents import check_size
from omnitrace._utils.files import read_text, write_text
from omnitrace.errors import InputError
from omnitrace.evaluation.labels.schema import MISREAD, VERSION, Label

__all__ = [
    "FileLabel",
    "LabelError",
    "LabelProblem",
    "LabelScan",
    "label_mistakes",
    "read_labels",
    "scan_labels",
    "write_labels",
]

_VALUES: Final = 200_000  # of one line: every wrong one becomes an error of its own
_SHOWN: Final = 60  # characters of an offending value
_KINDS: Final = "'text', 'image', 'time'"
_UNFILLED: Final = "not labelled yet; list the evidence, or write [] where there is none"


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One mistake: in which file and line (from 1), in which field, and what is wrong."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return (
            f"{place}, {self.field}: {self.message}" if self.field else f"{place}: {self.message}"
        )


class LabelError(InputError):
    """Labels with mistakes; ``problems`` holds them all, the text one line each."""

    def __init__(self, problems: Sequence[LabelProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{counted(len(self.problems), 'mistake')} in the labels")

    def __str__(self) -> str:
        return "\n".join([self.found + ":", *map(str, self.problems)])


@dataclass(frozen=True, slots=True)
class FileLabel:
    """A label and the line that it stands in."""

    line: int
    label: Label


@dataclass(frozen=True, slots=True)
class LabelScan:
    """What a label file holds: the good lines, and the mistakes of the others."""

    file: str
    entries: tuple[FileLabel, ...]
    problems: tuple[LabelProblem, ...]


def scan_labels(path: str | Path) -> LabelScan:
    """Read a label file, good lines and bad ones. Of two lines with the same id the first counts.

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8, or holds no line at all.
    """
    path = Path(path)
    entries: list[FileLabel] = []
    problems: list[LabelProblem] = []
    first: dict[str, int] = {}
    lines = 0
    text = read_text(path, legal="a readable .jsonl file")
    # Only "\n" ends a line: other separators that str.splitlines knows may stand in JSON strings.
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = line.removesuffix("\n")
        if not line.strip():
            continue
        lines += 1
        try:
            check_size(line, _VALUES)
            label = Label.model_validate_json(line)
        except ValidationError as error:
            problems += [LabelProblem(str(path), number, *found) for found in label_mistakes(error)]
            continue
        except ValueError as error:
            problems.append(LabelProblem(str(path), number, "", str(error)))
            continue
        if label.id in first:
            message = f"{label.id!r} is already the id of line {first[label.id]}"
            problems.append(LabelProblem(str(path), number, "id", message))
            continue
        first[label.id] = number
        entries.append(FileLabel(number, label))
    if not lines:
        raise InputError(f"{str(path)!r} holds no label", legal="one JSON object a line")
    return LabelScan(str(path), tuple(entries), tuple(problems))


def read_labels(path: str | Path, *, skip_invalid: bool = False) -> list[Label]:
    """Read the labels of a file.

    Parameters
    ----------
    path:
        A ``.jsonl`` file.
    skip_invalid:
        Keep the good lines and drop the others, instead of refusing the file.

    Raises
    ------
    LabelError
        If any line has a mistake and ``skip_invalid`` is not set; it lists them all.
    InputError
        If the file cannot be read or holds nothing.
    """
    scan = scan_labels(path)
    if scan.problems and not skip_invalid:
        raise LabelError(scan.problems)
    return [entry.label for entry in scan.entries]


def write_labels(path: str | Path, labels: Iterable[Label]) -> Path:
    """Write labels, one a line; the file is replaced whole or not at all.

    Raises
    ------
    InputError
        If two labels share an id, or the file cannot be written.
    """
    lines: dict[str, str] = {}
    for label in labels:
        if label.id in lines:
            raise InputError(f"two labels have the id {label.id!r}", legal="an id for each request")
        lines[label.id] = label.line()
    return write_text(path, "".join(f"{line}\n" for line in lines.values()))


def label_mistakes(error: ValidationError) -> list[tuple[str, str]]:
    """Return (field, what is wrong) for everything that pydantic found."""
    found: list[tuple[str, str]] = []
    for detail in error.errors(include_url=False):
        if detail["type"] == MISREAD:
            found += detail["ctx"]["wrong"]
        else:
            found.append(_mistake(detail))
    return found


def _mistake(detail: ErrorDetails) -> tuple[str, str]:
    name, kind, value = field_name(detail["loc"]), detail["type"], detail.get("input")
    reason = detail["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return name, "this field is required"
    if kind == "extra_forbidden":
        return name, "there is no such field"
    if kind == "json_invalid":
        return name, f"not JSON: {reason.removeprefix('Invalid JSON: ')}"
    if kind == "value_error":  # our own words already name the value
        return name, reason
    if kind.startswith("union_tag"):
        tag = value.get("type") if isinstance(value, dict) else None
        return f"{name}.type", f"{_short(tag)} is no kind of source (legal: {_KINDS})"
    if name == "version":
        return name, f"{_short(value)} is no version that is known here (legal: {VERSION})"
    if name.endswith("sources") and value is None:
        return name, _UNFILLED
    return name, f"{reason[:1].lower()}{reason[1:]}, not {_short(value)}"


def field_name(loc: Sequence[int | str]) -> str:
    """Write where a mistake is as ``spans[0].sources[1].end``."""
    name = ""
    steps = list(loc)
    for index, step in enumerate(steps):
        if isinstance(step, int):
            name += f"[{step}]"
        elif index >= 2 and steps[index - 2] == "sources" and isinstance(steps[index - 1], int):
            continue  # the tag of the union, which pydantic adds
        else:
            name += f".{step}" if name else step
    return name


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

"""What an exporter must provide: it writes traces down in a format that other tools read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from omnitrace._utils.file_names import safe_name
from omnitrace._utils.files import make_folder, write_bytes
from omnitrace.errors import ConformanceError, InputError
from omnitrace.plugins.registry import registry
from omnitrace.trace.trace import Trace

__all__ = [
    "ExportedFile",
    "Exporter",
    "NamedTrace",
    "exported_files",
    "joint_name",
    "json_bytes",
    "write_exports",
]

NamedTrace: TypeAlias = tuple[str, Trace]
"""A trace and the name of its request."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file that an exporter made.

    Attributes
    ----------
    name:
        Its name, without folders.
    data:
        What it holds.
    is_text:
        Whether ``data`` is text in UTF-8, which may be printed.
    """

    name: str
    data: bytes
    is_text: bool = True


class Exporter(Protocol):
    """Writes traces down in one format."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield the files of some traces: one or several for each trace, or one for all of them.

        The traces are read while this goes on: an exporter that keeps none works for any number.
        """
        ...


def exported_files(traces: Iterable[NamedTrace], to: str) -> Iterator[ExportedFile]:
    """Yield the files of some traces in the format ``to``.

    Raises
    ------
    PluginError
        If no exporter of this name is installed, or it cannot be made.
    InputError
        If the format has nothing to say of any of these traces.
    ConformanceError
        If the exporter names a file outside of its folder.
    """
    entry = registry().exporter(to)
    found = False
    for file in entry.make().files(traces):
        if Path(file.name).name != file.name or file.name in ("", ".", ".."):
            raise ConformanceError(
                f"the exporter {to!r} of the package {entry.package!r}",
                "names of files have no folders",
                f"names a file {file.name!r}",
            )
        found = True
        yield file
    if not found:
        raise InputError(
            f"the format {to!r} has nothing to say of these traces ({entry.summary})",
            legal="traces of requests with such sources",
        )


def write_exports(traces: Iterable[NamedTrace], to: str, folder: Path) -> list[Path]:
    """Write traces into a folder in the format ``to``; return the files.

    Parameters
    ----------
    traces:
        Each with the name of its request, which its files are named after.
    to:
        The name of an installed exporter, such as ``"csv"``.
    folder:
        Made where there is none; files of the same names are replaced.

    Raises
    ------
    PluginError, InputError, ConformanceError
        As :func:`exported_files`; InputError also if a file cannot be written.
    """
    make_folder(folder)
    return [write_bytes(folder / file.name, file.data) for file in exported_files(traces, to)]


def joint_name(names: Iterable[str], suffix: str) -> str:
    """Name the one file of several traces: after the trace where there is only one."""
    (first, *others) = [*names, "traces"]
    return f"{safe_name(first) if len(others) == 1 else 'traces'}{suffix}"


def json_bytes(value: Any) -> bytes:
    """Write JSON as UTF-8, one member a line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    return (text + "\n").encode("utf-8", "replace")

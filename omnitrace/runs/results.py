"""What a run folder holds in the end: its traces by request, and all of them as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omnitrace._utils.files import what_is
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.export.table import write_table
from omnitrace.runs.folder import Folder, LocalFolder
from omnitrace.runs.manifest import Manifest
from omnitrace.runs.run import MANIFEST
from omnitrace.trace.archive import SUFFIX

if TYPE_CHECKING:
    from omnitrace.export.base import NamedTrace

__all__ = ["SUPPORTS", "traces_of", "write_supports"]

_LEGAL: Final = "a folder that 'omnitrace trace --out' wrote"
SUPPORTS: Final = "supports.parquet"
"""The table of a run, in its folder."""


def traces_of(
    folder: str | Path | Folder,
    *,
    failed: Callable[[str, OmnitraceError], None] | None = None,
) -> Iterator[NamedTrace]:
    """Yield the traces of a folder with the ids of their requests, one at a time.

    Parameters
    ----------
    folder:
        A run folder, from which only traces of the run that stands there now come; or any folder
        of ``.omnitrace`` files.
    failed:
        Called with the file and the error where a trace cannot be read; None raises it.

    Raises
    ------
    InputError
        If the folder holds no trace.
    TraceFileError
        If a trace cannot be read.
    """
    place = LocalFolder(folder, read_only=True) if isinstance(folder, str | Path) else folder
    data = place.read(MANIFEST)
    run = None if data is None else Manifest.from_bytes(data, f"{MANIFEST} of {place}").digest
    found = False
    for name in place.names(SUFFIX):
        record = place.record(name)
        if run is not None and record is not None and record.run != run:
            continue  # of earlier options
        found = True
        try:
            trace = place.load_trace(name)
        except OmnitraceError as error:
            if failed is None:
                raise
            failed(name, error)
            continue
        if run is not None and record is None:
            continue  # somebody else's
        yield name.removesuffix(SUFFIX) if record is None else record.id, trace
    if not found:
        raise InputError(f"the folder {str(place)!r} holds no trace", legal=_LEGAL)


def write_supports(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    failed: Callable[[str, OmnitraceError], None] | None = None,
) -> tuple[Path, int]:
    """Write all supports of a run as a Parquet file; return the file and its number of rows.

    Parameters
    ----------
    folder, failed:
        As for :func:`traces_of`.
    out:
        The file; by default ``supports.parquet`` in the folder.

    Raises
    ------
    InputError
        If the folder holds no trace, pyarrow is not installed, or the file cannot be written.
    TraceFileError
        If a trace cannot be read.
    """
    if what_is(Path(folder)) != "folder":
        raise InputError(f"{str(folder)!r} is no folder", legal=_LEGAL)
    path = Path(folder) / SUPPORTS if out is None else Path(out)
    return path, write_table(traces_of(folder, failed=failed), path)

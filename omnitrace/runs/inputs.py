"""What a run reads its requests from: files of requests, Parquet, and folders of ``datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitrace._utils.files import what_is
from omnitrace.errors import InputError
from omnitrace.runs import tables
from omnitrace.sources.request_files import (
    FileEntry,
    checked_root,
    count_requests,
    iter_requests,
    named_entries,
    read_requests,
)

__all__ = ["Requests", "entries_of_rows", "open_requests"]

_LEGAL = (
    "a .json or .jsonl file, a .parquet file or a folder of them, or a folder that "
    "datasets' save_to_disk wrote"
)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that are read one after the other, as often as they are iterated over.

    Parameters
    ----------
    name:
        What they were read from, for people.
    read:
        Yields them.
    counted:
        Returns how many there are, without reading what they hold.
    """

    name: str
    read: Callable[[], Iterator[FileEntry]]
    counted: Callable[[], int]

    def __iter__(self) -> Iterator[FileEntry]:
        return self.read()

    def __len__(self) -> int:
        return self.counted()

    @classmethod
    def of(cls, entries: Sequence[FileEntry], name: str = "") -> Requests:
        """Return requests that are in memory already."""
        return cls(name, lambda: iter(entries), lambda: len(entries))

    def changed(self, change: Callable[[FileEntry], FileEntry]) -> Requests:
        """Return the same requests, each passed through a function when it is read."""
        return Requests(self.name, lambda: map(change, self.read()), self.counted)


def open_requests(
    path: str | Path, *, media_root: str | Path | None = None, split: str | None = None
) -> Requests:
    """Return the requests of a file or dataset, of any size.

    Parameters
    ----------
    path:
        A ``.json`` or ``.jsonl`` file of requests; a ``.parquet`` file, or a folder of them; or a
        folder that ``datasets`` wrote with ``save_to_disk``. The columns of the last two are the
        keys of a request; ``images``, ``audios`` and ``videos`` fill the parts of ``messages``
        that only name their type, in order. Other columns are left alone.
    media_root:
        As for :func:`omnitrace.sources.read_requests`.
    split:
        Which split of a dataset that has several.

    Raises
    ------
    InputError
        If it is none of these, cannot be read, holds no requests, or what reads it is not
        installed.
    """
    path = Path(path)
    kind, suffix = what_is(path), path.suffix.lower()
    if kind != "folder" and suffix != ".parquet":
        return _of_file(path, media_root)
    root = checked_root(media_root)
    table = tables.open_table(path, split, legal=_LEGAL)

    inside = path / "rows" if kind == "folder" else path  # media start at the folder of this

    def read() -> Iterator[FileEntry]:
        return named_entries(table.values(), inside, root)

    return Requests(path.name, read, lambda: table.count)


def entries_of_rows(
    rows: Sequence[Mapping[str, Any]], *, name: str = "row", media_root: str | Path | None = None
) -> Iterator[FileEntry]:
    """Yield the requests of rows of a table, for engines that read the table themselves.

    Parameters
    ----------
    rows:
        With the columns that :func:`open_requests` reads.
    name:
        What rows without an id are named after.
    media_root:
        As for :func:`omnitrace.sources.read_requests`; by default media start at the working
        folder.

    Raises
    ------
    InputError
        If the media root is no folder.
    """
    table = tables.Table(name, len(rows), lambda: iter([rows]))
    return named_entries(table.values(), Path(name), checked_root(media_root))


def _of_file(path: Path, media_root: str | Path | None) -> Requests:
    if path.suffix.lower() not in (".json", ".jsonl"):
        found = (
            f"{str(path)!r} is no request file" if what_is(path) else f"there is no {str(path)!r}"
        )
        raise InputError(found, legal=_LEGAL)
    if path.suffix.lower() == ".json":
        return Requests.of(read_requests(path, media_root=media_root), path.name)
    if next(iter_requests(path, media_root=media_root), None) is None:
        raise InputError(f"{str(path)!r} holds no request", legal="a request in each line")
    return Requests(
        path.name, lambda: iter_requests(path, media_root=media_root), lambda: count_requests(path)
    )

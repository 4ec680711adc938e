"""Requests in tables: Parquet files, and datasets that ``datasets`` wrote."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omnitrace._utils.documents import parse_json
from omnitrace._utils.files import files_below, unreadable, what_is
from omnitrace.errors import InputError
from omnitrace.sources.request_files import KEYS

__all__ = ["Table", "open_table"]

_ROWS: Final = 16  # read at once: their pictures are in memory
_LEVELS: Final = 3  # as in data/english/train/0000.parquet; nobody means all of "/"
_MEDIA: Final = {"images": "image", "audios": "audio", "videos": "video"}
_KNOWN: Final = (*KEYS, "prompt", "question", *_MEDIA)
_WRITTEN_BY_DATASETS: Final = ("dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table that are requests.

    Attributes
    ----------
    name:
        What rows without an id are named after.
    count:
        How many rows there are.
    batches:
        Makes an iterator of lists of rows, each with the known columns.
    """

    name: str
    count: int
    batches: Any

    def values(self) -> Iterator[tuple[str, str, Any]]:
        """Yield for each row where it stands, its name without an id, and its value."""
        for number, row in enumerate(itertools.chain.from_iterable(self.batches())):
            where = f"{self.name!r}, row {number}"
            try:
                value: Any = _request_of(row, where)
            except InputError as error:
                value = error
            yield where, f"{self.name}-{number}", value


def open_table(path: Path, split: str | None, *, legal: str) -> Table:
    """Return the rows of a Parquet file, a folder of them, or a folder of ``datasets``.

    Raises
    ------
    InputError
        If it is none, has no requests, or the package that reads it is not installed.
    """
    if what_is(path) == "folder" and any(what_is(path / each) for each in _WRITTEN_BY_DATASETS):
        return _of_datasets(path, split)
    files = [path]
    if what_is(path) == "folder":
        files = files_below(path, ".parquet", levels=_LEVELS)
    if split is not None:
        files = [each for each in files if each.stem.split("-")[0] == split]
    if not files:
        of = "" if split is None else f" of the split {split!r}"
        raise InputError(f"the folder {str(path)!r} holds no Parquet file{of}", legal=legal)
    return _of_parquet(path, files)


def _of_parquet(path: Path, files: Sequence[Path]) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(
            "Parquet is read by pyarrow, which is not installed",
            fix="pip install 'omnitrace-attribution[parquet]'",
        ) from error
    count = 0
    for each in files:
        try:
            with pq.ParquetFile(each) as file:
                count += file.metadata.num_rows
                _check_columns(file.schema_arrow.names, each)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(each, error) from error

    def batches() -> Iterator[list[dict[str, Any]]]:
        for each in files:
            with pq.ParquetFile(each) as file:
                columns = [name for name in file.schema_arrow.names if name in _KNOWN]
                for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
                    yield batch.to_pylist()

    return Table(path.stem, count, batches)


def _of_datasets(path: Path, split: str | None) -> Table:
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise InputError(
            f"{str(path)!r} is read by the package datasets, which is not installed",
            fix="pip install 'omnitrace-attribution[datasets]'",
        ) from error
    try:
        found = load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(path, error) from error
    if isinstance(found, DatasetDict):
        names = list(found)
        name = split or (names[0] if len(names) == 1 else "")
        if name not in found:
            raise InputError(
                f"{str(path)!r} has the splits {', '.join(names)}"
                + (f", and not {split!r}" if split else ""),
                legal="one of them",
                fix=f"name one: --split {names[0] if names else 'NAME'}",
            )
        found = found[name]
    _check_columns(found.column_names, path)
    # As Arrow tables, in which media stay bytes or paths: ours decode them, within limits.
    rows = found.select_columns([each for each in found.column_names if each in _KNOWN])
    arrow = rows.with_format("arrow")

    def batches() -> Iterator[list[dict[str, Any]]]:
        for batch in arrow.iter(batch_size=_ROWS):
            yield batch.to_pylist()

    return Table(path.name, len(found), batches)


def _check_columns(names: Iterable[str], path: Path) -> None:
    if not {"messages", "question"} & set(names):
        raise InputError(
            f"{str(path)!r} has no column 'messages' (it has {', '.join(map(repr, names))})",
            legal="the keys of a request as columns: messages, and id, response, … where needed",
        )


def _request_of(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a row as a request: without empty fields, JSON read, its media in their parts."""
    value = {name: _without_empty(each) for name, each in row.items() if each is not None}
    for name in ("messages", "question", "tools", "chat_template_kwargs"):
        if isinstance(value.get(name), str):
            try:
                value[name] = parse_json(value[name])
            except ValueError as error:
                raise InputError(f"{where}: {name!r} is a text, and no JSON: {error}") from error
    for column, kind in _MEDIA.items():
        if column in value:
            _fill(value.get("messages"), kind, value.pop(column), where)
    return value


def _without_empty(value: Any) -> Any:
    """Leave out the fields that other rows of the column have."""
    if isinstance(value, dict):
        return {name: _without_empty(each) for name, each in value.items() if each is not None}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def _fill(messages: Any, kind: str, media: Any, where: str) -> None:
    """Put media into the parts that only say their type, in order."""
    found = media if isinstance(media, list) else [media]
    parts = [
        part
        for message in (messages if isinstance(messages, list) else ())
        for part in (message.get("content") if isinstance(message, dict) else None) or ()
        if isinstance(part, dict) and part.get("type") == kind and not part.get(kind)
    ]
    if len(parts) != len(found):
        raise InputError(
            f"{where}: {len(found)} {kind} files for {len(parts)} parts",
            legal=f'a part {{"type": "{kind}"}} for each of the column {kind}s',
        )
    for part, medium in zip(parts, found, strict=True):
        if isinstance(medium, dict):
            medium = medium.get("bytes") or medium.get("path")
        part[kind] = medium

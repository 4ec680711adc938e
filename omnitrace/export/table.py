"""The long table: one row for each span and source that supports it, one for a span without.

``docs/reference/exports.md`` documents the columns. Names and types are those of
:data:`TABLE_VERSION`; a column is added at the end, and anything else makes a new version.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from omnitrace._utils.documents import inert_cell
from omnitrace._utils.files import open_output
from omnitrace.errors import InputError
from omnitrace.export.base import ExportedFile, NamedTrace, joint_name
from omnitrace.trace.citations import Citation, SpanCitations

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "TABLE",
    "TABLE_VERSION",
    "Column",
    "Csv",
    "Parquet",
    "rows_of",
    "schema",
    "write_table",
]

TABLE_VERSION: Final = 1
"""The version of the table's columns."""
#: Rows that are in memory at once, and that a reader of Parquet takes together.
_GROUP: Final = 16_384


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, the type of its values, and what they are. Any may be null."""

    name: str
    type: Literal["text", "whole", "number", "numbers"]
    meaning: str


TABLE: Final = (
    Column("request", "text", "name of the request, after which its trace is named"),
    Column("span", "whole", "index of the span in the response, from 0"),
    Column("text", "text", "what the span says"),
    Column("section", "text", "thought or answer"),
    Column("verdict", "text", "supported, no-source or against-sources; null if not verified"),
    Column("unit", "text", "id of the source unit; null, as all that follow, of a span without"),
    Column("document", "text", "id of its document: the source_id, or its message and part"),
    Column("modality", "text", "text, image, audio or video"),
    Column("unit_axis", "text", "what the place is told in: characters, pixels or seconds"),
    Column("unit_start", "number", "first character or second; null of an image"),
    Column("unit_end", "number", "the one behind the last"),
    Column("box", "numbers", "x0, y0, x1, y1 in pixels of the image as displayed"),
    Column("rank", "whole", "1 is the strongest of the span"),
    Column("share", "number", "of what supports the span, in [0, 1]"),
    Column("mass", "number", "share of the span's signal mass on the unit, in [0, 1]"),
    Column("effect", "number", "nats that the span loses without the unit, where known"),
    Column("interval", "numbers", "lower and upper bound of the effect, where known"),
)
"""The columns of the table, in their order."""


def rows_of(traces: Iterable[NamedTrace]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some traces, one trace at a time, with all columns in their order."""
    for name, trace in traces:
        for span in trace.citations():
            for citation in span.citations or (None,):
                yield _row(name, span, citation)


def _row(name: str, span: SpanCitations, citation: Citation | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(column.name for column in TABLE)
    row |= {
        "request": name,
        "span": span.span,
        "text": span.text,
        "section": span.section,
        "verdict": span.verdict,
    }
    if citation is None:
        return row
    axis = "pixels" if citation.box else "characters" if citation.characters else "seconds"
    start, end = citation.characters or citation.seconds or (None, None)
    return row | {
        "unit": citation.unit,
        "document": citation.document,
        "modality": citation.modality,
        "unit_axis": axis,
        "unit_start": start,
        "unit_end": end,
        "box": citation.box,
        "rank": citation.rank,
        "share": citation.strength,
        "mass": citation.mass,
        "effect": citation.effect,
        "interval": citation.interval,
    }


class Csv:
    """The long table as CSV, in which no cell is a formula."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield one file: a row for each span and source, a heading first."""
        text, names = io.StringIO(), list[str]()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(column.name for column in TABLE)
        for row in rows_of(_noted(traces, names)):
            writer.writerow(_cell(value) for value in row.values())
        data = text.getvalue().encode("utf-8", "replace")
        yield ExportedFile(joint_name(names, ".csv"), data)


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return json.dumps(value)
    return inert_cell(value)


class Parquet:
    """The long table as Parquet, with the types of its columns."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield one file, which pandas, Polars and DuckDB read.

        Raises
        ------
        InputError
            If pyarrow is not installed.
        """
        names: list[str] = []
        sink = io.BytesIO()
        _write_parquet(_noted(traces, names), sink)
        yield ExportedFile(joint_name(names, ".parquet"), sink.getvalue(), False)


def write_table(traces: Iterable[NamedTrace], path: str | Path) -> int:
    """Write the table of any number of traces as Parquet; return how many rows it has.

    Traces are read while it is written, one at a time; a file of the same name is replaced once
    all are there.

    Raises
    ------
    InputError
        If pyarrow is not installed, or the file cannot be written.
    """
    schema()  # before anything is read
    with open_output(Path(path)) as file:
        return _write_parquet(traces, file)


def _write_parquet(traces: Iterable[NamedTrace], sink: IO[bytes]) -> int:
    kind, count = schema(), 0
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(sink, kind, compression="zstd") as writer:
        for group in _groups(rows_of(traces)):
            writer.write_table(pa.Table.from_pylist(group, schema=kind))
            count += len(group)
    return count


def schema() -> pa.Schema:
    """Return the schema of the table; its metadata says the version.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(
            "Parquet is written by pyarrow, which is not installed",
            fix="pip install 'omnitrace-attribution[parquet]', or export to csv",
        ) from error
    kinds = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        # Named as Parquet names it, so that the schema is read as it was written.
        "numbers": pa.list_(pa.field("element", pa.float64())),
    }
    fields = [pa.field(each.name, kinds[each.type]) for each in TABLE]
    return pa.schema(fields, metadata={"omnitrace_table_version": str(TABLE_VERSION)})


def _noted(traces: Iterable[NamedTrace], names: list[str]) -> Iterator[NamedTrace]:
    """Pass traces on; keep two of their names, which is what naming the file needs."""
    for name, trace in traces:
        if len(names) < 2:
            names.append(name)
        yield name, trace


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    yield group

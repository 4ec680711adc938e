"""The long table: its rows, its schema, what reads it, and cells that are no formulas."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from omnitrace.errors import InputError
from omnitrace.export import TABLE, TABLE_VERSION, exported_files, rows_of, schema
from omnitrace.export.base import write_exports
from tests.helpers.cited_traces import ADDRESS, cited_trace, verified_trace

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exports.md"
TRACES = [("one", cited_trace()), ("two", verified_trace())]


def test_there_is_a_row_for_each_source_and_one_for_a_span_without() -> None:
    rows = list(rows_of(TRACES))
    expected = [
        (name, span.span, cited.unit if cited else None)
        for name, trace in TRACES
        for span in trace.citations()
        for cited in span.citations or (None,)
    ]
    assert [(row["request"], row["span"], row["unit"]) for row in rows] == expected
    assert all(list(row) == [column.name for column in TABLE] for row in rows)
    empty = next(row for row in rows if row["verdict"] == "against-sources")
    assert {name for name, value in empty.items() if value is not None} == {
        *("request", "span", "text", "section", "verdict")
    }


def test_places_are_told_on_their_axis() -> None:
    rows = {row["unit"]: row for row in rows_of(TRACES)}
    places = {
        unit: tuple(rows[unit][name] for name in ("unit_axis", "unit_start", "unit_end", "box"))
        for unit in ("text-2", "image-8", "video-3")
    }
    assert places == {
        "text-2": ("characters", 23, 66, None),
        "image-8": ("pixels", None, None, (900.0, 300.0, 1200.0, 600.0)),
        "video-3": ("seconds", 4.0, 6.0, None),
    }
    assert rows["image-8"]["document"] == ADDRESS
    assert (rows["text-4"]["effect"], rows["text-4"]["interval"]) == (2.0, (1.5, 2.5))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_exports(TRACES, "parquet", tmp_path_factory.mktemp("table"))
    return path


def test_parquet_holds_the_schema_and_its_version(parquet: Path) -> None:
    table = pq.read_table(parquet)
    assert table.schema.equals(schema(), check_metadata=True)
    assert table.schema.metadata == {b"omnitrace_table_version": str(TABLE_VERSION).encode()}
    expected = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
        for row in rows_of(TRACES)
    ]
    assert table.to_pylist() == expected


def test_pandas_and_duckdb_read_it(parquet: Path) -> None:
    frame = pd.read_parquet(parquet)
    assert list(frame.columns) == [column.name for column in TABLE]
    assert frame.groupby("request")["share"].count().to_dict() == {"one": 9, "two": 4}
    found = duckdb.sql(
        "select request, count(unit), sum(effect), max(unit_end), max(box[3]) "
        f"from '{parquet}' where section = 'answer' group by request order by request"
    ).fetchall()
    assert found == [("one", 9, None, 169.0, 1200.0), ("two", 3, 6.0, 169.0, None)]


def test_csv_says_the_same() -> None:
    (file,) = exported_files(TRACES, "csv")
    read = list(csv.DictReader(io.StringIO(file.data.decode(), newline="")))
    for row, expected in zip(read, rows_of(TRACES), strict=True):
        for column in TABLE:
            value: Any = expected[column.name]
            cell = row[column.name]
            if value is None:
                assert cell == ""
            elif column.type == "numbers":
                assert json.loads(cell) == list(value)
            else:
                assert type(value)(cell) == value


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-cmd|'/c calc'!A0", "@SUM(A1)", " =1", "\t=1", "\r=1", "\uff1d1"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    trace = cited_trace()
    span = dataclasses.replace(trace.spans[4], text=text)
    named = [(text, dataclasses.replace(trace, spans=(span,)))]
    (file,) = exported_files(named, "csv")
    (row,) = csv.DictReader(io.StringIO(file.data.decode(), newline=""))
    assert row["text"] == row["request"] == f"'{text}"


def test_numbers_are_not_taken_for_formulas() -> None:
    trace = verified_trace()
    supports = (dataclasses.replace(trace.spans[0].supports[0], effect=-1.5),)
    spans = (dataclasses.replace(trace.spans[0], supports=supports),)
    (file,) = exported_files([("x", dataclasses.replace(trace, spans=spans))], "csv")
    assert b",-1.5," in file.data


def test_an_empty_response_has_an_empty_table(tmp_path: Path) -> None:
    trace = dataclasses.replace(cited_trace(), text="", spans=())
    (path,) = write_exports([("x", trace)], "parquet", tmp_path)
    assert pq.read_table(path).num_rows == 0


def test_without_pyarrow_parquet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"omnitrace-attribution\[parquet\]"):
        list(exported_files(TRACES, "parquet"))


def test_every_column_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [f"| `{each.name}` | {each.type} | {each.meaning} |" for each in TABLE]
    assert [line for line in text.splitlines() if line in rows] == rows
    assert f"version {TABLE_VERSION}" in text


def test_traces_come_as_they_are_read() -> None:
    def broken() -> Any:
        yield "one", cited_trace()
        raise RuntimeError("the second is not read before the first is used")

    assert next(rows_of(broken()))["request"] == "one"

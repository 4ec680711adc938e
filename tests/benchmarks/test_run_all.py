import json
from pathlib import Path

import pytest

import run_all


def test_every_script_of_the_folder_is_a_benchmark_or_writes_their_results() -> None:
    names = {path.stem for path in run_all.benchmarks()}
    assert {"overhead", "reference"} <= names
    assert not names & {"run_all", "write_results"}


def test_quick_result_never_replaces_a_full_one(tmp_path: Path) -> None:
    quick, full, kept = tmp_path / "q.json", tmp_path / "f.json", tmp_path / "results" / "k.json"
    quick.write_text('{"quick": true}', encoding="utf-8")
    full.write_text('{"quick": false}', encoding="utf-8")
    assert run_all.keep(quick, kept)
    assert run_all.keep(full, kept)
    assert not run_all.keep(quick, kept)
    assert json.loads(kept.read_text(encoding="utf-8")) == {"quick": False}


def test_run_all_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(
        "import json, sys, pathlib\n"
        "pathlib.Path(sys.argv[2]).write_text("
        'json.dumps({"quick": "--quick" in sys.argv, "args": sys.argv[1:]}))\n',
        encoding="utf-8",
    )
    bad.write_text("raise SystemExit(2)\n", encoding="utf-8")
    monkeypatch.setattr(run_all, "benchmarks", lambda: [bad, good])
    monkeypatch.setattr(run_all, "write_results", lambda results, page: page)
    results = tmp_path / "results"
    assert run_all.main(["--quick", "--results", str(results)]) == 1
    assert "failed: bad" in capsys.readouterr().out
    assert json.loads((results / "good.json").read_text(encoding="utf-8"))["quick"] is True
    assert not (results / "bad.json").exists()

"""``omnitrace doctor``, with checks that take no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnitrace.testing.doctor import run as doctor
from omnitrace.testing.doctor.findings import Finding
from omnitrace.testing.families import tiny_family
from tests.helpers.command_line import Run

Check = Callable[[Any], Finding]


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    """Leave two checks, one of them made up."""
    found: dict[str, Check] = {
        "layers with rows": doctor.CHECKS["layers with rows"],
        "bars": lambda examined: Finding("degraded", f"a | b\n at {examined.level}"),
    }
    monkeypatch.setattr(doctor, "CHECKS", found)
    return found


def test_a_family(run: Run) -> None:
    result = run("doctor", "qwen2.5-vl", "--tiny")
    assert result.exit_code == 0, result.stderr
    title, heads, rows, bars, setting, *_ = result.stdout.splitlines()
    assert title == (
        "tiny qwen2.5-vl (Qwen2_5_VLForConditionalGeneration, family qwen2.5-vl): 1 supported, "
        "1 degraded"
    )
    assert heads.split() == ["check", "status", "evidence"]
    assert rows.split(maxsplit=4)[3:] == ["supported", "all 3 layers give rows"]
    assert bars.split(maxsplit=2)[1:] == ["degraded", "a | b at quick"]
    assert "transformers 5." in setting
    assert "quick check in" in setting


def test_a_checkpoint_as_json_and_a_file(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    result = run("doctor", "reference", "--full", "--json", "--out", out)
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    document = json.loads(line)
    assert document["family"] == "qwen2.5-omni"
    assert document["modalities"] == ["text", "image", "video", "audio"]
    assert [each["status"] for each in document["lines"]] == ["supported", "degraded"]
    assert document["lines"][1]["evidence"] == "a | b at full"
    assert json.loads(out.read_text("utf-8")) == document
    assert result.stderr == f"omnitrace: wrote {out}\n"


def test_markdown_and_a_folder_with_a_configuration_alone(run: Run, tmp_path: Path) -> None:
    tiny_family("gemma3").model.config.save_pretrained(tmp_path)
    out = tmp_path / "report.md"
    result = run("doctor", tmp_path, "--tiny", "--markdown", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("### tiny gemma3 (Gemma3ForConditionalGeneration, family")
    assert "| bars | degraded | a \\| b at quick |" in result.stdout.splitlines()
    assert out.read_text("utf-8").strip() == result.stdout.strip()


def test_something_is_wrong(run: Run, checks: dict[str, Check]) -> None:
    def broken(examined: Any) -> Finding:
        raise RuntimeError("no such\nlayer")

    checks["bars"] = broken
    result = run("doctor", "qwen2-audio", "--tiny")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[3].split(maxsplit=2) == [
        "bars",
        "wrong",
        "RuntimeError: no such",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["qwen3vl", "--tiny"], "did you mean 'qwen3-vl'?"),
        (["reference", "--json", "--markdown"], "--json and --markdown are given"),
        (["qwen3-vl", "--tiny", "--device", "cuda"], "tiny models run on the CPU"),
        (["./nothing"], "there is no model folder './nothing'"),
        (["./nothing", "--tiny"], "cannot read the configuration of './nothing'"),
    ],
)
def test_mistakes(run: Run, arguments: list[str], said: str) -> None:
    result = run("doctor", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_configuration_of_no_family(run: Run, tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = run("doctor", tmp_path, "--tiny")
    assert result.exit_code == 2
    assert "is a LlamaConfig, which is of no family with a tiny model" in result.stderr

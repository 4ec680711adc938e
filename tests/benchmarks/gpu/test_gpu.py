"""The benchmark of real sizes, run tiny: every mode measures, and what was measured is kept."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from common.report import BenchmarkError
from gpu import benchmark
from gpu.cases import MODES, Bench, Measured
from gpu.models import configurations, make_model, parameters_of
from gpu.requests import request_of
from gpu.worker import run_model
from omnitrace import Tracer


def found_by(*options: str, seconds: float = 200) -> list[dict[str, Any]]:
    given = benchmark.parse(["--tiny", "--lengths", "250", "--new-tokens", "4", *options])
    given.until = time.monotonic() + seconds
    cases: list[dict[str, Any]] = []
    run_model(given, cases.append)
    return cases


@pytest.mark.parametrize("name", configurations())
def test_the_configurations_have_the_published_size(name: str) -> None:
    assert parameters_of(name) == pytest.approx(configurations()[name]["parameters"], rel=0.001)
    assert configurations()[name]["source"]


def test_every_mode_is_measured() -> None:
    cases = found_by("--worker", "qwen2.5-omni-7b", "--modes", *MODES)
    measured = {case["mode"]: case for case in cases if "mode" in case}
    assert set(measured) == set(MODES)
    if not hasattr(Tracer, "trace_many"):
        assert measured.pop("batched")["left_out"] == "Tracer.trace_many is not there"
    for case in measured.values():
        assert case["left_out"] == ""
        assert case["seconds"] > 0
        assert case["tokens"] == 250
        assert case["pictures"] == 1
    assert measured["traced"]["decode"] > 0
    assert measured["replayed"]["decode"] is None
    assert {"attention": "flash_attention_2", "left_out": "FlashAttention needs a GPU"} in cases
    lines, sections = benchmark.rows({"m": cases})
    assert len(lines) == len(MODES)
    assert sections == [len(MODES) - 1]
    assert lines[0][:4] == ["m", "sdpa", "250", "untraced"]
    assert lines[0][7] == "1.00"


def test_the_other_model_and_its_waits() -> None:
    cases = found_by("--worker", "qwen3-vl-8b", "--modes", "untraced", "waits")
    assert [case["mode"] for case in cases if "mode" in case] == ["untraced"]
    waits = [case for case in cases if "waits" in case]
    assert [case["waits"] for case in waits] == ["attention-mean", "value-attention"]
    (note, *_) = benchmark.wait_notes({"m": waits})
    assert "untraced → traced for 4 tokens in blocks of 16: aten::_local_scalar_dense" in note


def test_what_has_no_time_is_left_out() -> None:
    cases = found_by("--worker", "qwen3-vl-8b", "--modes", "untraced", "traced", seconds=0)
    left_out = [case["left_out"] for case in cases if "mode" in case]
    assert len(left_out) == 2
    assert all("no time left" in why for why in left_out)


def test_a_case_without_memory_says_so_and_the_next_go_on(monkeypatch: Any) -> None:
    model, processor = make_model("qwen3-vl-8b", torch.device("cpu"), torch.float32, tiny=True)
    bench = Bench(model, processor, 4, "sdpa")
    asked = request_of(bench.tracer, 200, side=64)

    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(Bench, "_eager", full)
    assert bench.measure("eager", asked) == Measured(left_out="out of memory")
    assert bench.measure("untraced", asked).seconds
    with pytest.raises(BenchmarkError, match="the media of a prompt of 10 tokens have"):
        request_of(bench.tracer, 10, side=64)


def test_long_prompts_have_pictures_and_a_minute_of_audio() -> None:
    model, processor = make_model("qwen2.5-omni-7b", torch.device("cpu"), torch.float32, tiny=True)
    asked = request_of(Bench(model, processor, 4, "sdpa").tracer, 4000, side=64)
    assert (asked.tokens, asked.pictures, asked.seconds) == (4000, 4, 60)


LINES = """
import json, sys, time
print(json.dumps({"mode": "untraced"}), flush=True)
print("not of us", flush=True)
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
time.sleep(60)
"""


def test_a_process_is_ended_when_its_time_is_up() -> None:
    started = time.monotonic()
    first, last = benchmark.findings([sys.executable, "-c", LINES], started + 3)
    assert first == {"mode": "untraced"}
    assert "what is missing was not measured" in last["left_out"]
    assert time.monotonic() - started < 30
    command = [sys.executable, "-c", LINES, "7"]
    *_, last = benchmark.findings(command, time.monotonic() + 30)
    assert last == {"left_out": "the process ended with code 7"}


def test_what_was_measured_is_kept_case_by_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu.json"
    case = {
        "attention": "sdpa",
        "tokens": 300,
        "mode": "untraced",
        "seconds": 2.0,
        "prefill": 1.0,
        "decode": 0.5,
        "peak": 10**9,
        "left_out": "",
    }
    kept: list[int] = []

    def two(command: Any, until: float) -> Any:
        yield case
        kept.append(len(json.loads(path.read_text(encoding="utf-8"))["table"]["rows"]))
        yield {**case, "mode": "traced", "seconds": 2.5}

    monkeypatch.setattr(benchmark, "findings", two)
    given = ["--tiny", "--models", "qwen3-vl-8b", "--json", str(path)]
    assert benchmark.main(given) == 0
    assert kept == [1]
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [row[7] for row in document["table"]["rows"]] == ["1.00", "1.25"]
    assert document["quick"] is True
    assert document["settings"]["device"] == "the CPU (tiny models)"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([]) == 2
    assert "needs a CUDA device" in capsys.readouterr().out


def test_its_time_is_below_eight_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.parse([]).seconds <= 470
    assert benchmark.parse([]).lengths == [1000, 4000, 16000, 32000]
    with pytest.raises(SystemExit):
        benchmark.parse(["--lengths", "4000", "1000"])
    assert "must ascend" in capsys.readouterr().err

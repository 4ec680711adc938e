"""The benchmark of gradients: its options, its figures, and its full-prefix method."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common import decoding, memory
from common.report import BenchmarkError
from gradients import benchmark as gradients
from gradients import full_prefix
from omnitrace import Tracer


def test_defaults_depend_on_quick() -> None:
    full, quick = gradients.parse([]), gradients.parse(["--quick"])
    assert full.lengths == [800, 4000]
    assert full.alternations >= 10
    assert full.new_tokens == 64
    assert (full.full_length, full.memory_length) == (2000, 8000)
    assert full.memory_runs == 3
    assert quick.lengths == [800]
    assert quick.alternations < full.alternations
    given = gradients.parse(["--quick", "--alternations", "9", "--no-memory", "--full-tokens", "0"])
    assert (given.alternations, given.memory_runs, given.full_tokens) == (9, 0, 0)


def test_bad_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gradients.parse(["--memory-length", "long"])
    assert "--memory-length" in capsys.readouterr().err


def timing(mode: str, decode: float) -> Any:
    return decoding.Timing(mode, 1.0, decode, 0.1, (1, 2))  # type: ignore[arg-type]


def test_figures_of_one_length() -> None:
    rounds = [[timing("untraced", 2.0), timing("traced", 5.0)]] * 6
    rows, ratio = gradients.timing_rows(800, rounds, 10)
    assert ratio.value == 2.5
    assert [row[1] for row in rows] == ["untraced", "grad-sam"]
    assert rows[0][5:7] == ["1", "0.300"]
    assert rows[1][5:7] == ["2.500 [2.500, 2.500]", "0.600"]
    assert all(len(row) == len(gradients._COLUMNS) for row in rows)


def test_figures_of_memory() -> None:
    rows, over = gradients.memory_rows(
        8000, {"untraced": [100, 300, 200], "traced": [220, 210, 230]}
    )
    assert over == pytest.approx(1.1)
    assert rows[1][-1] == "1.100"
    assert all(len(row) == len(gradients._COLUMNS) for row in rows)


def test_memory_that_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(num_hidden_layers=2, num_attention_heads=3)
    model = SimpleNamespace(config=config, dtype=torch.float32)
    assert full_prefix.room(model, 10) == ""
    monkeypatch.setattr(full_prefix, "available_bytes", lambda: 100)
    assert "left out" in full_prefix.room(model, 10)


@pytest.fixture(scope="module")
def decoder(smollm2: Tracer) -> Any:
    return decoding.Decoder(60, Tracer(adapter=smollm2.adapter, signal="grad-sam"))


def test_thefull_prefix_method_gives_the_scores_of_decoding(decoder: Any) -> None:
    full = gradients.compare(decoder, 2)
    assert len(full.seconds) == len(full.scores) == 2
    assert decoder.model.config._attn_implementation == "sdpa"
    assert all(parameter.requires_grad for parameter in decoder.model.parameters())


def test_other_scores_end_the_benchmark(decoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(model: Any, prompt: Any, response: Any) -> Any:
        scores = torch.from_numpy(np.ones(len(prompt), dtype=np.float32))
        return full_prefix.FullPrefix((1.0,), (scores,))

    monkeypatch.setattr(full_prefix, "full_prefix", other)
    with pytest.raises(BenchmarkError, match="differ by"):
        gradients.compare(decoder, 1)


def test_a_small_run_end_to_end(monkeypatch: pytest.MonkeyPatch, smollm2: Tracer) -> None:
    tracer = Tracer(adapter=smollm2.adapter, signal="grad-sam")
    monkeypatch.setattr(gradients, "_tracer", lambda: tracer)
    monkeypatch.setattr(memory, "offer_to_be_killed_first", lambda: None)
    given = gradients.parse(["--quick", "--lengths", "60", "--alternations", "1", "--no-memory"])
    given.new_tokens, given.full_length, given.threads = 3, 40, torch.get_num_threads()
    result = gradients.measure(given)
    assert [row[1] for row in result.table.rows] == ["untraced", "grad-sam"] * 2 + ["full prefix"]
    assert len(result.bars) == 2
    assert result.bars[0].limit == gradients.TIME_LIMIT
    assert result.document()["settings"]["alternations"] == 1

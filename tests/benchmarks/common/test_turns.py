from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common import decoding, memory
from common.report import BenchmarkError
from common.turns import alternate, ratios, rotated


def test_every_mode_comes_first_equally_often() -> None:
    orders = [rotated(["a", "b", "c"], number) for number in range(6)]
    for place in range(3):
        assert sorted(order[place] for order in orders) == ["a", "a", "b", "b", "c", "c"]


def timing(mode: str, decode: float, ids: tuple[int, ...] = (1, 2)) -> Any:
    return decoding.Timing(mode, 1.0, decode, 0.1, ids)  # type: ignore[arg-type]


class FakeDecoder:
    def __init__(self, traced_ids: tuple[int, ...] = (1, 2)) -> None:
        self.model = SimpleNamespace(
            config=SimpleNamespace(num_hidden_layers=2, num_attention_heads=3),
            dtype=torch.float32,
        )
        self.prompt_tokens = 10
        self.order: list[str] = []
        self._traced_ids = traced_ids

    def warm_up(self) -> None:
        pass

    def run_in_turns(self, modes: Sequence[str], new_tokens: int) -> list[Any]:
        return [self.run(mode, new_tokens) for mode in modes]

    def run(self, mode: str, new_tokens: int) -> Any:
        self.order.append(mode)
        seconds = {"untraced": 2.0, "traced": 3.0, "eager": 8.0}[mode]
        return timing(mode, seconds, self._traced_ids if mode == "traced" else (1, 2))


def test_alternation_rotates_and_pairs() -> None:
    decoder = FakeDecoder()
    rounds, left_out = alternate(decoder, 4, eager=1, new_tokens=2)
    assert not left_out
    assert decoder.order[:3] == ["untraced", "traced", "eager"]
    assert decoder.order[3:] == ["traced", "untraced", "untraced", "traced", "traced", "untraced"]
    assert ratios(rounds, "traced") == [1.5] * 4
    assert ratios(rounds, "eager") == [4.0]


def test_changed_tokens_end_the_benchmark() -> None:
    with pytest.raises(BenchmarkError, match="different tokens"):
        alternate(FakeDecoder((1, 3)), 1, eager=0, new_tokens=2)


def test_eager_is_left_out_where_memory_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100)
    decoder = FakeDecoder()
    _, left_out = alternate(decoder, 1, eager=1, new_tokens=2)
    assert "eager" not in decoder.order
    assert "left out" in left_out


def test_eager_bytes_counts_all_layers_and_heads() -> None:
    assert decoding.eager_bytes(FakeDecoder().model, 10) == 2 * 3 * 10 * 10 * 4

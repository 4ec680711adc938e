"""The arithmetic of the streaming benchmarks, and their signal."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from common.decoding import Decoder, story
from omnitrace import Tracer
from streaming import benchmark as streaming
from streaming import memory as streaming_memory
from streaming.head_shares import HeadShares
from tests.helpers import smollm2
from tests.helpers.live_signals import with_signal
from tests.helpers.tower_request import ANSWER, MESSAGES


def test_defaults_depend_on_quick() -> None:
    full, quick = streaming.parse([]), streaming.parse(["--quick"])
    assert full.threads == [1, 2]
    assert full.prompt_tokens == 800
    assert quick.alternations < full.alternations
    assert streaming.parse(["--signals", "grad-sam"]).signals == ["grad-sam"]


def test_memory_compares_two_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    assert streaming_memory.parse([]).lengths == [500, 4000]
    assert streaming_memory.parse(["--quick"]).lengths == [50, 250]
    with pytest.raises(SystemExit):
        streaming_memory.parse(["--lengths", "500"])
    assert "at least two" in capsys.readouterr().err


def test_own_memory_is_what_untraced_decoding_does_not_take() -> None:
    given = streaming_memory.parse(["--lengths", "100", "200", "--signals", "some"])
    mega = 1_000_000
    growths = {
        "untraced": {100: [10 * mega, 11 * mega, 12 * mega], 200: [20 * mega]},
        "some": {100: [13 * mega], 200: [26 * mega]},
    }
    found = streaming_memory.result_of(given, growths, prompt=900)
    assert found.values["own"] == {"some": {100: 2 * mega, 200: 6 * mega}}
    assert [row[3:] for row in found.table.rows] == [
        ["11.0", "13.0", "2.0", "0.4"],
        ["20.0", "26.0", "6.0", "0.9"],
    ]
    (bar,) = found.bars
    assert bar.value == pytest.approx(4 * mega / (4 * 200 * 1100 - 4 * 100 * 1000))
    assert not bar.met


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([*range(1, 21)], 0.95, 19), ([*range(1, 20)], 0.95, 19)],
)
def test_percentile_is_a_value_that_occurred(
    values: list[float], share: float, expected: float
) -> None:
    assert streaming.percentile(values, share) == expected


def test_percentile_of_nothing_is_nothing() -> None:
    assert math.isnan(streaming.percentile([], 0.95))


def test_latencies_count_steps_of_the_same_run() -> None:
    stamps = [0.0, 2.0, 4.0, 6.0, 9.0]
    assert streaming.latencies(stamps, [(1, 3.0), (3, 10.0)], 11.0) == (0.5, 2.0)


def test_the_live_signal_sees_what_units_get(reference: Tracer) -> None:
    signal = HeadShares()
    trace = with_signal(reference, signal).replay(MESSAGES, ANSWER)
    span = trace.spans[0]
    assert span.effects is not None
    assert sum(effect.value for effect in span.effects.values()) == pytest.approx(0, abs=1e-6)
    units = [unit.positions for unit in trace.units]
    rows: list[Any] = []

    class Keeping(HeadShares):
        def reduce(self, layers: Any, positions: Any) -> torch.Tensor:
            found = super().reduce(layers, positions)
            rows.append(found)
            return found

    with_signal(reference, Keeping()).replay(MESSAGES, ANSWER)
    # Every feature is one head of one layer; their mean over heads and layers is attention-mean.
    means = torch.cat(rows).mean(dim=1)
    for number, unit in enumerate(units):
        expected = torch.from_numpy(trace.scores[:, list(unit)].sum(axis=1))
        torch.testing.assert_close(means[:, number], expected, atol=1e-5, rtol=1e-4)


def test_the_small_model_writes_the_story_that_it_is_told(
    monkeypatch: pytest.MonkeyPatch, smollm2_path: Path
) -> None:
    monkeypatch.setattr(streaming_memory, "read_tokenizer", smollm2.tokenizer)
    tracer = streaming_memory.small_tracer()
    decoder = Decoder(100, tracer)
    streamed = streaming.stream_once(
        decoder, streaming.LIVE, 40, logits_processor=streaming_memory.story_tokens(decoder, 40)
    )
    text = tracer.adapter.tokenizer.decode(streamed.ids)
    assert story(10, seed=1).startswith(text)
    assert text.count(".") >= 1

"""Nothing of ours in the decoding loop waits for the device, but for a block's scores."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from gpu.waits import calls_from, waits_of
from omnitrace import Tracer
from tests.helpers.text_adapters import own_text_adapter

TEXTS = ("The lamp costs two coins.", "What does it cost?")
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": text} for text in TEXTS]}]
BLOCK = 4
#: A block's scores, on the processor already, are finite, none negative, none ahead of its token.
CHECKS = 3


class Listener(BaseStreamer):  # type: ignore[misc]
    """Takes tokens as every server does: ``generate`` copies each for it."""

    def put(self, value: torch.Tensor) -> None: ...

    def end(self) -> None: ...


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    tracer = Tracer(adapter=own_text_adapter(), signal="attention-mean", block=BLOCK)
    tracer.adapter.model.generation_config.eos_token_id = None
    return tracer


def by_place(found: Counter[str]) -> Counter[str]:
    """Count without the lines."""
    places: Counter[str] = Counter()
    for place, count in found.items():
        places[place.rsplit(":", 1)[0]] += count
    return places


@pytest.mark.parametrize("signal", ["attention-mean", "value-attention"])
def test_tensors_are_read_once_a_block(tracer: Tracer, signal: str) -> None:
    traces = tracer.with_options(signal=signal, verify=False)
    counts = {}
    for tokens in (2 * BLOCK, 4 * BLOCK):
        with calls_from("omnitrace") as found:
            traces.trace(MESSAGES, max_new_tokens=tokens)
        counts[tokens] = by_place(found)
    longer, shorter = counts[4 * BLOCK], counts[2 * BLOCK]
    added = longer - shorter
    # The id of a token, which `generate` has copied for the streamer.
    assert added.pop("tolist models/generation.py") == 2 * BLOCK
    blocks = added["cpu signals/contract.py"]
    assert 2 <= blocks <= BLOCK  # sentences that end may cut a block
    assert added == {
        "cpu signals/contract.py": blocks,
        "numpy engine/assembler.py": blocks,
        "__bool__ signals/contract.py": CHECKS * blocks,
    }


def test_the_profiler_sees_no_more(tracer: Tracer) -> None:
    model = tracer.adapter.model
    ids = torch.tensor([tracer.trace(MESSAGES, max_new_tokens=2).prompt_ids])

    def added(tokens: int) -> tuple[Counter[str], int]:
        options: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False}
        mask = torch.ones_like(ids)
        plain = waits_of(
            lambda: model.generate(ids, attention_mask=mask, streamer=Listener(), **options)
        )
        with calls_from("omnitrace") as found:
            traced = waits_of(lambda: tracer.trace(MESSAGES, max_new_tokens=tokens))
        traced.subtract(plain)
        return traced, by_place(found)["cpu signals/contract.py"]

    (shorter, few), (longer, many) = added(2 * BLOCK), added(4 * BLOCK)
    longer.subtract(shorter)
    assert {name: count for name, count in longer.items() if count} == {
        "aten::_local_scalar_dense": CHECKS * (many - few)
    }


def test_a_read_is_found_where_it_is_asked_for() -> None:
    original = torch.Tensor.item
    with calls_from("tests") as found:
        torch.ones(1).item()
        assert torch.ones(1)
    assert torch.Tensor.item is original
    assert by_place(found) == {
        "item benchmarks/gpu/test_waits.py": 1,
        "__bool__ benchmarks/gpu/test_waits.py": 1,
    }

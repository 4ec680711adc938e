"""The estimator in the package is the reference model's, and better than what it is made of."""

from __future__ import annotations

from pathlib import Path

from omnitrace import Tracer
from omnitrace.estimator import SHIPPED, load
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample


def test_it_is_better_than_attention_on_requests_that_it_never_saw() -> None:
    card = load(SHIPPED).card
    assert card.training.held_out >= 30
    assert card.training.modalities == ("audio", "image", "text", "video")
    for figures in card.quality.values():
        assert figures["estimator"].value > figures["attention-mean"].value


def test_it_fits_the_model_and_gives_every_unit_an_effect(
    reference: Tracer, tmp_path: Path
) -> None:
    sample = make_sample(held_out_seed(3), questions=2, order=("text", "image"))
    write_sample(sample, tmp_path)
    tracer = Tracer(adapter=reference.adapter, signal="estimator")  # refuses another model's file
    trace = tracer.replay(sample.messages, sample.answer, media_root=tmp_path)
    assert len(trace.spans) == 2
    for span in trace.spans:
        assert span.effects is not None
        assert set(span.effects) == {unit.id for unit in trace.units}
        for effect in span.effects.values():
            assert effect.low is not None
            assert effect.high is not None
            assert effect.low <= effect.value <= effect.high

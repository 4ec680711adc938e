"""What is drawn of wrong attributions: the evidence and the supports."""

from __future__ import annotations

import numpy as np
import pytest

from omnitrace import ImageRegion, SourceUnit, Span, TextRange, TimeRange
from omnitrace.evaluation.labels.schema import TimeSource
from omnitrace.reference.world import MODALITIES, make_sample, validation_seed
from omnitrace.types import Modality, Support
from reference.pictures import draw_statement, marks_of
from reference.where import RIGHT
from tests.helpers.reference_units import A2, UNITS, V1


@pytest.mark.parametrize("modality", MODALITIES)
def test_evidence_and_supports_are_marked(modality: Modality) -> None:
    sample = make_sample(validation_seed(4), questions=4, order=(modality,), long=False)
    statement = next(each for each in sample.statements if each.sources)
    locator = {
        "text": TextRange(0, 0, 0, 30),
        "image": ImageRegion(0, 0, (0, 0, 56, 56), (4, 4), (0, 1, 4, 5)),
    }.get(modality, TimeRange(0, 0, 0.0, 1.0))
    source = statement.sources[0]
    stream = (source.stream or modality) if isinstance(source, TimeSource) else modality
    top = Support(SourceUnit("u", stream, locator, ()), 0.5, 0.75, 1.0, 0.8, 1)
    text = statement.text
    span = Span(0, text, statement.start, statement.end, 0, 1, 0.5, (top,), False)
    picture = np.asarray(draw_statement(sample, statement, span, RIGHT)).astype(int)
    green = (np.abs(picture - (0, 130, 60)) < 3).all(axis=2)
    blue = (np.abs(picture - (30, 90, 230)) < 3).all(axis=2)
    assert green.sum() > 40
    assert blue.sum() > 40


def test_marks_of_a_video_are_of_its_pictures_or_of_its_sound() -> None:
    sound = TimeSource(message=0, part=1, start=0.0, end=1.0, stream="audio")
    supports = [Support(each, 0.1, 0.1, 0.1, 0.1, 1) for each in UNITS]
    pictures = marks_of(1, "video", [A2, V1, sound], supports)
    assert pictures.evidence == (V1,)
    assert {support.unit.id for support in pictures.supports} == {"v0", "v1", "v2", "v3"}
    heard = marks_of(1, "audio", [A2, V1, sound], supports)
    assert heard.evidence == (sound,)
    assert {support.unit.id for support in heard.supports} == {"s0", "s1", "s2", "s3"}
    assert marks_of(0, None, [A2, V1], supports).evidence == (A2,)
    assert not marks_of(7, None, [A2, V1], supports)

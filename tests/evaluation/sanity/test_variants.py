"""Requests that are changed: what stays, what moves, and where everything stood."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from omnitrace import InputError, Tracer
from omnitrace.ablation.draws import generator
from omnitrace.evaluation.sanity.variants import (
    DISTRACTORS,
    distracted,
    distractors_of,
    key_of_unit,
    reordered,
    reworded,
)
from omnitrace.sources.messages import Conversation
from omnitrace.sources.parts import TextPart


def _asked(tracer: Tracer, *parts: Any) -> Conversation:
    content = [
        {"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p}
        for p in parts
    ]
    return tracer.read([{"role": "user", "content": content}])


def _texts(conversation: Conversation) -> list[str]:
    return [p.text if isinstance(p, TextPart) else p.modality for p in conversation.parts]


@pytest.fixture(scope="module")
def asked(reference: Tracer) -> Conversation:
    image = Image.new("RGB", (112, 112), "red")
    return _asked(reference, "One. Two.", image, "Three.", "Who?")


def test_sources_change_places_and_the_question_stays(asked: Conversation) -> None:
    variants = reordered(asked, 5, generator(0, "order"))
    assert len({each.done for each in variants}) == 5
    for each in variants:
        assert _texts(each.conversation)[-1] == "Who?"
        assert sorted(_texts(each.conversation)) == sorted(_texts(asked))
        assert [part.part for part in each.conversation.parts] == [0, 1, 2, 3]
        for part in each.conversation.parts:
            before = asked.parts[each.places[part.message, part.part][1]]
            assert part.is_source == before.is_source
            if isinstance(part, TextPart):
                assert isinstance(before, TextPart)
                assert part.text == before.text
    assert len(reordered(asked, 99, generator(0, "order"))) == 5  # there are no more
    again = reordered(asked, 5, generator(0, "order"))
    assert [each.done for each in variants] == [each.done for each in again]


def test_units_keep_their_names(reference: Tracer, asked: Conversation) -> None:
    first = {key_of_unit(unit) for unit in reference.replay(asked, "One.").units}
    assert len(first) > 4
    for each in reordered(asked, 2, generator(1)):
        units = reference.replay(each.conversation, "One.").units
        assert {key_of_unit(unit, each.places) for unit in units} == first
        assert {key_of_unit(unit) for unit in units} != first


def test_only_the_question_is_reworded(asked: Conversation) -> None:
    (variant,) = reworded(asked, ["Say: {question} {Now}"])
    assert _texts(variant.conversation) == [*_texts(asked)[:-1], "Say: Who? {Now}"]
    assert all(new == old for new, old in variant.places.items())


def test_what_is_added_was_nowhere(reference: Tracer, asked: Conversation) -> None:
    other = _asked(reference, "Four.", "Three.", Image.new("RGB", (56, 56)), "What?")
    draws = generator(0)
    added = distractors_of(asked, [other], 3, draws)
    kinds = sorted(each.text if isinstance(each, TextPart) else each.modality for each in added)
    assert kinds[1:] == ["Four.", "image"]  # "Three." stands in the request, "What?" is no source
    assert kinds[0] in DISTRACTORS
    variant = distracted(asked, added, draws)
    parts = variant.conversation.parts
    assert len(parts) == 7
    assert _texts(variant.conversation)[-1] == "Who?"
    assert len(variant.places) == 4
    units = reference.replay(variant.conversation, "One.").units
    new = [u for u in units if key_of_unit(u, variant.places)[1].message < 0]
    added_parts = {p.part for p in parts if (0, p.part) not in variant.places}
    assert {u.locator.part for u in new} == added_parts


def test_a_request_of_one_text_has_no_order_and_no_question(reference: Tracer) -> None:
    alone = reference.read([{"role": "user", "content": "The lamp is red. What is red?"}])
    with pytest.raises(InputError, match="no message has two sources"):
        reordered(alone, 1, generator(0))
    with pytest.raises(InputError, match="the question is no text of its own"):
        reworded(alone, ["{question}"])
    text_only = distractors_of(
        alone, [_asked(reference, Image.new("RGB", (56, 56)), "?")], 1, generator(0)
    )
    assert isinstance(text_only[0], TextPart)  # no media where the request has none
    variant = distracted(alone, text_only, generator(0))
    assert _texts(variant.conversation) == [text_only[0].text, *_texts(alone)]

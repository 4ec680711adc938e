"""Which sentences are copied, and the request without their document."""

from __future__ import annotations

from typing import Any

import pytest

from omnitrace import InputError, Tracer
from omnitrace.evaluation.copied import copied_sentences

TWICE = "The lamp weighs two grams."
TEXTS = (f"Notes. {TWICE} The cup weighs five grams.", f"{TWICE} The key costs nine coins.")


def request(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]


def test_a_sentence_is_a_statement_that_is_said_once(reference: Tracer) -> None:
    messages = request(*TEXTS, "What does the cup weigh?")
    found = copied_sentences(reference, messages, count=9, seed="0")
    assert {each.text for each in found} == {
        "The cup weighs five grams.",
        "The key costs nine coins.",
    }
    for each in found:
        place = each.place
        assert TEXTS[place.part][place.start : place.end] == each.text
        assert each.messages == messages
        left = [text for number, text in enumerate(TEXTS) if number != place.part]
        assert each.without == request(*left, "What does the cup weigh?")


def test_the_choice_is_seeded(reference: Tracer) -> None:
    messages = request(*TEXTS, "What does the cup weigh?")
    chosen = [copied_sentences(reference, messages, count=1, seed=str(n)) for n in range(8)]
    assert chosen[0] == copied_sentences(reference, messages, count=1, seed="0")
    assert len({each.text for (each,) in chosen}) == 2


def test_a_document_that_is_a_whole_message(reference: Tracer) -> None:
    tools = [{"role": "tool", "content": text} for text in TEXTS]
    asked = {"role": "user", "content": "What does the cup weigh?"}
    found = copied_sentences(reference, [*tools, asked], count=9, seed="0")
    by_message = {each.place.message: each.without for each in found}
    assert by_message == {0: [tools[1], asked], 1: [tools[0], asked]}


@pytest.mark.parametrize(
    "texts", [(TEXTS[0],), (TEXTS[0], "What is it?"), (TWICE, TWICE, "What does the lamp weigh?")]
)
def test_without_a_document_or_another_source_there_is_none(
    reference: Tracer, texts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="no sentence of the request can be copied"):
        copied_sentences(reference, request(*texts), count=1, seed="0")

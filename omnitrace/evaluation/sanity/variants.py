"""Requests that ask the same in another way: other order, other words, more sources.

What supports a statement should not depend on any of these. Media are not decoded again, what is a
source stays one, and every part remembers where it stood: units are then matched by their content.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from omnitrace.errors import InputError
from omnitrace.sources.messages import Conversation
from omnitrace.sources.parts import Part, TextPart
from omnitrace.types import Locator, Modality, SourceUnit

__all__ = [
    "DISTRACTORS",
    "QUESTION",
    "TEMPLATES",
    "Place",
    "UnitKey",
    "Variant",
    "distracted",
    "distractors_of",
    "key_of_unit",
    "reordered",
    "reworded",
]

QUESTION: Final = "{question}"
"""What stands for the user's own question in a template."""

TEMPLATES: Final = ("Please answer: {question}", "{question} Thank you.", "“{question}”")
"""Words before the question, a sentence after it, and marks around it that are of no language."""

DISTRACTORS: Final = (
    "The museum is closed on the first day of the week.",
    "A cyclist repaired a tyre beside the canal.",
    "The old clock tower was painted green in spring.",
    "Two gardeners planted roses along the wall.",
)
"""Sources about nothing that is asked, where no other request has any."""

# Of drawing an order that was not drawn yet.
_ATTEMPTS: Final = 20

#: Where a part stands: message and part.
Place: TypeAlias = tuple[int, int]
# A part, and where it stood; None for one that was added.
_Placed: TypeAlias = tuple[Part, Place | None]
#: What a unit is, wherever its part stands.
UnitKey: TypeAlias = tuple[Modality, Locator]


@dataclass(frozen=True, slots=True)
class Variant:
    """A request that was changed.

    ``done`` says how. ``places`` leads from where a part stands now to where it stood; parts that
    were added are not in it.
    """

    done: str
    conversation: Conversation
    places: Mapping[Place, Place]


def key_of_unit(unit: SourceUnit, places: Mapping[Place, Place] | None = None) -> UnitKey:
    """Return a unit's modality and its locator in the first request.

    Parameters
    ----------
    unit:
        Of a variant, or of the first request.
    places:
        Of the variant; None for the first request. Parts that were added get messages below 0, so
        that they are no unit of the first request.
    """
    locator = unit.locator
    if places is None:
        return unit.modality, locator
    at = locator.message, locator.part
    message, part = places.get(at, (-1 - at[0], at[1]))
    return unit.modality, dataclasses.replace(locator, message=message, part=part)


def reordered(conversation: Conversation, count: int, draws: np.random.Generator) -> list[Variant]:
    """Put the sources of each message into other orders; all other parts stay where they are.

    Returns
    -------
    list of Variant
        ``count`` different ones, or fewer where there are not so many orders.

    Raises
    ------
    InputError
        If no message has two sources.
    """
    sources = [
        sum(part.is_source for part in conversation.of(number))
        for number in range(len(conversation.roles))
    ]
    if max(sources) < 2:
        raise InputError("no message has two sources", legal="two that can change places")
    same = tuple(tuple(range(size)) for size in sources)
    orders: dict[tuple[tuple[int, ...], ...], None] = {}
    for _ in range(_ATTEMPTS * count):
        drawn = tuple(tuple(map(int, draws.permutation(size))) for size in sources)
        if drawn != same and len(orders) < count:
            orders[drawn] = None
    return [_in_order(conversation, order) for order in orders]


def _in_order(conversation: Conversation, orders: Sequence[Sequence[int]]) -> Variant:
    messages = _messages(conversation)
    for parts, order in zip(messages, orders, strict=True):
        slots = [i for i, (part, _) in enumerate(parts) if part.is_source]
        for slot, moved in zip(slots, [parts[slots[i]] for i in order], strict=True):
            parts[slot] = moved
    written = [", ".join(str(i + 1) for i in order) for order in orders if len(order) > 1]
    return _variant(f"sources in the order {'; '.join(written)}", conversation, messages)


def reworded(conversation: Conversation, templates: Sequence[str]) -> list[Variant]:
    """Put the user's question into each template, in place of :data:`QUESTION`.

    Raises
    ------
    InputError
        If the question is no part of its own.
    """
    asking = _messages(conversation)[_last_user(conversation)]
    question = [
        i for i, (part, _) in enumerate(asking) if isinstance(part, TextPart) and not part.is_source
    ]
    if not question:
        raise InputError("the question is no text of its own", legal="sources, then a question")
    return [_asked(conversation, question[-1], template) for template in templates]


def _asked(conversation: Conversation, question: int, template: str) -> Variant:
    messages = _messages(conversation)
    asking = messages[_last_user(conversation)]
    part, place = asking[question]
    assert isinstance(part, TextPart)
    asking[question] = dataclasses.replace(part, text=template.replace(QUESTION, part.text)), place
    return _variant(template, conversation, messages)


def distracted(
    conversation: Conversation, distractors: Sequence[Part], draws: np.random.Generator
) -> Variant:
    """Put more sources into the last user message, each at a random place before its last part."""
    messages = _messages(conversation)
    asking = messages[_last_user(conversation)]
    for each in distractors:
        added = dataclasses.replace(each, role="user", is_source=True)
        asking.insert(int(draws.integers(len(asking))), (added, None))
    done = "; ".join(
        repr(each.text) if isinstance(each, TextPart) else each.modality for each in distractors
    )
    return _variant(f"added {done}", conversation, messages)


def distractors_of(
    conversation: Conversation,
    others: Sequence[Conversation],
    count: int,
    draws: np.random.Generator,
) -> list[Part]:
    """Draw sources of other requests, and from :data:`DISTRACTORS` where these have too few.

    Texts that the request has already are none, and videos neither: they are long, and a silent
    one beside one with sound would change how both are read.
    """
    own = {part.text for part in conversation.parts if isinstance(part, TextPart)}
    found: dict[object, Part] = {}
    for part in (part for other in others for part in other.parts):
        if isinstance(part, TextPart):
            if part.is_source and part.text not in own:
                found.setdefault(part.text, part)
        elif part.is_source and part.modality != "video" and conversation.media():
            found.setdefault(id(part), part)
    pool = list(found.values())
    drawn = [pool[i] for i in draws.permutation(len(pool))[:count]]
    built_in = [text for text in DISTRACTORS if text not in own]
    missing = min(count - len(drawn), len(built_in))
    picked = draws.permutation(len(built_in))[:missing]
    return drawn + [TextPart(0, 0, "user", built_in[i], is_source=True) for i in picked]


def _last_user(conversation: Conversation) -> int:
    return max(number for number, role in enumerate(conversation.roles) if role == "user")


def _messages(conversation: Conversation) -> list[list[_Placed]]:
    return [
        [(part, (part.message, part.part)) for part in conversation.of(number)]
        for number in range(len(conversation.roles))
    ]


def _variant(
    done: str, conversation: Conversation, messages: Sequence[Sequence[_Placed]]
) -> Variant:
    """Give the parts new numbers, and keep where they stood."""
    parts: list[Part] = []
    places: dict[Place, Place] = {}
    for message, content in enumerate(messages):
        for number, (part, place) in enumerate(content):
            parts.append(dataclasses.replace(part, message=message, part=number))
            if place is not None:
                places[message, number] = place
    return Variant(done, dataclasses.replace(conversation, parts=tuple(parts)), places)

"""Decide which texts of a request are sources, where the user does not say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from omnitrace.segmentation.documents import find_documents, without_questions
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import Part, TextPart

__all__ = ["settle_texts"]

_SYSTEM: Final = ("system", "developer")
_NOTHING: Final = (
    "nothing in the request can be a source, so no statement is given one. To name a source, put "
    'it into a part of its own before the question, or mark a part with "source": true'
)
_ONE_TEXT: Final = (
    "{place} may hold sources and question in one text: all of it is taken as a source but the "
    "questions that it begins or ends with. To be exact, put the question into a part of its own "
    'behind the sources, or mark parts with "source": true or false'
)


def settle_texts(
    parts: Sequence[Part], undecided: set[int], last_user: int, options: SourceOptions
) -> tuple[list[Part], tuple[str, ...]]:
    """Decide whether the texts at the ``undecided`` indices of ``parts`` are sources.

    Parameters
    ----------
    parts:
        All parts, in order.
    undecided:
        Indices of the texts of which nothing is said.
    last_user:
        Number of the last user message; what follows it belongs to its turn.
    options:
        ``system``, ``history``, ``text`` and ``language`` are read.

    Returns
    -------
    tuple
        The parts, and what a user should know of the choice.
    """
    in_question = [i for i in sorted(undecided) if parts[i].message == last_user]
    instruction = in_question[-1] if in_question else None
    settled = list(parts)
    for i in undecided:
        begun = parts[i].role == "assistant" and parts[i].message == parts[-1].message
        settled[i] = dataclasses.replace(
            parts[i],
            is_source=i != instruction and not begun and _counts(parts[i], last_user, options),
        )
    # A text that the user marks anywhere says what is a source; else the last turn may.
    here = any(
        part.is_source
        for i, part in enumerate(settled)
        if part.message >= last_user or (i not in undecided and isinstance(part, TextPart))
    )
    asking = None if instruction is None else settled[instruction]
    if isinstance(asking, TextPart) and instruction is not None:
        # In the presence of other sources, headings and lists are of the instruction.
        documents = [] if here and options.text != "documents" else find_documents(asking.text)
        if documents:
            settled[instruction] = _within(asking, documents)
            here = True
    if here:
        return settled, ()
    _add_earlier(settled, undecided, last_user, options)
    return settled, _add_lone_text(settled, instruction, options)


def _counts(part: Part, last_user: int, options: SourceOptions) -> bool:
    if part.role in _SYSTEM:
        return options.system is True
    if part.role == "tool" or part.message == last_user:
        return True
    return options.history is True


def _within(part: TextPart, ranges: Sequence[tuple[int, int]]) -> TextPart:
    return dataclasses.replace(part, is_source=bool(ranges), within=tuple(ranges))


def _add_earlier(
    parts: list[Part], undecided: set[int], last_user: int, options: SourceOptions
) -> None:
    """Make sources of system texts and earlier turns: their documents, else all but questions."""
    for i in undecided:
        part = parts[i]
        system = part.role in _SYSTEM
        wanted = options.system if system else options.history
        earlier = system or part.message < last_user
        if wanted != "auto" or not earlier or part.is_source or not isinstance(part, TextPart):
            continue
        if documents := find_documents(part.text):
            parts[i] = _within(part, documents)
        elif part.role == "user":
            parts[i] = _within(part, _hull(without_questions(part.text, language=options.language)))
        else:
            parts[i] = dataclasses.replace(part, is_source=True)


def _add_lone_text(
    parts: list[Part], instruction: int | None, options: SourceOptions
) -> tuple[str, ...]:
    """Make a source of a long text that also asks; a text that only asks is never its own."""
    others = any(part.is_source for part in parts)
    asking = None if instruction is None else parts[instruction]
    if isinstance(asking, TextPart) and instruction is not None:
        body = without_questions(asking.text, language=options.language)
        begun = bool(body) and bool(asking.text[: body[0][0]].strip())
        asks = begun or (bool(body) and bool(asking.text[body[-1][1] :].strip()))
        if len(body) > 1 or (asks and not others):
            parts[instruction] = _within(asking, _hull(body))
            place = f'messages[{asking.message}]["content"][{asking.part}]'
            return (_ONE_TEXT.format(place=place),)
    return () if others else (_NOTHING,)


def _hull(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(ranges[0][0], ranges[-1][1])] if ranges else []

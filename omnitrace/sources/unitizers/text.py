"""Text units: sentences, paragraphs, documents, whole parts, or the user's own ranges."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from omnitrace.errors import InputError
from omnitrace.segmentation.blocks import source_units
from omnitrace.segmentation.documents import find_documents
from omnitrace.sources.parts import TextPart
from omnitrace.sources.token_map import TextTokens, UnitDraft
from omnitrace.sources.unitizers.user_defined import intervals, name_of
from omnitrace.types import TextRange

__all__ = ["text_units"]

TextCut: TypeAlias = Literal["sentence", "paragraph", "whole", "documents"]

Range: TypeAlias = tuple[int, int]

_PREVIEW = 240
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*", re.MULTILINE)


def _ranges(text: str, cut: TextCut, language: str) -> list[Range]:
    if cut == "sentence":
        return source_units(text, language=language)
    if cut == "paragraph":
        return [(m.start(), m.start() + len(m.group().rstrip())) for m in _PARAGRAPH.finditer(text)]
    stripped = text.strip()
    start = text.find(stripped)
    return [(start, start + len(stripped))] if stripped else []


def _cut(part: TextPart, cut: TextCut, language: str) -> tuple[list[Range], list[Range]]:
    """Return the units, and for each the characters up to its neighbours in the same stretch."""
    stretches: Sequence[Range] = part.within or [(0, len(part.text))]
    if cut == "documents" and (found := find_documents(part.text)):
        stretches = found
    units: list[Range] = []
    around: list[Range] = []
    for start, end in stretches:
        pieces = [(start + a, start + b) for a, b in _ranges(part.text[start:end], cut, language)]
        units += pieces
        edges = [start, *(a for a, _ in pieces[1:]), end]
        for (first, last), (begin, stop) in zip(pieces, itertools.pairwise(edges), strict=False):
            # What is more than white space between units, such as the rule of a table, is of none.
            blank = not part.text[last:stop].strip() and not part.text[begin:first].strip()
            around.append((begin, stop) if blank else (first, last))
    return units, around


def _overlap(a: Range, b: Range) -> int:
    return min(a[1], b[1]) - max(a[0], b[0])


def _owner(token: Range, ranges: Sequence[Range], first: int) -> int | None:
    """Return the range (from ``first`` on) that shares most characters with the token."""
    best, best_overlap = None, 0
    for index in range(first, len(ranges)):
        if ranges[index][0] >= token[1]:
            break
        overlap = _overlap(token, ranges[index])
        if overlap > best_overlap:
            best, best_overlap = index, overlap
    return best


def _assign(
    tokens: TextTokens, ranges: Sequence[Range], around: Sequence[Range]
) -> list[list[int]]:
    """Give each token to one range; those between ranges to the one ``around`` which they lie."""
    owned: list[list[int]] = [[] for _ in ranges]
    current, before = 0, 0
    for position, token in zip(tokens.positions, tokens.ranges, strict=True):
        if token[0] < before:  # the template writes the text once more
            current = 0
        before = token[0]
        owner = _owner(token, ranges, current)
        if owner is None:
            owner = _owner(token, around, current)
        if owner is not None:
            owned[owner].append(position)
            current = owner
    return owned


def text_units(
    tokens: TextTokens, cut: TextCut = "sentence", *, language: str = "en"
) -> list[UnitDraft]:
    """Cut a source text into units.

    Every token of the part belongs to exactly one unit, the one with which it shares most
    characters (white space between sentences: the sentence before). With the user's own ranges,
    with documents, and where a text also holds the question, tokens outside belong to none.

    Parameters
    ----------
    tokens:
        The tokens of the part and their characters.
    cut:
        Units of a part without ranges of its own.
    language:
        Language of the text, for sentence boundaries (ISO 639-1).
    """
    part = tokens.part
    own = part.units is not None
    if own:
        chosen = intervals(part, len(part.text), "characters")
        ranges = [(int(start), int(end)) for start, end, _ in chosen]
        names = [unit_id for _, _, unit_id in chosen]
        around = ranges
    else:
        ranges, around = _cut(part, cut, language)
        names = [None] * len(ranges)
    drafts = []
    for (start, end), name, positions in zip(
        ranges, names, _assign(tokens, ranges, around), strict=True
    ):
        if not positions:
            if not own:
                continue
            raise InputError(
                f"{name_of(part)} has the unit [{start}, {end}], which no token carries",
                fix="make the range longer",
            )
        quote = part.text[start:end]
        drafts.append(
            UnitDraft(
                modality="text",
                locator=TextRange(part.message, part.part, start, end),
                positions=tuple(positions),
                preview=quote if len(quote) <= _PREVIEW else quote[: _PREVIEW - 1] + "…",
                source_id=part.source_id,
                own_id=name,
            )
        )
    return drafts

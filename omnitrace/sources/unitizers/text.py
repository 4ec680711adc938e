"""Text units: sentences, paragraphs, whole parts, or the user's own character ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from omnitrace.errors import InputError
from omnitrace.segmentation.sentences import segment
from omnitrace.sources.parts import TextPart
from omnitrace.sources.token_map import TextTokens, UnitDraft
from omnitrace.sources.unitizers.user_defined import intervals, name_of
from omnitrace.types import TextRange

__all__ = ["text_units"]

TextCut: TypeAlias = Literal["sentence", "paragraph", "whole"]

_PREVIEW = 240
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*", re.MULTILINE)


def _ranges(part: TextPart, cut: TextCut, language: str) -> list[tuple[int, int]]:
    if cut == "sentence":
        return segment(part.text, language=language)
    if cut == "paragraph":
        return [
            (m.start(), m.start() + len(m.group().rstrip())) for m in _PARAGRAPH.finditer(part.text)
        ]
    stripped = part.text.strip()
    start = part.text.find(stripped)
    return [(start, start + len(stripped))] if stripped else []


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> int:
    return min(a[1], b[1]) - max(a[0], b[0])


def _owner(token: tuple[int, int], ranges: Sequence[tuple[int, int]], first: int) -> int | None:
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
    tokens: TextTokens, ranges: Sequence[tuple[int, int]], *, cover: bool
) -> list[list[int]]:
    """Give each token to one range; with ``cover`` also those between ranges, to the one before."""
    owned: list[list[int]] = [[] for _ in ranges]
    current = 0
    for position, token in zip(tokens.positions, tokens.ranges, strict=True):
        owner = _owner(token, ranges, current)
        if owner is None and cover and ranges:
            owner = current
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
    tokens outside all ranges belong to none.

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
    else:
        ranges = _ranges(part, cut, language)
        names = [None] * len(ranges)
    drafts = []
    for (start, end), name, positions in zip(
        ranges, names, _assign(tokens, ranges, cover=not own), strict=True
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

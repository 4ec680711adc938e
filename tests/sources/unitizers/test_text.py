"""Text units: every token in one unit, the units spell the text, the user's ranges come back."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.sources.token_map import TextTokens, UnitDraft
from omnitrace.sources.unitizers.text import text_units
from omnitrace.types import TextRange
from tests.helpers.random_geometries import text_part, text_tokens, texts

QUICK = settings(max_examples=80, deadline=None)


def ranges_of(drafts: list[UnitDraft]) -> list[tuple[int, int]]:
    found = []
    for draft in drafts:
        assert isinstance(draft.locator, TextRange)
        assert (draft.locator.message, draft.locator.part) == (1, 2)
        assert draft.modality == "text"
        assert draft.source_id == "doc"
        found.append((draft.locator.start, draft.locator.end))
    return found


def shared(a: tuple[int, int], b: tuple[int, int]) -> int:
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def best(token: tuple[int, int], ranges: list[tuple[int, int]]) -> int | None:
    """Name the first range that shares most characters with the token, by looking at all."""
    overlaps = [shared(token, r) for r in ranges]
    most = max(overlaps, default=0)
    return overlaps.index(most) if most else None


@QUICK
@given(text_tokens(), st.sampled_from(["sentence", "paragraph", "whole"]))
def test_every_token_is_in_exactly_one_unit(tokens: TextTokens, cut: Any):
    drafts = text_units(tokens, cut)
    owned = [position for draft in drafts for position in draft.positions]
    if not tokens.part.text.strip():  # nothing to cite
        assert drafts == []
        return
    assert owned == list(tokens.positions)
    ranges = ranges_of(drafts)
    assert ranges == sorted(ranges)
    assert all(0 <= a < b <= len(tokens.part.text) for a, b in ranges)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(ranges))
    for draft, (start, end) in zip(drafts, ranges, strict=True):
        quote = tokens.part.text[start:end]
        assert draft.preview == (quote if len(quote) <= 240 else quote[:239] + "…")


@QUICK
@given(text_tokens(), st.sampled_from(["sentence", "paragraph", "whole"]))
def test_a_token_is_in_the_unit_that_holds_most_of_it(tokens: TextTokens, cut: Any):
    drafts = text_units(tokens, cut)
    owner = {p: i for i, draft in enumerate(drafts) for p in draft.positions}
    ranges = ranges_of(drafts)
    for position, token in zip(tokens.positions, tokens.ranges, strict=True):
        expected = best(token, ranges)
        if expected is not None:
            assert owner[position] == expected


@QUICK
@given(texts(), st.sampled_from(["sentence", "paragraph", "whole"]))
def test_the_units_spell_the_text(text: str, cut: Any):
    # One token a character, so that no unit is lost for want of a token.
    tokens = TextTokens(text_part(text), range(len(text)), [(i, i + 1) for i in range(len(text))])
    drafts = text_units(tokens, cut)
    reached = 0
    for start, end in ranges_of(drafts):
        assert text[reached:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        reached = end
    assert text[reached:].strip() == ""
    if cut == "whole":
        assert len(drafts) == bool(text.strip())


def test_sentences_paragraphs_and_the_whole():
    text = " One is here. Two is\nthere!\n\n  Three, no stop\n \n\nFour "
    tokens = TextTokens(text_part(text), range(len(text)), [(i, i + 1) for i in range(len(text))])

    def cut(how: Any) -> list[str]:
        drafts = text_units(tokens, how)
        return [text[a:b] for a, b in ranges_of(drafts)]

    assert cut("sentence") == ["One is here.", "Two is\nthere!", "Three, no stop", "Four"]
    assert cut("paragraph") == ["One is here. Two is\nthere!", "Three, no stop", "Four"]
    assert cut("whole") == [text.strip()]


def test_long_quotes_are_shortened():
    text = "x" * 300
    tokens = TextTokens(text_part(text), [4], [(0, 300)])
    (draft,) = text_units(tokens)
    assert draft.preview == "x" * 239 + "…"


@st.composite
def own_ranges(draw: st.DrawFn) -> tuple[TextTokens, list[tuple[int, int]], list[Any]]:
    """Tokens, disjoint ranges in them, and the ranges as a user could write them, shuffled."""
    tokens = draw(text_tokens(text=draw(texts().filter(bool))))
    size = len(tokens.part.text)
    edges = sorted(draw(st.sets(st.integers(0, size), min_size=2, max_size=8)))
    cells = list(itertools.pairwise(edges))
    kept = [cell for cell in cells if draw(st.booleans())] or cells[:1]
    written = [
        draw(st.sampled_from([[a, b], (a, b), {"start": a, "end": b, "id": f"u{a}"}]))
        for a, b in kept
    ]
    order = draw(st.permutations(range(len(kept))))
    return tokens, kept, [written[i] for i in order]


@QUICK
@given(own_ranges())
def test_own_ranges_come_back_with_the_tokens_that_lie_most_in_them(
    case: tuple[TextTokens, list[tuple[int, int]], list[Any]],
):
    tokens, ranges, written = case
    tokens = dataclasses.replace(tokens, part=text_part(tokens.part.text, written))
    expected: list[list[int]] = [[] for _ in ranges]
    for position, token in zip(tokens.positions, tokens.ranges, strict=True):
        owner = best(token, ranges)
        if owner is not None:
            expected[owner].append(position)
    if not all(expected):
        with pytest.raises(InputError, match="no token carries"):
            text_units(tokens)
        return
    drafts = text_units(tokens)
    assert ranges_of(drafts) == ranges
    assert [list(draft.positions) for draft in drafts] == expected
    ids = {raw["start"]: raw["id"] for raw in written if isinstance(raw, dict)}
    assert [draft.own_id for draft in drafts] == [ids.get(a) for a, _ in ranges]

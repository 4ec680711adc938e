"""Random geometries: how the tokens of a part could lie, whatever the model."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.sources.token_map import GridTokens, TextTokens, TimeTokens

WORDS = ["The", "ferry", "leaves", "at", "18:40", "no.", "Dr.", "é", "e\u0301", "🙂", "船が出る。"]
BREAKS = [" ", "  ", ". ", "! ", "? ", "\n", "\n\n", " \n \n", "; ", '." ', ".\r\n"]


def texts() -> st.SearchStrategy[str]:
    """Sentences, paragraphs, and anything else that a string can hold."""
    sentence = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6)
    prose = st.lists(st.tuples(sentence, st.sampled_from(BREAKS)), max_size=8).map(
        lambda pieces: "".join(" ".join(words) + end for words, end in pieces)
    )
    return st.one_of(prose, st.text(st.characters(codec="utf-8"), max_size=60))


def text_part(text: str, units: Any = None, source: bool = True) -> TextPart:
    return TextPart(1, 2, "user", text, source, "doc", None if units is None else tuple(units))


@st.composite
def text_tokens(draw: st.DrawFn, text: str | None = None) -> TextTokens:
    """Cut a text into tokens, as byte-level tokenizers do: some share a character."""
    text = draw(texts()) if text is None else text
    cuts = draw(st.sets(st.integers(1, max(1, len(text) - 1))))
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    ranges: list[tuple[int, int]] = []
    for start, end in itertools.pairwise(edges):
        if start < end:
            repeats = draw(st.integers(1, 3)) if end - start == 1 else 1
            ranges += [(start, end)] * repeats
    return TextTokens(text_part(text), draw(positions(len(ranges))), ranges)


@st.composite
def positions(draw: st.DrawFn, count: int) -> list[int]:
    """Draw ascending prompt positions with a gap somewhere."""
    first, gap, at = draw(st.integers(0, 9)), draw(st.integers(0, 3)), draw(st.integers(0, 50))
    return [first + i + (gap if i >= at else 0) for i in range(count)]


def media_part(modality: Any, units: Any = None, part: int = 0) -> MediaPart:
    # The geometry holds all that units need of a medium: its pixels and samples are not looked at.
    medium: Any = None
    own = None if units is None else tuple(units)
    return MediaPart(1, part, "user", modality, medium, True, None, own)


@st.composite
def grid_tokens(draw: st.DrawFn) -> GridTokens:
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return GridTokens(
        media_part("image"),
        draw(positions(rows * columns)),
        rows,
        columns,
        draw(st.integers(1, 3000)),
        draw(st.integers(1, 3000)),
    )


@st.composite
def time_tokens(draw: st.DrawFn, modality: Any = "audio") -> TimeTokens:
    """Draw audio of equal steps, one or several tokens each; the last may be cut short."""
    step = draw(st.sampled_from([0.04, 0.1, 0.5, 1.0, 2.0, 1 / 3]))
    steps, per_step = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    duration = (steps - draw(st.floats(0, 0.9))) * step + draw(st.sampled_from([0.0, 0.03]))
    return TimeTokens(
        media_part(modality),
        modality,
        draw(positions(steps * per_step)),
        [(i * step, (i + 1) * step) for i in range(steps) for _ in range(per_step)],
        duration,
        [(2 * i, 2 * i + 1) for i in range(steps) for _ in range(per_step)]
        if modality == "video"
        else None,
    )

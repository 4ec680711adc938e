"""Find the user's own texts in a rendered chat template, and their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from omnitrace.errors import InputError, ModelError
from omnitrace.sources.geometry import TextTokens
from omnitrace.sources.messages import TextPart

__all__ = [
    "Anchor",
    "locate_texts",
    "refuse_reserved",
    "text_geometry",
    "tokenize_with_offsets",
]

# Private-use characters: no template treats them specially, and real texts hardly hold them.
_OPEN, _CLOSE = "\ue000", "\ue001"


@dataclass(frozen=True, slots=True)
class Anchor:
    """``text[part_start : part_start + length]`` stands at ``prompt[prompt_start:]``."""

    prompt_start: int
    part_start: int
    length: int


def _substitute(
    skeleton: str, markers: Sequence[str], texts: Sequence[str]
) -> tuple[str, list[int]] | None:
    """Put the texts where the markers are; return the prompt and where each text starts."""
    if any(skeleton.count(marker) != 1 for marker in markers):
        return None
    order = sorted(range(len(markers)), key=lambda i: skeleton.index(markers[i]))
    prompt, rest = "", skeleton
    starts = [0] * len(markers)
    for i in order:
        before, rest = rest.split(markers[i], 1)
        prompt += before
        starts[i] = len(prompt)
        prompt += texts[i]
    return prompt + rest, starts


def _search(prompt: str, texts: Sequence[str]) -> list[Anchor | None]:
    """Find texts in order in a prompt whose template rewrites them (trims, drops thoughts)."""
    anchors: list[Anchor | None] = []
    cursor = 0
    for text in texts:
        found: Anchor | None = None
        for candidate in (text, text.strip()):
            start = prompt.find(candidate, cursor) if candidate else -1
            if start >= 0:
                found = Anchor(start, text.find(candidate), len(candidate))
                cursor = start + len(candidate)
                break
        anchors.append(found)
    return anchors


def locate_texts(
    render: Callable[[Sequence[str]], str], parts: Sequence[TextPart]
) -> tuple[str, list[Anchor | None]]:
    """Render a prompt and say where each text part stands in it.

    ``render`` fills the template with one text for each part. It is called once with markers, to
    learn the frame around them, and once with the texts; only where the template rewrites texts
    is the prompt searched for them instead.

    Raises
    ------
    ModelError
        If a source text does not appear in the prompt.
    """
    texts = [part.text for part in parts]
    prompt = render(texts)
    markers = [f"{_OPEN}{i}{_CLOSE}" for i in range(len(texts))]
    framed = _substitute(render(markers), markers, texts)
    anchors: list[Anchor | None]
    if framed is not None and framed[0] == prompt:
        anchors = [
            Anchor(start, 0, len(text)) for start, text in zip(framed[1], texts, strict=True)
        ]
    else:
        anchors = _search(prompt, texts)
    for part, anchor in zip(parts, anchors, strict=True):
        if anchor is None and part.is_source and part.text.strip():
            raise ModelError(
                f"the model's chat template leaves out or rewrites the source text "
                f'messages[{part.message}]["content"][{part.part}]',
                fix="put the source into the last user message",
            )
    return prompt, anchors


def tokenize_with_offsets(
    tokenizer: Any, prompt: str, *, add_special_tokens: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return token ids and their character ranges in ``prompt``."""
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} cannot say which characters a token stands for",
            legal="a fast tokenizer",
            fix="load the tokenizer with use_fast=True",
        )
    encoding = tokenizer(prompt, add_special_tokens=add_special_tokens, return_offsets_mapping=True)
    return list(encoding["input_ids"]), [(int(a), int(b)) for a, b in encoding["offset_mapping"]]


def text_geometry(
    parts: Sequence[TextPart],
    anchors: Sequence[Anchor | None],
    positions: Sequence[int],
    offsets: Sequence[tuple[int, int]],
) -> list[TextTokens]:
    """Give each token to the text part with which it shares most characters.

    ``positions`` and ``offsets`` are parallel: the prompt position and the characters (in the
    rendered prompt) of each token that is not a placeholder of a medium.
    """
    stretches = sorted(
        (anchor.prompt_start, anchor.prompt_start + anchor.length, index)
        for index, anchor in enumerate(anchors)
        if anchor is not None and anchor.length
    )
    owned: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
    first = 0
    for position, (start, end) in zip(positions, offsets, strict=True):
        while first < len(stretches) and stretches[first][1] <= start:
            first += 1
        best, best_shared = None, 0
        for stretch in stretches[first : first + 3]:
            shared = min(end, stretch[1]) - max(start, stretch[0])
            if shared > best_shared:
                best, best_shared = stretch, shared
        if best is None:
            continue
        anchor = anchors[best[2]]
        assert anchor is not None, "only located texts have a stretch"
        shift = anchor.part_start - anchor.prompt_start
        tokens, ranges = owned.setdefault(best[2], ([], []))
        tokens.append(position)
        ranges.append((max(start, best[0]) + shift, min(end, best[1]) + shift))
    return [TextTokens(parts[index], *owned[index]) for index in sorted(owned)]


def refuse_reserved(parts: Sequence[TextPart], reserved: Sequence[str]) -> None:
    """Refuse texts that hold a medium's placeholder, which would shift every later medium."""
    for part in parts:
        for token in reserved:
            if token in part.text:
                raise InputError(
                    f'messages[{part.message}]["content"][{part.part}] contains the model\'s '
                    f"reserved token {token!r}",
                    fix="remove or escape it",
                )

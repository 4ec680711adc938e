"""Find the user's own texts in a rendered chat template, and their tokens."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from omnitrace.errors import InputError, ModelError
from omnitrace.sources.parts import TextPart
from omnitrace.sources.token_map import TextTokens

__all__ = [
    "Anchor",
    "locate_texts",
    "refuse_reserved",
    "text_geometry",
    "tokenize_with_offsets",
]

# Private-use characters: no template treats them specially, and real texts hardly hold them.
_THOUGHT = "</think>"
_OPEN, _CLOSE = "\ue000", "\ue001"


@dataclass(frozen=True, slots=True)
class Anchor:
    """``text[part_start : part_start + length]`` stands at ``prompt[prompt_start:]``.

    ``again`` are the other places of a text that the template writes more than once.
    """

    prompt_start: int
    part_start: int
    length: int
    again: tuple[Anchor, ...] = ()


def _follow(
    prompt: str, skeleton: str, markers: Sequence[str], texts: Sequence[str]
) -> list[Anchor | None] | None:
    """Follow the frame around the markers through the prompt; None where the prompt leaves it.

    Between two pieces of the frame stands a text as it is, or trimmed, or one that the template
    rewrites, which has no anchor. Nor has one that the template drops, as it drops its marker.
    """
    if any(skeleton.count(marker) > 1 for marker in markers):
        return None
    kept = [i for i, marker in enumerate(markers) if marker in skeleton]
    anchors: list[Anchor | None] = [None] * len(texts)
    piece, rest = "", skeleton
    cursor = 0
    current: int | None = None
    for following in [*sorted(kept, key=lambda i: skeleton.index(markers[i])), None]:
        piece, rest = (rest, "") if following is None else rest.split(markers[following], 1)
        if current is None:
            found = 0 if prompt.startswith(piece) else -1
        else:
            text = texts[current]
            for form in _forms(text):
                if prompt.startswith(form + piece, cursor):
                    anchors[current] = Anchor(cursor, text.rfind(form), len(form))
                    found = cursor + len(form)
                    break
            else:
                found = prompt.find(piece, cursor) if piece.strip() else -1
        if found < 0:
            return None
        cursor, current = found + len(piece), following
    return anchors if cursor == len(prompt) else None


def _forms(text: str) -> list[str]:
    """Return a text as templates write it: as it is, trimmed, or without the thoughts in it."""
    forms = [text, text.rstrip(), text.lstrip(), text.strip()]
    if _THOUGHT in text:
        said = text.rsplit(_THOUGHT, 1)[1]
        forms += [said, said.lstrip("\n"), said.strip()]
    return forms


def _distinct(skeleton: str, markers: Sequence[str]) -> tuple[str, list[str], list[int]]:
    """Give a marker that the template writes more than once another name at each place.

    Returns
    -------
    tuple
        The skeleton, its markers, and of which text each is.
    """
    names, owners = list(markers), list(range(len(markers)))
    for i, marker in enumerate(markers):
        first, *others = skeleton.split(marker)
        for other in others[:1]:
            first += marker + other
        for other in others[1:]:
            names.append(f"{_OPEN}{i}.{len(names)}{_CLOSE}")
            owners.append(i)
            first += names[-1] + other
        skeleton = first
    return skeleton, names, owners


def _align(
    prompt: str, skeleton: str, markers: Sequence[str], texts: Sequence[str]
) -> list[Anchor | None] | None:
    """Match all but white space, for templates that trim the frame with the texts."""
    filled = skeleton
    starts: dict[int, int] = {}  # of a text: how many visible characters come before it
    for i in sorted(range(len(texts)), key=lambda i: skeleton.find(markers[i])):
        if skeleton.count(markers[i]) == 1:
            before, rest = filled.split(markers[i], 1)
            starts[i] = len("".join(before.split()))
            filled = before + texts[i] + rest
    if "".join(filled.split()) != "".join(prompt.split()):
        return None
    solid = [at for at, character in enumerate(prompt) if not character.isspace()]
    anchors: list[Anchor | None] = [None] * len(texts)
    for i, start in starts.items():
        core = texts[i].strip()
        if core and prompt.startswith(core, solid[start]):
            anchors[i] = Anchor(solid[start], texts[i].find(core), len(core))
    return anchors


def _search(prompt: str, texts: Sequence[str], start: int) -> list[Anchor | None]:
    """Find texts in order in a prompt whose template changes even the frame around them."""
    anchors: list[Anchor | None] = []
    cursor = start
    for text in texts:
        found: Anchor | None = None
        for candidate in _forms(text):
            if not candidate.strip():  # white space is anywhere
                continue
            start = prompt.find(candidate, cursor)
            if start >= 0:
                found = Anchor(start, text.rfind(candidate), len(candidate))
                cursor = start + len(candidate)
                break
        anchors.append(found)
    return anchors


def _rendered(render: Callable[[Sequence[str]], str], texts: Sequence[str]) -> str:
    try:
        return render(texts)
    except jinja2.TemplateError as error:  # many allow no system message, or insist on turns
        raise InputError(
            f"the model's chat template refuses the messages: {error}",
            fix="change the roles or the order of the messages",
        ) from error


def locate_texts(
    render: Callable[[Sequence[str]], str], parts: Sequence[TextPart]
) -> tuple[str, list[Anchor | None]]:
    """Render a prompt and say where each text part stands in it.

    ``render`` fills the template with one text for each part. It is called once with markers, to
    learn the frame around them, and once with the texts; only where the template changes the
    frame too is the prompt searched for the texts instead.

    Raises
    ------
    InputError
        If the template refuses the messages.
    ModelError
        If a source text does not appear in the prompt.
    """
    texts = [part.text for part in parts]
    prompt = _rendered(render, texts)
    markers = [f"{_OPEN}{i}{_CLOSE}" for i in range(len(texts))]
    skeleton = _rendered(render, markers)
    distinct, names, owners = _distinct(skeleton, markers)
    written = [texts[i] for i in owners]
    anchors = _follow(prompt, distinct, names, written)
    if anchors is None:
        anchors = _align(prompt, distinct, names, written)
    if anchors is not None:
        anchors = _collected(anchors, owners, len(texts))
    if anchors is None:
        frame = zip(prompt, skeleton.partition(_OPEN)[0], strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], frame))
        anchors = _search(prompt, texts, shared)
    for part, anchor in zip(parts, anchors, strict=True):
        if anchor is None and part.is_source and part.text.strip():
            raise ModelError(
                f"the model's chat template leaves out or rewrites the source text {_place(part)}",
                fix="put the source into the last user message",
            )
    return prompt, anchors


def _collected(
    anchors: Sequence[Anchor | None], owners: Sequence[int], count: int
) -> list[Anchor | None]:
    """Put the anchors of one text together."""
    places: list[list[Anchor]] = [[] for _ in range(count)]
    for anchor, owner in zip(anchors, owners, strict=True):
        if anchor is not None:
            places[owner].append(anchor)
    return [
        dataclasses.replace(each[0], again=tuple(each[1:])) if each else None for each in places
    ]


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
    offsets = [(int(a), int(b)) for a, b in encoding["offset_mapping"]]
    # A normalizer that composes characters reports only the first: the others go with it.
    following = len(prompt)
    for i in range(len(offsets) - 1, -1, -1):
        start, end = offsets[i]
        if start < end:
            if end < following and not prompt[end].isspace():
                offsets[i] = start, following
            following = start
        elif start < following and start >= max(
            (a for a, _ in offsets[max(0, i - 1) : i]), default=0
        ):
            # Some tokenizers say only where a token begins; it lasts until the next.
            offsets[i] = start, following
            following = start
    return list(encoding["input_ids"]), offsets


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
        (place.prompt_start, place.prompt_start + place.length, index, place.part_start)
        for index, anchor in enumerate(anchors)
        if anchor is not None
        for place in (anchor, *anchor.again)
        if place.length
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
        shift = best[3] - best[0]
        tokens, ranges = owned.setdefault(best[2], ([], []))
        tokens.append(position)
        ranges.append((max(start, best[0]) + shift, min(end, best[1]) + shift))
    for index, part in enumerate(parts):
        if part.is_source and part.text.strip() and index not in owned:
            raise ModelError(
                f"no token carries the source text {_place(part)}: the tokenizer does not say "
                "which characters its tokens stand for",
                legal="a fast tokenizer with offsets",
                fix="load the tokenizer of the checkpoint with AutoTokenizer",
            )
    return [TextTokens(parts[index], *owned[index]) for index in sorted(owned)]


def _place(part: TextPart) -> str:
    return f'messages[{part.message}]["content"][{part.part}]'


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

"""Which tokens of an expanded prompt are the user's text, and which stand for a medium.

A processor replaces the placeholder of each medium by as many tokens as the medium needs, and says
what it put where (``return_text_replacement_offsets``). From that and the tokenizer's own offsets
every token gets its place, without knowing the family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnitrace.errors import ModelError
from omnitrace.models.chat_template import tokenize_with_offsets

__all__ = ["ExpandedPrompt", "Replaced", "expanded_prompt"]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A placeholder: its modality, what the processor wrote instead, and the tokens of that."""

    modality: str
    text: str
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class ExpandedPrompt:
    """The prompt as it was tokenized.

    ``positions`` and ``offsets`` are parallel: the tokens outside of every replacement, and their
    characters in the prompt before expansion. ``replaced`` are the media in prompt order.
    """

    positions: Sequence[int]
    offsets: Sequence[tuple[int, int]]
    replaced: Sequence[Replaced]


def expanded_prompt(
    tokenizer: Any,
    prompt: str,
    replacements: Sequence[Mapping[str, Any]],
    prompt_ids: Sequence[int],
    *,
    add_special_tokens: bool,
) -> ExpandedPrompt:
    """Tokenize the expanded prompt again, and find the place of every token.

    Parameters
    ----------
    tokenizer:
        The processor's fast tokenizer.
    prompt:
        The rendered chat template, with one placeholder a medium.
    replacements:
        What the processor put in place of each placeholder, in prompt order.
    prompt_ids:
        The ids that the processor made.
    add_special_tokens:
        Whether the processor asked the tokenizer for its special tokens.

    Raises
    ------
    ModelError
        If the tokenizer makes other ids of the expanded prompt than the processor did.
    """
    pieces, done = [], 0
    for replacement in replacements:
        start, end = replacement["span"]
        pieces += [prompt[done:start], replacement["replacement"]]
        done = end
    ids, offsets = tokenize_with_offsets(
        tokenizer, "".join([*pieces, prompt[done:]]), add_special_tokens=add_special_tokens
    )
    if ids != list(prompt_ids):
        raise ModelError(
            f"the processor makes {len(prompt_ids)} tokens of the prompt, which its own tokenizer "
            f"does not make of what it says it wrote ({len(ids)})",
            fix="check that processor and tokenizer are of the same release, and report this",
        )
    return _placed(replacements, offsets)


def _placed(
    replacements: Sequence[Mapping[str, Any]], offsets: Sequence[tuple[int, int]]
) -> ExpandedPrompt:
    positions: list[int] = []
    own: list[tuple[int, int]] = []
    inside: list[list[int]] = [[] for _ in replacements]
    current, shift = 0, 0
    for position, (start, end) in enumerate(offsets):
        while current < len(replacements) and start >= replacements[current]["new_span"][1]:
            shift = replacements[current]["span"][1] - replacements[current]["new_span"][1]
            current += 1
        if current < len(replacements) and end > replacements[current]["new_span"][0]:
            inside[current].append(position)
        else:
            positions.append(position)
            own.append((start + shift, end + shift))
    return ExpandedPrompt(
        positions,
        own,
        [
            Replaced(each["type"], each["replacement"], tokens)
            for each, tokens in zip(replacements, inside, strict=True)
        ],
    )

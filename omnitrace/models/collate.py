"""Join the inputs of several requests into those of one batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import torch
from torch import nn

from omnitrace.errors import NotSupportedError

__all__ = ["PER_TOKEN", "Side", "joined_media", "media_names", "padded"]

#: Where shorter sequences are filled up.
Side: TypeAlias = Literal["left", "right"]

#: Inputs with one entry a token beside the ids, and what a token of a response has there.
PER_TOKEN: Final[Mapping[str, int]] = {
    "attention_mask": 1,
    "token_type_ids": 0,
    "mm_token_type_ids": 0,
}

# Inputs with the frames of each recording in their last dimension, told apart by a mask.
_RECORDINGS: Final = ("input_features", "feature_attention_mask")


def media_names(inputs: Mapping[str, torch.Tensor]) -> frozenset[str]:
    """Return the names of the inputs that do not have one entry a token."""
    return frozenset(inputs) - {"input_ids", *PER_TOKEN}


def padded(
    inputs: Sequence[Mapping[str, torch.Tensor]], *, side: Side, silent: Collection[int]
) -> dict[str, torch.Tensor]:
    """Join what has one entry a token, padded to the length of the longest.

    A sequence is filled up with a token of its own and not with the tokenizer's padding, so that
    settings of ``generate`` that look for tokens of the prompt (a repetition penalty) find those
    that are there anyway.

    Parameters
    ----------
    inputs:
        Of each request, batch 1.
    side:
        Where shorter sequences are filled up.
    silent:
        Tokens that stand for media, which are not filled up with.

    Returns
    -------
    dict
        ``[requests, longest]`` by name; everything is 0 at the padding but ``input_ids``.
    """
    length = max(each["input_ids"].shape[1] for each in inputs)
    joined: dict[str, torch.Tensor] = {}
    for name in ("input_ids", *PER_TOKEN):
        if name not in inputs[0] and name != "attention_mask":
            continue
        rows = []
        for each in inputs:
            ids = each["input_ids"]
            row = each.get(name)
            row = torch.ones_like(ids) if row is None else row
            fill = _own_token(ids, silent) if name == "input_ids" else 0
            missing = length - ids.shape[1]
            where = (missing, 0) if side == "left" else (0, missing)
            rows.append(nn.functional.pad(row, where, value=fill))
        joined[name] = torch.cat(rows)
    return joined


def joined_media(name: str, values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Put media of several requests behind each other; recordings are filled up to the longest.

    Raises
    ------
    NotSupportedError
        If they have different sizes otherwise.
    """
    if name in _RECORDINGS:
        longest = max(value.shape[-1] for value in values)
        values = [nn.functional.pad(value, (0, longest - value.shape[-1])) for value in values]
    if len({value.shape[1:] for value in values}) > 1:
        raise NotSupportedError(
            f"{name!r} of several requests has different sizes: "
            + ", ".join(str(list(value.shape)) for value in values)
        )
    return torch.cat(list(values))


def _own_token(ids: torch.Tensor, silent: Collection[int]) -> int:
    """Return the first token of a sequence that stands for no medium."""
    return next((token for token in ids[0].tolist() if token not in silent), 0)

"""Inputs of several requests in one batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omnitrace import NotSupportedError
from omnitrace.models.collate import joined_media, padded
from tests.helpers.text_adapters import text_adapter


def of(*ids: int, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    tokens = torch.tensor([ids])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), **more}


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [("left", [8, 8, 8, 9], [0, 0, 1, 1]), ("right", [8, 9, 8, 8], [1, 1, 0, 0])],
)
def test_a_sequence_is_filled_up_with_a_token_of_its_own(
    side: Any, ids: list[int], mask: list[int]
) -> None:
    joined = padded([of(1, 2, 3, 4), of(8, 9)], side=side, silent=())
    assert joined["input_ids"].tolist() == [[1, 2, 3, 4], ids]
    assert joined["attention_mask"].tolist() == [[1, 1, 1, 1], mask]


def test_no_token_of_a_medium_fills_up() -> None:
    joined = padded([of(1, 2, 3), of(8, 9)], side="left", silent={8})
    assert joined["input_ids"].tolist() == [[1, 2, 3], [9, 8, 9]]


def test_other_inputs_with_an_entry_a_token_are_zero_there() -> None:
    kinds = {"mm_token_type_ids": torch.tensor([[1, 0]])}
    longer = {"mm_token_type_ids": torch.tensor([[0, 1, 1]])}
    joined = padded([of(1, 2, 3, **longer), of(8, 9, **kinds)], side="left", silent=())
    assert joined["mm_token_type_ids"].tolist() == [[0, 1, 1], [0, 1, 0]]


def test_recordings_are_filled_up_and_others_must_fit() -> None:
    recordings = [torch.ones(1, 2, 3), torch.ones(2, 2, 5)]
    joined = joined_media("input_features", recordings)
    assert joined.shape == (3, 2, 5)
    assert joined[0, :, 3:].abs().sum() == 0
    assert joined_media("pixel_values", [torch.ones(4, 7), torch.ones(2, 7)]).shape == (6, 7)
    with pytest.raises(NotSupportedError, match="different sizes"):
        joined_media("pixel_values", [torch.ones(1, 2, 3), torch.ones(1, 2, 5)])


def test_an_adapter_that_knows_no_media_says_so() -> None:
    inputs = of(1, 2, pixel_values=torch.ones(1, 3))
    with pytest.raises(NotSupportedError, match="cannot join the media"):
        text_adapter().collate([inputs, inputs])

"""A decoder that puts media in their places by itself is fed what its first layer is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from omnitrace.errors import NotSupportedError
from omnitrace.models.forward import decoder_inputs, undisturbed
from omnitrace.testing.families import tiny_family
from tests.helpers import qwen_omni as omni


def test_media_are_among_what_the_decoder_is_fed() -> None:
    adapter = tiny_family("phi-4-multimodal")
    given = []
    for seed in (0, 1):
        encoded = omni.encode(adapter, omni.image(120, 90, seed=seed), "What?")
        with undisturbed(adapter.model):
            given.append(decoder_inputs(adapter, encoded.inputs, {}).embeddings[0])
    differs = (given[0] - given[1]).abs().sum(-1) > 0
    (tokens,) = omni.of_part(encoded, 0)
    shown = set(tokens.all_positions())
    assert {i for i, each in enumerate(differs.tolist()) if each} <= {
        i for i, token in enumerate(encoded.prompt_ids) if token in adapter.media_tokens
    }
    assert sum(differs[list(shown)].tolist()) > 0.9 * len(shown)


class Flat(nn.Module):
    """A decoder without layers that could show what it is fed."""

    def forward(self, input_ids: torch.Tensor, image_pixels: torch.Tensor) -> torch.Tensor:
        return image_pixels.sum() + input_ids


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = Flat()

    def get_output_embeddings(self) -> None:
        return None

    def forward(self, input_ids: torch.Tensor, image_pixels: torch.Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=self.decoder(input_ids, image_pixels=image_pixels))


def test_units_are_not_ablated_where_nothing_shows_the_media() -> None:
    model = Model()
    adapter: Any = SimpleNamespace(model=model, decoder=model.decoder)
    inputs = {"input_ids": torch.ones(1, 3), "image_pixels": torch.ones(1, 3)}
    with pytest.raises(NotSupportedError, match="puts the media in their places by itself"):
        decoder_inputs(adapter, inputs, {})

"""A request as the model is fed it: read, encoded and mapped to sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from omnitrace.models.base import Encoded, ModelAdapter
from omnitrace.models.collate import PER_TOKEN
from omnitrace.sources.messages import Conversation
from omnitrace.types import Layout

__all__ = ["EncodedRequest"]


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request that is read, encoded by ``adapter`` and mapped, and the seconds that took."""

    adapter: ModelAdapter
    conversation: Conversation
    encoded: Encoded
    layout: Layout
    seconds: float

    @property
    def prompt_length(self) -> int:
        """Number of prompt tokens."""
        return len(self.encoded.prompt_ids)

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the model's inputs on ``device``."""
        return {name: value.to(device) for name, value in self.encoded.inputs.items()}

    def inputs_with(self, response: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the inputs of prompt and ``response`` in one pass.

        The last token of the response is left out: it is predicted, and never read.

        Raises
        ------
        InputError
            If a token of the response stands for a medium.
        """
        self.adapter.check_response(response)
        inputs = self.inputs(device)
        ids = torch.tensor([list(response[:-1])], dtype=torch.long, device=device)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        for name, fill in PER_TOKEN.items():
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], torch.full_like(ids, fill)], dim=1)
        return inputs

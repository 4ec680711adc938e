"""A projection inside of an adapter such as LoRA."""

from __future__ import annotations

import torch
from torch import nn


class Adapted(nn.Module):
    """A projection with a low-rank delta, as adapters wrap it: ``weight`` is that of the base."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 4, bias=False)
        self.up = nn.Linear(4, base.out_features, bias=False)

    @property
    def weight(self) -> torch.Tensor:
        return self.base_layer.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.base_layer(hidden) + 16 * self.up(self.down(hidden))

"""What runs through the decoder, as sequences of codes: equal codes are equal tokens.

A *code* names an entry of an :class:`Alphabet`: an embedding at a position. Rows of ablated inputs
are sequences of codes, so that what two rows have in common from their beginning on can be seen
without looking at a single embedding, whatever operator made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["Alphabet", "Builder", "Rows"]


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The tokens that rows are made of.

    Attributes
    ----------
    embeddings:
        ``[E, d]``: what the decoder is fed.
    positions:
        int64 ``[E]``, or ``[axes, E]`` where the rotary embedding is multimodal.
    hidden:
        bool ``[E]``: no query may see this entry; it only takes up its place.
    extras:
        Other inputs with one value a token, each ``[E]``.
    """

    embeddings: torch.Tensor
    positions: torch.Tensor
    hidden: torch.Tensor
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of codes, int64 ``[n_i]`` each, and the alphabet that they are written in.

    The last ``T`` codes of every row are what the ``T`` tokens of the response are predicted from.
    """

    alphabet: Alphabet
    codes: Sequence[np.ndarray]


class Builder:
    """Writes rows whose embeddings are made one by one: equal tokens get equal codes."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._embeddings: list[torch.Tensor] = []
        self._positions: list[torch.Tensor] = []
        self._extras: dict[str, list[torch.Tensor]] = {}
        self._codes: list[np.ndarray] = []

    def add(
        self,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
        extras: Mapping[str, torch.Tensor],
    ) -> None:
        """Add a row: embeddings ``[n, d]``, positions ``[n]`` or ``[axes, n]``, extras ``[n]``."""
        columns = [embeddings.float(), positions.reshape(-1, len(embeddings)).T]
        columns += [extras[name][:, None] for name in sorted(extras)]
        parts = [np.ascontiguousarray(each.cpu().numpy()) for each in columns]
        codes = np.empty(len(embeddings), dtype=np.int64)
        new: list[int] = []
        for token in range(len(codes)):
            key = b"".join(part[token].tobytes() for part in parts)
            code = self._known.setdefault(key, len(self._known))
            codes[token] = code
            if code == len(self._known) - 1 and code == self._size + len(new):
                new.append(token)
        self._embeddings.append(embeddings[new])
        self._positions.append(positions[..., new])
        for name, value in extras.items():
            self._extras.setdefault(name, []).append(value[new])
        self._codes.append(codes)

    @property
    def _size(self) -> int:
        return sum(len(each) for each in self._embeddings)

    def rows(self) -> Rows:
        """Return what has been added."""
        embeddings = torch.cat(self._embeddings)
        hidden = torch.zeros(len(embeddings), dtype=torch.bool, device=embeddings.device)
        extras = {name: torch.cat(values) for name, values in self._extras.items()}
        positions = torch.cat(self._positions, dim=-1)
        return Rows(Alphabet(embeddings, positions, hidden, extras), self._codes)

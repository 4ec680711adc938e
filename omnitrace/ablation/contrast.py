"""Two responses side by side: which token of one stands in the place of which of the other.

The other token is its *foil*: the two are contrasted by the difference of their log-probabilities.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch

from omnitrace.errors import InputError

__all__ = ["TokenValues", "foils_of"]


def foils_of(ids: Sequence[int], others: Sequence[int]) -> list[int | None]:
    """Pair each token with what the other response has in its place; None where nothing differs.

    Raises
    ------
    InputError
        If no token of one response stands in the place of another token of the other.
    """
    foils: list[int | None] = [None] * len(ids)
    matcher = difflib.SequenceMatcher(None, ids, others, autojunk=False)
    for tag, first, last, other_first, other_last in matcher.get_opcodes():
        if tag == "replace":
            count = min(last - first, other_last - other_first)
            foils[first : first + count] = others[other_first : other_first + count]
    if all(foil is None for foil in foils):
        raise InputError(
            "no word of the response stands in the place of another one of `against`",
            legal="two responses that differ in some words",
        )
    return foils


class TokenValues:
    """Value of each token of a response, from logits: log-probability, or lead over its foil.

    Parameters
    ----------
    response:
        Token ids of the response.
    foils:
        For each token the id of another one, or None; values are then
        ``log p(token) - log p(foil)``, and 0 for None.

    Raises
    ------
    InputError
        If there is not one foil a token.
    """

    def __init__(self, response: Sequence[int], foils: Sequence[int | None] | None = None) -> None:
        if foils is not None and len(foils) != len(response):
            raise InputError(f"{len(foils)} foils", legal=f"one a token, {len(response)}")
        self._ids = torch.tensor(list(response))
        self._foils: tuple[torch.Tensor, torch.Tensor] | None = None
        if foils is not None:
            paired = [(place, foil) for place, foil in enumerate(foils) if foil is not None]
            places, others = torch.tensor(paired, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
            self._foils = (places, others)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return float32 ``[rows, T]``, in nats, from logits ``[rows, T, vocabulary]``."""
        logits = logits.float()
        ids = self._ids.to(logits.device).expand(len(logits), -1)
        chosen = logits.gather(2, ids[:, :, None])[..., 0]
        if self._foils is None:
            return chosen - logits.logsumexp(dim=-1)
        contrasted, others = (each.to(logits.device) for each in self._foils)
        # The normaliser is common to both, so it cancels.
        difference = chosen[:, contrasted] - logits[:, contrasted, others]
        return torch.zeros_like(chosen).index_copy(1, contrasted, difference)

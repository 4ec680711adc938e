"""What the estimator sees of a span and a unit: how much attention each head gave, in few numbers.

A *feature* is one number per (layer, head): the attention that the rows of a span's tokens paid to
the tokens of a unit (vSTREAM, arXiv 2604.16587: ``f ∈ R^{L·H}``). Rows are reduced layer by layer
as they come, so that nothing larger than ``[rows, L·H, units]`` is ever kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from omnitrace.errors import InputError
from omnitrace.types import Modality

if TYPE_CHECKING:
    import torch

    from omnitrace.signals.base import LayerRows

__all__ = ["MODALITIES", "OFFSETS", "FeatureRecipe", "pooled", "reduced_rows", "with_offsets"]

MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
#: Names of the columns that :func:`with_offsets` adds, in their order.
OFFSETS: Final[tuple[str, ...]] = ("unit", *MODALITIES)

_TINY: Final = 1e-20


class FeatureRecipe(BaseModel):
    """How features are made of attention rows.

    Attributes
    ----------
    reduction:
        Sum or mean of a row over the tokens of a unit. A sum grows with the unit, a mean does not.
    normalise:
        ``"shares"``: each feature is divided by its sum over the units of the request, so that a
        head says how its attention to sources is spread, not how much of it there is. ``"raw"``:
        as it is.
    values:
        Whether a position's attention is weighted by the length of its projected value vector
        (Kobayashi et al. 2020, section 3).
    layers:
        Indices of the decoder layers, ascending, or ``"all"`` that attend by softmax.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    reduction: Literal["sum", "mean"] = "sum"
    normalise: Literal["shares", "raw"] = "shares"
    values: bool = False
    layers: Literal["all"] | Annotated[tuple[int, ...], Field(min_length=1)] = "all"

    def chosen(self, available: Sequence[int]) -> list[int]:
        """Return the layers that are used, out of the ``available`` indices.

        Raises
        ------
        InputError
            If one that is asked for is not there, or they are not ascending.
        """
        if self.layers == "all":
            return list(available)
        wanted = list(self.layers)
        if wanted != [layer for layer in available if layer in wanted]:
            raise InputError(
                f"the estimator looks at the layers {wanted}",
                legal=f"some of {list(available)}, ascending",
            )
        return wanted


def reduced_rows(
    rows: Iterable[LayerRows], units: Sequence[Sequence[int]], recipe: FeatureRecipe
) -> torch.Tensor:
    """Reduce attention rows over the tokens of each unit, layer by layer.

    Parameters
    ----------
    rows:
        The layers that the recipe chose; each is read once and let go.
    units:
        Prompt positions of each unit, in the layout's order.
    recipe:
        Its ``reduction`` and ``values`` apply.

    Returns
    -------
    torch.Tensor
        float32 ``[rows, layers * heads, units]`` on the CPU, layer by layer, in each head by head.
    """
    import torch  # not above: listing the signals must not wait for it

    at = [position for unit in units for position in unit]
    member = torch.zeros(len(at), len(units))
    sizes = [len(unit) for unit in units]
    which = torch.repeat_interleave(torch.arange(len(units)), torch.tensor(sizes, dtype=torch.long))
    shares = [1.0 / max(1, size) if recipe.reduction == "mean" else 1.0 for size in sizes]
    member[torch.arange(len(at)), which] = torch.tensor(shares)[which]
    parts = []
    for layer in rows:
        weights = layer.weights
        place = torch.tensor(at, dtype=torch.long, device=weights.device)
        seen = weights.index_select(2, place)
        if recipe.values:
            norms = layer.value_norms.to(weights.device)
            seen = seen * norms.index_select(1, place)[:, None]
        parts.append((seen @ member.to(weights.device)).transpose(0, 1).cpu())
    return torch.cat(parts, dim=1)


def pooled(reduced: torch.Tensor, recipe: FeatureRecipe) -> np.ndarray:
    """Average over the tokens of a span, and normalise as the recipe says.

    Parameters
    ----------
    reduced:
        float32 ``[tokens, features, units]``, at least one token.

    Returns
    -------
    np.ndarray
        float32 ``[features, units]``. Shares sum to 1 over the units, or to 0 where a head paid no
        attention to any.
    """
    if len(reduced) == 0:
        raise InputError("the span has no token", legal="at least one")
    mean = reduced.double().mean(dim=0).numpy()
    if recipe.normalise == "shares":
        mean = mean / np.maximum(mean.sum(axis=1, keepdims=True), _TINY)
    return np.asarray(mean, dtype=np.float32)


def with_offsets(features: np.ndarray, modalities: Sequence[Modality]) -> np.ndarray:
    """Add what a unit is worth before anything is known of it: a count, and its modality.

    The first column is 1 for every unit, so that its weight is what any unit is worth; the others
    are 1 for the units of one modality, so that theirs is how that one differs. A ridge shrinks the
    differences to 0, and with them a rare modality's worth to that of all (:data:`OFFSETS`).

    Parameters
    ----------
    features:
        ``[..., features, units]``.
    modalities:
        Of each unit.

    Returns
    -------
    np.ndarray
        ``[..., features + 5, units]``.
    """
    own = np.array([[kind == each for each in modalities] for kind in MODALITIES], dtype=bool)
    added = np.concatenate([np.ones((1, len(modalities)), dtype=bool), own])
    shape = (*features.shape[:-2], *added.shape)
    added = np.broadcast_to(added.astype(features.dtype), shape)
    return np.concatenate([features, added], axis=-2)

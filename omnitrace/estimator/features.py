"""What the estimator sees of a span and a unit: a few numbers on the attention of each head.

A *feature* is one number per (layer, head): the attention that the rows of a span's tokens paid to
the tokens of a unit (vSTREAM, arXiv 2604.16587: ``f ∈ R^{L·H}``). Rows are reduced layer by layer
as they come, so that nothing larger than ``[rows, L·H, units]`` is ever kept.

A model also attends to its own earlier words instead of their sources. With *rollout* there is a
second feature per head: the attention that it paid to earlier tokens of the response, carried on to
the sources of those,

    rollout_h(t, k) = sum over s < t of A_h(t -> s) * r_s(k)

where ``r_s``, the evidence of token s, is what the mean head paid to each unit, directly and by
rollout, scaled to sum to 1 over the units (as :mod:`omnitrace.attribution.rollout` does for
tokens).

Attention does not depend on which word was written. With *gradients* there are features that do:
how the log-probability of the token that was written changes as a unit is hidden from one head. To
hide a unit is to lower its logits in the softmax; the derivative by a number ``b_k`` added to them
is

    d log p / d b_k = sum over i in k of A_h(t -> i) * (G_h(t -> i) - g),
    g = sum over all j of A_h(t -> j) * G_h(t -> j)

with ``G = d log p / d A``. It is summed over a span's tokens, each head by itself or all together.

These derivatives do not say what one unit is worth without the others. With *mask_gradient*
there is a feature that says so, :mod:`omnitrace.signals.mask_gradient`: the derivative of a span's
log-probability by how much of a unit is seen, where one half of everything is hidden. It takes a
pass of its own, over a finished response.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnitrace.attribution.rollout import Rollout
from omnitrace.errors import InputError
from omnitrace.types import Modality

if TYPE_CHECKING:
    import torch

    from omnitrace.capture.layer_rows import LayerRows
    from omnitrace.signals.base import Need

__all__ = [
    "MODALITIES",
    "OFFSETS",
    "FeatureRecipe",
    "Gradients",
    "RowReducer",
    "pooled",
    "with_mask_gradient",
    "with_offsets",
]

MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
#: Names of the columns that :func:`with_offsets` adds, in their order.
OFFSETS: Final[tuple[str, ...]] = ("unit", *MODALITIES)

#: Which features say what hiding a unit does to the written tokens.
Gradients: TypeAlias = Literal["none", "total", "heads"]

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
    pooling:
        Mean or maximum over the tokens of a span. Where one word alone attends to the evidence of a
        sentence, the other words dilute it in the mean.
    rollout:
        Whether attention by rollout is a feature of its own, beside the direct one.
    gradients:
        Whether what hiding a unit does to the written tokens, to first order, is a feature:
        ``"heads"`` has one a head, ``"total"`` their sum. Such a signal needs gradients while the
        model writes. With ``normalise="shares"`` a span's are scaled alike: the heads' to the
        length 1 of all numbers, the sum's to magnitudes that sum to 1.
    mask_gradient:
        Whether the derivative by how much of a unit is seen is a feature, with ``"shares"`` scaled
        to magnitudes that sum to 1. Such an estimator needs the finished response, and so
        has no use for ``gradients``.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    reduction: Literal["sum", "mean"] = "sum"
    normalise: Literal["shares", "raw"] = "shares"
    values: bool = False
    layers: Literal["all"] | Annotated[tuple[int, ...], Field(min_length=1)] = "all"
    pooling: Literal["mean", "max"] = "mean"
    rollout: bool = False
    gradients: Gradients = "none"
    mask_gradient: bool = False

    @model_validator(mode="after")
    def _one_kind_of_gradient(self) -> FeatureRecipe:
        if self.mask_gradient and self.gradients != "none":
            raise ValueError(
                f"gradients are {self.gradients!r} beside mask_gradient; expected 'none': those "
                "come while the model writes, and this when it has written"
            )
        return self

    @property
    def per_head(self) -> int:
        """Features of a head."""
        return 1 + self.rollout + (self.gradients == "heads")

    @property
    def beside(self) -> int:
        """Features that are of no head."""
        return int(self.gradients == "total") + self.mask_gradient

    @property
    def knows_words(self) -> bool:
        """Whether a feature depends on which words were written, as attention does not."""
        return self.gradients != "none" or self.mask_gradient

    @property
    def needs(self) -> frozenset[Need]:
        """What a signal with these features reads."""
        found: set[Need] = {"rows"}
        if self.values:
            found.add("values")
        if self.gradients != "none":
            found.add("logprob-gradients")
        return frozenset(found)

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


class RowReducer:
    """Reduces the attention rows of one response over the tokens of each unit.

    Rows come block by block in the order in which they were written, layer by layer. Of earlier
    blocks nothing is kept, but with rollout the evidence of each token: a number for each unit.

    Parameters
    ----------
    units:
        Prompt positions of each unit, in the layout's order.
    recipe:
        Its ``reduction``, ``values``, ``rollout`` and ``gradients`` apply.
    """

    def __init__(self, units: Sequence[Sequence[int]], recipe: FeatureRecipe) -> None:
        import torch  # not above: listing the signals must not wait for it

        self._recipe = recipe
        self._at = torch.tensor([at for unit in units for at in unit], dtype=torch.long)
        self._sizes = torch.tensor([len(unit) for unit in units], dtype=torch.long)
        self._filled = np.flatnonzero(self._sizes.numpy())
        self._starts = (torch.cumsum(self._sizes, 0) - self._sizes).numpy()[self._filled]
        self._placed: dict[torch.device, torch.Tensor] = {}
        self._members: dict[torch.device, torch.Tensor] = {}
        # Units stand where a rollout of token scores has the prompt.
        self._rollout = Rollout(len(units))

    def __call__(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Reduce the next block.

        Parameters
        ----------
        rows:
            The layers that the recipe chose; each is read once and let go.

        Returns
        -------
        torch.Tensor
            float32 ``[rows, features, units]`` on the CPU: layer by layer, in each head by head;
            then, with rollout, the same once more by rollout, and last the features of gradients.
        """
        import torch

        rollout, gradients = self._recipe.rollout, self._recipe.gradients
        direct, among, plain, hidden = [], [], [], []
        for layer in rows:
            weights = layer.weights
            at = self._on(weights.device)
            seen = weights.index_select(2, at)
            if rollout:
                plain.append(self._by_unit(seen.mean(dim=0)))
                written = weights.shape[2] - len(self._rollout.evidence) - weights.shape[1] + 1
                later = weights[:, :, written:].transpose(0, 1)
                among.append(later.contiguous())  # no view: it would keep the whole layer
            if gradients != "none":
                hidden.append(self._hiding(weights * layer.gradients, seen))
            if self._recipe.values:
                norms = layer.value_norms.to(weights.device)
                seen = seen * norms.index_select(1, at)[:, None]
            direct.append(self._by_unit(seen).transpose(0, 1))
        found = torch.cat(_together(direct), dim=1).cpu()
        if rollout:
            mean = torch.stack(_together(plain)).mean(dim=0)
            through = self._through_rollout(mean.cpu(), torch.cat(_together(among), dim=1).cpu())
            found = torch.cat([found, through], dim=1)
        if self._recipe.reduction == "mean":
            found = found / self._sizes.clamp(min=1)
        if hidden:
            signed = torch.cat(_together(hidden), dim=1).cpu()
            signed = signed if gradients == "heads" else signed.sum(1, True)
            found = torch.cat([found, signed], dim=1)
        return found

    def _hiding(self, carried: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return ``d log p / d b`` of each head and unit: ``[rows, heads, units]``.

        ``carried`` is attention times its gradient over the whole context, ``seen`` the attention
        to the units' positions.
        """
        level = carried.sum(dim=2, keepdim=True)
        here = carried.index_select(2, self._on(carried.device))
        return self._by_unit(here - seen * level).transpose(0, 1)

    def _on(self, device: torch.device) -> torch.Tensor:
        """Return the units' positions where a layer is."""
        if device not in self._placed:
            self._placed[device] = self._at.to(device)
        return self._placed[device]

    def _by_unit(self, seen: torch.Tensor) -> torch.Tensor:
        """Sum ``[..., positions of all units]`` over each unit: ``[..., units]``."""
        import torch

        if seen.device.type != "cpu":
            return seen @ self._membership(seen.device)
        # Not a product here: BLAS may share a long sum among threads, and as a stream's worker
        # computes alone, a stream and a trace would differ in the last bits.
        found = np.zeros((*seen.shape[:-1], len(self._sizes)), dtype=np.float32)
        if len(self._filled):
            found[..., self._filled] = np.add.reduceat(seen.numpy(), self._starts, axis=-1)
        return torch.from_numpy(found)

    def _membership(self, device: torch.device) -> torch.Tensor:
        """Return ``[positions, units]``: 1 where a position is of a unit, else 0."""
        import torch

        if device not in self._members:
            which = torch.repeat_interleave(torch.arange(len(self._sizes)), self._sizes)
            member = torch.zeros(len(which), len(self._sizes))
            member[torch.arange(len(which)), which] = 1.0
            self._members[device] = member.to(device)
        return self._members[device]

    def _through_rollout(self, plain: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
        """Carry attention to earlier tokens on to the units, and note the evidence of these rows.

        Parameters
        ----------
        plain:
            ``[rows, units]``: what the mean head paid to each unit.
        among:
            ``[rows, features, tokens]``: attention to all tokens of the response but the last.
        """
        import torch

        self._rollout.push(torch.cat([plain, among.mean(dim=1)], dim=1).numpy())
        evidence = self._rollout.evidence[: among.shape[2]].astype(np.float32)
        return torch.from_numpy(among.numpy() @ evidence)  # numpy's threads are the same for all


def _together(layers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Bring what layers gave to the first one's device: one wait for it, not one a layer."""
    return [each.to(layers[0].device) for each in layers]


def pooled(reduced: torch.Tensor, recipe: FeatureRecipe) -> np.ndarray:
    """Pool over the tokens of a span, and normalise, as the recipe says.

    Parameters
    ----------
    reduced:
        float32 ``[tokens, features, units]`` of a :class:`RowReducer`, at least one token.

    Returns
    -------
    np.ndarray
        float32 ``[features, units]``, to which :func:`with_mask_gradient` adds. Shares sum to 1
        over the units, or to 0 where a head paid no attention to any.
    """
    if len(reduced) == 0:
        raise InputError("the span has no token", legal="at least one")
    count = int(recipe.gradients == "total")
    if recipe.gradients == "heads":
        count = reduced.shape[1] // recipe.per_head
    values = reduced.double()
    seen, hidden = values[:, : values.shape[1] - count], values[:, values.shape[1] - count :]
    found = (seen.amax(dim=0) if recipe.pooling == "max" else seen.mean(dim=0)).numpy()
    signed = hidden.sum(dim=0).numpy()
    if recipe.normalise == "shares":
        found = found / np.maximum(found.sum(axis=1, keepdims=True), _TINY)
        heads = recipe.gradients == "heads"
        signed = signed / max(float(np.linalg.norm(signed)), _TINY) if heads else _shares(signed)
    return np.concatenate([found, signed]).astype(np.float32)


def with_mask_gradient(
    features: np.ndarray, derivatives: np.ndarray, recipe: FeatureRecipe
) -> np.ndarray:
    """Add to the features of spans, as the recipe says, the derivative by each unit's soft mask.

    Parameters
    ----------
    features:
        float32 ``[..., features, units]`` of :func:`pooled`.
    derivatives:
        ``[..., units]``, of a span's log-probability by how much of each unit is seen, in nats.

    Returns
    -------
    np.ndarray
        float32 ``[..., features + 1, units]``.
    """
    signed = derivatives.astype(np.float64)[..., None, :]
    if recipe.normalise == "shares":
        signed = _shares(signed)
    return np.concatenate([features, signed.astype(np.float32)], axis=-2)


def _shares(signed: np.ndarray) -> np.ndarray:
    """Scale each row, ``[..., units]``, to magnitudes that sum to 1, or to 0 where all are 0."""
    return np.asarray(signed / np.maximum(np.abs(signed).sum(axis=-1, keepdims=True), _TINY))


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

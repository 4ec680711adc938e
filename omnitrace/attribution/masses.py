"""From scores per context token to masses per source unit, and to token traces.

This is the first half of OmniTrace's Algorithm 1: ``ŝ(t) = argmax_j m_j(t)`` and
``c_t = max_j m_j(t)``, where the mass ``m_j(t)`` of unit ``j`` is by default the sum of the token's
scores over the unit's positions. Everything here works row by row: a block of rows gives, to the
last bit, what the same rows give within the whole, whatever zeros follow on their right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from omnitrace.errors import InputError
from omnitrace.types import Layout, PositionKind, TokenTrace

__all__ = ["Assign", "Masses", "token_traces", "unit_masses"]

Assign: TypeAlias = Literal["unit-sum", "token-max", "unit-mean"]

# Elements of the score matrix that are worked on at once: bounds the memory of the index arrays.
_BLOCK: Final = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """Where each generated token's score went; every array is float64 with one row a token.

    ``units`` is ``[tokens, units]``; ``instruction``, ``template``, ``generated`` and
    ``source_rest`` (source positions that belong to no unit) are ``[tokens]``. These are sums, and
    ``total`` is theirs. The ``assigned_*`` arrays hold the masses that compete for the token under
    the assign rule; instruction and generated positions compete as one group each.
    """

    units: np.ndarray
    instruction: np.ndarray
    template: np.ndarray
    generated: np.ndarray
    source_rest: np.ndarray
    total: np.ndarray
    assigned_units: np.ndarray
    assigned_instruction: np.ndarray
    assigned_generated: np.ndarray

    def __len__(self) -> int:
        return int(self.total.shape[0])

    @property
    def source(self) -> np.ndarray:
        """Mass on source positions, in a unit or not, for each token."""
        return np.asarray(self.units.sum(axis=1) + self.source_rest)

    def since(self, first: int) -> Masses:
        """Return the rows from ``first`` on, in memory of their own."""
        return Masses(
            *(getattr(self, field.name)[first:].copy() for field in dataclasses.fields(self))
        )

    @classmethod
    def concatenate(cls, blocks: Sequence[Masses]) -> Masses:
        """Join blocks of consecutive rows; there must be at least one."""
        return cls(
            *(
                np.concatenate([getattr(block, field.name) for block in blocks])
                for field in dataclasses.fields(cls)
            )
        )


def unit_masses(
    scores: np.ndarray, layout: Layout, assign: Assign = "unit-sum", *, first: int = 0
) -> Masses:
    """Sum (and let compete) the scores of each row by what their positions are.

    Parameters
    ----------
    scores:
        ``[tokens, prompt + generated]``, finite and non-negative. The row of generated token ``t``
        sees the positions before ``prompt + t`` and is zero from there on; it may be cut off after
        any such zero.
    layout:
        What each prompt position is. Positions after the prompt are generated.
    assign:
        How a group's scores become the mass that competes: their ``"unit-sum"`` (the paper's
        text), their maximum (``"token-max"``, the paper's code) or their ``"unit-mean"``.
    first:
        Index of the generated token in the first row, where ``scores`` is a block of later rows.
    """
    if assign not in get_args(Assign):
        raise InputError(f"unknown assign rule {assign!r}", legal=", ".join(get_args(Assign)))
    scores = np.asarray(scores, dtype=np.float64)
    prompt = layout.prompt_length
    if scores.ndim != 2 or scores.shape[1] < prompt:
        raise InputError(
            f"scores of shape {scores.shape}",
            legal=f"[tokens, at least {prompt} prompt positions]",
        )
    rows, width = scores.shape
    _check(scores, prompt, first)

    n_units = len(layout.units)
    groups = _groups(layout, width)
    step = max(1, _BLOCK // max(width, 1))
    sums = np.zeros((rows, n_units + 4))
    peaks = np.zeros_like(sums) if assign == "token-max" else sums
    for start in range(0, rows, step):
        part = scores[start : start + step]
        sums[start : start + step] = _group_sums(part, groups, n_units + 4)
        if assign == "token-max":
            peaks[start : start + step] = _group_maxima(part, groups, n_units + 4)
    competing = peaks
    if assign == "unit-mean":
        # A generated token sees the generated tokens before it; zeros further right do not count.
        sizes = np.tile(np.bincount(groups, minlength=n_units + 4).astype(float), (rows, 1))
        sizes[:, n_units + PositionKind.GENERATED] = first + np.arange(rows)
        competing = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    return Masses(
        units=sums[:, :n_units].copy(),
        instruction=sums[:, n_units + PositionKind.INSTRUCTION].copy(),
        template=sums[:, n_units + PositionKind.TEMPLATE].copy(),
        generated=sums[:, n_units + PositionKind.GENERATED].copy(),
        source_rest=sums[:, n_units + PositionKind.SOURCE].copy(),
        total=_group_sums(sums, np.zeros(n_units + 4, dtype=np.int64), 1)[:, 0],
        assigned_units=competing[:, :n_units].copy(),
        assigned_instruction=competing[:, n_units + PositionKind.INSTRUCTION].copy(),
        assigned_generated=competing[:, n_units + PositionKind.GENERATED].copy(),
    )


def token_traces(
    masses: Masses,
    layout: Layout,
    ids: Sequence[int],
    texts: Sequence[str],
    ranges: Sequence[tuple[int, int]],
    *,
    first: int = 0,
) -> tuple[TokenTrace, ...]:
    """Describe each generated token of ``masses``, the first of which has index ``first``.

    ``confidence`` is the raw mass of the best unit under the assign rule; ties go to the unit that
    comes first.
    """
    if not len(masses) == len(ids) == len(texts) == len(ranges):
        raise InputError(
            f"{len(masses)} rows of masses for {len(ids)} ids, {len(texts)} texts "
            f"and {len(ranges)} ranges",
            legal="one of each for every token",
        )
    names = [unit.id for unit in layout.units]
    scale = np.where(masses.total > 0, masses.total, 1.0)
    shares = np.stack([masses.source, masses.instruction, masses.template, masses.generated])
    shares = shares / scale
    assigned = masses.assigned_units
    best = assigned.argmax(axis=1) if names else np.zeros(len(masses), dtype=np.int64)
    traces = []
    for t in range(len(masses)):
        confidence = float(assigned[t, best[t]]) if names else 0.0
        traces.append(
            TokenTrace(
                index=first + t,
                id=int(ids[t]),
                text=texts[t],
                start=ranges[t][0],
                end=ranges[t][1],
                unit=names[best[t]] if confidence > 0 else None,
                confidence=confidence,
                grounding=float(shares[0, t]),
                instruction_mass=float(shares[1, t]),
                template_mass=float(shares[2, t]),
                generated_mass=float(shares[3, t]),
            )
        )
    return tuple(traces)


def _check(scores: np.ndarray, prompt: int, first: int) -> None:
    """Refuse scores that are not finite, not non-negative, or not causal."""
    legal = np.isfinite(scores) & (scores >= 0)
    if not legal.all():
        row, position = np.argwhere(~legal)[0]
        raise InputError(
            f"score {scores[row, position]} of generated token {first + row} "
            f"at context position {position}",
            legal="finite numbers of 0 or more",
            fix="let the signal clip or drop such values",
        )
    ahead = np.arange(prompt, scores.shape[1]) - prompt >= first + np.arange(len(scores))[:, None]
    leaks = ahead & (scores[:, prompt:] > 0)
    if leaks.any():
        row, column = np.argwhere(leaks)[0]
        raise InputError(
            f"generated token {first + row} has a score at context position {prompt + column}, "
            "which is not before it",
            legal=f"zeros from position {prompt + first + row} on",
            fix="pass first= with the index of the block's first token if this is a later block",
        )


def _groups(layout: Layout, width: int) -> np.ndarray:
    """Group of each context position: its unit, or ``units + kind`` where it has none."""
    n_units = len(layout.units)
    groups = np.full(width, n_units + PositionKind.GENERATED, dtype=np.int64)
    unit = layout.unit_index.astype(np.int64)
    kind = layout.kinds.astype(np.int64)
    owned = (kind == PositionKind.SOURCE) & (unit >= 0)
    groups[: layout.prompt_length] = np.where(owned, unit, n_units + kind)
    return groups


def _group_sums(scores: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum each row by group, strictly from left to right.

    ``np.sum`` adds pairwise, in an order that depends on the length; ``np.bincount`` adds one after
    the other, so that zeros on the right and the rows around change no bit.
    """
    rows = len(scores)
    keys = (np.arange(rows, dtype=np.int64) * n_groups)[:, None] + groups
    flat = np.bincount(keys.ravel(), weights=scores.ravel(), minlength=rows * n_groups)
    return flat.reshape(rows, n_groups).astype(np.float64, copy=False)  # int64 without any input


def _group_maxima(scores: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Maximum of each row by group; zero for a group without positions."""
    out = np.zeros((len(scores), n_groups))
    if groups.size == 0 or len(scores) == 0:
        return out
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    out[:, present] = np.maximum.reduceat(scores[:, order], starts, axis=1)
    return out

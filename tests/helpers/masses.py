"""Masses from plain matrices, and the selection of one span of all their tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnitrace.attribution.masses import Masses
from omnitrace.attribution.selection import Selection, SelectionConfig, select_supports


def make_masses(
    units: Any, instruction: Any = 0.0, generated: Any = 0.0, rest: Any = 0.0
) -> Masses:
    """Make masses of ``[tokens, units]``; the rest is a number, or one a token."""
    units = np.asarray(units, dtype=float)
    n = len(units)
    instruction, generated, rest = (
        np.broadcast_to(np.asarray(x, dtype=float), (n,)) for x in (instruction, generated, rest)
    )
    return Masses(
        units=units,
        instruction=instruction,
        template=np.zeros(n),
        generated=generated,
        source_rest=rest,
        total=units.sum(axis=1) + instruction + generated + rest,
        assigned_units=units,
        assigned_instruction=instruction,
        assigned_generated=generated,
    )


def select(
    masses: Masses, config: SelectionConfig, weights: Any = None, modalities: Any = None
) -> Selection:
    """Select for one span of all tokens, by default of weight 1 and text units."""
    n, n_units = masses.units.shape
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    return select_supports(masses, weights, (0, n), config, modalities or ["text"] * n_units)


def indices(selection: Selection) -> list[int]:
    """Return the units of the supports, in order."""
    return [selected.unit_index for selected in selection.supports]

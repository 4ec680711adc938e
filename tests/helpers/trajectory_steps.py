"""The steps of a trajectory from a plain matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnitrace.analysis import Steps


def steps(vectors: Any, elapsed: Any = None) -> Steps:
    """Take a row a step and a column a unit; evenly spaced unless ``elapsed`` says otherwise."""
    vectors = np.asarray(vectors, dtype=float)
    count, units = vectors.shape
    return Steps(
        "masses",
        tuple(f"u{i}" for i in range(units)),
        vectors,
        np.arange(1, count + 1) / count if elapsed is None else np.asarray(elapsed),
    )

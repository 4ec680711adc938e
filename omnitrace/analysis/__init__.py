"""Analysis of finished traces: trajectories of evidence, attention sinks, predictors of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.analysis.failure import Prediction, predict_failure
    from omnitrace.analysis.outcomes import read_outcomes
    from omnitrace.analysis.sinks import Sinks, baseline, find_sinks, without_sinks
    from omnitrace.analysis.trajectories import (
        Steps,
        Trajectory,
        TrajectoryConfig,
        steps_of,
        trajectory,
    )

__all__ = [
    "Prediction",
    "Sinks",
    "Steps",
    "Trajectory",
    "TrajectoryConfig",
    "baseline",
    "find_sinks",
    "predict_failure",
    "read_outcomes",
    "steps_of",
    "trajectory",
    "without_sinks",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.analysis.failure": ["Prediction", "predict_failure"],
        "omnitrace.analysis.outcomes": ["read_outcomes"],
        "omnitrace.analysis.sinks": ["Sinks", "baseline", "find_sinks", "without_sinks"],
        "omnitrace.analysis.trajectories": [
            "Steps",
            "Trajectory",
            "TrajectoryConfig",
            "steps_of",
            "trajectory",
        ],
    },
)

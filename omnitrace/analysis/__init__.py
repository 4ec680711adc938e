"""Analysis of finished traces: trajectories, sinks, predictors of failure, and figures of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.analysis.failure import Prediction, predict_failure
    from omnitrace.analysis.outcomes import read_outcomes
    from omnitrace.analysis.plot import plot_trajectories
    from omnitrace.analysis.sinks import Sinks, baseline, find_sinks, without_sinks
    from omnitrace.analysis.source_plots import plot_modalities, plot_sources
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
    "plot_modalities",
    "plot_sources",
    "plot_trajectories",
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
        "omnitrace.analysis.plot": ["plot_trajectories"],
        "omnitrace.analysis.sinks": ["Sinks", "baseline", "find_sinks", "without_sinks"],
        "omnitrace.analysis.source_plots": ["plot_modalities", "plot_sources"],
        "omnitrace.analysis.trajectories": [
            "Steps",
            "Trajectory",
            "TrajectoryConfig",
            "steps_of",
            "trajectory",
        ],
    },
)

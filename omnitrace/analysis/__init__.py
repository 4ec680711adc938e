"""Analysis of finished traces."""

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

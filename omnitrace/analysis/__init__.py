"""Analysis of finished traces."""

from omnitrace.analysis.sinks import Sinks, baseline, find_sinks, without_sinks

__all__ = ["Sinks", "baseline", "find_sinks", "without_sinks"]

"""Which statements of the reference world rest on exactly one source, and so on one modality."""

from omnitrace.reference.world import CATEGORIES

ONE_SOURCE = tuple(
    category for category in CATEGORIES if category not in ("two-sum", "two-agree", "refusal")
)

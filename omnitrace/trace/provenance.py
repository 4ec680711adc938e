"""What the provenance of a trace says of how its request was cut into units."""

from __future__ import annotations

from omnitrace.sources.options import SourceOptions
from omnitrace.trace.trace import Trace

__all__ = ["source_options_of"]


def source_options_of(trace: Trace) -> SourceOptions | None:
    """Return the options under which the request of a trace was cut, None if it does not say.

    Raises
    ------
    InputError
        If a unitizer is not installed here.
    """
    record = trace.provenance.segmentation.get("sources")
    if not record:
        return None
    return SourceOptions.from_record(record, trace.provenance.segmentation.get("language", "en"))

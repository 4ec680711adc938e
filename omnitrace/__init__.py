"""Omnitrace: which parts of its input support each statement that a model writes.

>>> from omnitrace import Tracer
>>> tracer = Tracer.from_pretrained("reference")
>>> trace = tracer.trace([{"role": "user", "content": [
...     {"type": "text", "text": "The lamp is red. The chair is blue."},
...     {"type": "text", "text": "What colour is the lamp?"},
... ]}])
>>> for span in trace.spans:
...     print(span.text, [support.unit.preview for support in span.supports])
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names
from omnitrace.errors import (
    ConformanceError,
    GivenUpError,
    InputError,
    MediaError,
    ModelError,
    NotSupportedError,
    OmnitraceError,
    PluginError,
    RunError,
    SourceWarning,
    TraceFileError,
)
from omnitrace.plugins.hookspecs import hookimpl
from omnitrace.types import (
    Effect,
    ImageRegion,
    Layout,
    MediaRecord,
    PositionKind,
    SourceUnit,
    Span,
    Support,
    TextRange,
    TimeRange,
    TokenTrace,
)

if TYPE_CHECKING:
    from omnitrace.attribution.selection import CurationConfig, SelectionConfig
    from omnitrace.engine.planning.costs import SignalCost
    from omnitrace.engine.planning.plan import plan
    from omnitrace.engine.planning.result import Plan, PlannedSource
    from omnitrace.media import MediaLimits
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.sources.options import SourceOptions
    from omnitrace.trace.citations import (
        Citation,
        Document,
        DocumentCitation,
        SpanCitations,
    )
    from omnitrace.trace.events import EndEvent, ProvisionalEvent, SpanEvent, TokenEvent
    from omnitrace.trace.provenance import Provenance
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__version__ = importlib.metadata.version("omnitrace-attribution")

__all__ = [
    "Citation",
    "ConformanceError",
    "CurationConfig",
    "Document",
    "DocumentCitation",
    "Effect",
    "EndEvent",
    "GivenUpError",
    "ImageRegion",
    "InputError",
    "Layout",
    "MediaError",
    "MediaLimits",
    "MediaRecord",
    "ModelError",
    "NotSupportedError",
    "OmnitraceError",
    "Plan",
    "PlannedSource",
    "PluginError",
    "PositionKind",
    "Provenance",
    "ProvisionalEvent",
    "RunError",
    "SelectionConfig",
    "SignalCost",
    "SourceOptions",
    "SourceUnit",
    "SourceWarning",
    "Span",
    "SpanCitations",
    "SpanEvent",
    "Support",
    "TextRange",
    "Thinking",
    "TimeRange",
    "TokenEvent",
    "TokenTrace",
    "Trace",
    "TraceFileError",
    "Tracer",
    "hookimpl",
    "plan",
]

# Loaded on first use, so that `import omnitrace` and `omnitrace --help` do not wait for torch.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.attribution.selection": ["CurationConfig", "SelectionConfig"],
        "omnitrace.engine.planning.costs": ["SignalCost"],
        "omnitrace.engine.planning.plan": ["plan"],
        "omnitrace.engine.planning.result": ["Plan", "PlannedSource"],
        "omnitrace.media": ["MediaLimits"],
        "omnitrace.segmentation.thinking": ["Thinking"],
        "omnitrace.sources.options": ["SourceOptions"],
        "omnitrace.trace.citations": [
            "Citation",
            "Document",
            "DocumentCitation",
            "SpanCitations",
        ],
        "omnitrace.trace.events": ["EndEvent", "ProvisionalEvent", "SpanEvent", "TokenEvent"],
        "omnitrace.trace.provenance": ["Provenance"],
        "omnitrace.trace.trace": ["Trace"],
        "omnitrace.tracer": ["Tracer"],
    },
)

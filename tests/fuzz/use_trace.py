"""Load a trace and put it to every use that its methods offer."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["LOADED_THEN_FAILED", "use_trace"]

#: Exit code of a trace that loads, and then breaks what it is used for.
LOADED_THEN_FAILED: Final = 3


def use_trace(path: str) -> int:
    """Return an exit code: 0, 2 where it is refused, :data:`LOADED_THEN_FAILED`."""
    from omnitrace import Trace
    from omnitrace.analysis.trajectories import TrajectoryConfig, trajectory
    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.cli.console import make_console
    from omnitrace.cli.trace_view import print_trace
    from omnitrace.cli.word_view import print_words, span_named
    from omnitrace.errors import OmnitraceError
    from omnitrace.export.base import exported_files
    from omnitrace.plugins.registry import registry

    warnings.simplefilter("ignore")
    try:
        trace = Trace.load(path)
    except OmnitraceError as error:
        print(f"omnitrace: error: {error}", file=sys.stderr)
        return 2
    out = Path("uses")
    uses: dict[str, Callable[[], object]] = {
        "report": lambda: trace.to_html(out / "report.html"),
        "select": lambda: trace.reselect(SelectionConfig()),
        "rollout": lambda: trace.reselect(SelectionConfig(rollout=True)),
        "explain": lambda: [trace.explain(word) for word in trace.text.split()[:1]],
        "redact": lambda: trace.redact().save(out / "redacted.omnitrace"),
        "save": lambda: trace.save(out / "again.omnitrace"),
        "save with media": lambda: trace.save(out / "media.omnitrace", media=True),
        "document": trace.to_dict,
        "print": lambda: print_trace(make_console(), trace, "t"),
        "words": lambda: print_words(make_console(), trace, span_named(trace, "1")),
        "citations": trace.citations,
        "documents": trace.documents,
        **{
            f"export to {name}": lambda to=name: list(exported_files([("t", trace)], to))
            for name in registry().exporters
        },
        "request": trace.request,
        "unit scores": trace.unit_scores,
        "trajectory": lambda: trajectory(trace, TrajectoryConfig()),
    }
    failed = []
    for name, use in uses.items():
        try:
            use()
        except OmnitraceError as error:
            print(f"[{name}] {error}")
        except Exception:
            failed.append(name)
            print(f"{name}: {traceback.format_exc(limit=-2)}", file=sys.stderr)
    return LOADED_THEN_FAILED if failed else 0

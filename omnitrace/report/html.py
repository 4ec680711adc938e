"""Write traces as one HTML file that needs nothing else: no server, no network, not even scripts.

The page is rendered whole, every span and support in a table included; the script only moves the
highlights. A content security policy keeps the page from loading or running anything else, so that
the text of a hostile source can do no harm even if it slipped past the escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omnitrace._utils.files import write_text
from omnitrace.errors import InputError
from omnitrace.report.view import script_data, trace_view
from omnitrace.trace.trace import Trace

__all__ = ["asset", "environment", "render_report", "write_report"]


def write_report(
    traces: Sequence[Trace],
    path: Path,
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
) -> Path:
    """Write one self-contained HTML file with all ``traces`` to ``path``.

    Parameters
    ----------
    traces:
        At least one.
    path:
        The file; its folder is created, and what was there is replaced.
    titles:
        A heading for each trace; by default the end of its question.
    notes:
        Lines of text for each trace, shown below its heading.

    Returns
    -------
    Path
        The file that was written.
    """
    html = render_report(traces, titles=titles, notes=notes)
    return write_text(path, html)


def render_report(
    traces: Sequence[Trace],
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
) -> str:
    """Return the HTML that :func:`write_report` writes."""
    if not traces:
        raise InputError("a report of no traces", legal="at least one trace")
    for name, given in (("titles", titles), ("notes", notes)):
        if given is not None and len(given) != len(traces):
            raise InputError(
                f"{len(given)} {name} for {len(traces)} traces", legal=f"one of {name} a trace"
            )
    views = [
        trace_view(
            trace,
            number,
            title=titles[number] if titles else None,
            notes=notes[number] if notes else (),
        )
        for number, trace in enumerate(traces)
    ]
    style, script = asset("report.css"), asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            views=views,
            data=_json([script_data(trace) for trace in traces]),
            style=Markup(style),
            script=Markup(script),
            script_digest=digest,
        )
    )


@cache
def environment() -> Environment:
    """Return what renders the templates: escaping everything, refusing undefined names."""
    return Environment(
        loader=PackageLoader("omnitrace.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def asset(name: str) -> str:
    """Return a file beside the templates."""
    folder = resources.files("omnitrace.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _json(value: Any) -> Markup:
    """Dump for a script element, where only ``<`` could end or change it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

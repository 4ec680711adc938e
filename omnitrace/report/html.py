"""Write traces as one HTML file that needs nothing else: no server and no network.

The page holds the viewer, its data as JSON, and the response with its sources as plain HTML, which
is what is printed, and what is seen where scripts are off. A content security policy keeps the page
from loading or running anything else, so that the text of a hostile source can do no harm even if
it slipped past the escaping.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omnitrace._utils.files import write_text
from omnitrace.errors import InputError
from omnitrace.report.compare import compare_view
from omnitrace.report.modules import link
from omnitrace.report.truth import SpanTruth
from omnitrace.report.view import trace_view
from omnitrace.trace.trace import Trace

__all__ = ["asset", "environment", "notebook_html", "render_page", "render_report", "write_report"]

_STYLES: Final = ("base.css", "viewer.css", "sources.css", "narrow.css")
_NOTEBOOK_HEIGHT: Final = 640  # pixels


def write_report(
    traces: Sequence[Trace],
    path: Path,
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    truths: Sequence[Sequence[SpanTruth | None] | None] | None = None,
    media: bool = False,
    compare: bool = False,
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
    truths:
        For each trace None, or for each of its spans what is known to be true of it.
    media:
        Whether the original audio and video files become part of the page, so that they can be
        played.
    compare:
        Whether the two traces, of the same request, are shown side by side.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    InputError
        If the numbers of things do not fit, the traces cannot be compared, or the file cannot be
        written.
    """
    page = render_report(
        traces, titles=titles, notes=notes, truths=truths, media=media, compare=compare
    )
    return write_text(path, page)


def render_report(
    traces: Sequence[Trace],
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    truths: Sequence[Sequence[SpanTruth | None] | None] | None = None,
    media: bool = False,
    compare: bool = False,
) -> str:
    """Return the HTML that :func:`write_report` writes."""
    if not traces:
        raise InputError("a report of no traces", legal="at least one trace")
    for name, given in (("titles", titles), ("notes", notes), ("truths", truths)):
        if given is not None and len(given) != len(traces):
            raise InputError(
                f"{len(given)} {name} for {len(traces)} traces", legal=f"one of {name} a trace"
            )
    views = [
        trace_view(
            trace,
            title=titles[number] if titles else None,
            notes=notes[number] if notes else (),
            truths=truths[number] if truths else None,
            media=media,
        )
        for number, trace in enumerate(traces)
    ]
    return render_page({"traces": views, "compare": compare_view(traces) if compare else None})


def render_page(data: dict[str, Any]) -> str:
    """Return the page for what :func:`~omnitrace.report.view.trace_view` says of traces.

    Parameters
    ----------
    data:
        ``traces``, the views, and ``compare``, what
        :func:`~omnitrace.report.compare.compare_view` returned, or None.
    """
    style, script = "".join(map(asset, _STYLES)), _script()
    page: str = (
        environment()
        .get_template("report.html.j2")
        .render(
            views=data["traces"],
            data=_json(data),
            style=Markup(style),
            script=Markup(script),
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
    )
    return page


def notebook_html(trace: Trace) -> str:
    """Return a frame for a notebook, in which the page of a trace can reach nothing outside."""
    page = html.escape(render_report([trace]), quote=True)
    return (
        f'<iframe sandbox="allow-scripts" title="Omnitrace report" width="100%" '
        f'height="{_NOTEBOOK_HEIGHT}" style="border:1px solid #8884" srcdoc="{page}"></iframe>'
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
    """Return a file of the viewer."""
    return (resources.files("omnitrace.report") / "static" / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    return link("main", lambda name: asset(f"{name}.js"))


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(value: Any) -> Markup:
    """Dump for a script element, where only ``<`` could end or change it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

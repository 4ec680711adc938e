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
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omnitrace._utils.files import write_blocks
from omnitrace.errors import InputError
from omnitrace.report.compare import compare_view
from omnitrace.report.modules import link
from omnitrace.report.truth import SpanTruth
from omnitrace.report.view import trace_view
from omnitrace.trace.trace import Trace

__all__ = [
    "asset",
    "environment",
    "notebook_html",
    "render_page",
    "render_report",
    "write_report",
]

_STYLES: Final = ("base.css", "viewer.css", "sources.css", "narrow.css")
_NOTEBOOK_HEIGHT: Final = 640  # pixels
_SPOOLED: Final = 2**24  # characters that are kept in memory
_BLOCK: Final = 2**20
_HOLE: Final = "\0"  # what no page holds


def write_report(
    traces: Iterable[Trace],
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
        At least one; of an iterator one is in memory at a time.
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
    blocks = _blocks(_views(traces, titles, notes, truths, media), compare=compare)
    return write_blocks(path, (block.encode("utf-8", "replace") for block in blocks))


def render_report(
    traces: Iterable[Trace],
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    truths: Sequence[Sequence[SpanTruth | None] | None] | None = None,
    media: bool = False,
    compare: bool = False,
) -> str:
    """Return the HTML that :func:`write_report` writes."""
    return "".join(_blocks(_views(traces, titles, notes, truths, media), compare=compare))


def _views(
    traces: Iterable[Trace],
    titles: Sequence[str] | None,
    notes: Sequence[Sequence[str]] | None,
    truths: Sequence[Sequence[SpanTruth | None] | None] | None,
    media: bool,
) -> Iterator[tuple[Trace, dict[str, Any]]]:
    """Yield each trace with its view, one at a time."""
    given = {"titles": titles, "notes": notes, "truths": truths}
    if isinstance(traces, Sequence):
        _check_counts(len(traces), given)
    count = 0
    for number, trace in enumerate(traces):
        count += 1
        for name, each in given.items():
            if each is not None and len(each) < count:
                raise InputError(f"{len(each)} {name} for more traces", legal="one of each")
        yield (
            trace,
            trace_view(
                trace,
                title=titles[number] if titles else None,
                notes=notes[number] if notes else (),
                truths=truths[number] if truths else None,
                media=media,
            ),
        )
    _check_counts(count, given)


def _check_counts(count: int, given: Mapping[str, Sequence[Any] | None]) -> None:
    if not count:
        raise InputError("a report of no traces", legal="at least one trace")
    for name, each in given.items():
        if each is not None and len(each) != count:
            raise InputError(
                f"{len(each)} {name} for {count} traces", legal=f"one of {name} a trace"
            )


def _blocks(views: Iterator[tuple[Trace, dict[str, Any]]], *, compare: bool) -> Iterator[str]:
    compared: list[Trace] = []

    def noted() -> Iterator[dict[str, Any]]:
        for trace, view in views:
            if compare:
                compared.append(trace)
            yield view

    return render_page(noted(), lambda: compare_view(compared) if compare else None)


def render_page(views: Iterator[dict[str, Any]], compare: Callable[[], Any]) -> Iterator[str]:
    """Yield the page in blocks; what views become waits on the disk, so that none stays in memory.

    A view is needed twice, as plain HTML and as data, and the heading needs their number.

    Parameters
    ----------
    views:
        What :func:`~omnitrace.report.view.trace_view` says of each trace.
    compare:
        Called behind the last view; returns what
        :func:`~omnitrace.report.compare.compare_view` says of two traces, or None.
    """
    article = environment().get_template("article.html.j2")
    with _spool() as plain, _spool() as data:
        title = ""
        for count, view in enumerate(views, start=1):
            title = (view["title"] or "Trace 1") if count == 1 else f"{count} traces"
            plain.write(article.render(view=view, number=count))
            data.write(("," if count > 1 else "") + _json(view))
        before, between, after = _frame(title).split(_HOLE)
        yield before
        yield from _read(plain)
        yield between + '{"traces":['
        yield from _read(data)
        yield f'],"compare":{_json(compare())}}}{after}'


def _frame(title: str) -> str:
    """Return the page, with a hole for the plain HTML and one for the data."""
    style, script = "".join(map(asset, _STYLES)), _script()
    page: str = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title.replace(_HOLE, ""),
            hole=Markup(_HOLE),
            style=Markup(style),
            script=Markup(script),
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
    )
    return page


def _spool() -> IO[str]:
    return tempfile.SpooledTemporaryFile(
        _SPOOLED, "w+", encoding="utf-8", errors="replace", newline=""
    )


def _read(spool: IO[str]) -> Iterator[str]:
    spool.seek(0)
    while block := spool.read(_BLOCK):
        yield block


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


def _json(value: Any) -> str:
    """Dump for a script element, where only ``<`` could end or change it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

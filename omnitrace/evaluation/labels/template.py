"""A label file to fill in: the spans of traces, each still without its evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from omnitrace._utils.files import what_is, write_text
from omnitrace.errors import InputError
from omnitrace.evaluation.labels.matching import part_of
from omnitrace.evaluation.labels.schema import VERSION
from omnitrace.trace.request_record import request_name
from omnitrace.trace.trace import Trace

__all__ = ["parts_of", "template_line", "write_template"]

_SHOWN: Final = 60


def write_template(traces: Sequence[Path], out: Path) -> dict[str, list[tuple[str, ...]]]:
    """Write a label file to fill in; return the parts that its sources can name, by trace.

    Parameters
    ----------
    traces:
        Trace files; a label gets the name of its file as its id.
    out:
        The label file to write.

    Raises
    ------
    InputError
        If the file exists already, or cannot be written.
    """
    if what_is(out):
        raise InputError(
            f"{str(out)!r} exists", fix="choose another name, so that no label is lost"
        )
    lines: list[str] = []
    parts: dict[str, list[tuple[str, ...]]] = {}
    for path in traces:
        trace = Trace.load(path)
        name = request_name(path)
        lines.append(template_line(name, trace))
        parts[name] = parts_of(trace)
    write_text(out, "".join(f"{line}\n" for line in lines))
    return parts


def template_line(name: str, trace: Trace) -> str:
    """Return the line of a label file for a trace, its sources still ``null``.

    ``null`` is refused when the file is read: a span that was not looked at must not count as one
    without evidence. Spans of white space are left out.
    """
    spans: list[dict[str, Any]] = []
    for span in trace.spans:
        text = span.text.strip()
        if text:
            start = span.start + span.text.index(text)
            end = start + len(text)
            spans.append({"start": start, "end": end, "text": text, "sources": None})
    document = {"version": VERSION, "id": name, "response": trace.text, "spans": spans}
    return json.dumps(document, ensure_ascii=False)


def parts_of(trace: Trace) -> list[tuple[str, ...]]:
    """Return message, part, kind and description of all parts, as a labeller needs them."""
    media = {(record.message, record.part): record for record in trace.media}
    rows: list[tuple[str, ...]] = []
    for message, entry in enumerate(trace.messages):
        count = 1 if isinstance(entry["content"], str) else len(entry["content"])
        for number in range(count):
            part = part_of(trace.messages, message, number)
            assert part is not None
            record = media.get((message, number))
            if record is None:
                text = str(part.get("text", ""))
                words = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
                facts = f"{len(text)} characters: {words}"
            elif record.duration is not None:
                facts = f"{record.duration:g} s: {record.name}"
            else:
                width, height = record.size or (0, 0)
                facts = f"{width} by {height} pixels: {record.name}"
            rows.append((str(message), str(number), part["type"], facts))
    return rows

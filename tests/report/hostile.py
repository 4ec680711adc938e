"""A trace in which every text tries to be more than text."""

from __future__ import annotations

import dataclasses
import json

from omnitrace.trace.trace import Trace
from tests.helpers.sample_traces import multimodal_trace, text_trace

#: Ends scripts and attributes, begins elements, speaks to template engines, turns text around.
EVIL = (
    "</script><img src=x onerror=alert(1)><svg onload=alert(2)><!-- ]]> \"'`& <b>bold</b> </div>"
    "{{ 7 * 7 }}${alert(3)} javascript:alert(4) \u202egnp.exe\u2066\u202c\x07"
)
#: An image that is a document with a script in it.
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="alert(5)">'
    b"<script>document.title = 'run'; alert(6)</script></svg>"
)


def evil_trace() -> Trace:
    """Return a trace with hostile texts, names, ids, titles, metadata and an SVG as image."""
    # What would end the sentence, and with it the unit, is left out of source and response.
    said = EVIL.replace("! ", " ").replace(".", ",")
    trace = text_trace([f"A fact {said}."], f"Which {EVIL}?", f"A claim {said}.")
    provenance = dataclasses.replace(
        trace.provenance,
        model=EVIL,
        signal={"name": EVIL, EVIL: [EVIL]},
        versions={EVIL: EVIL},
    )
    drawn = multimodal_trace().media
    media = tuple(
        dataclasses.replace(medium, message=1, part=k, name=EVIL, previews=(SVG,))
        for k, medium in enumerate((drawn[0], drawn[2]))
    )
    naming = {"source_id": EVIL, "title": EVIL, "metadata": {EVIL: EVIL, "list": [EVIL, 1]}}
    parts = [{"type": m.modality, "media": k, **naming} for k, m in enumerate(media)]
    messages = (*trace.messages, {"role": EVIL, "content": parts})
    json.dumps(messages)  # it is what a file can hold
    units = tuple(dataclasses.replace(unit, id=EVIL, source_id=EVIL) for unit in trace.units)
    layout = dataclasses.replace(trace.layout, units=units)
    trace = dataclasses.replace(
        trace, provenance=provenance, media=media, messages=messages, layout=layout
    )
    return trace.reselect(trace.config)

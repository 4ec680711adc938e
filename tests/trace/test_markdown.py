"""Markers and footnotes in Markdown, and text of sources that stays text."""

from __future__ import annotations

import dataclasses

from markdown_it import MarkdownIt

from omnitrace import Trace
from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.sample_traces import text_trace


def titled(trace: Trace, title: str) -> Trace:
    (message,) = trace.messages
    content = [dict(part, title=title) for part in message["content"]]
    return dataclasses.replace(trace, messages=({**message, "content": content},))


def test_markers_stand_behind_spans_and_name_footnotes() -> None:
    text = cited_trace().to_markdown()
    assert "at the right. [1][2][3] The ferry" in text
    assert text.rstrip().splitlines()[0].endswith("answers your question.")  # cites nothing
    assert "\n[1] **Harbour log**, characters 23–66: “The lighthouse was" in text  # noqa: RUF001
    assert "\n[2] **The pier**, x 900–1200, y 300–600 px\n" in text  # noqa: RUF001
    assert "\n[5] **The trip**, 2–4 s\n" in text  # noqa: RUF001


def test_thoughts_are_left_out_unless_asked_for() -> None:
    trace = verified_trace()
    thought = trace.spans[0].text
    assert thought not in trace.to_markdown()
    assert thought in trace.to_markdown(section=None)
    assert trace.to_markdown(section="thought").startswith(f"{thought} [1]\n")


def test_without_sources_there_are_no_footnotes() -> None:
    trace = dataclasses.replace(cited_trace(), spans=())
    assert trace.to_markdown() == trace.text + "\n"


def test_names_and_quotes_are_text() -> None:
    hostile = "<script>alert(1)</script> [x](javascript:x) **b** `c` &lt; \u202e\x1b[31m"
    html = MarkdownIt("commonmark").render(
        titled(text_trace([hostile], "Which?", "So it is."), hostile).to_markdown()
    )
    assert "<script" not in html
    assert "<a" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt; [x](javascript:x) **b** `c` ") == 2
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_a_marker_does_not_open_a_block_of_code_again() -> None:
    response = "```\nSo it is.\n```"
    trace = text_trace(["One fact."], "Which?", "So it is.")
    (span,) = trace.spans
    whole = dataclasses.replace(span, text=response, end=len(response))
    html = MarkdownIt().render(
        dataclasses.replace(trace, text=response, spans=(whole,)).to_markdown()
    )
    assert "</code></pre>\n<p>[1]</p>" in html

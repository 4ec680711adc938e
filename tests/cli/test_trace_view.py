"""A whole trace in a terminal: markers, sources, bars of time, words; wide, narrow, plain."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from omnitrace import Trace
from omnitrace._utils.palette import MODALITIES
from omnitrace.cli.trace_view import print_trace
from omnitrace.cli.word_view import print_words, span_named
from omnitrace.errors import InputError
from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.sample_traces import multimodal_trace, text_trace


class Output(io.StringIO):
    encoding = "utf-8"


def console(width: int = 100, *, encoding: str = "utf-8", **options: Any) -> Console:
    file = Output()
    file.encoding = encoding  # type: ignore[misc]
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False, **options)


def shown(trace: Trace, width: int = 100, **options: Any) -> str:
    out = console(width, **options)
    print_trace(out, trace, "harbour")
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def words_of(trace: Trace, wanted: str, width: int = 100, **options: Any) -> str:
    out = console(width, **options)
    print_words(out, trace, span_named(trace, wanted))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_response_has_markers_and_its_sources_stand_below() -> None:
    trace = cited_trace()
    text = shown(trace)
    assert text.startswith("harbour\n")
    assert "4 of 5 statements with sources" in text
    response, _, sources = text.partition("\n\nHarbour log")
    assert "at the right. [1][2][3] The ferry Alma leaves" in response
    assert "answers your question. [ungrounded]" in response
    assert "\n  [1] characters 23–66  39%  “The lighthouse was repainted red" in sources  # noqa: RUF001
    assert "The pier  image · pier.png · 1200 × 900 px · https://example.org/pier\n" in sources  # noqa: RUF001
    cited = {each.number for span in trace.citations() for each in span.citations}
    assert {int(n) for n in re.findall(r"^ +\[(\d+)\]", sources, re.MULTILINE)} == cited


def test_time_is_shown_as_bars() -> None:
    lines = {line.split("]")[0].strip(): line for line in shown(multimodal_trace()).splitlines()}
    bars = {name: re.search(r"[─█]+", line) for name, line in lines.items()}
    early, late = bars["[5"], bars["[6"]  # seconds 2 to 4 and 8 to 10 of 12
    assert early is not None
    assert late is not None
    assert early[0] == "─" * 8 + "█" * 8 + "─" * 32
    assert late[0] == "─" * 32 + "█" * 8 + "─" * 8


def test_effects_intervals_and_verdicts_are_shown() -> None:
    text = shown(verified_trace())
    assert "necessary +3.00 nats [+2.50, +3.50]" in text
    assert "sufficient +2.50 nats\n" in text
    assert "at 18:40 with up to 210 passengers. [no source]" in text
    assert "in the recording. [against the sources]" in text


@pytest.mark.parametrize("width", [24, 40, 60, 200])
def test_a_terminal_is_filled_and_not_overrun(width: int) -> None:
    text = shown(verified_trace(), width, force_terminal=True, no_color=True)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(cell_len(line) for line in plain.splitlines()) <= width
    words = [word for span in verified_trace().spans for word in span.text.split()]
    assert all(word in plain for word in words)


def test_a_file_gets_whole_lines() -> None:
    trace = multimodal_trace()
    text = shown(trace, 30)
    assert all(span.text in text for span in trace.spans)


def test_colours_are_of_modalities_and_can_be_left_out() -> None:
    out = console(record=True)
    print_trace(out, cited_trace(), "harbour")
    html = out.export_html(inline_styles=True)
    found = re.findall(r"color: (#\w{6})[^>]*>\s*\[(\d+)\]", html)
    colours = {int(number): colour for colour, number in found}
    for span in cited_trace().citations():
        for each in span.citations:
            assert colours[each.number] == MODALITIES[each.modality]
    none = shown(cited_trace(), force_terminal=True, no_color=True)
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|38|9[0-7])[;m]", none)


def test_without_unicode_bars_are_ascii() -> None:
    text = shown(multimodal_trace(), encoding="ascii")
    assert "-" * 8 + "#" * 8 + "-" * 32 in text
    assert "█" not in text
    assert "#" * 8 in words_of(multimodal_trace(), "1", encoding="ascii")


def test_thought_and_answer_are_told_apart() -> None:
    trace = multimodal_trace()
    sections = ("thought", "thought", "answer", "answer", "thought")
    spans = tuple(
        dataclasses.replace(span, section=section)  # type: ignore[arg-type]
        for span, section in zip(trace.spans, sections, strict=True)
    )
    lines = shown(dataclasses.replace(trace, spans=spans)).splitlines()
    heads = [line for line in lines if line in ("[thought]", "[answer]")]
    assert heads == ["[thought]", "[answer]", "[thought]"]
    assert lines.index("[answer]") < next(
        i for i, line in enumerate(lines) if line.startswith(spans[2].text)
    )


def test_a_redacted_trace_can_be_shown() -> None:
    text = shown(cited_trace().redact()) + words_of(cited_trace().redact(), "1")
    for secret in ("lighthouse", "Harbour log", "pier", "trip"):
        assert secret not in text
    assert "characters 23–66" in text  # noqa: RUF001


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_shown_and_not_obeyed(terminal: bool) -> None:
    hostile = "So \x1b]0;owned\x07 [red]it[/red] :smile: \u202eis.\r\nNew"
    trace = text_trace([hostile], "Which?", "So it is.")
    (span,) = trace.spans
    whole = dataclasses.replace(span, text=hostile, end=len(hostile))
    trace = dataclasses.replace(trace, text=hostile, spans=(whole,))
    (message,) = trace.messages
    content = [dict(part, title=hostile) for part in message["content"]]
    trace = dataclasses.replace(trace, messages=({**message, "content": content},))
    text = shown(trace, force_terminal=terminal, no_color=True) + words_of(trace, "1")
    for forbidden in ("\x1b]", "\x07", "\u202e", "\r"):
        assert forbidden not in text
    assert text.count("[red]it[/red] :smile:") >= 3


def test_an_empty_response_says_so() -> None:
    text = shown(dataclasses.replace(cited_trace(), text="", spans=()))
    assert "(the response is empty)" in text
    assert "0 of 0 statements" in text


def test_a_long_answer_keeps_its_lines() -> None:
    trace = text_trace(["One fact."], "Which?", "So it is. It is so.")
    text = trace.text.replace(". It", ".\nIt")
    spans = tuple(
        dataclasses.replace(span, text=text[span.start : span.end]) for span in trace.spans
    )
    lines = shown(dataclasses.replace(trace, text=text, spans=spans)).splitlines()
    assert lines[lines.index("So it is. [1]") + 1] == "It is so. [1]"


def test_the_words_of_a_span_name_what_they_rest_on() -> None:
    trace = multimodal_trace()
    text = words_of(trace, "fog horn")
    assert text.startswith("A fog horn sounds twice in the recording.\n")
    assert "by attention-mean" in text
    rows = [line for line in text.splitlines() if "%" in line]
    assert [line.split()[0] for line in rows] == trace.spans[2].text.split()
    assert "[5] horn.wav, 2–4 s" in rows[1]  # noqa: RUF001
    assert "[6] horn.wav, 8–10 s" in rows[-1]  # noqa: RUF001
    token = next(t for t in trace.tokens if t.text.strip() == "fog")
    assert f"{token.confidence:.0%}" in rows[1]
    assert f" {token.grounding:.0%}  " in rows[1]


def test_a_span_is_named_by_number_or_words() -> None:
    trace = multimodal_trace()
    assert span_named(trace, "3") is trace.spans[2]
    assert span_named(trace, "FERRY alma") is trace.spans[1]
    for wrong in ("0", "6", "no such words", " "):
        with pytest.raises(InputError, match="1 to 5"):
            span_named(trace, wrong)


def test_words_without_any_mass() -> None:
    trace = multimodal_trace()
    dark = dataclasses.replace(trace, scores=trace.scores * 0)
    rows = words_of(dark, "1").splitlines()[2:]
    assert all(row.rstrip().endswith("–") for row in rows)  # noqa: RUF001

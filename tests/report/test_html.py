"""The report holds every span and support, and nothing that a source smuggles in."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.report.html import render_report, write_report
from omnitrace.report.media import seconds, ticks, waveform_path
from omnitrace.trace.trace import Trace
from omnitrace.types import Effect
from tests.helpers.sample_traces import LOG, multimodal_trace, text_trace

VOID = {"meta", "img", "br", "input", "link", "hr"}
EVIL = "</script><img src=x onerror=alert(1)><!-- ]]> \"'& <b>bold</b> </div>"


class Page(HTMLParser):
    """All elements of a page with their attributes and their text; refuses unbalanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str | None = None, **attributes: Any) -> list[dict[str, Any]]:
        wanted = {name.rstrip("_").replace("_", "-"): v for name, v in attributes.items()}
        return [
            element
            for element in self.elements
            if tag in (None, element["tag"])
            and all(
                name in element and (v is ... or v in (element[name] or "").split())
                for name, v in wanted.items()
            )
        ]

    @property
    def data(self) -> Any:
        (script,) = self.all("script", id="omnitrace-data")
        return json.loads(script["text"])


@pytest.fixture(scope="module")
def trace() -> Trace:
    return multimodal_trace()


@pytest.fixture(scope="module")
def page(trace: Trace) -> Page:
    return Page(render_report([trace]))


def test_writes_one_file_and_returns_its_path(tmp_path: Path, trace: Trace):
    path = trace.to_html(tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert list(path.parent.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == render_report([trace])


def test_every_span_can_be_chosen_and_is_in_the_table(page: Page, trace: Trace):
    chips = page.all("span", data_span=...)
    assert [chip["text"] for chip in chips] == [span.text for span in trace.spans]
    for chip in chips:
        assert (chip["role"], chip["tabindex"], chip["aria-pressed"]) == ("button", "0", "false")
    assert [row["text"] for row in page.all("th", scope="rowgroup")] == [
        s.text for s in trace.spans
    ]
    (answer,) = page.all("div", class_="answer")
    assert answer["text"].replace("ungrounded", "") == trace.text


def test_every_support_is_in_the_table_with_its_numbers(page: Page, trace: Trace):
    supports = [support for span in trace.spans for support in span.supports]
    assert len(supports) == 9
    bodies = " ".join(" ".join(body["text"].split()) for body in page.all("tbody"))
    for support in supports:
        assert f"{support.unit.id} " in bodies or support.unit.id in bodies
        assert f"{100 * support.share:.0f}% {100 * support.mass:.0f}%" in bodies
    assert "The ferry Alma leaves at 18:40 and carries 210 passengers." in bodies
    assert "x 900–1200, y 300–600 px" in bodies  # noqa: RUF001
    assert "8–10 s" in bodies  # noqa: RUF001


def test_an_ungrounded_span_says_so(page: Page):
    (chip,) = page.all("span", class_="ungrounded", data_span=...)
    assert chip["text"].startswith("I hope")
    assert [tag["text"] for tag in page.all("span", class_="tag")] == ["ungrounded"] * 2
    assert "4% ungrounded no source supports this" in " ".join(
        page.all("tbody")[-1]["text"].split()
    )


def test_the_data_for_the_script(page: Page, trace: Trace):
    (data,) = page.data
    assert [span["text"] for span in data["spans"]] == [span.text for span in trace.spans]
    for given_, span in zip(data["spans"], trace.spans, strict=True):
        assert given_["grounding"] == span.grounding
        assert given_["ungrounded"] == span.ungrounded
        assert [s["unit"] for s in given_["supports"]] == [s.unit.id for s in span.supports]
        assert [s["share"] for s in given_["supports"]] == [s.share for s in span.supports]
        for support in given_["supports"]:
            assert trace.units[support["index"]].id == support["unit"]


def test_every_support_can_be_highlighted_where_it_lies(page: Page, trace: Trace):
    index = {unit.id: str(i) for i, unit in enumerate(trace.units)}
    (piece,) = page.all("span", class_="piece", data_units=index["text-2"])
    assert piece["text"] == "The lighthouse was repainted red in spring."
    assert "begins" in piece["class"]
    (prose, *_) = page.all("div", class_="prose")
    assert prose["text"] == LOG

    (group,) = page.all("g", data_units=index["image-8"])
    at = page.elements.index(group)
    mask, halo, hull = page.elements[at + 1 : at + 4]
    assert mask["d"] == halo["d"] == hull["d"] == "M900 300L1200 300L1200 600L900 600z"
    (pin,) = page.all("span", class_="pin", data_units=index["image-8"])
    assert pin["style"] == "left:75%;top:33.33%"
    (svg,) = [e for e in page.all("svg") if e["viewbox"] == "0 0 1200 900"]
    assert svg["preserveaspectratio"] == "none"

    (bar,) = page.all("span", class_="bar", data_units=index["audio-5"])
    assert bar["style"] == "left:66.67%;width:16.67%"
    frames = page.all("span", class_="frame")
    assert [frame["text"].strip() for frame in frames] == [f"{k} s" for k in range(8)]
    shown = [i for i, frame in enumerate(frames) if index["video-3"] in frame["data-units"].split()]
    assert shown == [4, 5]


def with_locator(trace: Trace, name: str, **changes: Any) -> Trace:
    """Return the trace with another place of one unit."""
    units = tuple(
        dataclasses.replace(unit, locator=dataclasses.replace(unit.locator, **changes))
        if unit.id == name
        else unit
        for unit in trace.units
    )
    changed = dataclasses.replace(trace, layout=dataclasses.replace(trace.layout, units=units))
    return changed.reselect(changed.config)


def drawn(trace: Trace, name: str) -> tuple[str, str, str, str]:
    """Return mask, halo and hull of a region, and the style of its pin."""
    page = Page(render_report([trace]))
    index = str([unit.id for unit in trace.units].index(name))
    (group,) = page.all("g", data_units=index)
    at = page.elements.index(group)
    (pin,) = page.all("span", class_="pin", data_units=index)
    mask, halo, hull = (element["d"] for element in page.elements[at + 1 : at + 4])
    return mask, halo, hull, pin["style"]


def test_a_region_that_is_no_rectangle_is_drawn_along_its_tokens(trace: Trace):
    """Cells of 150 × 150 px in 8 columns: a corner to the right above, a foot to the left below."""
    cells = (23, 30, 31)
    changed = with_locator(trace, "image-8", box=(900, 300, 1200, 600), cells=cells)
    line = "M1050 300L1200 300L1200 600L900 600L900 450L1050 450z"
    mask, halo, hull, pin = drawn(changed, "image-8")
    assert mask == halo == hull == line
    assert pin == "left:87.5%;top:33.33%"


def test_the_box_that_a_user_drew_is_drawn(trace: Trace):
    box = (910.0, 310.0, 1100.0, 590.0)
    changed = with_locator(trace, "image-8", box=box, cells=(23, 30, 31))
    mask, halo, hull, pin = drawn(changed, "image-8")
    assert mask == "M1050 300L1200 300L1200 600L900 600L900 450L1050 450z"
    assert halo == hull == "M910 310L1100 310L1100 590L910 590z"
    assert pin == "left:75.83%;top:34.44%"


def test_a_unit_that_no_span_cites_is_not_drawn(page: Page, trace: Trace):
    cited = {s.unit.id for span in trace.spans for s in span.supports}
    drawn = {int(i) for e in page.all(data_units=...) for i in e["data-units"].split()}
    assert drawn == {i for i, unit in enumerate(trace.units) if unit.id in cited}


def test_nothing_is_loaded_from_elsewhere(page: Page):
    for element in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action", "xlink:href"):
            value = element.get(name) or ""
            assert value == "" or value.startswith(("data:image/jpeg;base64,", "#")), element
        assert "url(" not in (element.get("style") or "")
        assert not any(name.startswith("on") for name in element)
    assert page.all("link") == page.all("iframe") == []
    (style,) = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]


def test_the_policy_allows_the_script_of_the_page_alone(page: Page):
    (policy,) = page.all("meta", http_equiv=...)
    script = page.all("script")[-1]["text"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]
    assert "default-src 'none'" in policy["content"]
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in script


def evil_trace() -> Trace:
    trace = text_trace([f"A fact {EVIL}."], f"Which {EVIL}?", f"A claim {EVIL}.")
    provenance = dataclasses.replace(
        trace.provenance, model=EVIL, signal={"name": EVIL, EVIL: [EVIL]}, versions={EVIL: EVIL}
    )
    media = dataclasses.replace(multimodal_trace().media[0], message=1, part=0, name=EVIL)
    messages = (
        *trace.messages,
        {"role": EVIL, "content": [{"type": "image", "media": 0, "source_id": EVIL}]},
    )
    units = tuple(dataclasses.replace(unit, id=EVIL, source_id=EVIL) for unit in trace.units)
    layout = dataclasses.replace(trace.layout, units=units)
    trace = dataclasses.replace(
        trace, provenance=provenance, media=(media,), messages=messages, layout=layout
    )
    return trace.reselect(trace.config)


def test_hostile_text_stays_text():
    harmless = text_trace(["A fact."], "Which?", "A claim.")
    html = render_report([evil_trace()], titles=[EVIL], notes=[[EVIL]])
    page, reference = Page(html), Page(render_report([harmless], notes=[["A note"]]))
    assert "</script><img" not in html
    assert "<img src=x" not in html
    assert {e["tag"] for e in page.elements} - {e["tag"] for e in reference.elements} <= {
        *("img", "svg", "figure", "figcaption"),
        *("g", "path", "rect"),
    }
    assert len(page.all("script")) == 2
    assert not page.all("b", text="bold")
    assert page.data[0]["spans"][0]["text"] in page.data[0]["text"]
    assert EVIL in page.data[0]["text"]
    (heading,) = page.all("h1")
    assert heading["text"] == EVIL
    (answer,) = page.all("div", class_="answer")
    assert answer["text"] == evil_trace().text


@given(source=st.text(min_size=1, max_size=60), answer=st.text(min_size=1, max_size=60))
@settings(max_examples=40)
def test_any_text_makes_a_page(source: str, answer: str):
    page = Page(render_report([text_trace([source], "Which?", f"A {answer}. B.")]))
    assert page.data[0]["text"] == f"A {answer}. B."
    seen = page.all("div", class_="answer")[0]["text"].replace("ungrounded", "")
    if not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]|ungrounded", answer):
        assert seen == f"A {answer}. B."


def test_several_traces_with_titles_and_notes(trace: Trace):
    other = text_trace(["One fact. Two facts."], "How many facts?", "One. Two.")
    page = Page(render_report([trace, other], notes=[["signal: mean", "seed 3"], []]))
    assert [h["text"] for h in page.all("h1")] == [
        trace.messages[0]["content"][-1]["text"],
        "How many facts?",
    ]
    assert [p["text"] for p in page.all("p", class_="note")][:2] == ["signal: mean", "seed 3"]
    assert [a["href"] for a in page.all("a")] == ["#trace-1", "#trace-2"]
    assert {article["id"] for article in page.all("article")} == {"trace-1", "trace-2"}
    assert len(page.data) == 2
    titled = Page(render_report([trace, other], titles=["First", "Second"]))
    assert [h["text"] for h in titled.all("h1")] == ["First", "Second"]


def test_wrong_numbers_of_things(tmp_path: Path, trace: Trace):
    with pytest.raises(InputError, match="no traces"):
        render_report([])
    with pytest.raises(InputError, match="2 titles for 1 traces"):
        render_report([trace], titles=["a", "b"])
    with pytest.raises(InputError, match="0 notes for 1 traces"):
        render_report([trace], notes=[])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*report\.html"):
        write_report([trace], tmp_path / "file" / "report.html")


def test_a_redacted_trace_has_a_report_without_words_and_pictures(trace: Trace):
    html = render_report([trace.redact()])
    page = Page(html)
    assert page.all("img") == []
    assert page.all("h1")[0]["text"] == "Trace 1"
    assert len(page.all("g", class_="region")) == 2
    assert page.all("div", class_="blank")
    for word in ("lighthouse", "harbour log", "ferry", "pier.png", "storm"):
        assert word not in html.lower()


def test_a_trace_that_was_broken_off_says_so(trace: Trace):
    provenance = dataclasses.replace(trace.provenance, finished=False)
    html = render_report([dataclasses.replace(trace, provenance=provenance)])
    assert "Generation was broken off" in html
    assert "Generation was broken off" not in render_report([trace])


def test_thought_and_answer_stand_apart(trace: Trace):
    text = f"<think>{trace.text}"
    moved = [
        dataclasses.replace(
            span,
            start=span.start + 7,
            end=span.end + 7,
            section="thought" if span.index < 2 else "answer",
        )
        for span in trace.spans
    ]
    page = Page(render_report([dataclasses.replace(trace, text=text, spans=tuple(moved))]))
    (thought,), (answer,) = (page.all("div", class_=name) for name in ("thought", "answer"))
    assert thought["text"].startswith("<think>" + trace.spans[0].text)
    assert (thought["text"] + answer["text"]).replace("ungrounded", "") == text
    assert answer["text"].startswith(trace.spans[2].text)
    headings = [each["text"] for each in page.all("h2")]
    assert headings.index("Thought") < headings.index("Answer")
    rows = [row["text"] for row in page.all("th", scope="rowgroup")]
    assert [row.endswith("thought") for row in rows] == [True, True, False, False, False]
    assert [each["section"] for each in page.data[0]["spans"]] == [s.section for s in moved]


def test_an_empty_response_has_a_page(trace: Trace):
    empty = dataclasses.replace(
        trace,
        text="",
        token_ids=(),
        tokens=(),
        spans=(),
        scores=trace.scores[:0, : len(trace.prompt_ids)],
        salience=trace.salience[:0],
    )
    page = Page(render_report([empty]))
    assert page.data == [{"text": "", "spans": []}]


def test_effects_and_overlapping_spans_are_shown(trace: Trace):
    first, second, *rest = trace.spans
    supports = tuple(dataclasses.replace(each, effect=-1.25) for each in first.supports)
    effects = {supports[0].unit.id: Effect(-1.25, -2.0, -0.5)}
    first = dataclasses.replace(first, supports=supports, effects=effects)
    over = dataclasses.replace(second, start=first.end - 6)
    over = dataclasses.replace(over, text=trace.text[over.start : over.end])
    page = Page(render_report([dataclasses.replace(trace, spans=(first, over, *rest))]))
    assert "-1.25 nats [-2.00, -0.50]" in page.all("tbody")[0]["text"]
    (answer,) = page.all("div", class_="answer")
    assert answer["text"].replace("ungrounded", "") == trace.text
    assert page.data[0]["spans"][0]["supports"][0]["effect"] == -1.25
    assert page.data[0]["spans"][0]["supports"][0]["interval"] == [-2.0, -0.5]


def test_messages_with_plain_text_and_without_duration():
    trace = text_trace(["A fact."], "Which?", "A fact.")
    system = {"role": "system", "content": "Be brief."}
    trace = dataclasses.replace(trace, messages=(*trace.messages, system))
    assert "Be brief." in [
        e["text"] for e in Page(render_report([trace])).all("div", class_="prose")
    ]
    full = multimodal_trace()
    media = tuple(dataclasses.replace(m, duration=None, size=None, waveform=()) for m in full.media)
    page = Page(render_report([dataclasses.replace(full, media=media)]))
    assert page.all("span", class_="bar")[1]["style"] == "left:80%;width:20%"


def test_geometry_of_time():
    assert ticks(12.0) == [0, 2, 4, 6, 8, 10, 12]
    assert ticks(0.35) == pytest.approx([0, 0.1, 0.2, 0.3])
    for duration in (0.01, 1, 59, 61, 1000, 7200, 86_400, 1e6):
        assert 1 <= len(ticks(duration)) <= 9
        assert ticks(duration)[-1] <= duration * (1 + 1e-6)
    assert [seconds(value) for value in (4.0, 0.5, 1.234, 100.0, 0.0)] == [
        *("4", "0.5", "1.23", "100", "0")
    ]
    assert waveform_path([]) == "M0 50h1"
    assert waveform_path([0.5, 2.0]) == "M0.5 26L1.5 2L1.5 98L0.5 74z"

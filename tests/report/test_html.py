"""The page holds what it needs, and nothing that a source smuggles in."""

from __future__ import annotations

import base64
import dataclasses
import gc
import hashlib
import html
import json
import re
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import InputError
from omnitrace.report.html import render_report, write_report
from omnitrace.trace.trace import Trace
from tests.helpers.sample_traces import multimodal_trace, text_trace
from tests.report.hostile import EVIL, evil_trace

VOID = {"meta", "img", "br", "input", "link", "hr"}


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

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and all(element.get(name) == value for name, value in attributes.items())
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


def test_writes_one_file_and_returns_its_path(tmp_path: Path, trace: Trace) -> None:
    path = trace.to_html(tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert list(path.parent.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == render_report([trace])


def test_what_is_seen_without_scripts(page: Page, trace: Trace) -> None:
    statements = [" ".join(p["text"].split()) for p in page.all("div", **{"class": "statement"})]
    assert statements[0] == f"{trace.spans[0].text} [1] [2] [3] weak"
    assert statements[-1] == f"{trace.spans[-1].text} no source found no source supports this"
    sources = [" ".join(li["text"].split()) for li in page.all("li")]
    assert len(sources) == 9
    assert sources[0].startswith("[1] log, characters 23")
    assert "The lighthouse was repainted red in spring." in sources[0]
    assert sources[1] == "[2] pier.png, x 900–1200, y 300–600 px"  # noqa: RUF001


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    for element in page.elements:
        assert not {"src", "href", "poster", "srcset", "action", "style"} & set(element), element
        assert not any(name.startswith("on") for name in element)
    assert not page.all("link")
    (style,) = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]


def test_the_policy_allows_the_script_and_the_style_of_the_page_alone(page: Page) -> None:
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    script, style = page.all("script", type="module")[0]["text"], page.all("style")[0]["text"]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:; media-src blob:;")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in script


def test_every_file_of_the_viewer_is_used(page: Page) -> None:
    folder = resources.files("omnitrace.report") / "static"
    script, style = page.all("script", type="module")[0]["text"], page.all("style")[0]["text"]
    for file in folder.iterdir():
        text = file.read_text("utf-8")
        if file.name.endswith(".js"):
            assert f"const ${file.name[:-3].replace('-', '_')} = " in script
        elif file.name != "evaluation.css":  # of the page of evaluations
            assert text in style
        assert len(text.splitlines()) < 400


def test_hostile_text_stays_text() -> None:
    html = render_report([evil_trace()], titles=[EVIL], notes=[[EVIL]])
    page = Page(html)
    assert "</script><img" not in html
    assert "<img" not in html
    assert {e["tag"] for e in page.elements} == {
        *("html", "head", "meta", "title", "style", "body", "div", "article", "h2", "h3", "p"),
        *("bdi", "span", "ul", "li", "q", "script"),
    }
    assert len(page.all("script")) == 2
    (view,) = page.data["traces"]
    assert view["title"] == EVIL
    assert view["spans"][0]["text"] == evil_trace().spans[0].text
    assert EVIL in page.all("h2")[0]["text"]


@given(source=st.text(min_size=1, max_size=60), answer=st.text(min_size=1, max_size=60))
@settings(max_examples=40)
def test_any_text_makes_a_page(source: str, answer: str) -> None:
    page = Page(render_report([text_trace([source], "Which?", f"A {answer}. B.")]))
    (view,) = page.data["traces"]
    said = "".join(span["before"] + span["text"] for span in view["spans"]) + view["rest"]
    assert said == f"A {answer}. B."
    assert "".join(text for text, _ in view["parts"][0]["pieces"]) == source


def test_several_traces_with_titles_and_notes(trace: Trace) -> None:
    other = text_trace(["One fact. Two facts."], "How many facts?", "One. Two.")
    page = Page(render_report([trace, other], notes=[["signal: mean", "seed 3"], []]))
    assert [h["text"] for h in page.all("h2")] == [
        trace.messages[0]["content"][-1]["text"],
        "How many facts?",
    ]
    assert [view["notes"] for view in page.data["traces"]] == [["signal: mean", "seed 3"], []]
    titled = Page(render_report([trace, other], titles=["First", "Second"]))
    assert [view["title"] for view in titled.data["traces"]] == ["First", "Second"]


def test_wrong_numbers_of_things(tmp_path: Path, trace: Trace) -> None:
    with pytest.raises(InputError, match="no traces"):
        render_report([])
    with pytest.raises(InputError, match="2 titles for 1 traces"):
        render_report([trace], titles=["a", "b"])
    with pytest.raises(InputError, match="0 notes for 1 traces"):
        render_report([trace], notes=[])
    with pytest.raises(InputError, match="2 truths for 1 traces"):
        render_report([trace], truths=[None, None])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*report\.html"):
        write_report([trace], tmp_path / "file" / "report.html")


def test_a_redacted_trace_has_a_report_without_words_and_pictures(trace: Trace) -> None:
    text = render_report([trace.redact()], media=True)
    (view,) = Page(text).data["traces"]
    assert view["title"] == ""
    image = view["parts"][1]
    assert (image["preview"], len(image["regions"])) == (None, 12)
    assert view["parts"][2]["absent"].startswith("The audio cannot be played here")
    for word in ("lighthouse", "harbour log", "ferry", "pier.png", "storm"):
        assert word not in text.lower()


def test_a_notebook_shows_a_frame_that_reaches_nothing(trace: Trace) -> None:
    shown = trace._repr_html_()
    (frame,) = re.findall(r"<iframe [^>]*>", shown)
    assert 'sandbox="allow-scripts"' in frame
    inside = html.unescape(frame.split('srcdoc="', 1)[1].removesuffix('">'))
    assert inside == render_report([trace])


def test_an_empty_response_has_a_page(trace: Trace) -> None:
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
    (view,) = page.data["traces"]
    assert (view["spans"], view["rest"]) == ([], "")
    assert "The response is empty." in [p["text"] for p in page.all("p")]


def test_traces_are_read_one_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[Trace]] = []

    def traces() -> Iterator[Trace]:
        for number in range(3):
            gc.collect()
            assert sum(each() is not None for each in alive) <= 1, "the one before, at most"
            trace = text_trace(["One."], "Which?", f"{number}.")
            alive.append(weakref.ref(trace))
            yield trace
            del trace

    page = write_report(traces(), tmp_path / "a.html", titles=["a", "b\0", "c"]).read_text()
    assert "<title>3 traces" in page
    assert [f'<h2 dir="auto">{title}</h2>' in page for title in "ac"] == [True, True]
    with pytest.raises(InputError, match="1 titles for more traces"):
        write_report(traces(), tmp_path / "b.html", titles=["a"])
    with pytest.raises(InputError, match="no traces"):
        write_report(iter(()), tmp_path / "b.html")
    assert not (tmp_path / "b.html").exists()

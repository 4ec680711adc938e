"""The viewer in a browser: a real request with real media, opened from disk without a network."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from omnitrace import Tracer
from omnitrace.evaluation.labels.io import read_labels
from omnitrace.evaluation.labels.truth import truths_of
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.report.html import render_page, write_report
from omnitrace.sources.request_files import RequestEntry, read_requests
from tests.helpers.chromium import check_accessibility
from tests.helpers.sample_traces import multimodal_trace, text_trace
from tests.report.hostile import EVIL, evil_trace
from tests.report.large import large_view


@pytest.fixture(scope="module")
def report(reference: Tracer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of two traces: of generated media that play, with truth, and of a made one."""
    folder = tmp_path_factory.mktemp("report")
    sample = make_sample(
        held_out_seed(0), questions=3, order=("text", "image", "audio", "video"), long=False
    )
    (request,) = read_requests(write_sample(sample, folder))
    assert isinstance(request, RequestEntry)
    trace = reference.trace(request.messages, media_root=request.media_root, max_new_tokens=40)
    truths = truths_of(read_labels(folder / "labels.jsonl")[0], trace)
    return write_report(
        [multimodal_trace(), trace],
        folder / "report.html",
        titles=["Harbour", "Generated"],
        truths=[None, truths],
        media=True,
    )


@pytest.fixture(scope="module")
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """Open the report once. Whatever asks the network, or says an error, fails the module."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_offline(True)
    said: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(report.as_uri())
    yield page
    allowed = (report.as_uri(), "data:image/jpeg;base64,", "blob:")
    assert [text for text in said if not text.startswith(allowed)] == []
    context.close()


@pytest.fixture
def page(opened: Page) -> Page:
    """Return the open page as it was at first: the first trace, nothing chosen."""
    opened.emulate_media(media="screen", color_scheme="light")
    opened.set_viewport_size({"width": 1440, "height": 900})
    opened.get_by_label("Trace", exact=True).select_option("0")
    opened.get_by_role("button", name="Read").click()
    opened.get_by_role("button", name="Lines").click()
    opened.keyboard.press("Escape")
    opened.mouse.move(0, 0)
    return opened


def on(page: Page, kind: str) -> Locator:
    return page.locator(f".sources .{kind}.on")


def evidence(page: Page) -> Locator:
    return page.locator(".evidence")


def test_a_click_pins_and_shows_every_source(page: Page) -> None:
    page.locator("[data-span='3']").click()
    page.mouse.move(0, 0)
    expect(evidence(page)).to_contain_text("Statement 4 of 5")
    expect(on(page, "range")).to_have_count(2)
    expect(on(page, "piece")).to_have_text(re.compile("A storm warning is in force until midnight"))
    strongest = page.locator(".sources .range.on").first
    expect(strongest).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator(".sources .on")).to_have_count(0)


def test_hovering_previews_and_leaves_the_pin(page: Page) -> None:
    page.locator("[data-span='1']").click()
    page.locator("[data-span='2']").hover()
    expect(on(page, "range")).to_have_count(2)
    expect(evidence(page)).to_contain_text("Statement 2 of 5")
    marker = page.locator("[data-statement='0'] .ref").nth(1)
    marker.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("pier.png")
    assert page.locator(".bubble .crop img").count() == 1
    page.mouse.move(0, 0)
    expect(page.get_by_role("tooltip", include_hidden=True)).to_be_hidden()
    expect(on(page, "piece")).to_have_count(1)


def test_figures_stand_in_a_bubble(page: Page) -> None:
    page.locator("[data-statement='1'] .gauge").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("signal on sources")
    page.locator("[data-span='1']").click()
    page.locator(".evidence .go").first.focus()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(r"share \d+%"))


def test_keys_move_choose_and_clear(page: Page) -> None:
    page.locator("[data-span='0']").focus()
    for key, number in (("ArrowDown", 2), ("ArrowRight", 3), ("ArrowUp", 2), ("End", 5)):
        page.keyboard.press(key)
        expect(evidence(page)).to_contain_text(f"Statement {number} of 5")
    expect(evidence(page)).to_contain_text("No source found")
    expect(page.locator("[data-span='4']")).to_be_focused()
    expect(page.locator("[data-span='4']")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(evidence(page)).to_contain_text("4 of 5 statements with a source")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(page.locator("[data-statement='0'] .ref").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".sources .on")).to_have_count(0)


def test_a_source_shows_the_statements_that_rest_on_it(page: Page) -> None:
    page.locator(".piece.cited").nth(1).click()
    expect(evidence(page)).to_contain_text("1 statement rests on it")
    expect(page.locator(".statement.rests")).to_have_count(1)
    page.locator(".evidence .go").click()
    expect(evidence(page)).to_contain_text("Statement 2 of 5")
    page.locator(".piece:not(.cited)").first.click()
    expect(evidence(page)).to_contain_text("No statement rests on it.")


def test_a_word_has_evidence_of_its_own(page: Page) -> None:
    page.get_by_role("button", name="Words").click()
    words = page.locator(".word")
    expect(words.first).to_have_text("The")
    words.nth(3).click()
    expect(evidence(page)).to_contain_text(re.compile(r"sources \d+%.*own words <?\d+%"))
    expect(page.locator(".evidence .card")).to_have_count(5)
    page.keyboard.press("ArrowRight")
    expect(words.nth(4)).to_have_attribute("aria-pressed", "true")
    check_accessibility(page)


def test_the_overview_leads_back_to_a_statement(page: Page) -> None:
    page.get_by_role("button", name="Overview").click()
    expect(page.locator(".matrix tbody tr")).to_have_count(5)
    expect(page.locator(".matrix .cell")).to_have_count(9)
    check_accessibility(page)
    page.get_by_role("button", name="Statement 2, source 4: strong").click()
    expect(evidence(page)).to_contain_text("Statement 2 of 5")
    expect(on(page, "piece")).to_have_count(1)


def test_heat_follows_the_slider(page: Page) -> None:
    page.locator("[data-span='0']").click()
    assert page.locator(".heat path:not([fill-opacity='0'])").count() >= 2
    page.get_by_label("Opacity of the heat").first.fill("20")
    assert page.locator(".heat").first.evaluate("node => node.style.opacity") == "0.2"


def test_search_walks_through_both_sides(page: Page) -> None:
    field = page.get_by_label("Search in sources and response")
    field.fill("ferry alma")
    expect(page.get_by_role("status")).to_have_text("1 of 2")
    field.press("Enter")
    expect(page.get_by_role("status")).to_have_text("2 of 2")
    assert page.evaluate("CSS.highlights.get('found').size") == 2
    field.press("Escape")
    assert page.evaluate("CSS.highlights.get('found').size") == 0


def test_what_is_embedded_plays_and_what_is_true_is_shown(page: Page) -> None:
    page.get_by_label("Trace", exact=True).select_option("1")
    expect(page.locator(".response .result")).to_have_count(3)
    sound = page.locator(".part.audio")
    sound.locator(".range").nth(1).click(force=True)
    expect(sound.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(sound.locator(".readout")).to_have_text(re.compile(r"^1\.[1-9] s of"), timeout=10_000)
    expect(sound.get_by_role("button", name="Play", exact=True)).to_be_visible(
        timeout=10_000
    )  # it stops

    video = page.locator(".part.video")
    video.scroll_into_view_if_needed()
    box = video.locator(".board").bounding_box()
    assert box is not None
    expect(video.locator("video")).to_be_attached()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4)
    begins = "Math.floor(document.querySelector('video').currentTime)"
    middle = page.evaluate("Math.floor(document.querySelector('video').duration / 2)")
    page.wait_for_function(f"Math.abs({begins} - {middle}) <= 1")
    check_accessibility(page)


def test_what_is_not_embedded_is_seen(page: Page) -> None:
    expect(page.locator(".part.video")).to_contain_text("cannot play the video")


def test_dark_and_light(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.locator("[data-span='0']").click()
    check_accessibility(page)
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Light or dark").click()
    page.evaluate("delete document.documentElement.dataset.theme")


def test_a_phone_keeps_the_place(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    body = page.locator(".response .body")
    page.locator("[data-span='3']").click()
    expect(page.locator("[data-span='3']")).to_be_in_viewport()
    page.wait_for_timeout(100)  # for what moves after that
    place = body.evaluate("node => node.scrollTop")
    page.locator("[data-statement='3'] .ref").first.click()
    assert body.evaluate("node => node.scrollTop") == place
    expect(page.locator("[data-span='3']")).to_be_in_viewport()
    source = page.locator(".range.on").first
    expect(source).to_be_in_viewport()
    sheet = page.locator(".side-pane")

    def edge(node: Locator, name: str) -> float:
        found: float = node.evaluate(f"node => node.getBoundingClientRect().{name}")
        return found

    page.wait_for_timeout(200)  # for what moves after that
    assert edge(source, "bottom") < edge(sheet, "top")
    before = edge(sheet, "height")
    page.get_by_role("button", name="Height of the response").press("Enter")
    assert edge(sheet, "height") > before
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    check_accessibility(page)
    for _ in range(2):
        page.get_by_role("button", name="Height of the response").press("Enter")


def test_print_has_everything_on_paper(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator(".plain")).to_be_visible()
    expect(page.locator(".app")).to_be_hidden()
    expect(page.locator(".plain article").first).to_contain_text("[9] boat.mp4")
    ink = page.locator(".plain h2").first.evaluate("node => getComputedStyle(node).color")
    assert ink == "rgb(0, 0, 0)"


def test_the_head_names_what_made_it(page: Page) -> None:
    head = page.locator(".about")
    expect(head).to_contain_text("1 of 5 statements has no source.")
    assert not page.locator(".provenance").is_visible()
    head.get_by_text("Details").click()
    expect(page.locator(".provenance")).to_contain_text("HarbourProcessor")
    head.get_by_text("Details").click()


@pytest.mark.parametrize("width", [360, 800, 1440, 3840])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": width * 5 // 8})
    for view in ("Read", "Overview"):
        page.get_by_role("button", name=view).click()
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_two_traces_side_by_side(opened: Page, tmp_path: Path) -> None:
    trace = multimodal_trace()
    few = trace.reselect(dataclasses.replace(trace.config, max_supports=1))
    path = write_report([trace, few], tmp_path / "compare.html", compare=True)
    page = opened.context.new_page()
    page.goto(path.as_uri())
    expect(page.locator(".pair.heads")).to_contain_text("attention-mean")
    expect(page.locator(".comparison")).to_contain_text("some sources differ")
    page.locator("[data-side='1'] .said").first.click()
    expect(page.locator(".sources:visible")).to_contain_text("Sources, as B uses them")
    expect(page.locator(".sources:visible .region.on")).to_have_count(0)
    page.locator("[data-side='0'] .said").first.click()
    expect(page.locator(".sources:visible .region.on")).to_have_count(2)
    check_accessibility(page)
    page.get_by_role("button", name="B", exact=True).click()
    expect(page.locator(".response .statement")).to_have_count(5)
    page.close()


def test_long_passages_without_a_statement_are_folded(opened: Page, tmp_path: Path) -> None:
    handbook = " ".join(f"Section {k} says how to clean pump number {k}." for k in range(60))
    trace = text_trace([handbook], "Which?", "Pump 0 is cleaned.")
    page = opened.context.new_page()
    page.goto(write_report([trace], tmp_path / "long.html").as_uri())
    fold = page.get_by_role("button", name="58 passages that no statement rests on")
    expect(fold).to_be_visible()
    height = "document.querySelector('.prose').clientHeight"
    before = page.evaluate(height)
    page.get_by_label("Search in sources and response").fill("pump number 30.")
    expect(fold).to_have_count(0)
    assert page.evaluate(height) > 2 * before
    expect(page.locator("[data-unit='30']")).to_be_in_viewport()
    page.close()


def test_hostile_content_is_text(opened: Page, tmp_path: Path) -> None:
    path = write_report(
        [evil_trace()], tmp_path / "evil.html", titles=[EVIL], notes=[[EVIL]], media=True
    )
    page = opened.context.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(path.as_uri())
    title = page.title()
    for step in ("Lines", "Words", "Overview", "Read"):
        page.get_by_role("button", name=step).click()
    page.locator(".about summary").click()
    for details in page.locator(".metadata summary").all():
        details.click()
    page.locator(".word").first.click()
    page.wait_for_timeout(200)
    assert (dialogs, page.title()) == ([], title)
    assert page.locator("#viewer script, #viewer b:not([class]):has-text('bold') b").count() == 0
    kinds = page.evaluate("[...new Set([...document.images].map(i => i.src.slice(0, 23)))]")
    assert kinds == ["data:image/jpeg;base64,"]
    for place in (".part.image h3 bdi", ".metadata dd bdi", ".provenance dd bdi", "h1"):
        expect(page.locator(place).first).to_contain_text("</script><img src=x onerror=alert(1)>")
    # Names show what turns text around, and nothing gets out of its own element.
    name = page.locator(".part.image h3")
    expect(name).to_contain_text("\u2039U+202E\u203agnp")
    for text in page.locator(".prose, .said, h1, .quote").all():
        assert text.evaluate("node => getComputedStyle(node).unicodeBidi") in (
            "isolate",
            "plaintext",
        )
    page.close()


def test_a_long_answer_opens_at_once(opened: Page, tmp_path: Path) -> None:
    """20,000 tokens and 2,000 units: CPU seconds of the page, whatever else the machine does."""
    path = tmp_path / "large.html"
    path.write_text("".join(render_page(iter([large_view()]), lambda: None)), "utf-8")
    page = opened.context.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")

    page.goto(path.as_uri())
    expect(page.locator("[data-span='0']")).to_be_visible()
    assert seconds() < 3
    assert page.locator("[data-span]").count() < 200
    before = seconds()
    for selector in (".response .body", ".sources .body"):
        for _ in range(10):
            page.locator(selector).evaluate("node => node.scrollBy(0, 2000)")
            page.wait_for_timeout(20)
    assert (seconds() - before) / 20 < 0.2
    page.locator("[data-span]").first.focus()
    page.keyboard.press("End")
    expect(evidence(page)).to_contain_text("Statement 1000 of 1000")
    expect(page.locator(".piece.on")).to_be_in_viewport()
    page.close()


def test_a_frame_of_a_notebook_works(opened: Page, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html>{multimodal_trace()._repr_html_()}", "utf-8")
    page = opened.context.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("[data-span='1']").click()
    expect(frame.locator(".evidence")).to_contain_text("Statement 2 of 5")
    assert failed == []
    page.close()


def test_the_picture_of_the_docs_can_be_taken(report: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "docs" / "make_pictures.py"
    spec = importlib.util.spec_from_file_location("make_pictures", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ThreadPoolExecutor(1) as pool:  # Playwright wants a thread of its own for each browser
        pool.submit(module.photograph, report, tmp_path / "report.png").result()
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size == (module.WIDTH, module.HEIGHT)
    assert (tmp_path / "report.png").stat().st_size < 200_000
    assert [path.name for path in tmp_path.iterdir()] == ["report.png"]

"""The page in a browser, at a real server of the reference model."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from omnitrace import Tracer
from omnitrace.serve import ServeOptions
from tests.helpers.chromium import ALL_IMPACTS, check_accessibility
from tests.serve.page.conftest import Asked, Lead, serving

_SHORT = ("The kettle costs nine coins. The lamp costs two coins.", "What does the lamp cost?")
_EVIL = "<img src=x onerror='document.title=1'>"
_MOST_STEPS = 60


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a context. Whatever the console says, such as a broken policy, fails the module."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    said: list[str] = []
    made.on("console", lambda message: said.append(message.text))
    made.on("weberror", lambda error: said.append(str(error.error)))
    yield made
    made.close()
    # A browser itself reports every status of 400 or more.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []


@pytest.fixture
def tab(context: BrowserContext, server: str) -> Iterator[Page]:
    page = opened(context, server)
    yield page
    page.close()


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("button", name="Add files")).to_be_visible()
    return page


def write(page: Page, text: str, question: str, files: list[Path] | None = None) -> None:
    page.get_by_role("button", name="Add a text").click()
    page.get_by_label("Text of the document").fill(text)
    if files:
        page.get_by_label("Files").set_input_files(files)
    page.get_by_label("Question").fill(question)


def send(page: Page) -> None:
    button = page.get_by_role("button", name="Send")
    expect(button).to_have_attribute("aria-disabled", "false")
    button.click()
    expect(page.locator(".run")).to_be_visible()


def drop(page: Page, file: Path) -> None:
    """Drop a file on the page, as from a folder."""
    data = page.evaluate_handle(
        """([bytes, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          return data;
        }""",
        [list(file.read_bytes()), file.name],
    )
    page.get_by_role("main").dispatch_event("drop", {"dataTransfer": data})


def step_until(lead: Lead, seen: Locator) -> None:
    """Let the model step until something is seen."""
    for _ in range(_MOST_STEPS):
        if seen.count():
            return
        lead.go(1)
        seen.page.wait_for_timeout(40)
    expect(seen.first).to_be_visible()


def check_width(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_supports_are_provisional_then_final_before_the_response_ends_and_a_reload_finds_it(
    tab: Page, lead: Lead, asked: Asked
) -> None:
    write(tab, asked.text, asked.question, asked.files)
    expect(tab.locator(".part-card .preview img")).to_have_count(1)
    expect(tab.locator(".part-card audio")).to_have_count(1)
    check_accessibility(tab, impacts=ALL_IMPACTS)
    lead.hold()
    send(tab)
    expect(tab.get_by_role("status").first).to_have_text(re.compile("Reading|Writing"))
    step_until(lead, tab.locator(".statement.open .chip"))
    expect(tab.locator(".statement.open")).to_contain_text("Provisional")
    expect(tab.locator(".sources .provisional")).to_have_count(1)
    assert tab.locator(".sources .on").count() >= 1
    check_accessibility(tab, impacts=ALL_IMPACTS)

    step_until(lead, tab.locator(".statement .ref"))
    number = tab.locator(".statement .ref").first.inner_text()
    expect(tab.locator(".sources .no").first).to_have_text(number)
    expect(tab.get_by_role("button", name="Cancel")).to_be_visible()

    said = tab.locator(".statement:not(.open) .said").first.inner_text()
    tab.reload()
    expect(tab.locator(".statement:not(.open) .said").first).to_have_text(said)
    expect(tab.get_by_role("button", name="Cancel")).to_be_visible()
    lead.free()
    expect(tab.get_by_role("button", name="Overview")).to_be_visible()
    expect(tab.locator("[data-span='0']")).to_have_text(said)
    expect(tab.get_by_role("navigation").get_by_text("done")).to_be_visible()
    expect(tab.locator(".sources")).to_contain_text(asked.files[0].name)


def test_cancel_frees_the_model_within_two_steps(tab: Page, lead: Lead, asked: Asked) -> None:
    write(tab, asked.text, asked.question)
    lead.hold()
    send(tab)
    step_until(lead, tab.locator(".statement.open .open-words:not(:empty)"))

    tab.get_by_role("link", name="New request").click()
    send(tab)
    expect(tab.locator(".waiting")).to_contain_text("1 request before yours")
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator(".waiting")).to_contain_text("Cancelled before the model wrote anything")
    tab.go_back()
    tab.go_back()
    expect(tab.locator(".statement.open")).to_be_visible()

    with tab.expect_response(re.compile("/cancel$")):
        tab.get_by_role("button", name="Cancel").click()
    steps = lead.steps
    lead.free()
    expect(tab.locator(".end")).to_contain_text("Cancelled after")
    assert lead.steps <= steps + 2
    expect(tab.get_by_role("navigation").get_by_text("cancelled")).to_have_count(2)


def test_a_corrupt_upload_shows_a_message(tab: Page, tmp_path: Path, asked: Asked) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(asked.files[0].read_bytes()[:300])
    drop(tab, broken)
    alert = tab.get_by_role("alert")
    expect(alert).to_contain_text("Image not added")
    expect(alert).to_contain_text("broken.png")
    tab.get_by_label("Question").fill("What is it?")
    expect(tab.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "true")
    check_accessibility(tab, impacts=ALL_IMPACTS)
    tab.get_by_role("button", name=re.compile("Remove part 1")).click()
    expect(tab.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "false")


def test_two_tabs_never_see_each_others_run(
    tab: Page, context: BrowserContext, server: str
) -> None:
    write(tab, *_SHORT)
    send(tab)
    expect(tab.locator(".finished")).to_be_visible()
    other = opened(context, server)
    expect(other.get_by_role("navigation")).to_contain_text("Your runs appear here")
    other.goto(tab.url)
    expect(other.get_by_role("alert")).to_contain_text("This run is not here")
    # A copy of the tab starts with a copy of its storage.
    with context.expect_page() as found:
        tab.evaluate("open(location.href)")
    copy = found.value
    expect(copy.get_by_role("alert")).to_contain_text("This run is not here")
    copy.close()
    other.close()


def test_after_the_end_it_is_selected_again_verified_and_saved(tab: Page, tmp_path: Path) -> None:
    write(tab, *_SHORT)
    tab.get_by_label("Name of the document").fill(_EVIL)
    tab.get_by_label("Signal").select_option("value-attention")
    tab.get_by_text("Options").click()
    tab.get_by_label("Texts").select_option("whole")
    tab.get_by_text("Verify by ablation when").set_checked(False)
    send(tab)
    refs = tab.locator(".statement .ref")
    expect(refs).to_have_count(1)
    expect(tab.locator(".head")).to_contain_text("Signal value-attention")
    expect(tab.locator(".piece.cited")).to_contain_text(_SHORT[0])
    expect(tab.locator(".sources h3").first).to_have_text(_EVIL)  # as text: no script ran
    expect(tab).to_have_title(re.compile("Omnitrace"))
    tab.locator("[data-span='0']").click()
    tab.get_by_role("button", name="Selection", exact=True).click()
    tab.get_by_label("Least grounding").fill("1")
    expect(refs).to_have_count(0)
    expect(tab.locator("[data-span='0']")).to_have_attribute("aria-pressed", "true")
    check_accessibility(tab, impacts=ALL_IMPACTS)
    tab.get_by_role("button", name="As it was").click()
    expect(refs).to_have_count(1)
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("complementary", name="Selection")).to_be_hidden()

    tab.get_by_role("button", name="Verify").click()
    expect(tab.locator(".tools").get_by_text("Verified")).to_be_visible()
    expect(tab.locator(".head")).to_contain_text("verified by ablation")
    for name, ending in (
        ("Trace", ".omnitrace"),
        ("Report", ".html"),
        ("web-annotation", ".jsonld"),
    ):
        tab.locator(".menu summary").click()
        with tab.expect_download() as found:
            tab.locator(".menu").get_by_role("button", name=re.compile(f"^{name}", re.I)).click()
        assert found.value.suggested_filename.endswith(ending)
        if name == "Trace":
            found.value.save_as(tmp_path / "saved.omnitrace")
            assert zipfile.is_zipfile(tmp_path / "saved.omnitrace")


def test_keys_alone_do_all_of_it(tab: Page) -> None:
    def reach(name: str) -> None:
        for _ in range(40):
            tab.keyboard.press("Tab")
            focused = tab.locator(":focus")
            label = focused.get_attribute("aria-label") or focused.inner_text()
            if label.strip().startswith(name):
                return
        pytest.fail(f"{name} is not reached by keys")

    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("Text of the document")).to_be_focused()
    tab.keyboard.type(_SHORT[0])
    tab.keyboard.press("Tab")
    expect(tab.get_by_label("Question")).to_be_focused()
    tab.keyboard.type(_SHORT[1])
    tab.keyboard.press("Control+Enter")
    expect(tab.locator(".finished")).to_be_visible()
    reach("Selection")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("complementary", name="Selection")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("button", name="Selection", exact=True)).to_be_focused()
    reach("Download")
    tab.keyboard.press("Enter")
    expect(tab.locator(".menu ul")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.locator(".menu ul")).to_be_hidden()
    reach("The lamp")
    tab.keyboard.press("Enter")
    expect(tab.locator(".evidence")).to_contain_text("Statement 1 of 1")


def test_it_fits_a_phone(context: BrowserContext, server: str, lead: Lead, asked: Asked) -> None:
    page = opened(context, server)
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    write(page, asked.text, asked.question, asked.files)
    check_width(page)
    check_accessibility(page, impacts=ALL_IMPACTS)
    lead.hold()
    send(page)
    step_until(lead, page.locator(".statement .ref"))
    check_width(page)
    check_accessibility(page, impacts=ALL_IMPACTS)
    lead.free()
    expect(page.locator(".finished")).to_be_visible()
    page.get_by_role("button", name="Selection", exact=True).click()
    check_width(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Runs").click()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(1)
    check_width(page)
    page.close()


def test_what_a_server_refuses_is_said(
    reference: Tracer, context: BrowserContext, lead: Lead, asked: Asked
) -> None:
    options = ServeOptions(token="open-sesame", upload_bytes=1000, requests_per_client=1)
    with serving(reference, options) as address:
        page = context.new_page()
        page.goto(address)
        for token in ("wrong", "open-sesame"):
            page.get_by_role("textbox", name="Token").fill(token)
            page.get_by_role("button", name="Continue").click()
            if token == "wrong":
                expect(page.get_by_role("alert")).to_contain_text("That token is wrong")
        page.get_by_label("Files").set_input_files(asked.files[0])
        expect(page.get_by_role("alert")).to_contain_text("a file of at most 1.0 kB")
        page.get_by_role("button", name=re.compile("Remove part 1")).click()

        lead.hold()
        write(page, *_SHORT)
        send(page)
        page.get_by_role("link", name="New request").click()
        expect(page.get_by_label("Question")).to_have_value(_SHORT[1])
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("alert")).to_contain_text("The server is busy")
        lead.free()
        page.close()

"""Make the pictures of the docs: a report, and the page of ``omnitrace serve``.

``docs/assets/report.png`` is the report of ``omnitrace demo``, at its first request;
``docs/assets/live.png`` the page at another one, when two statements have ended.

Needs Chromium (``apt-get install chromium``) and Playwright, which drives it. Run from anywhere::

    python docs/make_pictures.py
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright

from omnitrace import Trace, Tracer
from omnitrace.cli.commands.demo import run_demo
from omnitrace.cli.demo.samples import check_statement, draw_samples
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.serve.server import bound, make_server

PICTURE: Final = Path(__file__).parent / "assets" / "report.png"
LIVE: Final = Path(__file__).parent / "assets" / "live.png"
WIDTH: Final = 1280
HEIGHT: Final = 860
CHOSEN: Final = 1  # the statement whose supports are shown: a sum of a text and an image
LIVE_SEED: Final = 42  # two statements that rest on the image, and one on the audio and the text
STEP_SECONDS: Final = 0.15  # so slowly the model writes for the picture of the page


def main() -> None:
    """Run the demo, check the request that is seen, and photograph the report."""
    sample = draw_samples(0)[0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run_demo(out, seed=0)
        check(Trace.load(out / f"{sample.id}.omnitrace"), sample)
        photograph(out / "report.html", PICTURE)
        photograph_live(out / "live", LIVE)
    for picture in (PICTURE, LIVE):
        print(f"wrote {picture}, {picture.stat().st_size / 1000:.0f} kB")


def check(trace: Trace, sample: Sample) -> None:
    """Refuse a picture of an attribution that is wrong."""
    for span, statement in zip(trace.spans, sample.statements, strict=True):
        found = check_statement(statement, span, trace.units)
        if not (found.true and found.named):
            raise SystemExit(f"{span.text!r} is false, or does not name the evidence")


def photograph(page: Path, picture: Path) -> None:
    """Choose a statement in the report."""
    with opened(page.as_uri(), picture) as tab:
        tab.locator(f"[data-span='{CHOSEN}']").click()


def photograph_live(folder: Path, picture: Path) -> None:
    """Ask on the page, and wait until two statements have ended and the third has begun."""
    seed = held_out_seed(LIVE_SEED)
    sample = make_sample(seed, questions=3, order=("text", "image", "audio"), long=False)
    write_sample(sample, folder)
    *sources, question = sample.messages[0]["content"]
    tracer = Tracer.from_pretrained("reference", verify=False)
    check(tracer.trace(sample.messages, media_root=folder), sample)
    tracer.setup.adapter.model.register_forward_pre_hook(lambda *_: time.sleep(STEP_SECONDS))
    with served(tracer) as address, opened(address, picture) as tab:
        for source in sources:
            if source["type"] == "text":
                tab.get_by_role("button", name="Add a text").click()
                tab.get_by_label("Name of the document").last.fill("notes.txt")
                tab.get_by_label("Text of the document").last.fill(source["text"])
            else:
                tab.get_by_label("Files").set_input_files(folder / source[source["type"]])
        tab.get_by_label("Question").fill(question["text"])
        tab.locator("button.send[aria-disabled=false]").click()
        tab.locator("[data-statement='1'] .ref").first.wait_for()
        tab.locator(".statement.open .chip").first.wait_for()


@contextlib.contextmanager
def served(tracer: Tracer) -> Iterator[str]:
    """Serve a model while the context lasts; yields the address."""
    server = make_server(tracer)
    with bound("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def opened(address: str, picture: Path) -> Iterator[Tab]:
    """Open a page in a browser, and store what is seen at the end with few colours."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("there is no chromium: apt-get install chromium")
    shot = picture.with_suffix(".full.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        tab.goto(address)
        yield tab
        tab.mouse.move(0, 0)
        tab.wait_for_timeout(300)  # for what moves after that
        tab.screenshot(path=shot)
        browser.close()
    with Image.open(shot) as drawn:
        few = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)
    shot.unlink()


if __name__ == "__main__":
    main()

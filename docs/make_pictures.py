"""Make ``docs/assets/report.png``: the report of ``omnitrace demo``, at its first request.

Needs Chromium (``apt-get install chromium``) and Playwright, which drives it. Run from anywhere::

    python docs/make_pictures.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import sync_playwright

from omnitrace import Trace
from omnitrace.cli.commands.demo import run_demo
from omnitrace.cli.demo.samples import check_statement, draw_samples
from omnitrace.reference.world import Sample

PICTURE: Final = Path(__file__).parent / "assets" / "report.png"
WIDTH: Final = 1280
HEIGHT: Final = 860
CHOSEN: Final = 1  # the statement whose supports are shown: a sum of a text and an image


def main() -> None:
    """Run the demo, check the request that is seen, and photograph the report."""
    sample = draw_samples(0)[0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run_demo(out, seed=0)
        check(Trace.load(out / f"{sample.id}.omnitrace"), sample)
        photograph(out / "report.html", PICTURE)
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


def check(trace: Trace, sample: Sample) -> None:
    """Refuse a picture of an attribution that is wrong."""
    for span, statement in zip(trace.spans, sample.statements, strict=True):
        found = check_statement(statement, span, trace.units)
        if not (found.true and found.named):
            raise SystemExit(f"{span.text!r} is false, or does not name the evidence")


def photograph(page: Path, picture: Path) -> None:
    """Choose a statement in a browser, and store what is seen with few colours."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("there is no chromium: apt-get install chromium")
    shot = picture.with_suffix(".full.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        tab.goto(page.as_uri())
        tab.locator(f"[data-span='{CHOSEN}']").click()
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

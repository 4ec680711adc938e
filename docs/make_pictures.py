"""Make ``docs/assets/report.png``: the report of ``omnitrace demo``, at its first request.

Needs Chromium (``apt-get install chromium``). Run from anywhere::

    python docs/make_pictures.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

from omnitrace import Trace
from omnitrace.cli.commands.demo import run_demo
from omnitrace.cli.demo.samples import check_statement, draw_samples
from omnitrace.reference.world import Sample

PICTURE: Final = Path(__file__).parent / "assets" / "report.png"
WIDTH: Final = 1180
HEIGHT: Final = 950
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


def choose(page: Path, statement: int) -> None:
    """Choose a statement as a click does; the page's own policy allows no foreign script."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    click = f"document.querySelectorAll('[data-span]')[{statement}].click()"
    page.write_text(html.replace("</body>", f"<script>{click}</script></body>"), "utf-8")


def photograph(page: Path, picture: Path) -> None:
    """Let Chromium draw the page, and store it with few colours."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("there is no chromium: apt-get install chromium")
    choose(page, CHOSEN)
    shot = page.with_suffix(".png")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
    subprocess.run([*command, *size, page.as_uri()], check=True, capture_output=True)
    with Image.open(shot) as drawn:
        few = drawn.convert("RGB").quantize(192, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


if __name__ == "__main__":
    main()

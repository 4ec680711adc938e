"""Make ``docs/assets/report.png``: the report of a request whose attributions are all right.

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

from omnitrace import Trace, Tracer
from omnitrace.evaluation import true_units
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.sources import read_requests

PICTURE: Final = Path(__file__).parent / "assets" / "report.png"
WIDTH: Final = 1180
HEIGHT: Final = 950
CHOSEN: Final = 2  # the statement whose supports are shown: a sum of a text and an image


def main() -> None:
    """Trace a sample that the model never saw, check it, and photograph its report."""
    sample = make_sample(held_out_seed(4), questions=4, order=("text", "image", "audio"))
    with tempfile.TemporaryDirectory() as folder:
        (request,) = read_requests(write_sample(sample, Path(folder)))
        tracer = Tracer.from_pretrained("reference")
        trace = tracer.trace(request.messages, media_root=request.media_root)
        check(trace, sample)
        page = trace.to_html(Path(folder) / "report.html")
        photograph(page, PICTURE)
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


def check(trace: Trace, sample: Sample) -> None:
    """Refuse a picture of an attribution that is wrong."""
    for span, statement in zip(trace.spans, sample.statements, strict=True):
        truth = frozenset().union(*(true_units([each], trace.units) for each in statement.sources))
        named = {support.unit.id for support in span.supports}
        if span.text != statement.text or named != truth:
            raise SystemExit(
                f"{span.text!r} names {sorted(named)}, and the truth is {sorted(truth)}"
            )


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

"""Pictures of single statements: what the request shows, the evidence, and the supports.

Everything is drawn from the scenes, with Pillow alone. Green outlines are the evidence, blue areas
the supports, each with its share of the votes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from omnitrace import Span
from omnitrace.evaluation.labels.schema import ImageSource, Source, TextSource, TimeSource
from omnitrace.reference.render import render_audio, render_image, video_frames
from omnitrace.reference.scenes import Audio, Image, Note, Video
from omnitrace.reference.world import Sample, Scene, Statement, modality_of
from omnitrace.types import ImageRegion, Support, TextRange, TimeRange

__all__ = ["Marks", "draw_statement", "marks_of"]

#: Pixels ``(x0, y0, x1, y1)``.
Box: TypeAlias = tuple[float, float, float, float]
Stream: TypeAlias = Literal["video", "audio"] | None

_WIDTH: Final = 760
_EDGE: Final = 12
_INNER: Final = _WIDTH - 2 * _EDGE
_LINE: Final = 24
_CHIP: Final = 15  # height of a share's sign
_HIGH: Final = 72  # of a video's strip or a wave
_SCALE: Final = 2  # of images
_GREEN: Final = (0, 130, 60)
_BLUE: Final = (30, 90, 230)
_PLAIN: Final = (20, 20, 20)
_FONT: Final = ImageFont.load_default(16)
_SMALL: Final = ImageFont.load_default(13)


@dataclass(frozen=True, slots=True)
class Marks:
    """What lies in one stream of a part: the evidence, and the supports."""

    evidence: tuple[Source, ...] = ()
    supports: tuple[Support, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.evidence or self.supports)


def marks_of(
    part: int, stream: Stream, sources: Sequence[Source], supports: Sequence[Support]
) -> Marks:
    """Pick the evidence and the supports in a part, or in the pictures or the sound of a video."""

    def here(source: Source) -> bool:
        its_stream = (source.stream or "video") if isinstance(source, TimeSource) else None
        return source.part == part and stream in (None, its_stream)

    return Marks(
        tuple(source for source in sources if here(source)),
        tuple(
            support
            for support in supports
            if support.unit.locator.part == part and stream in (None, support.unit.modality)
        ),
    )


def draw_statement(
    sample: Sample, statement: Statement, span: Span, verdict: str
) -> PILImage.Image:
    """Draw the parts that hold evidence or a support, below the question and the response.

    Parameters
    ----------
    sample, statement:
        The request, and one of its statements.
    span:
        What a trace says of the statement.
    verdict:
        How the supports lie to the evidence, in words.
    """
    panels = [_writing(text) for text in (statement.question, span.text.strip(), f"({verdict})")]
    for part, scene in enumerate(sample.scenes):
        for stream in _streams(scene):
            marks = marks_of(part, stream, statement.sources, span.supports)
            if marks:
                panels += [_writing(_title(part, scene, stream)), _panel(scene, stream, marks)]
    height = sum(panel.height for panel in panels) + _EDGE * (len(panels) + 1)
    canvas = PILImage.new("RGB", (_WIDTH, height), "white")
    y = _EDGE
    for panel in panels:
        canvas.paste(panel, (_EDGE, y))
        y += panel.height + _EDGE
    return canvas


def _streams(scene: Scene) -> tuple[Stream, ...]:
    if not isinstance(scene, Video):
        return (None,)
    return ("video",) if scene.sound is None else ("video", "audio")


def _title(part: int, scene: Scene, stream: Stream) -> str:
    length = f", {scene.seconds:g} s" if isinstance(scene, Audio | Video) else ""
    sound = ", its sound" if stream == "audio" else ""
    return f"part {part}: {modality_of(scene)}{length}{sound}"


def _panel(scene: Scene, stream: Stream, marks: Marks) -> PILImage.Image:
    if isinstance(scene, Note):
        return _writing(scene.text, marks)
    if isinstance(scene, Image):
        return _picture(scene, marks)
    if isinstance(scene, Video) and (stream == "video" or scene.sound is None):
        return _timeline(_strip(scene, marks.evidence), scene.seconds, marks)
    sound = scene if isinstance(scene, Audio) else scene.sound
    assert sound is not None, "a video without sound has no such stream"
    return _timeline(_wave(sound), scene.seconds, marks)


def _writing(text: str, marks: Marks | None = None) -> PILImage.Image:
    """Write a text over several lines; marked characters are marked word by word."""
    room = _CHIP if marks else 0
    words = list(_words(text, _LINE + room))
    height = int(max((box[3] for _, box in words), default=_LINE)) + 1
    canvas = PILImage.new("RGB", (_INNER, height), "white")
    draw = ImageDraw.Draw(canvas, "RGBA")

    def boxes(start: int, end: int) -> list[Box]:
        """Return a box for each line that has any of the characters."""
        lines: dict[float, Box] = {}
        for word, (x0, y0, x1, y1) in words:
            if word.start() < end and word.end() > start:
                lines[y0] = (lines.get(y0, (x0,))[0], y0, x1, y1)
        return list(lines.values())

    marks = marks or Marks()
    for support in marks.supports:
        if isinstance(support.unit.locator, TextRange):
            _shade(draw, boxes(support.unit.locator.start, support.unit.locator.end), support)
    for source in marks.evidence:
        if isinstance(source, TextSource) and source.start is not None and source.end is not None:
            _outline(draw, boxes(source.start, source.end))
    for word, (x, y, _, _) in words:
        draw.text((x + 2, y + room), word.group(), fill=_PLAIN, font=_FONT)
    return canvas


def _words(text: str, height: int) -> Iterator[tuple[re.Match[str], Box]]:
    """Lay the words of a text out in lines of a height."""
    x = y = 0.0
    for word in re.finditer(r"\S+", text):
        wide = _FONT.getlength(word.group()) + 6
        if x + wide > _INNER and x > 0:
            x, y = 0.0, y + height
        yield word, (x, y, x + wide, y + height - 3)
        x += wide


def _picture(image: Image, marks: Marks) -> PILImage.Image:
    """Show an image, enlarged."""
    size = (image.width * _SCALE, image.height * _SCALE)
    canvas = PILImage.fromarray(render_image(image)).resize(size)
    draw = ImageDraw.Draw(canvas, "RGBA")

    def scaled(box: Sequence[float]) -> Box:
        x0, y0, x1, y1 = (value * _SCALE for value in box)
        return x0, y0, min(x1, size[0]) - 1, min(y1, size[1]) - 1

    for support in marks.supports:
        if isinstance(support.unit.locator, ImageRegion):
            _shade(draw, [scaled(support.unit.locator.box)], support)
    for source in marks.evidence:
        if isinstance(source, ImageSource) and source.box is not None:
            _outline(draw, [scaled(source.box)])
    return canvas


def _strip(video: Video, evidence: Sequence[Source]) -> PILImage.Image:
    """Show a video as frames side by side: what is seen at the middle of each frame's seconds.

    Where there is evidence in these, it is what is seen at the middle of that.
    """
    count = max(1, _INNER // (_HIGH * video.width // video.height))
    seconds = np.linspace(0.0, video.seconds, count + 1)
    times = (seconds[1:] + seconds[:-1]) / 2
    for source in evidence:
        if isinstance(source, TimeSource):
            start = np.maximum(seconds[:-1], source.start)
            end = np.minimum(seconds[1:], source.end)
            times = np.where(start < end, (start + end) / 2, times)
    edges = np.linspace(0, _INNER, count + 1).astype(int)
    strip = PILImage.new("RGB", (_INNER, _HIGH))
    for pixels, x0, x1 in zip(video_frames(video, times), edges[:-1], edges[1:], strict=True):
        strip.paste(PILImage.fromarray(pixels).resize((int(x1 - x0), _HIGH)), (int(x0), 0))
    return strip


def _wave(audio: Audio) -> PILImage.Image:
    """Show the peaks of an audio, one column of pixels each."""
    samples = np.abs(render_audio(audio).astype(np.float64)) / 32768.0
    peaks = [float(piece.max(initial=0.0)) for piece in np.array_split(samples, _INNER)]
    canvas = PILImage.new("RGB", (_INNER, _HIGH), (245, 245, 245))
    draw = ImageDraw.Draw(canvas)
    for x, peak in enumerate(peaks):
        draw.line((x, _HIGH / 2 * (1 - peak), x, _HIGH / 2 * (1 + peak)), fill=(90, 90, 90))
    return canvas


def _timeline(shown: PILImage.Image, seconds: float, marks: Marks) -> PILImage.Image:
    """Mark seconds on what lies along the axis of time, with the axis below."""
    canvas = PILImage.new("RGB", (_INNER, _HIGH + _LINE), "white")
    canvas.paste(shown, (0, 0))
    draw = ImageDraw.Draw(canvas, "RGBA")
    scale = (_INNER - 1) / seconds

    def box(start: float, end: float) -> Box:
        return start * scale, 0.0, min(end, seconds) * scale, _HIGH - 1.0

    for support in marks.supports:
        if isinstance(support.unit.locator, TimeRange):
            _shade(draw, [box(support.unit.locator.start, support.unit.locator.end)], support)
    for source in marks.evidence:
        if isinstance(source, TimeSource):
            _outline(draw, [box(source.start, source.end)])
    step = next(step for step in (1, 2, 5, 10) if seconds / step <= 20 or step == 10)
    for second in range(0, int(seconds) + 1, step):
        draw.line((second * scale, _HIGH, second * scale, _HIGH + 4), fill=_PLAIN)
        draw.text((second * scale + 2, _HIGH + 4), f"{second}", fill=_PLAIN, font=_SMALL)
    return canvas


def _shade(draw: ImageDraw.ImageDraw, boxes: Sequence[Box], support: Support) -> None:
    """Fill boxes, the more the larger the share, and write the share into the first."""
    for box in boxes:
        draw.rectangle(box, fill=(*_BLUE, round(50 + 110 * support.share)))
    if boxes:
        text, (x, y, _, _) = f"{support.share:.0%}", boxes[0]
        wide = _SMALL.getlength(text) + 4
        x = min(x, draw.im.size[0] - wide)
        draw.rectangle((x, y, x + wide, y + _CHIP), fill=(*_BLUE, 255))
        draw.text((x + 2, y - 1), text, fill="white", font=_SMALL)


def _outline(draw: ImageDraw.ImageDraw, boxes: Sequence[Box]) -> None:
    for box in boxes:
        draw.rectangle(box, outline=_GREEN, width=2)

"""Units of one audio, one video with sound, one image and one text, and evidence in them."""

from __future__ import annotations

from omnitrace import ImageRegion, SourceUnit, TextRange, TimeRange
from omnitrace.evaluation.labels.schema import TimeSource
from omnitrace.types import Modality


def unit(name: str, modality: Modality, part: int, start: float) -> SourceUnit:
    return SourceUnit(name, modality, TimeRange(0, part, start, start + 1), ())


def cell(row: int, column: int) -> SourceUnit:
    box = (56.0 * column, 56.0 * row, 56.0 * column + 56, 56.0 * row + 56)
    region = ImageRegion(0, 2, box, (3, 3), (3 * row + column,))
    return SourceUnit(f"c{row}{column}", "image", region, ())


UNITS = (
    *(unit(f"a{i}", "audio", 0, i) for i in range(4)),
    *(unit(f"v{i}", "video", 1, i) for i in range(4)),
    *(unit(f"s{i}", "audio", 1, i) for i in range(4)),
    *(cell(row, column) for row in range(3) for column in range(3)),
    SourceUnit("t", "text", TextRange(0, 3, 0, 9), ()),
)
A2 = TimeSource(message=0, part=0, start=2.0, end=3.0)
V1 = TimeSource(message=0, part=1, start=1.0, end=2.0, stream="video")

"""What the viewer draws of images, audio and videos: geometry, small pictures, embedded files."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, Final

from omnitrace.sources.regions import cell_box, fills_its_hull, hull, outline
from omnitrace.trace.places import seconds
from omnitrace.types import ImageRegion, MediaRecord, SourceUnit, TimeRange

__all__ = ["facts_of", "image_view", "time_view"]

_LEAST: Final = 1e-3  # seconds: nothing has no length


def facts_of(record: MediaRecord) -> str:
    """Return the size and length of a medium, and how many of its frames a report shows."""
    facts = []
    if record.size:
        facts.append(f"{record.size[0]} \N{MULTIPLICATION SIGN} {record.size[1]} px")
    if record.duration is not None:
        facts.append(f"{seconds(record.duration)} s")
    if record.frame_times:
        fed = len(record.frame_times)
        shown = min(len(record.previews), fed)
        facts.append(f"{shown} of {fed} frames shown" if shown < fed else f"{fed} frames")
    return " · ".join(facts)


def image_view(record: MediaRecord, units: Sequence[tuple[int, SourceUnit]]) -> dict[str, Any]:
    """Describe an image and the regions of its units, all in pixels of the image.

    A region has its exact mask, a line around it, and the corner where its number stands.
    """
    regions = [(i, unit.locator) for i, unit in units if isinstance(unit.locator, ImageRegion)]
    width, height = record.size or (
        max((r.box[2] for _, r in regions), default=1),
        max((r.box[3] for _, r in regions), default=1),
    )
    width, height = max(width, 1), max(height, 1)
    return {
        "width": width,
        "height": height,
        "preview": _base64(record.previews[0]) if record.previews else None,
        "regions": [_region_view(i, region, width, height) for i, region in regions],
    }


def _region_view(unit: int, region: ImageRegion, width: float, height: float) -> dict[str, Any]:
    """Describe a region.

    The line runs along the mask, but around the box where the mask is a full rectangle, or where
    the box is the user's own and not the hull of the mask.
    """
    shape = region.grid, (width, height), region.canvas
    rings = outline(region.cells, *shape)
    mask = "".join(_path(ring) for ring in rings)
    x0, y0, x1, y1 = region.box
    line, corner = _path(((x0, y0), (x1, y0), (x1, y1), (x0, y1))), (x0, y0)
    if region.cells and not fills_its_hull(region.cells, region.grid):
        around = hull(region.cells, *shape)
        if all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(region.box, around, strict=True)):
            # The corner of the hull may lie in another region; that of the first cell does not.
            line, corner = mask, cell_box(region.cells[0], *shape)[:2]
    return {"unit": unit, "mask": mask, "line": line, "corner": [round(v, 2) for v in corner]}


def _path(ring: Sequence[tuple[float, float]]) -> str:
    """Write a closed ring as an SVG path."""
    return "M" + "L".join(f"{x:.6g} {y:.6g}" for x, y in ring) + "z"


def time_view(record: MediaRecord, units: Sequence[tuple[int, SourceUnit]]) -> dict[str, Any]:
    """Describe audio or a video and the seconds of its units."""
    times = [(i, unit, unit.locator) for i, unit in units if isinstance(unit.locator, TimeRange)]
    duration = record.duration or max(
        (*(r.end for _, _, r in times), *record.preview_times, *record.frame_times, _LEAST)
    )
    starts = list(record.preview_times) or [
        k * duration / len(record.previews) for k in range(len(record.previews))
    ]
    return {
        "duration": max(duration, _LEAST),
        "size": record.size,
        "wave": [round(min(max(peak, 0.0), 1.0), 3) for peak in record.waveform],
        "ranges": [
            {"unit": i, "start": r.start, "end": r.end, "sound": unit.modality == "audio"}
            for i, unit, r in times
        ],
        "frames": [
            {"start": start, "jpeg": _base64(preview)}
            for start, preview in zip(starts, record.previews, strict=False)
        ],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

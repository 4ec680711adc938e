"""How a report draws images, audio and videos: geometry in percent, pictures as data URIs."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, Final

from omnitrace.sources.regions import cell_box, fills_its_hull, hull, outline
from omnitrace.types import ImageRegion, MediaRecord, SourceUnit, TimeRange

__all__ = ["media_view", "seconds", "ticks", "waveform_path"]

_MAX_HEIGHT: Final = 400
_MAX_WIDTH: Final = 600
_MAX_TICKS: Final = 9
_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


def media_view(
    record: MediaRecord, units: Sequence[tuple[int, SourceUnit]], source_id: object = None
) -> dict[str, Any]:
    """Describe a medium with the cited ``units`` that lie in it."""
    named = f"{source_id} · {record.name}" if source_id and record.name else source_id
    view: dict[str, Any] = {
        "kind": record.modality,
        "name": str(named or record.name or record.modality),
        "facts": _facts(record),
    }
    if record.modality == "image":
        return view | _image_view(record, units)
    times = [(i, unit, unit.locator) for i, unit in units if isinstance(unit.locator, TimeRange)]
    duration = record.duration or max(
        (*(r.end for _, _, r in times), *record.preview_times, *record.frame_times, 1e-3)
    )
    view |= {
        "wave": waveform_path(record.waveform),
        "samples": max(1, len(record.waveform)),
        "ticks": [{"left": _percent(t, duration), "label": _clock(t)} for t in ticks(duration)],
        "bars": [
            {
                "unit": i,
                "left": _percent(r.start, duration),
                "width": _percent(min(r.end, duration) - r.start, duration),
            }
            for i, _, r in times
        ],
    }
    if record.modality == "video":
        seen = [(i, r) for i, unit, r in times if unit.modality == "video"]
        view["frames"] = _frames(record, seen, duration)
    return view


def _facts(record: MediaRecord) -> str:
    facts = []
    if record.size:
        facts.append(f"{record.size[0]} \N{MULTIPLICATION SIGN} {record.size[1]} px")
    if record.duration is not None:
        facts.append(f"{seconds(record.duration)} s")
    if record.frame_times:
        facts.append(f"{len(record.frame_times)} frames seen by the model")
    return " · ".join(facts)


def _image_view(record: MediaRecord, units: Sequence[tuple[int, SourceUnit]]) -> dict[str, Any]:
    regions = [(i, unit.locator) for i, unit in units if isinstance(unit.locator, ImageRegion)]
    width, height = record.size or (
        max((r.box[2] for _, r in regions), default=1),
        max((r.box[3] for _, r in regions), default=1),
    )
    width, height = max(width, 1), max(height, 1)
    return {
        "width": width,
        "height": height,
        "shown": round(min(_MAX_WIDTH, _MAX_HEIGHT * width / height)),
        "preview": _data_uri(record.previews[0]) if record.previews else None,
        "regions": [_region_view(i, region, width, height) for i, region in regions],
    }


def _region_view(unit: int, region: ImageRegion, width: float, height: float) -> dict[str, Any]:
    """Describe a region: its exact mask, a line around it, and where its number stands.

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
    return {
        "unit": unit,
        "mask": mask,
        "line": line,
        "left": _percent(corner[0], width),
        "top": _percent(corner[1], height),
    }


def _path(ring: Sequence[tuple[float, float]]) -> str:
    """Write a closed ring as an SVG path."""
    return "M" + "L".join(f"{x:.6g} {y:.6g}" for x, y in ring) + "z"


def _frames(
    record: MediaRecord, times: Sequence[tuple[int, TimeRange]], duration: float
) -> list[dict[str, Any]]:
    """Return the thumbnails; each stands for the time until the next, and for the units in it."""
    starts = list(record.preview_times) or [
        k * duration / len(record.previews) for k in range(len(record.previews))
    ]
    ends = [*starts[1:], max(duration, starts[-1] + 1e-3)] if starts else []
    return [
        {
            "src": _data_uri(preview),
            "label": f"{seconds(start)} s",
            "units": [i for i, r in times if r.start < end and start < r.end],
        }
        for preview, start, end in zip(record.previews, starts, ends, strict=False)
    ]


def waveform_path(peaks: Sequence[float]) -> str:
    """Return an SVG path, one unit wide for each peak and 100 high, mirrored at the middle."""
    if not peaks:
        return "M0 50h1"
    heights = [max(0.6, 48 * min(max(peak, 0.0), 1.0)) for peak in peaks]
    points = [f"{i + 0.5:g} {50 - h:.4g}" for i, h in enumerate(heights)]
    points += [f"{i + 0.5:g} {50 + h:.4g}" for i, h in reversed(list(enumerate(heights)))]
    return "M" + "L".join(points) + "z"


def ticks(duration: float) -> list[float]:
    """Return round times from 0 to ``duration``, at most nine."""
    step = next((s for s in _STEPS if duration / s < _MAX_TICKS), duration / (_MAX_TICKS - 1))
    return [k * step for k in range(int(duration / step + 1e-9) + 1)]


def seconds(value: float) -> str:
    """Write seconds with as many digits as they need, up to two."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _clock(value: float) -> str:
    if value < 60:
        return f"{seconds(value)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d}"


def _percent(value: float, whole: float) -> str:
    return f"{100 * min(max(value / whole, 0.0), 1.0):.4g}%" if whole > 0 else "0%"


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")

"""How a report draws images, recordings and videos: geometry in percent, pictures as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

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
        "regions": [
            {
                "unit": i,
                "box": region.box,
                "mask": _mask_path(region, width, height),
                "left": _percent(region.box[0], width),
                "top": _percent(region.box[1], height),
            }
            for i, region in regions
        ],
    }


def _mask_path(region: ImageRegion, width: float, height: float) -> str:
    """Draw the cells of a region, the exact mask of which its box is the hull."""
    rows, columns = region.grid
    path = []
    for cell in region.cells:
        row, column = divmod(cell, max(columns, 1))
        w, h = width / max(columns, 1), height / max(rows, 1)
        path.append(f"M{column * w:.6g} {row * h:.6g}h{w:.6g}v{h:.6g}h{-w:.6g}z")
    return "".join(path)


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

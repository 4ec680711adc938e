"""Cited regions of images in the format of COCO: boxes, masks and what rests on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from omnitrace.export.base import ExportedFile, NamedTrace, joint_name, json_bytes
from omnitrace.sources.regions import pixel_mask
from omnitrace.trace.citations import Citation, SpanCitations
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion

__all__ = ["Coco"]

_MOST_PIXELS: Final = 2**28  # a file may claim any size
_CATEGORY: Final = {"id": 1, "name": "cited", "supercategory": "source"}


class Coco:
    """One COCO document of the images of all traces; a box for each span and region it cites."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield one file, or none where the traces hold no image."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        names: list[str] = []
        for name, trace in traces:
            names.append(name)
            numbers: dict[tuple[int, int], int] = {}
            for record in trace.media:
                if record.modality == "image" and record.size is not None:
                    numbers[record.message, record.part] = len(images) + 1
                    images.append(
                        {
                            "id": len(images) + 1,
                            "file_name": record.name or record.sha256,
                            "width": record.size[0],
                            "height": record.size[1],
                            "sha256": record.sha256,
                        }
                    )
            for found in _annotations(name, trace, numbers, images):
                annotations.append({"id": len(annotations) + 1, **found})
        if images:
            document = {
                "info": {"description": "Regions of images that responses cite, by omnitrace"},
                "licenses": [],
                "images": images,
                "annotations": annotations,
                "categories": [_CATEGORY],
            }
            yield ExportedFile(joint_name(names, ".coco.json"), json_bytes(document))


def _annotations(
    name: str,
    trace: Trace,
    numbers: dict[tuple[int, int], int],
    images: list[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    regions = {unit.id: unit.locator for unit in trace.units}
    shapes: dict[str, dict[str, Any]] = {}  # a region is cited by several spans
    for span in trace.citations():
        for each in span.citations:
            region = regions[each.unit]
            image = numbers.get((each.message, each.part))
            if image is None or not isinstance(region, ImageRegion):
                continue
            if each.unit not in shapes:
                size = images[image - 1]["width"], images[image - 1]["height"]
                shapes[each.unit] = _shape(region, size)
            yield _annotation(name, span, each, image) | shapes[each.unit]


def _annotation(name: str, span: SpanCitations, citation: Citation, image: int) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": _CATEGORY["id"],
        "iscrowd": 0,
        "score": citation.strength,
        "attributes": {
            "request": name,
            "span": span.span,
            "text": span.text,
            "unit": citation.unit,
            "rank": citation.rank,
            "effect": citation.effect,
        },
    }


def _shape(region: ImageRegion, size: tuple[int, int]) -> dict[str, Any]:
    """Return box, mask and area of a region; without a mask where its cells are not of the image.

    The mask is in uncompressed runs, down the columns as COCO has them.
    """
    width, height = size
    x0, x1 = (min(max(x, 0.0), float(width)) for x in (region.box[0], region.box[2]))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in (region.box[1], region.box[3]))
    box = [x0, y0, max(0.0, x1 - x0), max(0.0, y1 - y0)]
    rows, columns = region.grid
    known = region.cells and max(region.cells) < rows * columns
    if not known or not 0 < width * height <= _MOST_PIXELS:
        return {"bbox": box, "area": box[2] * box[3], "segmentation": []}
    mask = pixel_mask(region.cells, region.grid, size, region.canvas)
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    counts = [0, *runs] if flat[0] else runs  # the first run is of what lies outside
    segmentation = {"size": [height, width], "counts": counts}
    return {"bbox": box, "area": int(mask.sum()), "segmentation": segmentation}

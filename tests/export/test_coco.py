"""Boxes and masks that pycocotools reads."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from omnitrace.export.base import write_exports
from omnitrace.sources.regions import pixel_mask
from omnitrace.trace.trace import Trace
from omnitrace.types import ImageRegion
from tests.helpers.cited_traces import cited_trace
from tests.helpers.sample_traces import COLUMNS, HEIGHT, ROWS, WIDTH, multimodal_trace


def read(folder: Path, *traces: Trace) -> COCO:
    (path,) = write_exports([(f"t{i}", trace) for i, trace in enumerate(traces)], "coco", folder)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def test_regions_are_read_with_their_boxes_and_masks(tmp_path: Path) -> None:
    trace = cited_trace()
    coco = read(tmp_path, trace, multimodal_trace())
    images = coco.loadImgs(coco.getImgIds())
    assert [(each["id"], each["file_name"]) for each in images] == [
        (1, "pier.png"),
        (2, "pier.png"),
    ]
    assert {(each["width"], each["height"]) for each in images} == {(WIDTH, HEIGHT)}
    found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    cited = [each for span in trace.citations() for each in span.citations if each.box]
    assert len(found) == len(cited) == 2
    regions = {unit.id: unit.locator for unit in trace.units}
    for annotation, each in zip(found, cited, strict=True):
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == each.box
        assert annotation["score"] == each.strength
        assert annotation["attributes"]["unit"] == each.unit
        region = regions[each.unit]
        assert isinstance(region, ImageRegion)
        mask = pixel_mask(region.cells, region.grid, (WIDTH, HEIGHT))
        assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum() == width * height


def test_a_region_with_a_hole_has_its_exact_mask(tmp_path: Path) -> None:
    ring = tuple(cell for cell in range(ROWS * COLUMNS) if cell != COLUMNS + 1)
    trace = multimodal_trace()
    units = tuple(
        dataclasses.replace(
            unit, locator=dataclasses.replace(unit.locator, box=(0, 0, WIDTH, HEIGHT), cells=ring)
        )
        if unit.id == "image-4" and isinstance(unit.locator, ImageRegion)
        else unit
        for unit in trace.units
    )
    layout = dataclasses.replace(trace.layout, units=units)
    coco = read(tmp_path, dataclasses.replace(trace, layout=layout).reselect(trace.config))
    annotations = {each["attributes"]["unit"]: each for each in coco.anns.values()}
    mask = coco.annToMask(annotations["image-4"]).astype(bool)
    assert np.array_equal(mask, pixel_mask(ring, (ROWS, COLUMNS), (WIDTH, HEIGHT)))
    assert not mask[HEIGHT // 4, WIDTH // 5]
    assert mask[0, 0]


def test_cells_that_are_not_of_the_image_have_no_mask(tmp_path: Path) -> None:
    trace = multimodal_trace()
    units = tuple(
        dataclasses.replace(unit, locator=dataclasses.replace(unit.locator, cells=(999,)))
        if isinstance(unit.locator, ImageRegion)
        else unit
        for unit in trace.units
    )
    layout = dataclasses.replace(trace.layout, units=units)
    coco = read(tmp_path, dataclasses.replace(trace, layout=layout).reselect(trace.config))
    assert {each["area"] for each in coco.anns.values()} == {300.0 * 300.0}
    assert all(each["segmentation"] == [] for each in coco.anns.values())


def test_the_document_is_json_with_all_members(tmp_path: Path) -> None:
    (path,) = write_exports([("x", cited_trace())], "coco", tmp_path)
    assert path.name == "x.coco.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == {"info", "licenses", "images", "annotations", "categories"}
    ids = [each["id"] for each in document["annotations"]]
    assert ids == list(range(1, len(ids) + 1))

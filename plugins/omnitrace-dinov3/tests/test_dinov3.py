"""DINOv3's real classes at a small size: patches reach their tokens, regions are Ward's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from omnitrace_dinov3.unitizer import DinoV3Ward
from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

from omnitrace import SourceOptions
from omnitrace.errors import InputError, ModelError
from omnitrace.media import load_image
from omnitrace.sources.parts import MediaPart
from omnitrace.sources.token_map import GridTokens
from omnitrace.sources.unitizers.base import no_features
from omnitrace.sources.unitizers.image import image_units
from omnitrace.sources.unitizers.ward import Ward

PATCH = 8


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        patch_size=PATCH,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_register_tokens=3,
        image_size=64,
    )
    return DINOv3ViTModel(config).eval()


@pytest.fixture(scope="module")
def processor() -> Any:
    return DINOv3ViTImageProcessor(size={"height": 64, "width": 64})


@pytest.fixture(scope="module")
def checkpoint(model: Any, processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dinov3")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tokens_of(pixels: np.ndarray, rows: int, columns: int) -> GridTokens:
    image = load_image(PIL.Image.fromarray(pixels))
    part = MediaPart(0, 0, "user", "image", image)
    return GridTokens(part, range(rows * columns), rows, columns, image.width, image.height)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("rows", "columns", "resolution"), [(5, 7, 64), (6, 4, 144), (1, 9, 1)])
def test_a_tokens_feature_is_the_mean_of_its_patches(
    model: Any, processor: Any, rows: int, columns: int, resolution: int
) -> None:
    tokens = tokens_of(noise(90, 120), rows, columns)
    unitizer = DinoV3Ward(model=model, processor=processor, resolution=resolution)
    found = unitizer.features(tokens)
    each = max(1, round(resolution / (PATCH * max(rows, columns))))
    size = {"height": PATCH * each * rows, "width": PATCH * each * columns}
    media = tokens.part.media
    fed = processor(images=media.pixels, size=size, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        states = model(fed).last_hidden_state[0, 1 + 3 :].numpy()
    assert len(states) == rows * columns * each**2
    grid = states.reshape(rows, each, columns, each, 32)
    expected = grid.mean(axis=(1, 3)).reshape(rows * columns, 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_changes_in_one_place_changes_there_most(model: Any, processor: Any) -> None:
    """Rows and columns are not mixed up: a patch of another colour moves its own token most."""
    plain = np.full((96, 160, 3), 90, dtype=np.uint8)
    marked = plain.copy()
    marked[64:80, 32:48] = (250, 20, 20)  # token (4, 2) of 6 × 10
    unitizer = DinoV3Ward(model=model, processor=processor, resolution=160)
    before, after = (unitizer.features(tokens_of(each, 6, 10)) for each in (plain, marked))
    moved = np.linalg.norm(after - before, axis=1)
    assert int(moved.argmax()) == 4 * 10 + 2


def test_regions_are_wards(model: Any, processor: Any) -> None:
    tokens = tokens_of(noise(120, 180), 8, 12)
    for parameters in ({}, {"regions": 9}, {"explained": 0.5}):
        unitizer = DinoV3Ward(model=model, processor=processor, **parameters)
        features = unitizer.features(tokens)
        expected = Ward(**parameters).cut(tokens, lambda _, own=features: own)
        assert unitizer.cut(tokens, no_features).tolist() == expected.tolist()
    drafts = image_units(tokens, DinoV3Ward(model=model, processor=processor, regions=9))
    assert len(drafts) == 9
    assert sorted(p for draft in drafts for p in draft.positions) == list(range(96))


def test_a_checkpoint_gives_what_its_model_gives(
    model: Any, processor: Any, checkpoint: Path
) -> None:
    tokens = tokens_of(noise(100, 100), 7, 7)
    options = SourceOptions(image=f"dinov3:checkpoint={checkpoint},regions=5,resolution=112")
    given = DinoV3Ward(model=model, processor=processor, regions=5, resolution=112)
    found = options.image_unitizer
    assert isinstance(found, DinoV3Ward)
    assert found.cut(tokens, no_features).tolist() == given.cut(tokens, no_features).tolist()
    assert found._model()[0] is found._model()[0]  # loaded once
    record = options.record()
    assert record["image"]["parameters"]["checkpoint"] == str(checkpoint)
    assert SourceOptions.from_record(record).image_unitizer == found


def test_the_users_model_is_left_as_it_was(model: Any, processor: Any) -> None:
    tokens = tokens_of(noise(64, 64), 6, 6)
    unitizer = DinoV3Ward(model=model, processor=processor)
    first = unitizer.features(tokens)
    model.train()
    try:
        second = unitizer.features(tokens)
        assert model.training
    finally:
        model.eval()
    assert np.array_equal(first, second)


def test_mistakes_are_named(processor: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'dinov3' has no model") as caught:
        SourceOptions(image="dinov3")
    assert "checkpoint=" in caught.value.fix
    with pytest.raises(InputError, match="half a model"):
        DinoV3Ward(processor=processor)
    with pytest.raises(InputError, match="resolution"):
        DinoV3Ward(checkpoint="x", resolution=0)
    with pytest.raises(InputError, match="regions of the unitizer 'dinov3'"):
        DinoV3Ward(checkpoint="x", regions=0)
    tokens = tokens_of(noise(64, 64), 6, 6)
    with pytest.raises(ModelError, match="cannot load the DINOv3 checkpoint"):
        DinoV3Ward(checkpoint=str(tmp_path)).cut(tokens, no_features)
    other = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="is of the type 'Linear'"):
        DinoV3Ward(model=other, processor=processor).cut(tokens, no_features)

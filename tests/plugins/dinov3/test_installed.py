"""The plugin as a user installs it: from a wheel, listed, used, and with its own tests passing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

from tests.helpers.wheels import PLUGINS, build_wheel, environment, install, omnitrace, run

PLUGIN = PLUGINS / "omnitrace-dinov3"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment; return its interpreter."""
    wheel = build_wheel(PLUGIN, tmp_path_factory.mktemp("wheels"))
    return install(environment(tmp_path_factory.mktemp("installed")), wheel)


def test_it_is_listed(installed: Path) -> None:
    lines = omnitrace(installed, "list", "unitizers").splitlines()
    (line,) = [line for line in lines if line.startswith("dinov3 ")]
    assert line.split()[1:3] == ["image", "omnitrace-dinov3:dinov3"]


def test_it_cuts_a_request(installed: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    DINOv3ViTModel(DINOv3ViTConfig(patch_size=8, num_attention_heads=2, **sizes)).save_pretrained(
        tmp_path / "dino"
    )
    DINOv3ViTImageProcessor().save_pretrained(tmp_path / "dino")
    pixels = np.random.default_rng(0).integers(0, 256, (168, 168, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    found: dict[str, Any] = json.loads(
        omnitrace(
            installed,
            *("trace", "--image", str(tmp_path / "a.png"), "--ask", "What is it?", "--json"),
            *("--image-units", f"dinov3:checkpoint={tmp_path / 'dino'},regions=6"),
            *("--max-new-tokens", "3"),
        )
    )
    assert len(found["units"]) == 6
    unitizer = found["provenance"]["segmentation"]["sources"]["image"]
    assert unitizer["name"] == "dinov3"
    assert unitizer["parameters"]["checkpoint"] == "dino"


def test_its_own_tests_pass(installed: Path) -> None:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA")
    done = run(installed, "-m", "pytest", *options, str(PLUGIN / "tests"))
    assert "PASSED" in done.stdout
    assert "test_a_checkpoint_gives_what_its_model_gives" in done.stdout

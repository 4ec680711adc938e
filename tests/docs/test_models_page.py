"""The page of models is of the families that there are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from omnitrace.models.families import FAMILIES, Family
from omnitrace.testing.doctor import CHECKS

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reference" / "models.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", DOCS / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_on_the_page(family: Family, script: ModuleType) -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith(f"| {family.title} |")
    ]
    media, signals = rows
    kinds = dict(zip(script.MODALITIES, media[1:], strict=False))
    shown = {kind for kind, mark in kinds.items() if mark != "no"}
    newer = set(family.since)  # the page was made with an older transformers, or this is one
    assert shown | newer == set(family.modalities) | newer
    assert all(name in media[-1] for name in family.checkpoints)
    assert len(signals) == 1 + len(script.SIGNALS)
    assert "WRONG" not in media + signals


def test_the_page_is_made_of_lines_that_there_are(script: ModuleType) -> None:
    named = {
        *script.MODALITIES.values(),
        *(name for each in script.SIGNALS.values() for name in each),
    }
    assert named <= set(CHECKS)

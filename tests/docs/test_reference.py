"""The pages of the Python reference show every name of every public package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import griffe
import pytest

from tests.test_faces import FACES

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))
SHOWN: Final = sorted(
    name
    for page in PAGES
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.fixture(scope="module")
def package() -> griffe.Object:
    loader = griffe.GriffeLoader(search_paths=[ROOT], docstring_parser="numpy")
    loaded = loader.load("omnitrace")
    loader.resolve_aliases()
    assert isinstance(loaded, griffe.Object)
    return loaded


def test_every_public_package_has_a_page() -> None:
    assert set(FACES) <= set(SHOWN)


@pytest.mark.parametrize("face", SHOWN)
def test_every_name_is_documented(package: griffe.Object, face: str) -> None:
    """The site leaves out what has no docstring."""
    found = package if face == "omnitrace" else package[face.removeprefix("omnitrace.")]
    names = [str(name).strip("'\"") for name in found.exports or ()]
    assert names
    assert [name for name in names if not found.members[name].has_docstring] == []

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def files() -> ModuleType:
    """The writers of media files in files.py, which importlib mode cannot import by name."""
    spec = importlib.util.spec_from_file_location(
        "omnitrace_test_media_files", Path(__file__).parents[1] / "helpers" / "media_files.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

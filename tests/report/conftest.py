"""Chromium, as Debian has it, driven by Playwright; one browser for all tests of a module."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser. Without one tests are skipped, but in CI they fail."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None and "CI" not in os.environ:
        pytest.skip("there is no Chromium: apt-get install chromium")
    assert path is not None, "CI has no Chromium: .ci/run installs it"
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=path)
        except Error as error:  # pragma: no cover
            pytest.fail(f"{path} does not start: {error}")
        yield found
        found.close()

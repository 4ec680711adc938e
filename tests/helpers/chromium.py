"""Chromium, as Debian has it, driven by Playwright; one browser for all tests of a module."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright

__all__ = ["ALL_IMPACTS", "browser", "check_accessibility"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SERIOUS = ("serious", "critical")
ALL_IMPACTS = ("minor", "moderate", *_SERIOUS)


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


def check_accessibility(page: Page, *, impacts: Collection[str] = _SERIOUS) -> None:
    """Refuse what axe-core finds of some impact; by default what it calls serious."""
    found = Axe().run(page).response["violations"]
    refused = [
        (each["id"], [(node["html"][:200], node["failureSummary"]) for node in each["nodes"]])
        for each in found
        if each["impact"] in impacts
    ]
    assert not refused, refused

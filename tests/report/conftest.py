"""The browser of the viewer's tests."""

from tests.helpers.chromium import browser

__all__ = ["browser"]

"""All categories of malformed inputs."""

from __future__ import annotations

from typing import Final

from tests.fuzz import estimators, evaluations, labels, media, options, requests, traces, units
from tests.fuzz.case import Category, Source

__all__ = ["SOURCES"]

SOURCES: Final[dict[Category, Source]] = {
    "requests": requests.SOURCE,
    "units": units.SOURCE,
    "options": options.SOURCE,
    "media": media.SOURCE,
    "traces": traces.SOURCE,
    "estimators": estimators.SOURCE,
    "labels": labels.SOURCE,
    "evaluations": evaluations.SOURCE,
}

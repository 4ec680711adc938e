"""A server of the reference model that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.serve import ServeOptions
from tests.serve.client import serving


@pytest.fixture(scope="module")
def client(reference: Tracer) -> Iterator[TestClient]:
    with serving(reference, ServeOptions(requests_per_client=8, queue_length=16)) as made:
        yield made

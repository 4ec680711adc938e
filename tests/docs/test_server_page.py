"""The page of the server is what the server's schemas say, and names every endpoint."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Final

from starlette.testclient import TestClient

from tests.serve.conftest import client

__all__ = ["client"]

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reference" / "server.md"


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_server", DOCS / "make_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert PAGE.read_text("utf-8") == module.page(), "run docs/make_server.py"


def test_the_page_names_every_metric(client: TestClient) -> None:
    text = PAGE.read_text("utf-8")
    found = re.findall(r"^# TYPE (omnitrace_\w+) (\w+)$", client.get("/metrics").text, re.MULTILINE)
    named = {name for name, _ in found if not name.endswith("_created")}
    assert len(named) >= 10
    assert [name for name in named if f"`{name}" not in text] == []


def test_the_page_names_every_endpoint(client: TestClient) -> None:
    text = PAGE.read_text("utf-8")
    paths = client.app.openapi()["paths"]  # type: ignore[attr-defined]
    own = [path for path in paths if not path.startswith("/api")]
    assert {"/v1/attributions", "/healthz"} <= set(own)
    assert [path for path in own if f"{path}`" not in text] == []

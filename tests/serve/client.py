"""What tests ask of a server, and how they read its events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.serve import ServeOptions, create_app

__all__ = ["ASKED", "KEY", "OTHER_KEY", "Seen", "ask", "events_of", "serving"]

KEY = "a-tab-of-the-page-1"
OTHER_KEY = "a-tab-of-the-page-2"
ASKED: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "The code of the harbour is 4711."},
                {"type": "text", "text": "The keeper of the harbour is Ada."},
                {"type": "text", "text": "What is the code of the harbour?"},
            ],
        }
    ]
}


@dataclass(frozen=True)
class Seen:
    """An event as a client sees it."""

    number: int
    type: str
    data: dict[str, Any]


def serving(tracer: Tracer, options: ServeOptions | None = None, key: str = KEY) -> TestClient:
    """Return a client of a new server, which runs while the client is entered."""
    return TestClient(
        create_app(tracer, options),
        base_url="http://localhost:8000",
        headers={"X-Omnitrace-Client": key},
        raise_server_exceptions=False,
    )


def ask(client: TestClient, **asked: Any) -> str:
    """Start a run, and return its id."""
    answer = client.post("/api/runs", json={**ASKED, **asked})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run"])


def events_of(client: TestClient, run: str, after: int = 0) -> list[Seen]:
    """Follow a run to its end."""
    with client.stream("GET", f"/api/runs/{run}/events", params={"after": after}) as answer:
        assert answer.status_code == 200
        text = "".join(answer.iter_text())
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            found.append(Seen(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found

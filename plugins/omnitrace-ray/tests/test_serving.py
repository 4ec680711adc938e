"""The server behind Ray Serve, on this machine."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator

import httpx
import pytest
from omnitrace_ray import serve_app
from ray import serve

from omnitrace import Tracer

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": number})
    yield number
    serve.shutdown()


def test_a_request_is_answered_and_its_events_are_streamed(port: int) -> None:
    load = functools.partial(Tracer.from_pretrained, "reference", signal="attention-mean")
    serve.run(serve_app(load), route_prefix="/")
    texts = ["The cup is red. The key is in the kitchen.", "Which colour is the cup?"]
    content = [{"type": "text", "text": text} for text in texts]
    asked = {"messages": [{"role": "user", "content": content}], "max_new_tokens": 4}
    headers = {"X-Omnitrace-Client": "a-test-of-ray-serve"}
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        assert "<html" in client.get("/").text
        assert client.get("/api/about").json()["model"]
        made = client.post("/api/runs", json=asked)
        assert made.is_success, made.text
        run = made.json()["run"]
        with client.stream("GET", f"/api/runs/{run}/events") as events:
            kinds = [line[7:] for line in events.iter_lines() if line.startswith("event: ")]
        assert kinds.count("token") >= 1
        assert kinds[-1] == "end"
        assert client.get(f"/api/runs/{run}").json()["state"] == "done"

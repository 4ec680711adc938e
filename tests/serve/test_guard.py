"""The guard in front of the application: hosts, origins, tokens, bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.serve import ServeOptions
from omnitrace.serve.guard import Guard
from tests.serve.client import ASKED, serving


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.1.evil"),
        *("", "[::1", "evil.example:8000", "localhost evil"),
    ],
)
def test_a_forged_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/about", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "wrong_host"
    assert "localhost" in answer.json()["error"]["legal"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000"])
def test_the_names_of_the_server_are_taken(client: TestClient, host: str) -> None:
    assert client.get("/api/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/api/runs"), ("GET", "/api/runs"), ("POST", "/anything")):
        answer = client.request(method, path, json=ASKED, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "cross_origin"


def test_cors_is_closed(client: TestClient) -> None:
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/api/runs", headers=origin)
    assert answer.status_code == 403
    own = client.get("/api/about", headers={"Origin": "http://localhost:8000"})
    assert own.status_code == 200
    found = [name for name in (*answer.headers, *own.headers) if name.startswith("access-control")]
    assert found == []


def test_every_response_has_a_policy(client: TestClient) -> None:
    for path in ("/api/about", "/nothing", "/api/runs"):
        headers = client.get(path, headers={"X-Omnitrace-Client": ""}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_a_token_is_demanded(reference: Tracer) -> None:
    token = "a-token-of-the-server"
    with serving(reference, ServeOptions(token=token)) as client:
        for given in (None, "", "Bearer", "Bearer wrong", f"Basic {token}", f"Bearer {token}x"):
            headers = {} if given is None else {"Authorization": given}
            for path in ("/api/about", "/api/runs", "/v1/models", "/metrics", "/nothing"):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert token not in answer.text
        right = {"Authorization": f"Bearer {token}"}
        assert client.get("/api/about", headers=right).status_code == 200
        assert client.get("/", headers={}).status_code in (200, 404)  # the page asks for it
    assert token not in repr(ServeOptions(token=token))


async def passed(
    options: ServeOptions,
    chunks: list[bytes | float],
    guard: list[Guard] | None = None,
    **headers: str,
) -> int:
    """Send a body in chunks, with seconds between them, through the guard; return the status."""
    sent: list[Any] = []
    waiting = iter(chunks)

    async def receive() -> dict[str, Any]:
        chunk = next(waiting, None)
        while isinstance(chunk, float):
            await asyncio.sleep(chunk)
            chunk = next(waiting, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        read = b""
        while (message := await receive())["body"] or message["more_body"]:
            read += message["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": read})

    given = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/runs",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    made = guard if guard is not None else []
    made[:] = made or [Guard(app, options)]
    await made[0](scope, receive, send)
    (status,) = [each["status"] for each in sent if each["type"] == "http.response.start"]
    return int(status)


def test_bodies_are_bounded_whatever_their_length_says() -> None:
    options = ServeOptions(body_bytes=100, body_seconds=5)
    assert asyncio.run(passed(options, [bytes(50), bytes(50)])) == 200
    assert asyncio.run(passed(options, [bytes(50), bytes(51)])) == 413
    for length in ("101", "9" * 400, "-1", "1e3", "0x10"):
        assert asyncio.run(passed(options, [], **{"content-length": length})) == 413


def test_all_bodies_together_are_bounded() -> None:
    options = ServeOptions(body_bytes=100, bodies_bytes=150)
    guard: list[Guard] = []

    async def together() -> list[int]:
        return await asyncio.gather(
            *(passed(options, [bytes(80), 0.05], guard=guard) for _ in range(3))
        )

    assert sorted(asyncio.run(together())) == [200, 429, 429]
    assert asyncio.run(passed(options, [bytes(80)], guard=guard)) == 200


def test_slow_bodies_are_given_up() -> None:
    options = ServeOptions(body_seconds=0.6)
    assert asyncio.run(passed(options, [b"a", 0.02, b"b", 0.02, b"c"])) == 200
    assert asyncio.run(passed(options, [b"a", 5.0, b"b"])) == 408
    assert asyncio.run(passed(options, [b"a", 0.25, b"b", 0.25, b"c", 0.25, b"d"])) == 408


def test_a_defect_is_answered_and_logged_without_what_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the secret of the request")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(app, ServeOptions())(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text

"""URLs of clients: only allowed hosts are asked, and only at public addresses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from omnitrace.errors import MediaError, OmnitraceError
from omnitrace.media import MediaLimits
from omnitrace.serve import ServeOptions, fetching
from omnitrace.serve.fetching import FetchError, fetch, is_public

ALLOWED = ServeOptions(fetch_hosts=("images.example", ".cdn.example"))


def fetched(url: str, addresses: tuple[str, ...] = (), options: ServeOptions = ALLOWED) -> bytes:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return addresses

    return asyncio.run(fetch(url, options, resolve=resolve))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "fc00::1", "::"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"),
        *("not an address", ""),
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(FetchError, match="not public"):
        fetched("https://images.example/a.png", (address,))


def test_public_addresses_are() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(FetchError, match="not public"):
        fetched("https://images.example/a.png", ("93.184.216.34", "10.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a.png",
        "https://images.example.attacker.net/a.png",
        "https://cdn.example/a.png",
        "https://images.example:8443/a.png",
        "https://images.example@127.0.0.1/a.png",
        "https://user:secret@images.example/a.png",
        "file:///etc/passwd",
        "ftp://images.example/a.png",
        "gopher://images.example/",
        "https://[images.example/",
        "https://127.0.0.1/a.png",
        "/etc/passwd",
    ],
)
def test_other_urls_are_refused_before_anything_is_resolved(url: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("nothing is to be resolved")

    with pytest.raises(FetchError):
        asyncio.run(fetch(url, ALLOWED, resolve=resolve))


def test_no_url_is_fetched_by_default() -> None:
    with pytest.raises(FetchError, match="this server fetches none"):
        fetched("https://images.example/a.png", options=ServeOptions())


@contextmanager
def host_of(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *values: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_redirects_are_checked_as_the_first_url_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/a.png": (200, {}, b"bytes"),
        "/moved": (302, {"Location": "/a.png"}, b""),
        "/elsewhere": (302, {"Location": "http://other.example/a.png"}, b""),
        "/inside": (302, {"Location": "http://private.cdn.example/a.png"}, b""),
        "/round": (302, {"Location": "/round"}, b""),
        "/missing": (404, {}, b""),
        "/packed": (200, {"Content-Encoding": "gzip"}, b"x"),
        "/large": (200, {}, bytes(2000)),
    }

    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1"] if host.startswith("private") else ["127.0.0.1"]

    options = ServeOptions(fetch_hosts=ALLOWED.fetch_hosts, media=MediaLimits(max_bytes=1000))
    with host_of(answers) as port:
        monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")
        monkeypatch.setattr(fetching, "_PORTS", {"http": port, "https": 443})

        def get(path: str) -> bytes:
            url = f"http://images.example:{port}{path}"
            return asyncio.run(fetch(url, options, resolve=resolve))

        answers["/inside"] = (302, {"Location": f"http://private.cdn.example:{port}/a"}, b"")
        assert get("/moved") == b"bytes"
        refused: dict[str, type[OmnitraceError]] = {"/large": MediaError}
        for path in ("/elsewhere", "/inside", "/round", "/missing", "/packed", "/large"):
            with pytest.raises(refused.get(path, FetchError)):
                get(path)

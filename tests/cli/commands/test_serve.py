"""``omnitrace serve``: what it demands before a model is loaded, and how it starts."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

import pytest

from omnitrace import Tracer
from omnitrace.cli.commands import serve
from omnitrace.serve.server import Server
from tests.helpers.command_line import Run


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were loaded; none is."""
    found: list[str] = []

    def load(model: str, *values: Any, **options: Any) -> Tracer:
        found.append(model)
        raise AssertionError("nothing is to be loaded")

    monkeypatch.setattr(serve, "load_tracer", load)
    monkeypatch.delenv("OMNITRACE_TOKEN", raising=False)
    return found


def test_the_extra_is_named_where_it_is_missing(
    run: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    result = run("serve")
    assert result.exit_code == 2
    assert "not installed: uvicorn" in result.stderr
    assert "pip install 'omnitrace-attribution[serve]'" in result.stderr
    assert loaded == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_other_machines_need_a_token(run: Run, loaded: list[str], host: str) -> None:
    result = run("serve", "--host", host)
    assert result.exit_code == 2
    assert "lets other machines in, and there is no token" in result.stderr
    assert loaded == []


def test_a_token_is_long_enough(run: Run, loaded: list[str]) -> None:
    result = run("serve", "--token", "short")
    assert result.exit_code == 2
    assert "the token has 5 characters" in result.stderr


def test_a_port_that_is_taken_is_found_before_the_model_is_loaded(
    run: Run, loaded: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "cannot listen on 127.0.0.1" in result.stderr
    assert loaded == []


def test_options_reach_the_server(
    run: Run, reference: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Server, Any]] = []
    monkeypatch.setattr(serve, "load_tracer", lambda *values, **options: reference)
    monkeypatch.setattr(Server, "run", lambda self, sockets: ran.append((self, sockets)))
    options = ("--port", "0", "--allow-host", "box.example", "--max-upload", "3")
    fetched = ("--allow-fetch", "images.example", "--max-new-tokens", "77")
    result = run("serve", "--token", "a-long-token", *options, *fetched)
    assert result.exit_code == 0, result.stderr
    assert "serving reference on http://127.0.0.1:" in result.stderr
    assert "a-long-token" not in result.output
    ((server, _),) = ran
    made = server._state.options
    assert made.hosts == ("localhost", "127.0.0.1", "::1", "127.0.0.1", "box.example")
    assert (made.token, made.fetch_hosts) == ("a-long-token", ("images.example",))
    assert (made.upload_bytes, made.media.max_bytes, made.new_tokens) == (3 << 20, 3 << 20, 77)
    server._state.jobs.close()
    server._state.uploads.close()


def test_addresses() -> None:
    assert serve.address("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert serve.address("::1", 8000) == "http://[::1]:8000"

"""The server on a real socket: its end, and clients that are slow or leave."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from omnitrace import Tracer
from omnitrace.errors import InputError
from omnitrace.serve import ServeOptions, server
from omnitrace.serve.jobs import Job
from omnitrace.serve.server import Server, bound, make_server
from tests.serve.client import ASKED, KEY
from tests.serve.test_queue import endless, held, wait_for


@contextlib.contextmanager
def running(tracer: Tracer, options: ServeOptions | None = None) -> Iterator[tuple[Server, int]]:
    with bound("127.0.0.1", 0) as listening:
        made = make_server(tracer, options)
        thread = threading.Thread(target=made.run, args=([listening],))
        thread.start()
        wait_for(lambda: made.started, 30)
        try:
            yield made, listening.getsockname()[1]
        finally:
            made.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def client_of(port: int) -> httpx.Client:
    headers = {"X-Omnitrace-Client": KEY}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


@pytest.fixture(scope="module")
def live(reference: Tracer) -> Iterator[tuple[Server, int]]:
    with running(reference) as made:
        yield made


def test_a_server_that_ends_loses_no_run_that_has_the_model(reference: Tracer) -> None:
    with running(reference) as (made, port), client_of(port) as client:
        state = made._state
        job = Job(KEY, endless(reference, state, 64))
        state.submit(job)
        wait_for(lambda: job.tokens)
        with client.stream("GET", f"/api/runs/{job.id}/events") as following:
            lines = following.iter_lines()
            while next(lines) != "event: units":
                pass
            made.should_exit = True
            wait_for(lambda: state.queue.closing)
            assert client.post("/api/runs", json=ASKED).status_code == 503
            assert [line for line in lines if line.startswith("event")][-1] == "event: end"
        assert job.state == "done"
        assert job.tokens == 64
    assert not state.uploads.folder.exists()


def test_what_takes_longer_than_the_grace_is_stopped(reference: Tracer) -> None:
    with running(reference, ServeOptions(grace_seconds=0.2)) as (made, _):
        with held(made._state) as job:
            made.should_exit = True
            wait_for(lambda: job.state == "failed")
        assert job.log.after(0)[-1].data["error"]["code"] == "closing"


def test_a_client_that_hangs_up_frees_the_model_within_two_steps(
    reference: Tracer, live: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[float] = []
    model = reference.adapter.model
    monkeypatch.setattr(model.generation_config, "min_new_tokens", 400)
    hook = reference.adapter.decoder.register_forward_hook(lambda *_: steps.append(time.time()))
    stopped: list[int] = []
    stop = Job.cancel

    def cancel(job: Job, reason: Any = "client") -> None:
        stopped.append(len(steps))
        stop(job, reason)

    monkeypatch.setattr(Job, "cancel", cancel)
    made, port = live
    asked = {"model": "reference", "stream": True, "max_tokens": 400, **ASKED}
    try:
        with client_of(port) as client:
            path = "/v1/chat/completions"
            with client.stream("POST", path, json=asked) as following:
                lines = following.iter_lines()
                while '"content"' not in next(lines):
                    pass
        wait_for(lambda: made._state.queue.running is None)
    finally:
        hook.remove()
    assert len(steps) < 400
    assert len(steps) - stopped[0] <= 2


def test_a_reader_that_takes_nothing_holds_nothing_up(
    reference: Tracer, live: tuple[Server, int]
) -> None:
    made, port = live
    job = Job(KEY, endless(reference, made._state, 64))
    job.log.append("token", {"text": "x" * 50_000_000})  # more than sockets hold
    made._state.jobs.add(job)
    with socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        head = f"GET /api/runs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\n"
        stuck.sendall(f"{head}X-Omnitrace-Client: {KEY}\r\n\r\n".encode())
        wait_for(lambda: job.log.watchers)
        made._state.submit(job)
        wait_for(lambda: job.state == "done", 30)
        assert job.tokens == 64
        assert job.log.watchers == 1


FIRST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("heads", [[b""], [b"GET / HTTP/1.1\r\nHost: localh"], [FIRST, b"GET"]])
def test_a_head_that_does_not_come_is_given_up(
    live: tuple[Server, int], monkeypatch: pytest.MonkeyPatch, heads: list[bytes]
) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 1.0)  # a busy machine sends the others in time
    with socket.create_connection(("127.0.0.1", live[1])) as slow:
        slow.settimeout(10)
        slow.sendall(heads[0])
        for head in heads[1:]:
            assert slow.recv(10_000).startswith(b"HTTP/1.1 ")
            slow.sendall(head)
        assert slow.recv(10_000) == b""


def test_an_endless_head_is_refused(live: tuple[Server, int]) -> None:
    with socket.create_connection(("127.0.0.1", live[1])) as hostile:
        hostile.settimeout(10)
        with contextlib.suppress(OSError):
            hostile.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000)
        with contextlib.suppress(ConnectionError):
            assert b" 400 " in hostile.recv(100)


def test_a_port_that_is_taken_is_a_clear_mistake(live: tuple[Server, int]) -> None:
    with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1"):
        bound("127.0.0.1", live[1])
    with pytest.raises(InputError, match="cannot listen on nothing"):
        bound("nothing", 0)

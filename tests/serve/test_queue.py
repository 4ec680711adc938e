"""One model, one queue: order, limits, cancelling, and what a failure leaves alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.engine import verification
from omnitrace.errors import InputError
from omnitrace.serve import ServeOptions
from omnitrace.serve.jobs import Job, Task
from omnitrace.serve.log import EventLog
from omnitrace.serve.state import ServerState
from omnitrace.serve.tasks import Generation, Replay, Verification
from omnitrace.trace.trace import Trace
from tests.serve.client import ASKED, KEY, ask, events_of, serving
from tests.serve.held import Held, held, wait_for


def state_of(client: TestClient) -> ServerState:
    state = client.app.state.server  # type: ignore[attr-defined]
    assert isinstance(state, ServerState)
    return state


def test_requests_wait_in_order_and_are_told_their_positions(client: TestClient) -> None:
    state = state_of(client)
    with held(state):
        runs = [ask(client) for _ in range(3)]
        positions = [client.get(f"/api/runs/{run}").json()["position"] for run in runs]
        assert positions == [1, 2, 3]
        assert client.get(f"/api/runs/{runs[0]}").json()["state"] == "queued"
        client.post(f"/api/runs/{runs[0]}/cancel")
        assert client.get(f"/api/runs/{runs[0]}").json()["state"] == "cancelled"
        assert client.get(f"/api/runs/{runs[1]}").json()["position"] == 1
        told = state.jobs.get(KEY, runs[2]).log.after(0)
        assert [(entry.type, entry.data["position"]) for entry in told] == [("queued", 2)]
    assert [event.type for event in events_of(client, runs[0])][-1] == "cancelled"
    assert events_of(client, runs[1])[-1].type == "end"
    assert events_of(client, runs[2])[-1].type == "end"


def test_a_full_queue_and_a_greedy_client_are_told_when_to_come_back(reference: Tracer) -> None:
    with serving(reference, ServeOptions(queue_length=3, requests_per_client=2)) as client:
        state = state_of(client)
        with held(state):
            mine = [ask(client) for _ in range(2)]
            refused = client.post("/api/runs", json=ASKED)
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
            assert "this client" in refused.json()["error"]["message"]
            other = {"X-Omnitrace-Client": "another-tab-of-the-page"}
            assert client.post("/api/runs", json=ASKED, headers=other).status_code == 200
            third = {"X-Omnitrace-Client": "a-third-tab-of-the-page"}
            refused = client.post("/api/runs", json=ASKED, headers=third)
            assert refused.status_code == 429
            assert "wait for the model" in refused.json()["error"]["message"]
        assert [events_of(client, run)[-1].type for run in mine] == ["end", "end"]


def endless(reference: Tracer, state: ServerState, tokens: int = 400) -> Generation:
    return Generation(
        reference,
        ASKED["messages"],
        state.uploads.folder,
        options={"min_new_tokens": tokens, "max_new_tokens": tokens},
    )


@pytest.fixture
def steps(reference: Tracer) -> Iterator[list[float]]:
    """The times of the model's steps."""
    found: list[float] = []
    hook = reference.adapter.decoder.register_forward_hook(
        lambda *values: found.append(time.monotonic())
    )
    yield found
    hook.remove()


def test_cancelling_frees_the_model_within_two_steps(
    client: TestClient, reference: Tracer, steps: list[float]
) -> None:
    state = state_of(client)
    job = Job(KEY, endless(reference, state))
    state.submit(job)
    wait_for(lambda: job.tokens > 20)
    job.cancel()
    before = len(steps)
    wait_for(lambda: state.queue.running is None)
    assert len(steps) - before <= 2
    assert job.state == "cancelled"
    assert job.log.after(0)[-1].type == "cancelled"
    assert events_of(client, ask(client))[-1].type == "end"


@pytest.mark.parametrize("verify", ["at the end", "on demand"])
def test_cancelling_a_verification_frees_the_model_within_two_passes(
    client: TestClient, reference: Tracer, steps: list[float], verify: str
) -> None:
    state = state_of(client)
    told: list[str] = []
    if verify == "on demand":
        job = Job(KEY, Generation(reference, ASKED["messages"], state.uploads.folder))
        state.submit(job)
        wait_for(lambda: job.state == "done")
        task: Task = Verification(reference)
    else:
        tracer = reference.with_options(verify=True)
        task = Generation(tracer, ASKED["messages"], state.uploads.folder)
        job = Job(KEY, task)

    def cancelling(job: Job, /) -> Trace:
        scorer = verification.measured_effects

        def measured(signal: Any, scores: Any, *values: Any, **options: Any) -> Any:
            told.extend(entry.type for entry in job.log.after(0))
            steps.clear()
            job.cancel()
            return scorer(signal, scores, *values, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verification, "measured_effects", measured)
            return task(job)

    if verify == "on demand":
        state.submit_again(job, cancelling)
    else:
        job._task = cancelling
        state.submit(job)
    wait_for(lambda: not job.active)
    assert len(steps) <= 2
    assert job.state == ("done" if verify == "on demand" else "cancelled")
    assert job.log.after(0)[-1].type == "cancelled"
    assert told
    if verify == "on demand":
        assert told[-1] == "verifying"
        assert job.trace is not None
    assert events_of(client, ask(client))[-1].type == "end"


def test_the_end_of_a_run_says_that_it_verifies(
    client: TestClient, reference: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    append = EventLog.append

    def appended(log: EventLog, type_: str, *values: Any, **options: Any) -> None:
        told.append(type_)
        append(log, type_, *values, **options)

    monkeypatch.setattr(EventLog, "append", appended)
    run = ask(client, verify=True)
    events = events_of(client, run)
    assert events[-1].data["verified"]
    assert told[-2:] == ["verifying", "end"]
    assert told.count("verifying") == 1


def test_a_run_that_nobody_follows_is_stopped_after_a_while(reference: Tracer) -> None:
    with serving(reference, ServeOptions(abandoned_seconds=0.3)) as client:
        state = state_of(client)
        job = Job(KEY, Held())
        state.submit(job)
        wait_for(lambda: job.state == "cancelled")
        assert job.log.after(0)[-1].data == {"reason": "abandoned"}


def test_a_request_that_takes_too_long_is_stopped(client: TestClient) -> None:
    state = state_of(client)
    job = Job(KEY, Held(), seconds=0.1)
    state.submit(job)
    wait_for(lambda: job.state == "failed")
    error = job.log.after(0)[-1].data["error"]
    assert error["code"] == "time_limit"
    assert "0.1 s" in error["message"]


@pytest.mark.parametrize("raised", [RuntimeError, MemoryError, SystemExit, KeyboardInterrupt])
def test_a_crash_leaves_the_others_alone(
    client: TestClient, raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    state = state_of(client)

    def crash(job: Job, /) -> Trace:
        raise raised("the secret of the request")

    with held(state):
        first = ask(client)
        job = Job(KEY, crash)
        state.submit(job)
        second = ask(client)
    ends = [events_of(client, run)[-1].type for run in (first, second)]
    assert ends == ["end", "end"]
    assert job.state == "failed"
    error = job.log.after(0)[-1].data["error"]
    assert error["code"] == "internal"
    assert "secret" not in str(error)
    assert raised.__name__ in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_ends_lets_the_run_end_that_has_the_model(reference: Tracer) -> None:
    with serving(reference) as client:
        state = state_of(client)
        with held(state) as running:
            waiting = Job(KEY, Held())
            state.submit(waiting)
            state.queue.close()
            assert waiting.state == "failed"
            assert waiting.log.after(0)[-1].data["error"]["code"] == "closing"
            assert running.state == "running"
            refused = client.post("/api/runs", json=ASKED)
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers


def test_a_prompt_that_is_too_long_is_refused(reference: Tracer) -> None:
    with serving(reference, ServeOptions(prompt_tokens=10, new_tokens=32)) as client:
        events = events_of(client, ask(client))
        assert events[-1].type == "failed"
        assert "at most 10 tokens" in events[-1].data["error"]["legal"]
        answer = client.post("/api/runs", json={**ASKED, "max_new_tokens": 33})
        assert answer.status_code == 400
        assert "1 to 32" in answer.json()["error"]["legal"]


def test_a_replay_behind_a_prompt_that_is_too_long_never_reaches_the_model(
    reference: Tracer, tmp_path: Path
) -> None:
    messages = [{"role": "user", "content": "What is the weight of the key, and of the lamp?"}]
    job = Job(KEY, Replay(reference, messages, "It is red.", tmp_path, prompt_tokens=3))
    passes: list[int] = []
    hook = reference.adapter.decoder.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        error = job.run()
    finally:
        hook.remove()
    assert isinstance(error, InputError)
    assert "at most 3 tokens" in error.legal
    assert not passes

"""OpenAI's own client, unchanged, against a server that runs."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from omnitrace import Tracer
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import make_sample
from omnitrace.serve import ServeOptions
from omnitrace.serve.jobs import Job
from omnitrace.serve.openai import routes
from omnitrace.serve.openai.tellers import CHUNK
from omnitrace.trace.trace import Trace
from tests.serve.live import Live, live

TOKEN = "a-token-for-tests"
WEB = "https://example.org/lamp"
FACTS: list[dict[str, Any]] = [
    {"type": "text", "text": "The garden was quiet.", "source_id": "notes"},
    {"type": "text", "text": "The lamp weighs five grams.", "source_id": WEB, "title": "Lamps"},
    {"type": "text", "text": "What is the weight of the lamp?"},
]
TOO_LONG = {"type": "text", "text": "word " * 9000}
ASKED: list[Any] = [{"role": "user", "content": FACTS}]


@pytest.fixture(scope="module")
def server(reference: Tracer) -> Iterator[Live]:
    options = ServeOptions(token=TOKEN, new_tokens=64, queue_length=3, body_bytes=2_000_000)
    with live(reference, options) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0, timeout=60
    ) as made:
        yield made


@pytest.fixture(scope="module")
def expected(reference: Tracer) -> Trace:
    return reference.trace(ASKED)


@pytest.fixture
def busy(server: Live) -> Iterator[None]:
    """Give the model something to do until the test ends."""
    over = threading.Event()

    def task(job: Job) -> Trace:
        over.wait(20)
        raise RuntimeError("nothing was asked")

    server.state.queue.submit(Job("somebody else", task))
    yield
    over.set()
    deadline = time.monotonic() + 20
    while server.state.queue.jobs() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_plain_request(client: openai.OpenAI, expected: Trace) -> None:
    found = client.chat.completions.create(model="reference", messages=ASKED)
    assert found.choices[0].message.content == expected.text
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.prompt_tokens == len(expected.prompt_ids)
    annotations = found.choices[0].message.annotations
    assert annotations is not None
    assert annotations[0].url_citation.url == WEB
    attribution = found.model_extra["attribution"]  # type: ignore[index]
    assert attribution["version"] == 1
    best = attribution["spans"][0]["supports"][0]["source"]
    assert best == expected.spans[0].supports[0].unit.id
    assert found._request_id


def test_a_stream(client: openai.OpenAI, expected: Trace) -> None:
    options: Any = {"include_usage": True}
    verified: Any = {"attribution": {"verify": True}}
    stream = client.chat.completions.create(
        model="reference", messages=ASKED, stream=True, stream_options=options, extra_body=verified
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == expected.text
    told = [
        (at, chunk.model_extra["attribution"])
        for at, chunk in enumerate(chunks)
        if chunk.model_extra and "attribution" in chunk.model_extra
    ]
    texts = [
        at for at, chunk in enumerate(chunks) if chunk.choices and chunk.choices[0].delta.content
    ]
    provisional = [at for at, delta in told if "provisional" in delta]
    assert provisional[0] < texts[-1]  # while it is written
    last_at, last = told[-1]
    assert chunks[last_at].choices[0].finish_reason == "stop"
    assert (last["object"], last["spans"][0]["verified"]) == ("attribution", True)
    ended = [span for _, delta in told[:-1] for span in delta["spans"]]
    assert [span["verified"] for span in ended] == [False]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(expected.token_ids)


def test_media(client: openai.OpenAI, reference: Tracer, tmp_path: Path) -> None:
    sample = make_sample(3, questions=2, order=("image", "audio"))
    request = json.loads(write_sample(sample, tmp_path).read_text("utf-8"))
    (message,) = request["messages"]
    content: list[Any] = []
    for part in message["content"]:
        if part["type"] == "text":
            content.append(part)
            continue
        data = base64.b64encode((tmp_path / part[part["type"]]).read_bytes()).decode()
        if part["type"] == "audio":
            content.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
        else:
            key = f"{part['type']}_url"
            content.append(
                {"type": key, key: {"url": f"data:application/octet-stream;base64,{data}"}}
            )
    messages: Any = [{"role": "user", "content": content}]
    found = client.chat.completions.create(model="reference", messages=messages)
    trace = reference.trace(request["messages"], media_root=tmp_path)
    assert found.choices[0].message.content == trace.text
    attribution = found.model_extra["attribution"]  # type: ignore[index]
    cited = [[each["source"] for each in span["supports"]] for span in attribution["spans"]]
    assert cited == [[each.unit.id for each in span.supports] for span in trace.spans]


def test_a_tools_result_is_cited(client: openai.OpenAI) -> None:
    messages: Any = [
        {"role": "user", "content": "What is the weight of the lamp?"},
        {"role": "tool", "tool_call_id": "c1", "content": "The lamp weighs five grams."},
        {"role": "user", "content": "What is the weight of the lamp?"},
    ]
    found = client.chat.completions.create(model="reference", messages=messages)
    attribution = found.model_extra["attribution"]  # type: ignore[index]
    assert {source["message"] for source in attribution["sources"]} == {1}


def test_sampling_and_stops(client: openai.OpenAI, expected: Trace) -> None:
    def ask(**given: Any) -> Any:
        return client.chat.completions.create(model="reference", messages=ASKED, **given)

    assert ask(max_tokens=2).choices[0].finish_reason == "length"
    stopped = ask(stop="five").choices[0]
    assert stopped.message.content == expected.text[: expected.text.index("five")]
    assert stopped.finish_reason == "stop"
    sampled = {ask(temperature=2, seed=seed).choices[0].message.content for seed in (1, 1)}
    assert len(sampled) == 1
    assert ask(temperature=0).choices[0].message.content == expected.text


def test_without_attributions(client: openai.OpenAI) -> None:
    body: Any = {"attribution": False}
    found = client.chat.completions.create(model="reference", messages=ASKED, extra_body=body)
    assert "attribution" not in (found.model_extra or {})


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["reference"]
    assert client.models.retrieve("reference").owned_by == "omnitrace"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def broken(url: str) -> list[Any]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize(
    ("given", "kind", "param", "code"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model", "model_not_found"),
        ({"n": 2}, openai.BadRequestError, "n", "unsupported_parameter"),
        ({"max_tokens": 65}, openai.BadRequestError, "max_tokens", "invalid_value"),
        ({"extra_body": {"topp": 1}}, openai.BadRequestError, "topp", "unknown_parameter"),
        (
            {"messages": broken("http://127.0.0.1/x.png")},
            openai.BadRequestError,
            "messages[0].content[0].image_url.url",
            "url_not_allowed",
        ),
        (
            {"messages": broken("data:image/png;base64,AAAA"), "stream": True},
            openai.BadRequestError,
            "messages",
            "invalid_media",
        ),
        (
            {"messages": [{"role": "user", "content": [TOO_LONG, FACTS[-1]]}]},
            openai.BadRequestError,
            "messages",
            "context_length_exceeded",
        ),
        (
            {"extra_body": {"attribution": {"signal": "nonsense"}}},
            openai.BadRequestError,
            "attribution",
            "unknown_name",
        ),
    ],
)
def test_errors(
    client: openai.OpenAI,
    given: dict[str, Any],
    kind: type[openai.APIStatusError],
    param: str,
    code: str,
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "reference", "messages": ASKED, **given})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_wrong_token(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong-token").models.list()
    assert caught.value.code == "invalid_api_key"


def test_a_body_that_is_too_large(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "x" * 2_000_000}]
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="reference", messages=messages)
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


@pytest.mark.usefixtures("busy")
def test_a_full_queue_says_when_to_come_again(client: openai.OpenAI, server: Live) -> None:
    waiting = [Job(f"other {i}", lambda job: None) for i in range(3)]  # type: ignore[arg-type,return-value]
    for job in waiting:
        server.state.queue.submit(job)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="reference", messages=ASKED)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code == "rate_limit_exceeded"
    for job in waiting:
        job.cancel()


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_leaves_the_queue(server: Live, stream: bool) -> None:
    body = {"model": "reference", "messages": ASKED, "stream": stream}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=0.5)
    deadline = time.monotonic() + 5
    while len(server.state.queue.jobs()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_wait_is_told_in_comments(
    client: openai.OpenAI, server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_HEADERS_SECONDS", 0.1)
    over = threading.Event()

    def task(job: Job) -> Trace:
        over.wait(20)
        raise RuntimeError("nothing was asked")

    server.state.queue.submit(Job("somebody else", task))
    stream = client.chat.completions.create(
        model="reference", messages=broken("data:image/png;base64,AAAA"), stream=True
    )  # the headers are there
    assert stream.response.headers["x-omnitrace-position"] == "1"
    over.set()
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "invalid_media"


def test_a_client_that_stops_reading_frees_the_model(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[float] = []

    def task(job: Job) -> Trace:
        for _ in range(50):
            job.check()
            steps.append(time.monotonic())
            job.log.append(CHUNK, {"step": len(steps)})
            time.sleep(0.3)  # long beside what a busy machine needs to see that nobody reads
        raise RuntimeError("nobody stopped it")

    monkeypatch.setattr(routes, "chat_of", lambda *_: task)
    body = {"model": "reference", "messages": ASKED, "stream": True}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", json=body, headers=headers
    ) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("data"))
    left = time.monotonic()
    while server.state.queue.jobs():
        assert time.monotonic() < left + 5
        time.sleep(0.01)
    assert sum(step > left for step in steps) <= 2


def test_a_crash_leaves_the_others_alone(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, expected: Trace
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(Tracer, "stream", crash)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="reference", messages=ASKED)
        assert "secret" not in str(caught.value)
        assert caught.value.response.headers["x-should-retry"] == "false"
    found = client.chat.completions.create(model="reference", messages=ASKED)
    assert found.choices[0].message.content == expected.text


def test_fifty_requests_in_a_row(client: openai.OpenAI, server: Live, expected: Trace) -> None:
    for number in range(50):
        found = client.chat.completions.create(
            model="reference", messages=ASKED, max_tokens=1 + number % 3
        )
        content = found.choices[0].message.content
        assert content
        assert expected.text.startswith(content)
    assert server.state.jobs.of("address 127.0.0.1") == []  # nothing is kept of them
    assert not server.state._held


@pytest.mark.parametrize("form", ["text", "ids", "object"])
def test_attributions_of_a_given_response(
    client: openai.OpenAI, expected: Trace, form: str
) -> None:
    given: Any = {"text": expected.text, "ids": list(expected.token_ids)}.get(form)
    if form == "object":
        given = client.chat.completions.create(model="reference", messages=ASKED).model_dump()
    body = {"model": "reference", "messages": ASKED, "response": given}
    found = client.post("/attributions", cast_to=dict, body=body)
    assert found["content"] == expected.text
    spans = found["attribution"]["spans"]
    assert [span["supports"][0]["source"] for span in spans] == [
        span.supports[0].unit.id for span in expected.spans
    ]


def test_health_and_metrics(server: Live) -> None:
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    text = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "omnitrace_waiting 0.0" in text
    assert 'omnitrace_http_responses_total{endpoint="chat",status="200"}' in text
    assert "omnitrace_first_token_seconds_bucket" in text

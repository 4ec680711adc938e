"""``omnitrace label judge``, against a real server in a thread."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import read_labels, write_labels
from omnitrace.evaluation.labels.llm_judge import Endpoint, JudgeError, label_trace
from tests.helpers.command_line import Run
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import multimodal_trace, text_trace

GOOD = json.dumps({"sentences": [{"number": 1, "sources": ["T1"]}, {"number": 2, "sources": []}]})
Reply = tuple[int, Any]


class Service:
    """An endpoint that gives planned replies (the last one for ever), and keeps what it got."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [(200, GOOD)]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.requests.append(json.loads(body))
                service.headers.append(dict(self.headers))
                service.paths.append(self.path)
                replies = service.replies
                status, reply = replies.pop(0) if len(replies) > 1 else replies[0]
                if isinstance(reply, str):
                    reply = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
                data = json.dumps(reply).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OMNITRACE_JUDGE_URL", made.url)
    monkeypatch.setenv("OMNITRACE_JUDGE_KEY", "sesame")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    for name in ("a", "b"):
        trace = text_trace(["The lamp is red."], "What is red?", "The lamp is red. I am sure.")
        trace.save(folder / f"{name}.omnitrace")
    return folder


@pytest.fixture
def judge(run: Run, traces: Path, tmp_path: Path) -> Callable[[], Any]:
    return lambda: run("label", "judge", traces, "--out", tmp_path / "out.jsonl", "--model", "wise")


def test_it_is_off_unless_an_endpoint_is_named(
    judge: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMNITRACE_JUDGE_URL", raising=False)
    result = judge()
    assert result.exit_code == 2
    assert "OMNITRACE_JUDGE_URL is not set" in result.stderr
    monkeypatch.setenv("OMNITRACE_JUDGE_URL", "file:///etc/passwd")
    assert "a URL of http or https" in judge().stderr


def test_traces_are_labelled(judge: Callable[[], Any], service: Service, tmp_path: Path) -> None:
    result = judge()
    assert result.exit_code == 0, result.stderr
    found = read_labels(tmp_path / "out.jsonl")
    assert [each.id for each in found] == ["a", "b"]
    assert [span.text for span in found[0].spans] == ["The lamp is red.", "I am sure."]
    (source,) = found[0].spans[0].sources
    assert source.type == "text"
    assert found[0].spans[1].sources == ()
    assert service.paths == ["/v1/chat/completions"] * 2
    assert service.headers[0]["Authorization"] == "Bearer sesame"
    assert service.requests[0]["model"] == "wise"
    assert "T1: The lamp is red." in service.requests[0]["messages"][0]["content"][-1]["text"]
    assert "sesame" not in result.stderr + result.stdout


def test_a_bad_reply_is_asked_for_again_with_what_is_wrong(
    judge: Callable[[], Any], service: Service, tmp_path: Path
) -> None:
    service.replies = [(200, GOOD.replace("T1", "T9")), (200, GOOD)]
    assert judge().exit_code == 0
    first, second = service.requests[:2]
    assert second["messages"][0] == first["messages"][0]
    assert "'T9': there are 1 of these" in second["messages"][2]["content"]
    assert len(service.requests) == 3
    assert len(read_labels(tmp_path / "out.jsonl")) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((200, "I cannot."), "a: the reply cannot be used: not JSON"),
        ((200, {"choices": []}), "is no chat completion"),
        ((500, "{}"), "the judge responds 500"),
        ((302, "{}"), "the judge responds 302"),
    ],
)
def test_what_fails_is_listed_and_the_rest_is_kept(
    judge: Callable[[], Any], service: Service, tmp_path: Path, bad: Reply, message: str
) -> None:
    service.replies = [bad, bad, (200, GOOD)]
    result = judge()
    assert result.exit_code == 2
    assert message in result.stderr
    assert "1 labels written" in result.stderr
    assert "not labelled: a;" in result.stderr
    assert len(service.requests) == 3  # one retry, then the next trace; no redirect is followed
    assert [each.id for each in read_labels(tmp_path / "out.jsonl")] == ["b"]
    again = judge()
    assert again.exit_code == 0
    assert len(service.requests) == 4
    assert "1 labels written" in again.stderr
    assert sorted(each.id for each in read_labels(tmp_path / "out.jsonl")) == ["a", "b"]


def test_labels_that_are_there_are_not_lost(
    judge: Callable[[], Any], service: Service, tmp_path: Path
) -> None:
    out = write_labels(tmp_path / "out.jsonl", [label("mine")])
    service.replies = [(200, GOOD), (401, "{}")]
    result = judge()
    assert result.exit_code == 2
    assert "refuses with 401" in result.stderr
    assert "OMNITRACE_JUDGE_KEY" in result.stderr
    assert [each.id for each in read_labels(out)] == ["mine", "a"]
    before = out.read_text("utf-8") + '{"version": 1}\n'
    out.write_text(before, "utf-8")
    result = judge()
    assert result.exit_code == 2
    assert "line 3" in result.stderr
    assert out.read_text("utf-8") == before


def test_a_service_that_is_not_there(
    judge: Callable[[], Any], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITRACE_JUDGE_URL", "http://127.0.0.1:9")
    result = judge()
    assert result.exit_code == 2
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.stderr


def test_media_are_shown() -> None:
    sources = ["I1 [0, 0, 90, 90]"], ["T3"], ["R1 2-3"], ["R2 4-8"], []
    sentences = [{"number": n, "sources": s} for n, s in enumerate(sources, 1)]
    asked: list[Any] = []

    def chat(messages: Any) -> str:
        asked.extend(messages[0]["content"])
        return json.dumps({"sentences": sentences})

    trace = multimodal_trace()
    media = [
        dataclasses.replace(record, read=lambda: b"RIFF0000WAVE")
        if record.modality == "audio"
        else record
        for record in trace.media
    ]
    found = label_trace("harbour", dataclasses.replace(trace, media=tuple(media)), chat)
    assert [len(span.sources) for span in found.spans] == [1, 1, 1, 1, 0]
    kinds = [part["type"] for part in asked]
    frames = len(next(record for record in media if record.modality == "video").previews)
    assert frames > 0
    assert kinds == [
        "text",
        "image_url",
        "text",
        "input_audio",
        *["text", "image_url"] * frames,
        "text",
    ]
    assert asked[1]["image_url"]["url"].startswith("data:image/")
    assert asked[3]["input_audio"]["format"] == "wav"
    without = [dataclasses.replace(record, read=None) for record in trace.media]
    with pytest.raises(JudgeError, match=r"horn.wav' is not in the trace as WAV or MP3"):
        label_trace("harbour", dataclasses.replace(trace, media=tuple(without)), chat)
    with pytest.raises(JudgeError, match="redacted"):
        label_trace("harbour", trace.redact(), chat)


def test_a_key_that_cannot_be_sent_is_not_told() -> None:
    with pytest.raises(InputError) as error:
        Endpoint("https://host/v1", "m", "ses\name")
    assert "name" not in str(error.value)
    assert "sesame" not in repr(Endpoint("https://host/v1", "m", "sesame"))

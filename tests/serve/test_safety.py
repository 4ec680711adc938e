"""Hostile uploads and messages: each is refused with a clear error, and nothing else is lost."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
from starlette.testclient import TestClient

from omnitrace import Tracer
from omnitrace.media import MediaLimits
from omnitrace.serve import ServeOptions
from omnitrace.serve.state import ServerState
from tests.helpers.media_files import write_video
from tests.serve.client import ASKED, OTHER_KEY, ask, events_of, serving


def png(width: int = 56, height: int = 56) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "red").save(buffer, format="PNG")
    return buffer.getvalue()


def wav(seconds: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(16_000 * seconds)), 16_000, format="WAV")
    return buffer.getvalue()


def bomb_png(side: int = 30_000) -> bytes:
    """A picture of 900 million pixels in a few hundred bytes, as far as its header says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    return buffer.getvalue()


def sent(client: TestClient, data: bytes, name: str = "file", **headers: str) -> Any:
    return client.post("/api/uploads", files={"file": (name, data)}, headers=headers)


def stored(client: TestClient) -> list[Path]:
    state = client.app.state.server  # type: ignore[attr-defined]
    assert isinstance(state, ServerState)
    return [path for path in state.uploads.folder.rglob("*") if path.is_file()]


def test_uploads_are_what_their_bytes_say(client: TestClient, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [i / 10 for i in range(10)], rate=10).read_bytes()
    for data, modality, facts in (
        (png(), "image", {"width": 56, "height": 56}),
        (wav(), "audio", {"seconds": 0.5}),
        (video, "video", {"width": 64, "height": 48, "seconds": 1.0}),
    ):
        answer = sent(client, data, "says-nothing.exe")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["modality"] == modality
        assert found["name"] == "says-nothing.exe"
        assert {name: found[name] for name in facts} == facts
        again = client.get(found["url"])
        assert again.content == data
        assert again.headers["content-type"].startswith(f"{modality}/")
        assert client.delete(found["url"]).status_code == 200
        assert client.get(found["url"]).status_code == 404
    assert stored(client) == []


def test_a_run_reads_its_uploads_and_calls_them_by_their_names(client: TestClient) -> None:
    upload = sent(client, png(), "harbour <b>.png").json()["upload"]
    content = [{"type": "image", "upload": upload}, {"type": "text", "text": "What is seen?"}]
    run = ask(client, messages=[{"role": "user", "content": content}])
    events = events_of(client, run)
    assert events[-1].type == "end", events[-1].data
    assert client.delete(f"/api/uploads/{upload}").status_code == 200
    view = client.get(f"/api/runs/{run}").json()["view"]
    assert [part["name"] for part in view["parts"] if part["kind"] == "image"] == ["harbour_b_.png"]
    assert client.post(f"/api/runs/{run}/verify").status_code == 200
    assert events_of(client, run, after=events[-1].number)[-1].type == "end"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "neither an image nor audio nor a video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "neither"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "neither"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "neither"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "neither"),
        (zip_bomb(), "neither"),
        (bomb_png(), "pixels"),
        (png()[:60], "image"),
        (b"\x89PNG" + bytes(100), "image"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(500), "video"),
        (b"\x1a\x45\xdf\xa3" + bytes(500), "video"),
    ],
)
def test_what_cannot_be_decoded_is_refused_and_deleted(
    client: TestClient, data: bytes, says: str
) -> None:
    answer = sent(client, data, "../../../etc/passwd")
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "media"
    assert says in error["message"]
    assert "'passwd'" in error["message"]
    assert "omnitrace-uploads" not in answer.text
    assert stored(client) == []


def test_media_are_bounded(reference: Tracer) -> None:
    media = MediaLimits(max_image_pixels=10_000, max_audio_seconds=1.0, max_bytes=10_000_000)
    options = ServeOptions(media=media, upload_bytes=100_000, uploads_per_client=2)
    with serving(reference, options) as client:
        for data in (png(200, 200), wav(1.5)):
            assert sent(client, data).status_code == 422
        answer = sent(client, bytes(200_000))
        assert answer.status_code == 413
        assert sent(client, png() + bytes(100_000)).status_code == 413
        assert stored(client) == []
        assert [sent(client, png()).status_code for _ in range(3)] == [200, 200, 429]
        other = {"X-Omnitrace-Client": OTHER_KEY}
        assert sent(client, png(), **other).status_code == 200
        assert len(stored(client)) == 3
        state = client.app.state.server  # type: ignore[attr-defined]
        with contextlib.ExitStack() as stack:
            for _ in range(options.uploads_at_once):
                stack.enter_context(state.uploads.place())
            answer = sent(client, png(), **{"X-Omnitrace-Client": "a-third-tab-of-the-page"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert stored(client) == []


def test_an_upload_belongs_to_its_client(client: TestClient) -> None:
    upload = sent(client, png()).json()["upload"]
    other = {"X-Omnitrace-Client": OTHER_KEY}
    for method in ("GET", "DELETE"):
        answer = client.request(method, f"/api/uploads/{upload}", headers=other)
        assert answer.status_code == 404
    content = [{"type": "image", "upload": upload}, {"type": "text", "text": "What is seen?"}]
    asked = {"messages": [{"role": "user", "content": content}]}
    assert client.post("/api/runs", json=asked, headers=other).status_code == 404
    client.delete(f"/api/uploads/{upload}")


@pytest.mark.parametrize(
    "path",
    [
        "/api/uploads/../../../../etc/passwd",
        "/api/uploads/..%2f..%2f..%2fetc%2fpasswd",
        "/api/uploads/%2e%2e%2fa",
        "/api/uploads/%00",
        "/api/runs/../uploads",
        "/api/runs/..%2f..%2fetc/trace.omnitrace",
        "/static/page/..%2f..%2foptions.py",
        "/static/page/%2e%2e/options.py",
        "/static/report/..%2f..%2f..%2fpyproject.toml",
        "/static/report//etc/passwd",
        "/etc/passwd",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]["code"] in ("not_found", "not_allowed")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "/etc/passwd"},
        {"type": "image", "upload": "../../../etc/passwd"},
        {"type": "image", "upload": "a", "path": "/etc/passwd"},
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"type": "audio", "upload": "a", "transcript": "/etc/passwd"},
        {"type": "text", "text": 1},
        {"type": "text", "text": "a", "metadata": {"a": 1}},
        "text",
        None,
    ],
)
def test_messages_name_no_files_and_no_urls(client: TestClient, part: Any) -> None:
    asked = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]}
    answer = client.post("/api/runs", json=asked)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "changed",
    [
        {"sources": {"audio": "speech:asr=faster-whisper:/etc"}},
        {"sources": {"image": "../../a"}},
        {"sources": {"image": "nothing-of-this-name"}},
        {"signal": "nothing-of-this-name"},
        {"signal": "verified", "verify": True},
        {"max_new_tokens": 10**9},
        {"max_new_tokens": True},
        {"seed": -1},
        {"messages": []},
        {"messages": [{"role": "root", "content": "a"}]},
        {"messages": [{"role": "user", "content": "a"}] * 300},
        {"unknown": 1},
    ],
)
def test_options_are_checked_before_the_request_waits(
    client: TestClient, changed: dict[str, Any]
) -> None:
    answer = client.post("/api/runs", json={**ASKED, **changed})
    if answer.status_code == 200:  # what only reading can find fails as a run
        events = events_of(client, answer.json()["run"])
        assert [events[-1].type, events[-1].data["error"]["code"]] == ["failed", "input"]
    else:
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"messages":' * 10_000, b"\xff\xfe", b"", b"{", b"NaN", b"1e999"]
)
def test_bodies_that_are_no_request_are_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "key", ["", "short", "a" * 200, "a-key-with-a\ttab-inside", "a" * 20 + "/"]
)
def test_a_client_has_a_key(client: TestClient, key: str) -> None:
    answer = client.get("/api/runs", headers={"X-Omnitrace-Client": key})
    assert answer.status_code == 400
    assert "X-Omnitrace-Client" in answer.json()["error"]["message"]


HOSTILE = "</script><script>alert(1)</script>{{7*7}}\r\nSet-Cookie: a=b"


def test_what_a_client_writes_reaches_no_header_and_no_template(client: TestClient) -> None:
    name = 'a"\r\nSet-Cookie: a=b\r\n\r\n<script>.png'
    files = {"file": (name, png())}
    made = client.post("/api/uploads", files=files)
    assert made.status_code == 200
    assert "\r" not in made.json()["name"]
    assert "\n" not in made.json()["name"]
    content = [
        {"type": "image", "upload": made.json()["upload"]},
        {"type": "text", "text": HOSTILE, "source_id": HOSTILE, "title": HOSTILE},
        {"type": "text", "text": HOSTILE},
    ]
    run = ask(client, messages=[{"role": "user", "content": content}])
    assert events_of(client, run)[-1].type == "end"
    for path in ("trace.omnitrace", "report.html", "export/markdown", "export/csv"):
        answer = client.get(f"/api/runs/{run}/{path}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert "set-cookie" not in answer.headers
    report = client.get(f"/api/runs/{run}/report.html").text
    assert "<script>alert" not in report
    for made_up in ("nothing", "..%2fcsv", "%0d%0aSet-Cookie:%20a=b"):
        answer = client.get(f"/api/runs/{run}/export/{made_up}")
        assert answer.status_code in (400, 404)
        assert "set-cookie" not in answer.headers
    client.delete(made.json()["url"])

"""``omnitrace trace`` with a real, untrained model: what is printed, written and survived."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnitrace.cli import runner
from omnitrace.cli.response_view import ResponseView
from omnitrace.runs import trace_name
from omnitrace.trace.events import Event
from omnitrace.trace.trace import Trace
from tests.helpers.command_line import SAMPLING, Run

TEXT = {"messages": [{"role": "user", "content": "The lamp weighs eight grams. What is it?"}]}
MEDIA = ["image-1.png", "audio-2.wav", "video-3.mp4"]  # of the sample
Lines = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]


def test_spans_and_supports_are_printed(run: Run, model: str, sample: Path) -> None:
    result = run("trace", sample, "--model", model, *SAMPLING)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert "nats" in result.stdout
    heads = [line for line in result.stdout.splitlines() if not line.startswith("  ")]
    again = run("trace", sample, "--model", model, *SAMPLING, "--json")
    assert len(heads) == len(json.loads(again.stdout)["spans"])


def test_json_out_html_and_media(run: Run, model: str, sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = run(
        *("trace", sample, "--model", model, *SAMPLING),
        *("--json", "--html", "--media", "--out", out),
    )
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    document = json.loads(line)
    name = json.loads(sample.read_text())["id"]
    assert document.pop("id") == name
    files = {f"{name}.omnitrace", "report.html", "run.json"}
    assert {path.name for path in out.iterdir()} == files
    loaded = Trace.load(out / f"{name}.omnitrace")
    assert loaded.to_dict() == document
    assert loaded.text
    assert loaded.provenance.seed == 3
    assert [record.name for record in loaded.media] == MEDIA
    for record in loaded.media:
        assert record.read is not None
        assert record.read() == (sample.parent / record.name).read_bytes()
    assert name in (out / "report.html").read_text(encoding="utf-8")


def test_the_quick_form(run: Run, model: str, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The lamp weighs eight grams.\n", encoding="utf-8")
    result = run(
        *("trace", "--model", model, *SAMPLING, "--json", "--media-root", sample.parent),
        *("--video", MEDIA[2], "--audio", MEDIA[1], "--image", MEDIA[0]),
        *("--ask", "What is it?", "--image", sample.parent / MEDIA[0]),
        *("--text", f"@{tmp_path / 'note.txt'}", "--text", "@@home"),
    )
    assert result.exit_code == 0, result.stderr
    (message,) = json.loads(result.stdout)["messages"]
    found = [part.get("text", part["type"]) for part in message["content"]]
    media = ["image", "image", "audio", "video"]
    assert found == ["The lamp weighs eight grams.\n", "@home", *media, "What is it?"]


def test_media_lie_in_the_media_root_where_one_is_given(
    run: Run, model: str, sample: Path, tmp_path: Path
) -> None:
    asked = ("trace", "--model", model, "--image", sample.parent / MEDIA[0], "--ask", "What is it?")
    root = ("--media-root", tmp_path)
    refused = run(*asked, *root)
    assert refused.exit_code == 2
    assert "lies outside of the media root" in refused.stderr
    assert run(*asked, *root, "--no-confine", "--max-new-tokens", "2").exit_code == 0


def test_sources_are_cut_as_asked(run: Run, model: str, sample: Path) -> None:
    result = run(
        *("trace", sample, "--model", model, *SAMPLING, "--json"),
        *("--image-units", "ward:regions=5", "--audio-units", "changes:segments=2"),
        *("--video-units", "bins:seconds=100"),
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    units = [unit["modality"] for unit in document["units"]]
    assert [units.count(kind) for kind in ("image", "audio", "video")] == [5, 2, 1]
    sources = document["provenance"]["segmentation"]["sources"]
    assert sources["image"] == {"name": "ward", "parameters": {"regions": 5, "explained": 0.9}}
    assert sources["video"] == {"name": "bins", "parameters": {"seconds": 100}}


def test_an_unknown_unitizer_ends_before_the_model_is_loaded(run: Run, sample: Path) -> None:
    result = run("trace", sample, "--model", "no-such-model", "--image-units", "wrad")
    assert result.exit_code == 2
    assert "'wrad'" in result.stderr
    assert "'ward'" in result.stderr
    assert "no-such-model" not in result.stderr


def test_requests_share_a_batch(run: Run, model: str, write_lines: Lines) -> None:
    lines = write_lines({"id": "a", **TEXT}, {"id": "b", **TEXT}, {"id": "c", **TEXT})
    asked = ("trace", lines, "--model", model, "--max-new-tokens", "3", "--no-verify", "--json")
    result = run(*asked, "--batch-size", "2")
    assert result.exit_code == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["id"] for each in found] == ["a", "b", "c"]
    sizes = [each["provenance"]["generation"].get("batch") for each in found]
    assert sizes == [{"size": 2}, {"size": 2}, None]
    refused = run(*asked, "--batch-size", "2", "--sample", "--seed", "3")
    assert refused.exit_code == 2
    assert "--seed 3 for batches of 2" in refused.stderr


def test_a_bad_request_loses_no_other(
    run: Run, model: str, write_lines: Lines, tmp_path: Path
) -> None:
    missing = [{"role": "user", "content": [{"type": "image", "image": "absent.png"}]}]
    path = write_lines(
        {"id": "a/b", **TEXT},
        "{not json",
        {"id": "no-file", "messages": missing},
        {"id": "no-role", "messages": [{"content": "x"}]},
        {"id": "a_b", **TEXT},
    )
    out = tmp_path / "out"
    result = run("trace", path, "--model", model, *SAMPLING, "--out", out, "--html", "--json")
    assert result.exit_code == 2
    assert {each.name for each in out.iterdir()} == {
        *(f"{trace_name(name)}.omnitrace" for name in ("a/b", "a_b")),
        *("report.html", "run.json", "failures.jsonl"),
    }
    again = run("trace", path, "--model", model, *SAMPLING, "--out", out, "--json")
    assert again.exit_code == 2
    assert "wrote" not in again.stderr, "the good ones are not traced again"
    assert "2 of 5 traces were in" in again.stderr
    assert {"report.html"} < {each.name for each in out.iterdir()}
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [d["id"] for d in documents] == ["a/b", "requests-2", "no-file", "no-role", "a_b"]
    assert [("error" in d) for d in documents] == [False, True, True, True, False]
    assert "line 2 is not JSON" in result.stderr
    assert "absent.png" in result.stderr
    assert "messages[0] has no 'role'" in result.stderr
    assert "3 of 5 requests failed: requests-2, no-file, no-role" in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_loaded_for_nothing(run: Run, write_lines: Lines) -> None:
    result = run("trace", write_lines("{}", "[]"), "--model", "/absent/model")
    assert result.exit_code == 2
    assert "/absent/model" not in result.stderr
    assert "2 of 2 requests failed" in result.stderr


def test_a_defect_in_one_request_loses_no_other(
    run: Run, model: str, write_lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner.names_of_request

    def broken(messages: list[object]) -> object:
        monkeypatch.setattr(runner, "names_of_request", real)
        raise ZeroDivisionError

    monkeypatch.setattr(runner, "names_of_request", broken)
    result = run("trace", write_lines(TEXT, TEXT), "--model", model, *SAMPLING)
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "please report" in result.stderr
    assert "1 of 2 requests failed: requests-1" in result.stderr
    assert "nats" in result.stdout


def test_ctrl_c_keeps_what_was_written(
    start: Start, model: str, write_lines: Lines, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    path = write_lines(*[TEXT] * 500)
    process = start("trace", path, "--model", model, *SAMPLING, "--out", out, "--html")
    until = time.monotonic() + 120
    while not list(out.glob("*.omnitrace")) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "interrupted after" in errors
    assert "Traceback" not in errors
    kept = sorted(out.glob("*.omnitrace"))
    assert 0 < len(kept) < 500
    for each in kept:
        Trace.load(each)
    assert (out / "report.html").is_file()
    names = {each.suffix if each.suffix == ".omnitrace" else each.name for each in out.iterdir()}
    assert names == {".omnitrace", "report.html", "run.json"}


@pytest.mark.usefixtures("usual_signals")
def test_ctrl_c_that_is_lost_stops_at_the_next_event(
    run: Run, model: str, write_lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python drops an exception that comes while it clears something away."""
    real = ResponseView.follow

    def losing(view: ResponseView, event: Event) -> None:
        real(view, event)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ResponseView, "follow", losing)
    result = run("trace", write_lines(TEXT, TEXT), "--model", model, *SAMPLING)
    assert result.exit_code == 130, result.output
    assert "interrupted after 0 of 2 requests" in result.stderr


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ctrl_c_while_a_response_is_verified_shows_it_as_it_is(
    run: Run,
    model: str,
    write_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    path = write_lines(TEXT)
    whole = run("trace", path, "--model", model, *SAMPLING, "--no-verify")

    def interrupted(view: ResponseView, masks: np.ndarray) -> None:
        view.ablations += len(masks)
        if view.ablations == len(masks):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    monkeypatch.setattr(ResponseView, "measured", interrupted)
    result = run("trace", path, "--model", model, *SAMPLING, *options)
    assert result.exit_code == 130, result.output
    assert "interrupted after 0 of 1 requests" in result.stderr
    note = "      not verified: interrupted before that was done\n"
    assert result.stdout == ("" if options else whole.stdout + note)


def test_thoughts_have_a_heading_of_their_own(run: Run, model: str, sample: Path) -> None:
    plain = run("trace", sample, "--model", model, *SAMPLING, "--json")
    text = json.loads(plain.stdout)["text"]
    word = next(each for each in text.split()[:-1] if text.count(each) == 1 and len(each) > 1)
    options = ("--thinking", word, "never written")
    result = run("trace", sample, "--model", model, *SAMPLING, *options)
    assert result.exit_code == 0, result.stderr
    assert "[thought]" in result.stdout.splitlines()
    document = json.loads(
        run("trace", sample, "--model", model, *SAMPLING, *options, "--json").stdout
    )
    assert document["text"] == text
    begins = text.index(word)
    for span in document["spans"]:
        assert span["section"] == ("thought" if span["start"] > begins else "answer")
        assert word not in span["text"]


def test_a_device_is_chosen_and_checked(run: Run, model: str, sample: Path) -> None:
    result = run("trace", sample, "--model", model, "--device", "cpu", *SAMPLING)
    assert result.exit_code == 0, result.stderr
    missing = run("trace", sample, "--model", model, "--device", "cuda:99")
    assert missing.exit_code == 2
    assert "torch finds no device 'cuda:99' here. Legal: cpu" in missing.stderr


def test_what_is_a_source_can_be_said(run: Run, model: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    turns = [
        {"role": "system", "content": "One.\n\nTwo. Three."},
        {"role": "user", "content": "Four."},
        {"role": "assistant", "content": "Five."},
        {"role": "user", "content": "What is it?"},
    ]
    file.write_text(json.dumps({"messages": turns}), encoding="utf-8")

    def cited(*options: str) -> list[str]:
        result = run("trace", file, "--model", model, *SAMPLING, "--json", *options)
        assert result.exit_code == 0, result.stderr
        return [unit["preview"] for unit in json.loads(result.stdout)["units"]]

    assert cited() == ["One.", "Two.", "Three.", "Four.", "Five."]
    assert cited("--no-system") == ["Four.", "Five."]
    assert cited("--no-history", "--text-units", "paragraph") == ["One.", "Two. Three."]
    assert cited("--source", "2") == ["Five."]
    assert cited("--source", "1.0", "--source", "2") == ["Four.", "Five."]
    result = run("trace", file, "--model", model, *SAMPLING, "--no-system", "--no-history")
    assert "warning: nothing in the request can be a source" in result.stderr
    for place, problem in (("x", "--source is 'x'"), ("7", "no such message")):
        result = run("trace", file, "--model", model, "--source", place)
        assert result.exit_code == 2
        assert problem in result.stderr


def test_a_response_in_the_record_is_replayed(run: Run, model: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    request = {**TEXT, "response": "the lamp weighs eight grams", "title": "A", "metadata": {}}
    file.write_text(json.dumps(request), encoding="utf-8")
    result = run("trace", file, "--model", model, "--json")
    assert result.exit_code == 0, result.stderr
    words = json.loads(result.stdout)["text"].split()
    assert words == ["the", "lamp", "weighs", "eight", "grams"]
    file.write_text(json.dumps({**TEXT, "respones": "x"}), encoding="utf-8")
    result = run("trace", file, "--model", model)
    assert result.exit_code == 2
    assert "did you mean 'response'?" in result.stderr

"""What users get wrong, through the command line: a clear message, exit code 2, no traceback."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner

from omnitrace import Trace, Tracer
from omnitrace.cli.app import app
from omnitrace.reference import model_path

ASK = {"type": "text", "text": "What is the sound in second one?"}


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_video(path: Path, seconds: int = 3) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(8 * seconds):
            pixels = np.full((64, 64, 3), number * 9 % 255, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def missing(folder: Path) -> dict[str, Any]:
    return {"type": "image", "image": "nowhere.png"}


def empty(folder: Path) -> dict[str, Any]:
    (folder / "empty.wav").write_bytes(b"")
    return {"type": "audio", "audio": "empty.wav"}


def text_as_png(folder: Path) -> dict[str, Any]:
    (folder / "note.png").write_text("not a picture")
    return {"type": "image", "image": "note.png"}


def truncated_mp4(folder: Path) -> dict[str, Any]:
    data = write_video(folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    return {"type": "video", "video": "cut.mp4"}


def no_samples(folder: Path) -> dict[str, Any]:
    soundfile.write(folder / "zero.wav", np.zeros(0, np.float32), 16000)
    return {"type": "audio", "audio": "zero.wav"}


def nan_audio(folder: Path) -> dict[str, Any]:
    samples = np.zeros(16000, np.float32)
    samples[5] = np.nan
    soundfile.write(folder / "nan.wav", samples, 16000, subtype="FLOAT")
    return {"type": "audio", "audio": "nan.wav"}


def long_audio(folder: Path) -> dict[str, Any]:
    soundfile.write(folder / "long.wav", np.zeros(16000 * 91, np.float32), 16000)
    return {"type": "audio", "audio": "long.wav"}


def extreme_ratio(folder: Path) -> dict[str, Any]:
    Image.new("RGB", (2010, 10)).save(folder / "line.png")
    return {"type": "image", "image": "line.png"}


def enormous_image(folder: Path) -> dict[str, Any]:
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    return {"type": "image", "image": "huge.png"}


def unknown_part(folder: Path) -> dict[str, Any]:
    return {"type": "imag", "imag": "a.png"}


def long_prompt(folder: Path) -> dict[str, Any]:
    return {"type": "text", "text": "lamp " * 5000}


CASES: list[tuple[Callable[[Path], dict[str, Any]], str]] = [
    (missing, "nowhere.png"),
    (empty, "empty.wav"),
    (text_as_png, "note.png"),
    (truncated_mp4, "cut.mp4"),
    (no_samples, "zero.wav"),
    (nan_audio, "nan.wav"),
    (long_audio, "90 s"),
    (extreme_ratio, "line.png"),
    (enormous_image, "huge.png"),
    (unknown_part, "did you mean 'image'?"),
    (long_prompt, "4096"),
]


@pytest.mark.parametrize(("part", "named"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_bad_part_is_named_and_the_good_request_is_kept(
    part: Callable[[Path], dict[str, Any]], named: str, tmp_path: Path
) -> None:
    bad = {"id": "bad", "messages": [{"role": "user", "content": [part(tmp_path), ASK]}]}
    good = {"id": "good", "messages": [{"role": "user", "content": "The lamp weighs seven."}]}
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{json.dumps(bad)}\n{json.dumps(good)}\n")
    result = run("trace", path, "--out", tmp_path / "out", "--max-new-tokens", "2")
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert "Traceback" not in result.output
    assert Trace.load(tmp_path / "out" / "good.omnitrace").prompt_ids


def test_a_message_without_a_role(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"messages": [{"content": "Hello."}]}))
    result = run("trace", path)
    assert result.exit_code == 2
    assert "no 'role'" in result.stderr


def test_a_pixel_is_a_legal_image(reference: Tracer) -> None:
    content = [{"type": "image", "image": Image.new("RGB", (1, 1), "red")}, ASK]
    trace = reference.trace([{"role": "user", "content": content}], max_new_tokens=2)
    assert {unit.locator.box for unit in trace.units} == {(0, 0, 1, 1)} or len(trace.units) > 1
    assert sum(len(unit.positions) for unit in trace.units) >= 1


def test_an_unknown_signal_names_near_matches(tmp_path: Path) -> None:
    result = run("trace", "--text", "The lamp.", "--ask", "What?", "--signal", "atention-mean")
    assert result.exit_code == 2
    assert "did you mean 'attention-mean'" in result.stderr


def test_a_model_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((model_path() / "config.json").read_text())
    result = run("trace", "--text", "The lamp.", "--ask", "What?", "--model", tmp_path)
    assert result.exit_code == 2
    assert "has no weights" in result.stderr


def test_a_corrupt_trace_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.omnitrace"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    result = run("show", path)
    assert result.exit_code == 2
    assert "broken.omnitrace" in result.stderr
    assert "Traceback" not in result.output


def test_a_trace_of_a_newer_version(reference: Tracer, tmp_path: Path) -> None:
    trace = reference.trace([{"role": "user", "content": "The lamp weighs seven."}])
    old = trace.save(tmp_path / "old.omnitrace")
    new = tmp_path / "new.omnitrace"
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "trace.json":
                document = json.loads(data)
                document["version"] += 1
                data = json.dumps(document).encode()
            target.writestr(name, data)
    result = run("show", new)
    assert result.exit_code == 2
    assert "newer" in result.stderr

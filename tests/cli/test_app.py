"""The commands around tracing: help, version, list, show, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omnitrace._utils.files import make_folder
from omnitrace.cli.console import print_json
from omnitrace.errors import InputError, ModelError
from omnitrace.media import MediaLimits
from omnitrace.models.base import LoadOptions
from omnitrace.trace.trace import Trace
from tests.helpers.command_line import Run
from tests.helpers.sample_traces import multimodal_trace


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return multimodal_trace().save(tmp_path / "harbour.omnitrace")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from omnitrace.cli.app import main; sys.argv = ['omnitrace', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'librosa', 'sklearn', 'spacy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for args in (["--help"], ["trace", "--help"], ["list", "signals"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("omnitrace 0.")


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omnitrace", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("omnitrace ")


def test_show(run: Run, saved: Path) -> None:
    result = run("show", saved)
    assert result.exit_code == 0
    for span in multimodal_trace().spans:
        assert span.text in result.stdout


def test_show_json(run: Run, saved: Path) -> None:
    result = run("show", saved, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == Trace.load(saved).to_dict()
    assert result.stdout.count("\n") == 1


def test_show_the_words_of_a_statement(run: Run, saved: Path) -> None:
    result = run("show", saved, "--tokens", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(multimodal_trace().spans[1].text)
    assert run("show", saved, "--tokens", "99").exit_code == 2
    assert run("show", saved, "--tokens", "2", "--json").exit_code == 2


def test_show_html(run: Run, saved: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    result = run("show", saved, "--html", page)
    assert result.exit_code == 0, result.stderr
    assert "harbour.omnitrace" not in result.stderr
    assert multimodal_trace().spans[0].text in page.read_text(encoding="utf-8")


def test_show_of_what_is_no_trace(run: Run, tmp_path: Path) -> None:
    result = run("show", tmp_path / "absent.omnitrace")
    assert result.exit_code == 2
    assert "absent.omnitrace" in result.stderr
    (tmp_path / "bad.omnitrace").write_text("nonsense")
    result = run("show", tmp_path / "bad.omnitrace")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no request"),
        (["a.json", "--ask", "x"], "both a REQUEST file and the quick form"),
        (["absent.json"], "cannot read 'absent.json'"),
        (["--image", "absent.png", "--ask", "x"], "--image 'absent.png' is no file"),
        (["--audio", "x" * 5000, "--ask", "x"], "is no file"),
        (["--text", "a"], "no question"),
        (["--text", "@absent.txt", "--ask", "x"], "cannot read 'absent.txt'"),
        (["--text", " ", "--ask", "x"], "--text is empty"),
        (["--ask", "x", "--html"], "--html has no folder"),
        (["--ask", "x", "--media"], "--media has no folder"),
        (["--ask", "x", "--seed", "1"], "--seed means nothing without --sample"),
        (["--ask", "x", "--temperature", "1"], "--temperature means nothing without --sample"),
        (["--ask", "x", "--sample", "--temperature", "0"], "--temperature is 0.0"),
        (["--ask", "x", "--sample", "--temperature", "nan"], "--temperature is nan"),
        (["--ask", "x", "--signal", "atention-mean"], "did you mean 'attention-mean'"),
        (["--ask", "x", "--media-root", "absent"], "'absent' is no folder"),
        (["--ask", "x", "--model", "/absent/model"], "/absent/model"),
        (["--ask", "x", "--out", "file/out"], "cannot make the folder"),
        (["--ask", "x", "--max-new-tokens", "0"], "--max-new-tokens"),
        (["--ask", "x", "--thinking", "a", "ab"], "the markers of a thought are 'a' and 'ab'"),
        (["--ask", "x", "--seed", "-1"], "--seed"),
        (["--aks", "x"], "--aks"),
    ],
)
def test_mistakes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    result = run("trace", *args)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_defect_of_ours(run: Run, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    def broken(path: Path) -> Trace:
        raise ZeroDivisionError("one over none")

    monkeypatch.setattr(Trace, "load", broken)
    result = run("show", saved)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "one over none" in result.stderr
    assert "this is a defect of omnitrace; please report" in result.stderr


def test_ctrl_c_anywhere(run: Run, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    def interrupted(path: Path) -> Trace:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trace, "load", interrupted)
    assert run("show", saved).exit_code == 130


def test_a_reader_that_leaves_is_no_defect(
    start: Callable[..., subprocess.Popen[str]], saved: Path
) -> None:
    process = start("show", saved, "--json")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 141
    assert errors == ""


def test_json_is_ascii_where_stdout_is_not_utf8(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    for encoding in ("ascii", "latin-1", "UTF-8"):
        with path.open("w", encoding=encoding) as file:
            monkeypatch.setattr(sys, "stdout", file)
            print_json({"text": "é漢"})
        assert json.loads(path.read_bytes().decode(encoding)) == {"text": "é漢"}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        make_folder(tmp_path / "file")


def test_media_are_decoded_apart_unless_the_command_line_trusts_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[MediaLimits] = []

    def refused(*_: object, limits: MediaLimits, **__: object) -> None:
        asked.append(limits)
        raise ModelError("no model is loaded here")

    monkeypatch.setattr("omnitrace.tracer.Tracer.from_pretrained", refused)
    for before in ([], ["--trust-media"], ["--video-reader", "decord"]):
        assert run(*before, "trace", "--ask", "What?").exit_code == 2
    assert [(limits.isolate, limits.video_reader) for limits in asked] == [
        *((True, "pyav"), (False, "pyav"), (True, "decord"))
    ]
    assert run("--video-reader", "ffmpeg", "trace", "--ask", "What?").exit_code == 2
    assert len(asked) == 3


@pytest.mark.parametrize("trusted", [False, True])
def test_code_of_a_checkpoint_is_run_only_where_the_command_line_says_so(
    trusted: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def refused(name: str, options: LoadOptions) -> None:
        asked.append(options.trust_remote_code)
        raise ModelError(f"there is no {name}")

    monkeypatch.setattr("omnitrace.tracer.load_adapter", refused)
    before = ["--trust-remote-code"] if trusted else []
    result = run(*before, "trace", "--model", "someone/own-code", "--ask", "What?")
    assert result.exit_code == 2
    assert "there is no someone/own-code" in result.stderr
    assert asked == [trusted]

"""``omnitrace trace`` when disks are full, outputs end, signals come: nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from omnitrace.cli.app import main
from omnitrace.runs import asked_of, digest_of_request, open_run
from omnitrace.sources import RequestEntry, read_requests
from omnitrace.trace import io as trace_io
from omnitrace.trace.trace import Trace
from tests.helpers.command_line import SAMPLING, Run
from tests.helpers.sample_traces import text_trace

Lines = Callable[..., Path]


def asked(fact: str, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"{fact} What is it?"}], **more}


LAMP, ROPE = asked("The lamp weighs eight grams."), asked("The rope is blue.")


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command line in this process, with its own handling of output and signals."""
    monkeypatch.setattr(sys, "argv", ["omnitrace", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_folder_that_cannot_be_written_is_noticed_before_the_model_is_loaded(
    run: Run, write_lines: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    path = write_lines(LAMP)
    monkeypatch.setattr(Path, "touch", refused)
    result = run("trace", path, "--model", "/absent/model", "--out", tmp_path)
    assert result.exit_code == 2
    assert "cannot write to the folder" in result.stderr
    assert "Read-only file system" in result.stderr
    assert "/absent/model" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate", "r.jsonl", "--out", "file/x"),
        ("select-heads", "r.jsonl", "--out", "file/x"),
        ("sanity", "r.jsonl", "--out", "file/x"),
        ("doctor", "--out", "file/x", "/absent/model"),
        ("estimator", "train", "--requests", "r.jsonl", "--out", "file/x"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_file_that_cannot_be_written_is_noticed_before_the_model_is_loaded(
    arguments: tuple[str, ...],
    run: Run,
    write_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write_lines(LAMP, name="r.jsonl")
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    model = () if arguments[0] == "doctor" else ("--model", "/absent/model")
    result = run(*arguments, *model)
    assert result.exit_code == 2
    assert "cannot write 'file/x'" in result.stderr
    assert "absent" not in result.stderr


def test_a_trace_of_another_request_stays(
    run: Run, model: str, write_lines: Lines, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", ("--model", model, *SAMPLING, "--out", tmp_path / "out")

    def traced(code: int, *more: str) -> str:
        requests = [{**ROPE, "id": "a"}, {**LAMP, "id": "b"}, {**LAMP, "id": "c"}]
        result = run("trace", write_lines(*requests), *options, *more)
        assert result.exit_code == code, result.stderr
        return result.stderr

    assert run("trace", write_lines({**LAMP, "id": "a"}), *options).exit_code == 0
    first = (out / "a.omnitrace").read_bytes()
    (out / "b.omnitrace").write_bytes(b"no trace")
    said = traced(2)
    assert "the request 'a' was changed since its trace a.omnitrace was written" in said
    assert "--on-change redo" in said
    assert "b.omnitrace in" in said
    assert "is not of this request and stays" in said
    assert (out / "a.omnitrace").read_bytes() == first
    assert {path.stem for path in out.glob("*.omnitrace")} == {"a", "b", "c"}
    said = traced(2, "--on-change", "redo")
    assert (out / "b.omnitrace").read_bytes() == b"no trace"
    assert "rope" in str(Trace.load(out / "a.omnitrace").messages)
    assert "wrote 1 of 3 traces" in said
    assert "1 of 3 traces were in" in said


def test_other_options_are_refused_before_the_model_is_loaded(
    run: Run, write_lines: Lines, tmp_path: Path
) -> None:
    out = ("--out", tmp_path)
    path = write_lines(LAMP)
    open_run(tmp_path, asked_of(signal="attention-mean", generation={}))
    result = run("trace", path, "--model", "/absent/model", "--signal", "grad-sam", *out)
    assert result.exit_code == 2
    assert 'signal was "attention-mean", now it is "grad-sam"' in result.stderr
    assert "absent" not in result.stderr
    for option in (("--on-change", "redo"), ("--no-resume",), ("--attempts", "2")):
        result = run("trace", path, "--model", "/absent/model", *option)
        assert f"{option[0]} is about a folder of traces" in result.stderr


def test_shards_and_limits(run: Run, model: str, write_lines: Lines, tmp_path: Path) -> None:
    path = write_lines(*[{**LAMP, "id": str(number)} for number in range(4)])
    options = ("--model", model, *SAMPLING, "--out", tmp_path / "out", "--limit", "3")
    for shard, wrote in (("2/2", 1), ("1/2", 2)):
        result = run("trace", path, *options, "--shard", shard)
        assert f"wrote {wrote} of {wrote} traces" in result.stderr
    assert {each.stem for each in (tmp_path / "out").glob("*.omnitrace")} == {"0", "1", "2"}


def test_a_full_disk_loses_no_other_trace_and_no_response(
    run: Run, model: str, write_lines: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, out = trace_io.write_atomically, tmp_path / "out"

    def full(path: Path):
        if path.stem == "b":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path)

    monkeypatch.setattr(trace_io, "write_atomically", full)
    requests = [{**LAMP, "id": name} for name in "abc"]
    options = ("--model", model, *SAMPLING, "--out", out)
    result = run("trace", write_lines(*requests), *options)
    assert result.exit_code == 2
    assert "b: cannot write" in result.stderr
    assert "No space left on device" in result.stderr
    assert "1 of 3 requests failed: b" in result.stderr
    names = {path.name for path in out.iterdir()}
    assert names == {"a.omnitrace", "c.omnitrace", "run.json", "failures.jsonl"}
    assert result.stdout.count("nats") >= 3, "the response that could not be kept was shown"


def test_a_full_output_is_one_error_that_says_what_is_kept(
    model: str,
    write_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_lines(*[LAMP] * 5)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        options = ("--model", model, *SAMPLING, "--out", tmp_path / "out")
        assert run_main(monkeypatch, "trace", path, *options) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("cannot write to the standard output: No space left on device") == 1
    assert "stopped after 0 of 5 requests" in said


def test_a_full_output_at_the_very_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = text_trace(["One."], "Which?", "One.").save(tmp_path / "t.omnitrace")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run_main(monkeypatch, "show", saved, "--json") == 2
    assert "cannot write to the standard output" in capsys.readouterr().err


def test_sigterm_says_what_is_kept(
    model: str,
    write_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save, out = Trace.save, tmp_path / "out"

    def saved(trace: Trace, path: Path, **options: bool) -> Path:
        found = save(trace, path, **options)
        if len(list(out.glob("*.omnitrace"))) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(Trace, "save", saved)
    path = write_lines(*[LAMP] * 50)
    options = ("--model", model, *SAMPLING, "--out", out)
    assert run_main(monkeypatch, "trace", path, *options) == 143
    said = capsys.readouterr().err
    assert "ended by SIGTERM after 1 of 50 requests; kept in" in said
    assert len(list(out.glob("*.omnitrace"))) == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_killed_process_leaves_whole_traces_only(tmp_path: Path) -> None:
    saved = text_trace(["One. Two."] * 20, "Which?", "One. Two.").save(tmp_path / "t.omnitrace")
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from omnitrace.trace.trace import Trace\n"
        "trace, out = Trace.load(sys.argv[1]), Path(sys.argv[2])\n"
        "for i in range(100_000): trace.save(out / f'{i % 20}.omnitrace')"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(saved), str(out)]) as process:
        until = time.monotonic() + 60
        while len(list(out.glob("*.omnitrace"))) < 20 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    kept = list(out.glob("*.omnitrace"))
    assert len(kept) == 20
    assert {Trace.load(path).text for path in kept} == {"One. Two."}


def test_a_request_that_kills_its_process_is_named(
    run: Run, model: str, write_lines: Lines, tmp_path: Path
) -> None:
    path = write_lines({**LAMP, "id": "poison"}, {**LAMP, "id": "b"})
    out = tmp_path / "out"
    options = ("--model", model, *SAMPLING, "--out", out, "--attempts", "1")
    (entry, _) = read_requests(path)
    assert isinstance(entry, RequestEntry)
    line = json.dumps({"digest": digest_of_request(entry)})  # what a dead process leaves
    (out / "attempts").mkdir(parents=True)
    (out / "attempts" / "poison").write_text(f"{line}\n")
    result = run("trace", path, *options)
    assert result.exit_code == 1
    assert "the request 'poison' is given up: 1 processes that tried it died" in result.stderr
    assert "1 of 2 requests were given up: poison" in result.stderr
    assert (out / "b.omnitrace").exists()

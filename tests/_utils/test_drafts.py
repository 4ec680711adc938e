"""Files are written whole or not at all, and what a killed run left is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnitrace._utils import drafts
from omnitrace._utils.drafts import draft_beside, held_draft
from omnitrace._utils.files import write_atomically

KILLED = """
import os, signal, sys
from pathlib import Path
from omnitrace._utils.files import write_atomically
with write_atomically(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    if len(sys.argv) > 2:
        print("open", flush=True); sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_FRESH_SECONDS", -1.0)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def write(path: Path, data: bytes) -> None:
    with write_atomically(path) as file:
        file.write(data)


@pytest.mark.skipif(drafts.fcntl is None, reason="a system without SIGKILL")
def test_the_draft_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    write(tmp_path / "a.json", b"before")
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.json")], check=False)
    assert run.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "a.json").read_bytes() == b"before"
    write(tmp_path / "another.json", b"after")
    assert names(tmp_path) == ["a.json", "another.json"]


@pytest.mark.skipif(drafts.fcntl is None, reason="a system without locks on files")
def test_the_draft_of_a_run_that_lives_stays(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a"), "waits"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"open\n"
        write(tmp_path / "b", b"")
        assert len(names(tmp_path)) == 2
    write(tmp_path / "b", b"")
    assert names(tmp_path) == ["b"]


def test_a_fresh_draft_may_not_be_locked_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    draft = draft_beside(tmp_path / "a")
    draft.write_bytes(b"")
    write(tmp_path / "b", b"")
    assert draft.exists()
    os.utime(draft, (0, 0))
    write(tmp_path / "b", b"")
    assert names(tmp_path) == ["b"]


def test_folders_too_and_nothing_of_others(tmp_path: Path) -> None:
    folder = draft_beside(tmp_path / "trace")
    (folder / "media").mkdir(parents=True)
    (folder / "media" / "0").write_bytes(b"")
    held = draft_beside(tmp_path / "held")
    others = [tmp_path / ".a.12345678.tmp", tmp_path / "x.12345678.omnitrace.tmp"]
    for each in (held, *others):
        each.write_bytes(b"")
    with held_draft(held):
        write(tmp_path / "b", b"")
        expected = [each.name for each in others] + ([held.name] if drafts.fcntl else [])
        assert names(tmp_path) == sorted(["b", *expected])


def test_what_stepped_aside_comes_back_where_nothing_took_its_place(tmp_path: Path) -> None:
    for _ in range(2):
        old = draft_beside(tmp_path / "trace", "old")
        old.mkdir()
        (old / "trace.json").write_bytes(b"{}")
        write(tmp_path / "b", b"")
        assert names(tmp_path) == ["b", "trace"]
        assert names(tmp_path / "trace") == ["trace.json"]


@pytest.mark.parametrize("letter", ["x", "é", "漢", "𠀋"])
def test_the_longest_names_of_a_system_can_be_written(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    write(tmp_path / name, b"whole")
    assert names(tmp_path) == [name]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_atomically(tmp_path / "a"):
        raise ZeroDivisionError
    assert names(tmp_path) == []

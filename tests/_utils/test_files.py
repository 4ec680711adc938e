"""Only bounded regular files are read, and nothing is lost where a file is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from omnitrace._utils.files import (
    MAX_TEXT_BYTES,
    check_output,
    files_below,
    in_folder,
    make_folder,
    read_bytes,
    read_text,
    what_is,
    write_bytes,
    write_text,
)
from omnitrace.errors import InputError
from tests.fuzz.special_files import SPECIAL_FILES, SPECIAL_PATHS

UNREADABLE = [name for name in SPECIAL_FILES if "200 MB" not in name and "empty" not in name]


@pytest.mark.parametrize("name", [*UNREADABLE, "200 MB of zeros"])
@pytest.mark.timeout(10)
def test_what_is_no_file_of_text_is_refused_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    SPECIAL_FILES[name](tmp_path / "f")
    with pytest.raises(InputError, match=r"--text: .*'.*f'.*"):
        read_text(tmp_path / "f", legal="a file", subject="--text")


@pytest.mark.parametrize("path", SPECIAL_PATHS)
@pytest.mark.timeout(10)
def test_no_path_breaks_what_looks_at_it(path: str) -> None:
    assert what_is(Path(path)) in ("file", "folder", "other", "")
    if path not in ("/etc/passwd", "/proc/self/environ"):
        with pytest.raises(InputError, match=r"cannot read|is not UTF-8"):
            read_text(Path(path), legal="a file")


def test_the_limit_is_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(ValueError, match="more than"):
        read_bytes(path, limit=4)
    with path.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(InputError, match="it has more than 128 MiB"):
        read_text(path, legal="a file")


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    assert write_text(tmp_path / "null", "a") == tmp_path / "null"
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot write '.*full': No space left on device"):
        write_text(tmp_path / "full", "a")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(tmp_path / "pipe", b"abc")
    assert os.read(reader, 9) == b"abc"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", ["file/x", ".", "a\x00", "a" * 300, "file/"])
def test_an_output_is_refused_before_and_when_it_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("here", encoding="utf-8")
    if name == "file/":
        check_output(Path(name))  # pathlib drops the slash
        return
    for attempt in (check_output, lambda path: write_text(path, "a")):
        with pytest.raises(InputError, match="cannot write"):
            attempt(Path(name))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "here"


def test_a_folder_is_tried_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []

    def refused(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(InputError, match=r"cannot write to the folder '.*a': Permission denied"):
        make_folder(tmp_path / "a")
    with pytest.raises(InputError, match="cannot write"):
        check_output(tmp_path / "a" / "file")


def test_files_below_are_found_as_deep_as_said(tmp_path: Path) -> None:
    for name in ("a.txt", "d/b.txt", "d/e/c.txt", "d/e/f/g.txt", "d/x.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "folder.txt" / "h.txt").touch()
    found = [str(each.relative_to(tmp_path)) for each in files_below(tmp_path, ".txt", levels=2)]
    assert found == ["a.txt", "d/b.txt", "d/e/c.txt", "folder.txt/h.txt"]
    assert files_below(tmp_path, ".txt", levels=0) == [tmp_path / "a.txt"]


def test_a_folder_that_is_gone_while_it_is_searched_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of processes in /proc."""
    for name in ("gone/a.txt", "kept/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def scandir_where_one_is_gone(path: str) -> object:
        if str(path).endswith("gone"):
            raise FileNotFoundError(2, os.strerror(2), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_where_one_is_gone)
    assert files_below(tmp_path, ".txt", levels=1) == [tmp_path / "kept" / "b.txt"]


def test_what_is_no_folder_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("file", "Not a directory"), ("nothing", "No such file")):
        for listed in (in_folder, lambda path: files_below(path, "", levels=1)):
            with pytest.raises(InputError, match=f"cannot read '.*{name}': {reason}"):
                listed(tmp_path / name)

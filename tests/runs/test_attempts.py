"""Attempts are counted where processes die, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnitrace.errors import GivenUpError, InputError
from omnitrace.runs import LocalFolder, digest_of_request
from omnitrace.runs.attempts import attempted, marker_of, note_attempt
from omnitrace.sources import RequestEntry
from tests.runs.conftest import request


def test_only_what_ended_its_process_is_given_up(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    entry = request("a b")
    for error in (InputError("unusable"), KeyboardInterrupt()):  # the process is alive, or stopped
        with pytest.raises(type(error)):
            _tried(folder, entry, error)
    with attempted(folder, entry, 1):
        pass
    assert not folder.exists(marker_of("a b"))


def _tried(folder: LocalFolder, entry: RequestEntry, error: BaseException | None) -> None:
    with attempted(folder, entry, 1):
        assert folder.exists(marker_of(entry.id))
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [None, InputError("unusable")])
def test_ctrl_c_while_an_attempt_ends_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: InputError | None
) -> None:
    folder, entry = LocalFolder(tmp_path), request("a")
    real, asked = Path.unlink, []

    def interrupted(path: Path, **options: bool) -> None:
        asked.append(path)
        if len(asked) == 1:
            raise KeyboardInterrupt
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _tried(folder, entry, error)
    assert not folder.exists(marker_of("a"))


def test_what_another_process_has_is_not_counted(tmp_path: Path) -> None:
    folder, entry = LocalFolder(tmp_path), request("a")
    with attempted(folder, entry, 1), attempted(folder, entry, 1):
        pass


def test_a_dead_process_counts(tmp_path: Path) -> None:
    entry = request("a")
    claim = LocalFolder(tmp_path).claim(marker_of("a"))
    assert claim is not None
    digest = digest_of_request(entry)
    note_attempt(claim, "a", digest, 1)
    with pytest.raises(GivenUpError, match="'a' is given up: 1 processes"):
        note_attempt(claim, "a", digest, 1)
    note_attempt(claim, "a", "another request of that name", 1)

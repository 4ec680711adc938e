"""Lines of files of any size, with one in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnitrace._utils import lines
from omnitrace._utils.lines import Line, iter_lines
from tests.helpers.memory import at_most, endless_line


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"", b" ", b"a", b"bcd", b"\x0b", b"12345", b"123456789"])))
def test_every_line_that_holds_something_is_found_at_its_place(
    tmp_path: Path, parts: list[bytes]
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"\n".join(parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "MAX_TEXT_BYTES", 5)  # with the end of the line
        found = list(iter_lines(path))
    expected, start = [], 0
    for number, part in enumerate(parts, start=1):
        line = part + b"\n" * (number < len(parts))
        if len(line) > 5:
            expected.append(Line(number, start, None))
        elif line.strip():
            expected.append(Line(number, start, line))
        start += len(line)
    assert found == expected


def test_a_line_without_an_end_is_never_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = endless_line(tmp_path, monkeypatch)
    with at_most(8 << 20):
        assert list(iter_lines(path)) == [Line(1, 0, None)]


def test_a_file_that_fails_further_on_says_so(tmp_path: Path) -> None:
    path = tmp_path / "memory.jsonl"
    path.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error"):
        list(iter_lines(path))

"""Numbers with what they count."""

from __future__ import annotations

from omnitrace._utils.counted import counted


def test_one_is_singular() -> None:
    assert [counted(number, "cue") for number in (0, 1, 2000)] == ["0 cues", "1 cue", "2,000 cues"]

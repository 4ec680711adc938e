"""What files say of the machine that wrote them."""

from __future__ import annotations

import pytest

from omnitrace._utils.paths import base_of_path, without_paths


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/home/ada/models/tiny", "tiny"),
        ("~/models/tiny", "tiny"),
        ("../tiny", "tiny"),
        (r"C:\Users\ada\tiny", "tiny"),
        (r"\\server\ada\tiny", "tiny"),
        ("org/tiny", "org/tiny"),
        ("reference", "reference"),
        ("", ""),
    ],
)
def test_folders_are_left_out(name: str, expected: str) -> None:
    assert base_of_path(name) == expected
    assert without_paths({"a": [name, 1], "b": {"c": name}}) == {
        "a": [expected, 1],
        "b": {"c": expected},
    }

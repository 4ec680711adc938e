"""File names that are safe on every system."""

from __future__ import annotations

import pytest

from omnitrace._utils.file_names import safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-1.b", "a-1.b"),
        ("../../etc/passwd", "etc_passwd"),
        ("C:\\x\x00y", "C_x_y"),
        ("...", "request"),
        ("", "request"),
        ("Bild 3 – Übung", "Bild_3_Übung"),  # noqa: RUF001
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("x" * 500, "x" * 60),
        ("é" * 500, "é" * 60),
        ("漢" * 500, "漢" * 40),
        ("𠀋" * 500, "𠀋" * 30),
        ("a𠀋" * 500, "a𠀋" * 24),
    ],
)
def test_safe_names(name: str, expected: str) -> None:
    assert safe_name(name) == expected

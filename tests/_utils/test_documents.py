"""Cells of a table that a spreadsheet opens."""

from __future__ import annotations

from typing import Any

import pytest

from omnitrace._utils.documents import inert_cell


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-SUM(A1)", "'-SUM(A1)"),
        ("@cmd", "'@cmd"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("plain = text", "plain = text"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
        (True, True),
    ],
)
def test_formulas_are_texts(value: Any, expected: Any) -> None:
    assert inert_cell(value) == expected

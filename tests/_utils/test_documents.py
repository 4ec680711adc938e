"""JSON is read as the standard has it, and no short text becomes more than fits."""

from __future__ import annotations

import json

import pytest

from omnitrace._utils.documents import MAX_DEPTH, MAX_VALUES, check_size, parse_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ("[1e999]", "1e999 is not finite"),
        ("9" * 5000, "digits"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deeply"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "nested too deeply"),
        ("[" + "[]," * (MAX_VALUES // 2) + "[]]", "holds more than"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
    ids=range(10),
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_what_is_read() -> None:
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    for text in (deep, '{"a": [1, 2.5, null, true, "x"]}', "7", json.dumps([[{}]] * 200)):
        assert parse_json(text) == json.loads(text)


def test_the_size_is_that_of_values_not_of_letters() -> None:
    check_size('"' + "a" * 10_000 + '"', 1)
    with pytest.raises(ValueError, match="more than 3 values"):
        check_size("[[], {}]", 3)

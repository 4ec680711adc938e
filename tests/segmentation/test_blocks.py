"""Source texts that are no prose are cut where a reader would cut them."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.segmentation.blocks import source_units

CSV = ["name,weight,colour", "lamp,8.5,blue", "key,7,red", '"a, b",1,x']
ROWS = ["| name | weight |", "| lamp | 8. It is blue |", "| key | 7 |"]


def cut(text: str, language: str = "en") -> list[str]:
    return [text[a:b] for a, b in source_units(text, language=language)]


@pytest.mark.parametrize(
    "lines",
    [
        CSV,
        ["name\tweight", "lamp\t8 grams. Blue.", "key\t7"],
        ["a;b;c", "1;2;3", "4;5;6"],
        ['{"a": 1, "b": "x. y"}', '{"a": 2}', "[1, 2]"],
        ["2024-01-02 10:00:01 INFO Started. Ready.", "2024-01-02 10:00:02 ERROR Failed."],
        ["INFO: started. Ready.", "ERROR: failed. Again.", "WARN: x"],
        ["[00:12] Anna: It is blue. Is it?", "[00:15] Ben: It is."],
        ["Anna: It is blue. Is it?", "Ben: It is. Yes.", "Anna: Good."],
        ["A. The lamp. It is blue.", "B. The key.", "C. The door."],
        ["(A) The lamp", "(B) The key", "(C) The door", "(D) None of these"],
        ["a) one", "b) two"],
        ROWS,
        ["● One thing", "► Another thing", "➤ A third", "✓ A fourth"],
        ["<tr><td>lamp. Blue.</td><td>8</td></tr>", "<tr><td>key</td>\n<td>7</td></tr>"],
    ],
)
def test_lines_are_units(lines: list[str]):
    assert cut("\n".join(lines)) == lines
    around = "Here is a list. Look.\n\n" + "\n".join(lines) + "\n\nThat is all. Thanks."
    assert cut(around) == ["Here is a list.", "Look.", *lines, "That is all.", "Thanks."]


def test_a_table_of_200_rows_has_200_units():
    assert len(source_units("\n".join(f"name {i},{i},x" for i in range(200)))) == 200


def test_the_rule_of_a_table_belongs_to_no_unit():
    assert cut("\n".join([ROWS[0], "|---|:-:|", *ROWS[1:]])) == ROWS
    assert cut("a | b\n--|--\n1 | 2") == ["a | b", "1 | 2"]
    html = "<table>\n<tr><td>1</td></tr>\n<tr><td>2</td></tr>\n</table>"
    assert cut(html) == ["<tr><td>1</td></tr>", "<tr><td>2</td></tr>"]


def test_what_goes_on_in_the_next_line_stays_with_it():
    text = "[00:12] Anna: It is\nblue.\n[00:15] Ben: No."
    assert cut(text) == ["[00:12] Anna: It is\nblue.", "[00:15] Ben: No."]


def test_json_is_cut_by_element():
    rows = [{"name": "a, b", "n": [1, 2]}, {"name": 'c"}', "n": []}]
    assert [json.loads(each.rstrip(",")) for each in cut(json.dumps(rows))] == rows
    assert [
        json.loads(each.rstrip(",")) for each in cut(json.dumps({"rows": rows}, indent=1))
    ] == rows
    assert cut('{"a": 1, "b": {"c": 2}}') == ['"a": 1,', '"b": {"c": 2}']
    assert cut('{"a": 1} is an object. Yes.') == ['{"a": 1} is an object.', "Yes."]


def test_code_is_cut_by_statement():
    code = "import os\n\ndef f(x,\n      y):\n    return x + y\n\nprint(f(1, 2))"
    assert cut(f"Look.\n\n```python\n{code}\n```\n\nWell.") == [
        "Look.",
        "import os",
        "def f(x,\n      y):",
        "return x + y",
        "print(f(1, 2))",
        "Well.",
    ]


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("th", ["วันนี้อากาศดีมากเลยนะครับ", "เราไปเดินเล่นที่สวนสาธารณะกัน", "พรุ่งนี้ฝนจะตกหนักมาก"]),
        ("km", ["ថ្ងៃនេះអាកាសធាតុល្អ។", "តោះទៅសួន។"]),
        ("my", ["ယနေ့ရာသီဥတုကောင်းသည်။", "ပန်းခြံသို့သွားကြစို့။"]),
        ("en", ["See Fig. 3 and Eq. (2) in Sec. 4.", "Next one."]),
        ("en", ["It follows from Eq. (2).", "So it is."]),
    ],
)
def test_sentences_of_other_scripts_and_numbered_things(language: str, sentences: list[str]):
    assert cut(" ".join(sentences), language) == sentences


def test_prose_stays_prose():
    text = (
        "The lamp, the key, and the door.\nThey are blue, red, and new.\nAll of it, I know, is old."
    )
    assert [piece.split()[0] for piece in cut(text)] == ["The", "They", "All"]
    assert cut("Note: it is blue.\nIt is new. Yes.") == ["Note: it is blue.", "It is new.", "Yes."]


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from('ab .,;:|-\n\t{}[]"<tr></tr>1A)`'), max_size=80))
def test_units_are_in_order_and_hold_no_white_space_around_them(text: str):
    units = source_units(text)
    reached = 0
    for start, end in units:
        assert reached <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        reached = end


def test_long_texts_take_linear_time():
    started = time.perf_counter()
    for text in ("<tr>" * 200_000, "{" * 200_000, "```\n" * 100_000, "| a |\n" * 100_000):
        source_units(text)
    assert time.perf_counter() - started < 20

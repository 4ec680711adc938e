"""The label format: round trips, the schema, and a line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import LabelError, read_labels, scan_labels, write_labels
from omnitrace.evaluation.labels.schema import Label, TextSource, label_schema, write_schema
from tests.helpers.sample_labels import label

SCHEMA = Path(__file__).parents[3] / "docs" / "reference" / "labels.schema.json"

Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    return {
        "version": 1,
        "id": "lamp",
        "response": "The lamp is red.",
        "spans": [
            {
                "start": 0,
                "end": 16,
                "text": "The lamp is red.",
                "sources": [
                    {"type": "text", "message": 0, "part": 0, "start": 1, "end": 4},
                    {"type": "image", "message": 0, "part": 1, "box": [0, 1, 2, 3]},
                    {"type": "time", "message": 0, "part": 2, "start": 0, "end": 1.5},
                ],
                "words": [{"start": 12, "end": 15, "text": "red", "sources": []}],
            }
        ],
    }


def changed(change: Change) -> str:
    made = document()
    change(made)
    return json.dumps(made)


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "l.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_schema_in_the_docs_is_current(tmp_path: Path) -> None:
    write_schema(tmp_path / "made.json")
    assert SCHEMA.read_text(encoding="utf-8") == (tmp_path / "made.json").read_text("utf-8"), (
        'write it: python -c "from omnitrace.evaluation.labels.schema import write_schema; '
        "write_schema('docs/reference/labels.schema.json')\""
    )
    assert label_schema()["properties"]["version"]["const"] == 1


def test_round_trip(tmp_path: Path) -> None:
    labels = [label("a"), label("b"), Label.model_validate_json(json.dumps(document()))]
    path = write_labels(tmp_path / "new" / "l.jsonl", labels)
    assert read_labels(path) == labels
    assert "null" not in path.read_text("utf-8")
    assert '"sources": []' in path.read_text("utf-8")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(texts, texts, st.data())
def test_any_text_survives(name: str, response: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(response) - 1))
    end = data.draw(st.integers(start + 1, len(response)))
    made = Label(
        version=1,
        id=name,
        response=response,
        spans=(  # type: ignore[arg-type]
            {"start": start, "end": end, "text": response[start:end], "sources": ()},
        ),
    )
    line = made.line()
    assert "\n" not in line
    assert Label.model_validate_json(line) == made


def source(number: int, **values: Any) -> Change:
    return lambda made: made["spans"][0]["sources"][number].update(values)


MISTAKES: list[tuple[Change, str]] = [
    (lambda m: m.update(version=2), "version: 2 is no version that is known here (legal: 1)"),
    (lambda m: m.pop("version"), "version: this field is required"),
    (lambda m: m.update(id=""), 'id: string should have at least 1 character, not ""'),
    (lambda m: m.update(idd="x"), "idd: there is no such field"),
    (
        lambda m: m["spans"][0].update(sources=None),
        "spans[0].sources: not labelled yet; list the evidence, or write [] where there is none",
    ),
    (lambda m: m["spans"][0].pop("sources"), "spans[0].sources: this field is required"),
    (
        lambda m: m["spans"][0].update(start="0"),
        'spans[0].start: input should be a valid integer, not "0"',
    ),
    (lambda m: m["spans"][0].update(start=16), "spans[0]: the range 16 to 16 is empty"),
    (
        lambda m: m["spans"][0].update(text="The lamp was red"),
        "spans[0].text: 'The lamp was red' is not what the response says there, 'The lamp is red.'",
    ),
    (
        lambda m: m["spans"][0].update(end=20),
        "spans[0].end: 20 is beyond the response of 16 characters",
    ),
    (
        lambda m: m["spans"][0]["words"][0].update(text="rod"),
        "spans[0].words[0].text: 'rod' is not what the response says there, 'red'",
    ),
    (
        lambda m: m["spans"][0]["words"][0].update(end=99),
        "spans[0]: words[0] is 12 to 99, outside the span's 0 to 16",
    ),
    (source(0, quote="x"), "spans[0].sources[0]: a text source has either 'start' and 'end', or"),
    (source(0, end=None), "spans[0].sources[0]: a text source has either 'start' and 'end', or"),
    (source(0, end=1), "spans[0].sources[0]: the range 1 to 1 is empty"),
    (source(0, message=-1), "spans[0].sources[0].message: input should be greater than or"),
    (source(0, type="speech"), 'spans[0].sources[0].type: "speech" is no kind of source (legal:'),
    (source(0, type=None), "spans[0].sources[0].type: null is no kind of source (legal: 'text',"),
    (source(1, box=[1, 2]), "spans[0].sources[1].box[2]: this field is required"),
    (source(1, box=[1, 2, 1, 4]), "spans[0].sources[1]: the box [1.0, 2.0, 1.0, 4.0] is not 0 ≤"),
    (source(1, box=[0, 0, 1, float("nan")]), "spans[0].sources[1].box[3]: input should be a fin"),
    (source(2, end=0), "spans[0].sources[2]: the range 0 to 0 s is empty"),
    (source(2, start=-1), "spans[0].sources[2].start: input should be greater than or equal to 0"),
    (source(2, stream="both"), "spans[0].sources[2].stream: input should be 'audio' or 'video'"),
    (source(2, seconds=1), "spans[0].sources[2].seconds: there is no such field"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_each_mistake_is_told_with_file_line_and_field(
    tmp_path: Path, change: Change, message: str
) -> None:
    good = changed(lambda made: made.update(id="good"))
    path = written(tmp_path, good, "", changed(change))
    with pytest.raises(LabelError) as caught:
        read_labels(path)
    told = [str(problem) for problem in caught.value.problems]
    assert any(each.startswith(f"{path}, line 3, {message}") for each in told), told
    assert all("\n" not in each for each in told)
    assert str(caught.value).splitlines()[1:] == told
    assert [each.id for each in read_labels(path, skip_invalid=True)] == ["good"]


def test_all_mistakes_are_collected(tmp_path: Path) -> None:
    def several(made: dict[str, Any]) -> None:
        made["spans"].append({"start": 4, "end": 8, "text": "lump", "sources": []})
        made["spans"][0]["text"] = "?"

    same = json.dumps(document())
    path = written(tmp_path, same, "{", "[]", same, changed(several))
    assert [(p.line, p.field, p.message) for p in scan_labels(path).problems] == [
        (2, "", "not JSON: EOF while parsing an object at line 1 column 1"),
        (3, "", "input should be an object, not []"),
        (4, "id", "'lamp' is already the id of line 1"),
        (5, "spans[0].text", "'?' is not what the response says there, 'The lamp is red.'"),
        (5, "spans[1].text", "'lump' is not what the response says there, 'lamp'"),
    ]
    with pytest.raises(LabelError, match="5 mistakes in the labels"):
        read_labels(path)


def test_separators_in_a_string_end_no_line(tmp_path: Path) -> None:
    made = {"version": 1, "id": "a", "response": "one\u2028two", "spans": []}
    path = written(tmp_path, json.dumps(made, ensure_ascii=False))
    assert read_labels(path)[0].response == "one\u2028two"


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*Legal: a readable .jsonl file"):
        read_labels(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="holds no label"):
        read_labels(written(tmp_path, "", " "))
    (tmp_path / "l.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_labels(tmp_path / "l.jsonl")
    with pytest.raises(InputError, match="two labels have the id 'a'"):
        write_labels(tmp_path / "new.jsonl", [label("a"), label("a")])
    assert not (tmp_path / "new.jsonl").exists()
    with pytest.raises(InputError, match="cannot write"):
        write_labels(tmp_path / "l.jsonl" / "new.jsonl", [label("a")])


def test_a_label_made_in_python_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="either 'start' and 'end', or 'quote'"):
        TextSource(message=0, part=0)
    with pytest.raises(ValidationError, match=r"spans\[0\].text: '\{' is not"):
        Label.model_validate_json(
            '{"version":1,"id":"a","response":"}","spans":'
            '[{"start":0,"end":1,"text":"{","sources":[]}]}'
        )


def test_the_example_in_the_docs_is_a_label() -> None:
    page = SCHEMA.with_name("label-format.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    assert [len(span.sources) for span in Label.model_validate_json(example).spans] == [1, 2, 0]


def test_a_line_with_more_mistakes_than_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    good = json.dumps(document())
    path.write_text('{"spans": [' + "[]," * 200_000 + f"[]]}}\n{good}", encoding="ascii")
    found = scan_labels(path)
    assert [entry.line for entry in found.entries] == [2]
    assert [(p.line, p.message) for p in found.problems] == [
        (1, "it holds more than 200000 values")
    ]

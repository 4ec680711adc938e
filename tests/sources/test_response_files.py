"""Files of responses: matched by id or in order, and what is said where they do not match."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace import InputError
from omnitrace.sources import (
    GivenResponse,
    RequestEntry,
    RequestProblem,
    ResponseFile,
    read_requests,
)
from tests.helpers.server_responses import chat


def written(folder: Path, *lines: Any, name: str = "r.jsonl") -> Path:
    path = folder / name
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def requests(*names: str) -> list[RequestEntry]:
    return [RequestEntry(name, [], Path()) for name in names]


def responses(path: Path, *names: str, choice: int = 0) -> list[Any]:
    return [
        each.response if isinstance(each, RequestEntry) else str(each.error)
        for each in ResponseFile(path, choice).matched(requests(*names))
    ]


def test_lines_are_found_by_id(tmp_path: Path) -> None:
    body = chat({"content": "three"}, {"content": "four"}).model_dump(mode="json")
    batch = {"id": "batch_req_1", "custom_id": "c", "response": {"status_code": 200, "body": body}}
    path = written(
        tmp_path, {"id": 2, "response": [5, 6]}, "", {"id": "a", "response": "öne"}, batch
    )
    first, second, third = responses(path, "a", "2", "c")
    assert (first.text, second.ids, third.text) == ("öne", (5, 6), "three")
    assert third.where == f"{str(path)!r}, line 4.response.body.choices[0]"
    chosen = responses(written(tmp_path, batch), "c", choice=1)
    assert [each.text for each in chosen] == ["four"]


def test_lines_without_ids_are_taken_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps("one"), [5, 6], chat({"content": "three"}).model_dump())
    first, second, third = responses(path, "x", "y", "z")
    assert (first.text, second.ids, third.text) == ("one", (5, 6), "three")
    with pytest.raises(InputError, match="3 responses without ids, and there are 2 requests"):
        responses(path, "x", "y")


def test_a_request_without_a_response_loses_none_of_the_others(tmp_path: Path) -> None:
    lines = [{"id": "a", "response": "one"}, {"id": "b", "response": None}]
    file = ResponseFile(written(tmp_path, *lines, {"id": "old", "response": "no"}))
    problem = RequestProblem("p", InputError("broken"))
    entries = list(file.matched([*requests("a", "b", "c"), problem]))
    assert [type(each) for each in entries] == [RequestEntry] + [RequestProblem] * 3
    assert "line 2.response is None" in str(entries[1].error)  # type: ignore[union-attr]
    assert "r.jsonl' has no response with the id 'c'" in str(entries[2].error)  # type: ignore[union-attr]
    assert entries[3] is problem
    assert list(file.unused) == ["old"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no response"),
        (["{"], r"line 1 is not JSON: Expecting property name "),
        (["3"], "line 1 is 3"),
        (['{"id": true, "response": "a"}'], "line 1 has the id True"),
        (
            ['{"id": "a", "text": "x"}', "", '{"custom_id": "a", "text": "y"}'],
            "line 3 .* of line 1",
        ),
        (['{"id": "a", "text": "x"}', '"y"'], "line 2 has no id, and other lines have one"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_matched_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ResponseFile(written(tmp_path, *lines))


def test_what_is_no_file_of_responses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Legal: a \.jsonl file"):
        ResponseFile(written(tmp_path, "1", name="r.json"))
    with pytest.raises(InputError, match="cannot read"):
        ResponseFile(tmp_path / "none.jsonl")
    (tmp_path / "r.jsonl").write_bytes(b'"\xff"\n')
    with pytest.raises(InputError, match=r"line 1 is not JSON: .*utf-8"):
        ResponseFile(tmp_path / "r.jsonl")


def test_a_line_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnitrace._utils.lines.MAX_TEXT_BYTES", 100)
    with pytest.raises(InputError, match="line 1 has more than"):
        ResponseFile(written(tmp_path, {"id": "a", "response": "x" * 200}))


def test_a_request_may_hold_the_object_of_an_api(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "?"}]
    good = {"id": "a", "messages": messages, "response": chat({"content": "b"}).model_dump()}
    bad = {"id": "b", "messages": messages, "response": {"choices": []}}
    found, problem = read_requests(written(tmp_path, good, bad))
    assert isinstance(found, RequestEntry)
    assert isinstance(found.response, GivenResponse)
    assert found.response.text == "b"
    assert isinstance(problem, RequestProblem)
    assert "line 2: response.choices has 0" in str(problem.error)

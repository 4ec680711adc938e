"""Request files: what is read, what is refused, and that one bad entry loses no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omnitrace.errors import InputError
from omnitrace.sources.request_files import RequestEntry, RequestProblem, read_requests
from omnitrace.types import OpenRoot

ASK = [{"role": "user", "content": "What is this?"}]


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def only(path: Path, **options: Any) -> RequestEntry:
    (entry,) = read_requests(path, **options)
    assert isinstance(entry, RequestEntry), entry
    return entry


def problem(path: Path) -> str:
    (entry,) = read_requests(path)
    assert isinstance(entry, RequestProblem), entry
    return str(entry.error)


def test_one_request(tmp_path: Path) -> None:
    request = only(write(tmp_path / "a.json", {"id": "first", "messages": ASK}))
    assert request == RequestEntry("first", ASK, tmp_path)


def test_a_request_without_an_id_is_named_after_its_file(tmp_path: Path) -> None:
    assert only(write(tmp_path / "holiday.json", {"messages": ASK})).id == "holiday"


def test_bare_messages(tmp_path: Path) -> None:
    assert only(write(tmp_path / "a.json", ASK)) == RequestEntry("a", ASK, tmp_path)


def test_a_list_of_requests_keeps_the_good_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"messages": ASK}, 5, {"id": 7, "messages": ASK}, ASK])
    entries = read_requests(path)
    assert [entry.id for entry in entries] == ["a-0", "a-1", "7", "a-3"]
    assert [type(entry) for entry in entries] == [
        RequestEntry,
        RequestProblem,
        RequestEntry,
        RequestEntry,
    ]
    assert isinstance(entries[1], RequestProblem)
    assert "a.json', entry 1 is 5, not a request" in str(entries[1].error)


def test_json_lines_keep_the_good_ones(tmp_path: Path) -> None:
    lines = [json.dumps({"id": "x", "messages": ASK}), "", "{oops", json.dumps({"messages": ASK})]
    entries = read_requests(write(tmp_path / "a.jsonl", "\r\n".join(lines)))
    assert [entry.id for entry in entries] == ["x", "a-3", "a-4"]
    assert isinstance(entries[1], RequestProblem)
    assert "a.jsonl', line 3 is not JSON" in str(entries[1].error)


def test_a_line_separator_inside_a_string_ends_no_line(tmp_path: Path) -> None:
    message = [{"role": "user", "content": "one\u2028two\x85three"}]
    line = json.dumps({"messages": message}, ensure_ascii=False)
    assert only(write(tmp_path / "a.jsonl", line + "\n")).messages == message


def test_ids_are_unique(tmp_path: Path) -> None:
    names = [0, 0, "0-2", 0, "0"]
    path = write(tmp_path / "a.json", [{"id": name, "messages": ASK} for name in names])
    found = [entry.id for entry in read_requests(path)]
    assert found[:2] == ["0", "0-2"]
    assert len(set(found)) == len(names)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ASK).encode())
    assert only(path).messages == ASK


def test_media_root(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", ASK)
    root = tmp_path / "media"
    root.mkdir()
    assert only(path, media_root=root).media_root == root
    with pytest.raises(InputError, match="no folder"):
        read_requests(path, media_root=tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no request"),
        ("", "is not JSON"),
        ('{"messages": [', "is not JSON: Expecting value at column"),
        ('{\n"messages": oops}', "at line 2, column 13"),
        ('{"messages": [NaN]}', "NaN is no JSON number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"messages": []}\n{"messages": []}', "must be named .jsonl"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_requests(write(tmp_path / "a.json", content))
    assert message in str(caught.value)
    assert "a.json" in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_requests(tmp_path / "absent.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        read_requests(tmp_path / "folder.json")
    with pytest.raises(InputError, match=r"\.json or \.jsonl"):
        read_requests(write(tmp_path / "a.txt", "[]"))
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(InputError, match=r"not UTF-8 \(byte 2\)"):
        read_requests(tmp_path / "latin.json")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "has no field 'messages' (it has no field)"),
        ({"mesages": ASK}, "(it has 'mesages')"),
        ({"messages": "hello"}, "'messages' is a string"),
        ({"id": 1.5, "messages": ASK}, "'id' is 1.5"),
        ({"id": True, "messages": ASK}, "'id' is true"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ("hello", "is a string, not a request"),
        ({"question": "What?"}, "'question' is a string"),
        ({"question": [], "prompt": "Say."}, "'question' is an empty list"),
        ({"question": [{"text": "a"}], "prompt": 3}, "'prompt' is 3"),
        ({"question": [{"text": "a"}, "b"]}, "'question' part 1 is a string"),
        ({"question": [{"texts": "a"}]}, "exactly one of text, image, audio, video"),
        ({"question": [{"text": "a", "image": "b"}]}, "names text and image"),
        ({"question": [{"image": None}], "prompt": "Say."}, "'image' is null"),
        ({"question": [{"audio": "a.wav"}]}, "'prompt' is missing"),
    ],
)
def test_bad_entries(tmp_path: Path, entry: Any, message: str) -> None:
    text = problem(write(tmp_path / "a.json", json.dumps(entry)))
    assert message in text
    assert "a.json" in text
    assert "Legal:" in text


def test_question_files_of_the_paper(tmp_path: Path) -> None:
    entries = read_requests(
        write(
            tmp_path / "question.json",
            [
                {
                    "id": 3,
                    "task": "summarization",
                    "prompt": "Summarize the conversation.\n",
                    "question": [
                        {"text": "<TURN> Look at this."},
                        {"image": "media/1.jpg"},
                        {"text": ["<TURN> Nice.", "<TURN> Indeed."]},
                    ],
                },
                {
                    "id": 3,
                    "task": "qa",
                    "prompt": "Answer the question.\n",
                    "question": [{"text": "What is heard?"}, {"audio": "media/2.wav"}],
                    "answer": "tapping",
                },
                {"question": [{"text": "Which weapon?"}, {"video": "media/3.mp4"}]},
            ],
        )
    )
    assert [entry.id for entry in entries] == ["3", "3-2", "question-2"]
    contents = [e.messages[0]["content"] for e in entries if isinstance(e, RequestEntry)]
    assert contents == [
        [
            {"type": "text", "text": "<TURN> Look at this."},
            {"type": "image", "image": "media/1.jpg"},
            {"type": "text", "text": "<TURN> Nice."},
            {"type": "text", "text": "<TURN> Indeed."},
            {"type": "text", "text": "Summarize the conversation.\n"},
        ],
        [
            {"type": "text", "text": "What is heard?"},
            {"type": "audio", "audio": "media/2.wav"},
            {"type": "text", "text": "Answer the question.\n"},
        ],
        [
            {"type": "text", "text": "Which weapon?"},
            {"type": "video", "video": "media/3.mp4"},
        ],
    ]


def test_question_files_name_media_from_their_folder_or_the_one_above(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    (folder / "media").mkdir(parents=True)
    (folder / "media" / "a.wav").write_bytes(b"x")
    entry = {"prompt": "Say.", "question": [{"audio": "examples/media/a.wav"}]}
    path = write(folder / "question.json", [entry])
    assert only(path).media_root == tmp_path
    assert only(path, media_root=folder).media_root == folder
    entry["question"] = [{"audio": "media/a.wav"}]
    assert only(write(path, [entry])).media_root == folder
    entry["question"] = [{"audio": "media/absent.wav\x00"}]
    assert only(write(path, [entry])).media_root == folder


def test_only_a_root_that_was_given_confines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", ASK)
    assert isinstance(only(path).media_root, OpenRoot)
    assert not isinstance(only(path, media_root=tmp_path).media_root, OpenRoot)
    assert isinstance(only(path, media_root=OpenRoot(tmp_path)).media_root, OpenRoot)


def test_a_line_of_the_batch_api_is_a_request(tmp_path: Path) -> None:
    body = {"model": "m", "temperature": 1, "messages": [{"role": "user", "content": "?"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    path = tmp_path / "batch.jsonl"
    path.write_text(
        json.dumps(line) + "\n" + json.dumps({"custom_id": "b", "body": {}}), encoding="utf-8"
    )
    found, problem = read_requests(path)
    assert isinstance(found, RequestEntry)
    assert (found.id, found.messages) == ("a", body["messages"])
    assert isinstance(problem, RequestProblem)
    assert problem.id == "b"

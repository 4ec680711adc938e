"""Requests from files of any size, Parquet and datasets: read one after the other."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from omnitrace.errors import InputError
from omnitrace.runs import Requests, digest_of_request, open_requests
from omnitrace.sources import RequestEntry, RequestProblem
from tests.helpers.memory import at_most, endless_line

TURNS = [{"role": "user", "content": "What is it?"}]


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def entries(requests: Requests) -> list[RequestEntry]:
    found = list(requests)
    assert all(isinstance(each, RequestEntry) for each in found), found
    return found  # type: ignore[return-value]


def test_a_jsonl_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    line = json.dumps({"messages": [{"role": "user", "content": "x" * 100_000}]})
    with path.open("w") as file:
        file.writelines(f"{line}\n" for _ in range(300))
        file.write("\n{no json")
    requests = open_requests(path)
    assert len(requests) == 301
    with at_most(3 * 2**20):  # a tenth of the file
        count = sum(isinstance(each, RequestEntry) for each in requests)
    assert count == 300
    *_, last = requests
    assert isinstance(last, RequestProblem)
    assert last.id == "many-302"


def test_a_line_without_an_end_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = endless_line(tmp_path, monkeypatch)
    with at_most(8 << 20):
        requests = open_requests(path)
        (problem,) = requests
        assert len(requests) == 1
    assert isinstance(problem, RequestProblem)
    assert "line 1 has more than" in str(problem.error)


def test_a_file_that_fails_while_it_is_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"cannot read '.*a\.jsonl': Input/output error"):
        open_requests(tmp_path / "a.jsonl")


def test_lines_that_are_no_text_lose_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"messages": TURNS}).encode()
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\n\xff\xfe\n" + good)
    first, broken, last = open_requests(path)
    assert isinstance(first, RequestEntry)
    assert isinstance(broken, RequestProblem)
    assert "line 2 is not UTF-8 (byte 0)" in str(broken.error)
    assert isinstance(last, RequestEntry)


def test_a_json_file_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"messages": TURNS}] * 2))
    requests = open_requests(tmp_path / "a.json")
    assert [each.id for each in requests] == ["a-0", "a-1"]
    assert (len(requests), requests.name) == (2, "a.json")
    changed = requests.changed(lambda entry: RequestProblem(entry.id, InputError("no")))
    assert [type(each) for each in changed] == [RequestProblem] * 2


def rows() -> list[dict[str, Any]]:
    shown = [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]
    return [
        {
            "id": "a",
            "messages": [{"role": "user", "content": shown}],
            "images": [{"bytes": picture(), "path": None}],
            "score": 1.0,
        },
        {"id": None, "messages": [{"role": "user", "content": shown}], "images": None, "score": 2},
    ]


def test_parquet_files_hold_requests_and_their_media(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "train-00000.parquet")
    first, second = entries(open_requests(tmp_path / "train-00000.parquet"))
    assert [first.id, second.id] == ["a", "train-00000-1"]
    part, question = first.messages[0]["content"]
    assert part == {"type": "image", "image": picture()}
    assert question == {"type": "text", "text": "What is it?"}
    assert second.messages[0]["content"][0] == {"type": "image"}
    assert digest_of_request(first) != digest_of_request(second)
    folder = open_requests(tmp_path)
    assert (len(folder), [each.id for each in folder]) == (2, ["a", f"{tmp_path.name}-1"])
    assert len(open_requests(tmp_path, split="train")) == 2
    with pytest.raises(InputError, match="no Parquet file of the split 'test'"):
        open_requests(tmp_path, split="test")


def test_a_folder_of_tables_is_not_searched_without_end(tmp_path: Path) -> None:
    for folder in ("data/english/train", "a/b/c/d"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows()), tmp_path / folder / "0000.parquet")
    assert len(open_requests(tmp_path)) == 2
    with pytest.raises(InputError, match="folder '/proc' holds no Parquet file"):
        open_requests("/proc")  # where folders go while they are listed


def test_messages_may_be_json_in_a_text_column(tmp_path: Path) -> None:
    texts = [json.dumps(TURNS), "{"]
    pq.write_table(
        pa.table({"messages": texts, "response": ["Yes.", None]}), tmp_path / "a.parquet"
    )
    good, bad = open_requests(tmp_path / "a.parquet")
    assert isinstance(good, RequestEntry)
    assert (good.messages, good.response) == (TURNS, "Yes.")
    assert isinstance(bad, RequestProblem)
    assert "row 1: 'messages' is a text, and no JSON" in str(bad.error)


def test_media_must_fit_their_parts(tmp_path: Path) -> None:
    (row, _) = rows()
    row["images"] *= 2
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (problem,) = open_requests(tmp_path / "a.parquet")
    assert isinstance(problem, RequestProblem)
    assert "2 image files for 1 parts" in str(problem.error)


def test_folders_of_datasets(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, Features, Image, List, Value

    part = {"type": Value("string"), "text": Value("string")}
    features = Features(
        {
            "id": Value("string"),
            "messages": List({"role": Value("string"), "content": List(part)}),
            "images": List(Image()),
            "score": Value("float64"),
        }
    )
    found = Dataset.from_list(rows(), features=features)
    found.save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": found, "test": found.select([0])}).save_to_disk(str(tmp_path / "two"))
    first, _ = entries(open_requests(tmp_path / "one"))
    assert first.messages[0]["content"][0]["image"] == picture()
    assert len(open_requests(tmp_path / "two", split="test")) == 1
    for split in (None, "validation"):
        with pytest.raises(InputError, match="has the splits train, test"):
            open_requests(tmp_path / "two", split=split)


@pytest.mark.parametrize("package", ["pyarrow", "datasets"])
def test_what_is_not_installed_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "state.json").touch()
    (tmp_path / "a.parquet").touch()
    path = tmp_path if package == "datasets" else tmp_path / "a.parquet"
    extra = "parquet" if package == "pyarrow" else "datasets"
    with pytest.raises(InputError, match=rf"omnitrace-attribution\[{extra}\]"):
        open_requests(path)


def test_what_holds_no_requests_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'messages' \\(it has 'text'\\)"):
        open_requests(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"none")
    (tmp_path / "c.jsonl").write_text("\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "d.csv").touch()
    for name, message in (
        ("b.parquet", "cannot read"),
        ("c.jsonl", "holds no request"),
        ("empty", "holds no Parquet file"),
        ("d.csv", "is no request file"),
        ("absent.jsonl", "there is no|cannot read"),
        ("absent", "there is no"),
    ):
        with pytest.raises(InputError, match=message):
            open_requests(tmp_path / name)

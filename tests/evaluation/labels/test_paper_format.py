"""Labels in the form of the OmniTrace paper, in entries like those of its files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import LabelError
from omnitrace.evaluation.labels.paper_format import read_paper_labels
from omnitrace.evaluation.labels.schema import ImageSource, TextSource, TimeSource

ENTRY: dict[str, Any] = {
    "id": 7,
    "prompt": "Sum up the talk.\n",
    "question": [
        {"text": "<TURN> The pier is old. Cc:"},
        {"image": "a.png"},
        {"text": ["<TURN> It was painted.", "It is red."]},
        {"image": "b.png"},
        {"audio": "horn.wav"},
    ],
    "response": "The pier is old. It is red now.",
    "gen_chunks": ["The pier is old.", "It is red now."],
    "input_text_chunks": [
        {"chunk_id": 0, "text": "Sum up the talk."},
        {"chunk_id": 1, "text": "<TURN> The pier is old."},
        {"chunk_id": 2, "text": "Cc:<TURN> It was painted."},
        {"chunk_id": 3, "text": "It is red."},
    ],
    "labels": [
        {"sentence_index": 0, "text_source": [1], "image_source": [0]},
        {
            "sentence": "It is red now.",
            "text_source": [2, {"source_chunk_id": 3}, "The  pier"],
            "image_source": [{"source_chunk_id": 1}],
            "audio_source": ["0:03", "1:02.5 - 1:04", [2, 2.5], 5.2, {"start": 0, "end": 1}],
        },
    ],
}
FIRST = "<TURN> The pier is old. Cc:"


def written(tmp_path: Path, *entries: Any, name: str = "labels.json") -> Path:
    path = tmp_path / name
    lines = [json.dumps(entry) for entry in entries]
    text = "\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]"
    path.write_text(text, encoding="utf-8")
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = copy.deepcopy(ENTRY)
    change(made)
    return made


def text(part: int, start: int, end: int) -> TextSource:
    return TextSource(message=0, part=part, start=start, end=end)


def seconds(start: float, end: float) -> TimeSource:
    return TimeSource(message=0, part=5, start=start, end=end)


@pytest.mark.parametrize("name", ["labels.json", "labels.jsonl"])
def test_everything_that_is_known_of_the_form(tmp_path: Path, name: str) -> None:
    (label,) = read_paper_labels(written(tmp_path, ENTRY, name=name))
    assert label.id == "7"
    assert [span.text for span in label.spans] == ENTRY["gen_chunks"]
    assert label.spans[0].sources == (text(0, 0, 23), ImageSource(message=0, part=1))
    assert label.spans[1].sources == (
        text(0, 24, len(FIRST)),  # a chunk that reaches over two parts
        text(2, 0, 22),
        text(3, 0, 10),
        text(0, 7, 15),
        ImageSource(message=0, part=4),
        seconds(3, 4),
        seconds(62.5, 64),
        seconds(2, 2.5),
        seconds(5, 6),
        seconds(0, 1),
    )


def test_the_instruction_is_the_last_part(tmp_path: Path) -> None:
    made = changed(lambda e: e["labels"][0].update(text_source=[0]))
    (label,) = read_paper_labels(written(tmp_path, made))
    assert label.spans[0].sources[0] == text(6, 0, 16)


def test_images_may_be_counted_from_one(tmp_path: Path) -> None:
    made = changed(lambda e: e["labels"].pop())
    made["labels"][0]["image_source"] = [2]
    (label,) = read_paper_labels(written(tmp_path, made), image_base=1)
    assert label.spans[0].sources[1] == ImageSource(message=0, part=4)


def test_without_a_response_the_chunks_are_it(tmp_path: Path) -> None:
    def change(entry: dict[str, Any]) -> None:
        del entry["response"]
        entry["attribution"] = {"gen_chunks": entry.pop("gen_chunks")}

    (label,) = read_paper_labels(written(tmp_path, changed(change)))
    assert label.response == ENTRY["response"]


def first(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry["labels"][0].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("labels"), "[0]: one list of sentences with any of 'text_source', "),
        (lambda e: e.update(more=e["labels"]), "is needed; there is 'labels', 'more'"),
        (
            first(text_source=[9]),
            "[0].labels[0].text_source[0]: 9 is no 'chunk_id' of 'input_text_chunks' (0 to 3)",
        ),
        (first(text_source=[True]), "True is no 'chunk_id' of 'input_text_chunks' (0 to 3)"),
        (lambda e: e.pop("input_text_chunks"), "1 is no 'chunk_id' of 'input_text_chunks' (there"),
        (
            first(text_source=["the sea"]),
            "text_source[0]: the chunk 'the sea' is not in the texts of the question",
        ),
        (first(text_source=3), "[0].labels[0].text_source: 3 is no list"),
        (first(image_source=[2]), "image_source[0]: 2 is no number of an image (0 to 1)"),
        (
            first(video_source=[1]),
            "video_source[0]: the question has 0 video parts; a time needs exactly one to be of",
        ),
        (
            lambda e: (
                e["question"].append({"video": "v.mp4"}),
                first(**{"audio/video_source": [1]})(e),
            ),
            "the question has 2 audio or video parts; a time needs exactly one",
        ),
        (first(audio_source=["soon"]), "audio_source[0]: 'soon' is no time: seconds, 'm:ss', or"),
        (first(audio_source=[[3, 2]]), "[3, 2] is no time"),
        (first(audio_source=[-1]), "-1 is no time"),
        (first(sentence_index=5), "labels[0].sentence_index: 5 is none of the 2 'gen_chunks'"),
        (
            lambda e: e["labels"][0].pop("sentence_index"),
            "[0].labels[0]: it has neither its words (sentence, chunk_text, text) nor its number",
        ),
        (
            lambda e: e["labels"].reverse(),
            "the response does not say 'The pier is old.' after character 31",
        ),
        (lambda e: e.update(question=[]), "[0]: "),
    ],
)
def test_what_cannot_be_mapped(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    good = changed(lambda entry: entry.update(id="good"))
    path = written(tmp_path, changed(change), good)
    with pytest.raises(LabelError) as caught:
        read_paper_labels(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}, [0]")
    assert message in str(problem)
    assert [label.id for label in read_paper_labels(path, skip_invalid=True)] == ["good"]


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="question: there is no such field"):
        read_paper_labels(written(tmp_path, {"messages": []}))
    with pytest.raises(InputError, match="holds messages"):
        read_paper_labels(written(tmp_path, {"role": "user"}, {"role": "user"}))
    with pytest.raises(InputError, match="cannot read"):
        read_paper_labels(tmp_path / "missing.json")
    path = tmp_path / "broken.jsonl"
    path.write_text("{\n" + json.dumps(ENTRY), encoding="utf-8")
    with pytest.raises(LabelError, match="is not JSON"):
        read_paper_labels(path)
    assert len(read_paper_labels(path, skip_invalid=True)) == 1

"""The documents of the text benchmark: what they are, and that the split stays as it was frozen."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from common.report import BenchmarkError
from common.texts import SENTENCES, SPLITS, digest, read_split
from omnitrace.segmentation.sentences import segment

#: Changing a document changes what every published figure is about: measure anew if you must.
FROZEN = {
    "train": (30, "f0bf70c38d14ecb1a227fa7fd7a9d09879a40dc7676ac717658d4799d8c586eb"),
    "validation": (10, "7c7e561c960deb61d27a4b7cc8a03a63fb202959ed7668a0d2a89502346e4384"),
    "test": (24, "7e3be58e838c5cb042f520ddfc67f3b31eb180fd138d38a67f891ec93eecb053"),
}
ALL = [text for split in SPLITS for text in read_split(split)]


@pytest.mark.parametrize("split", SPLITS)
def test_the_split_is_frozen(split: str) -> None:
    texts = read_split(split)  # type: ignore[arg-type]
    assert (len(texts), digest(texts)) == FROZEN[split]


@pytest.mark.parametrize("text", ALL, ids=lambda text: text.id)
def test_each_document_has_12_to_20_units(text: object) -> None:
    assert len(segment(text.text, language="en")) in SENTENCES  # type: ignore[attr-defined]


def test_no_document_or_sentence_stands_there_twice() -> None:
    assert len({text.id for text in ALL}) == len(ALL) >= 60
    sentences = [text.text[a:b] for text in ALL for a, b in segment(text.text, language="en")]
    assert len(set(sentences)) == len(sentences)


def test_documents_share_few_words_in_a_row() -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return set(zip(*(words[i:] for i in range(7)), strict=False))

    found = [runs(text.text) for text in ALL]
    assert all(len(a & b) <= 2 for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_task_and_several_registers(split: str) -> None:
    texts = read_split(split)  # type: ignore[arg-type]
    tasks = Counter(text.task for text in texts)
    assert set(tasks) == {"question", "summary", "extraction"}
    assert min(tasks.values()) >= len(texts) // 5
    assert len({text.register_ for text in texts}) >= 5
    assert {text.task for text in texts[:3]} == set(tasks)  # a short run has them all


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    good = ALL[0].model_dump(by_alias=True)
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | {"task": "poem"}) + "\n")
    with pytest.raises(BenchmarkError, match=r"test\.jsonl:2: task: Input should be"):
        read_split("test", tmp_path)
    path.write_text(2 * (json.dumps(good) + "\n"))
    with pytest.raises(BenchmarkError, match=r":2: id: .* stands there twice"):
        read_split("test", tmp_path)


def test_the_document_is_the_source_and_the_task_is_not() -> None:
    (message,) = ALL[0].messages
    assert [part["text"] for part in message["content"]] == [ALL[0].text, ALL[0].instruction]

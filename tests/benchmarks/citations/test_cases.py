"""The cases of the benchmark of citations: what they are made of, and that they never change."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from citations.cases import BERLIN_PARIS, COUNTS, KINDS, Case, cases
from citations.documents import SPLITS, Split, digest, read_families
from common.report import BenchmarkError
from omnitrace.segmentation.sentences import segment

FROZEN = {
    "dev": "d9afdae38e8f285fb3e13a795e69b5df7ded87720e61f0be0462f4d3accf83b5",
    "test": "862a0abd8910d4c0eb62bb5f4cda5f44fcbed822ac1cfc8291cbffeb9829a969",
}


@pytest.fixture(params=SPLITS)
def split(request: pytest.FixtureRequest) -> Split:
    found: Split = request.param
    return found


@pytest.fixture
def built(split: Split) -> list[Case]:
    return cases(split)


def place(case: Case, index: int) -> str:
    if index == 0:
        return "first"
    return "last" if index == len(case.documents) - 1 else "between"


def test_the_split_is_frozen(split: Split, built: list[Case]) -> None:
    said = [[case.id, case.messages, case.response, case.evidence] for case in built]
    found = hashlib.sha256(json.dumps([digest(read_families(split)), said]).encode()).hexdigest()
    assert found == FROZEN[split]


def test_no_document_and_no_statement_is_in_both_splits() -> None:
    documents, statements = [], []
    for split in SPLITS:
        families = read_families(split)
        documents += [{each.text for family in families for each in family.document}]
        statements += [{each.text for case in cases(split) for each in case.statements}]
    assert min(map(len, documents)) == max(COUNTS) + 8
    assert not documents[0] & documents[1]
    assert not statements[0] & statements[1]


def test_documents_are_short_and_say_what_no_other_says(split: Split) -> None:
    every = [each for family in read_families(split) for each in family.document]
    assert len({each.text for each in every}) == len(every)
    for document in every:
        sentences = [document.text[start:end].strip() for start, end in segment(document.text)]
        assert 1 <= len(sentences) <= 4
        assert document.verbatim in sentences
        assert document.paraphrased not in document.text
        assert sum(document.verbatim in each.text for each in every) == 1


def test_there_are_cases_of_every_kind_at_every_place(built: list[Case]) -> None:
    assert len({case.id for case in built}) == len(built) == 120
    assert Counter(len(case.documents) for case in built) == dict.fromkeys(COUNTS, 20)
    assert 50 <= sum(case.system is not None for case in built) <= 70
    kinds = Counter(each.kind for case in built for each in case.statements)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 18
    places = Counter(
        (statement.kind, place(case, found[0]))
        for case in built
        for statement, found in zip(case.statements, case.evidence, strict=True)
        if len(found) == 1
    )
    assert len(places) == 6
    assert min(places.values()) >= 16


def test_each_statement_is_a_span_with_its_evidence_in_the_request(built: list[Case]) -> None:
    for case in built:
        assert 1 <= len(case.statements) <= 3
        response = case.response
        spans = [response[start:end].strip() for start, end in segment(response)]
        assert spans == [each.text for each in case.statements]
        for statement, found in zip(case.statements, case.evidence, strict=True):
            sources = {"verbatim": 1, "paraphrased": 1, "two-sources": 2}.get(statement.kind, 0)
            assert len(found) == sources
            assert len(case.documents) > sources
            if statement.kind == "verbatim":
                assert statement.text in case.documents[found[0]].text


def test_what_is_in_no_document_is_about_a_subject_that_is_there(split: Split) -> None:
    families = read_families(split)
    subject = {
        each.statement: {document.id for document in family.document}
        for family in families
        for each in (*family.invented, *family.refusal)
    }
    contradicts = {each.statement: each.contradicts for f in families for each in f.invented}
    for case in cases(split):
        there = {each.id for each in case.documents}
        for statement in case.statements:
            if not statement.evidence:
                assert there & subject[statement.text]
                assert statement.kind != "contradicted" or contradicts[statement.text] in there


def test_a_request_gives_each_document_its_id(built: list[Case]) -> None:
    case = next(each for each in built if each.system)
    system, user = case.messages
    assert system == {"role": "system", "content": case.system}
    *documents, question = user["content"]
    assert [part["source_id"] for part in documents] == [each.id for each in case.documents]
    assert "source_id" not in question
    assert question["text"].count("?") == len(case.statements)


def test_shuffling_moves_documents_and_their_evidence(built: list[Case]) -> None:
    for case in built[:12]:
        other = case.shuffled(1)
        assert other == case.shuffled(1)
        assert other.documents != case.documents
        assert set(other.documents) == set(case.documents)
        assert other.statements == case.statements
        for before, after in zip(case.evidence, other.evidence, strict=True):
            ids = [{c.documents[i].id for i in at} for c, at in ((case, before), (other, after))]
            assert ids[0] == ids[1]


def test_the_named_example_is_in_no_split() -> None:
    assert BERLIN_PARIS.evidence == [(1,)]
    assert BERLIN_PARIS.statements[0].known
    assert BERLIN_PARIS.id not in {case.id for split in SPLITS for case in cases(split)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('documents = ["velmstadt-bridge"', 'documents = ["bridge"', "no document 'bridge'"),
        ('verbatim = "They have two', 'verbatim = "There are two', "sentence is elsewhere"),
        ('id = "velmstadt-tower"', 'id = "velmstadt-bridge"', "stands there twice"),
        ('asked_otherwise = "How old', 'asks = "How old', "asked_otherwise"),
    ],
)
def test_a_file_of_documents_is_checked(old: str, new: str, said: str, tmp_path: Path) -> None:
    import citations

    folder = Path(citations.__file__).parent / "documents"
    text = (folder / "dev.toml").read_text(encoding="utf-8")
    (tmp_path / "dev.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BenchmarkError, match=said):
        read_families("dev", tmp_path)

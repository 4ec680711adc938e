"""Documents that stand in one string are found, each with its own mark."""

from __future__ import annotations

import pytest

from omnitrace.segmentation.documents import find_documents, without_questions

ONE, TWO = "The spoon weighs seven grams.", "The key weighs eight."


def found(text: str) -> list[str]:
    return [text[a:b] for a, b in find_documents(text)]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        (f"[1] {ONE}\n[2] {TWO}\n\nWhich?", [f"[1] {ONE}", f"[2] {TWO}"]),
        (f"Use these:\n\n[1] {ONE}\n\n[2] {TWO}\n\nSummarise.", [f"[1] {ONE}", f"[2] {TWO}"]),
        (f"[1] {ONE} [2] {TWO}", [f"[1] {ONE}", f"[2] {TWO}"]),
        (f"Sources: [1] {ONE} [2] {TWO}", [f"[1] {ONE}", f"[2] {TWO}"]),
        (f"[Doc 1] {ONE}\n[Doc 2] {TWO}", [f"[Doc 1] {ONE}", f"[Doc 2] {TWO}"]),
        (
            f"Document 1: {ONE}\nDocument 2: {TWO}\nQuestion: Which?\nAnswer:",
            [f"Document 1: {ONE}", f"Document 2: {TWO}"],
        ),
        (
            f"Document [1](Title: A) {ONE}\nDocument [2](Title: B) {TWO}\n\nQuestion: Which?",
            [f"Document [1](Title: A) {ONE}", f"Document [2](Title: B) {TWO}"],
        ),
        (
            f"Document 1:\n\n{ONE}\n\nDocument 2:\n\n{TWO}\n\nSummarise.",
            [f"Document 1:\n\n{ONE}", f"Document 2:\n\n{TWO}"],
        ),
        (
            f"**Source A**: {ONE}\n**Source B**: {TWO}\nWhich is heavier?",
            [f"**Source A**: {ONE}", f"**Source B**: {TWO}"],
        ),
        (
            f"--- Passage #1 ---\n{ONE}\n--- Passage #2 ---\n{TWO}",
            [f"--- Passage #1 ---\n{ONE}", f"--- Passage #2 ---\n{TWO}"],
        ),
        (
            f'<documents><document index="1">{ONE}</document>\n<document index="2">{TWO}</document>'
            "</documents>\n<question>Which?</question>",
            [f'<document index="1">{ONE}</document>', f'<document index="2">{TWO}</document>'],
        ),
        (
            f"<doc1>{ONE}</doc1><doc2>{TWO}</doc2> Which?",
            [f"<doc1>{ONE}</doc1>", f"<doc2>{TWO}</doc2>"],
        ),
        (f"<context>\n{ONE}\n</context>\nWhich?", [f"<context>\n{ONE}\n</context>"]),
        (
            f"# Spoons\n{ONE}\n\n# Keys\n{TWO}\n\n# Question\nWhich?",
            [f"# Spoons\n{ONE}", f"# Keys\n{TWO}"],
        ),
        (f"{ONE}\n---\n{TWO}\n---\nWhich is heavier?", [ONE, TWO]),
        (f'Summarise:\n"""\n{ONE}\n"""', [ONE]),
    ],
)
def test_documents_are_found_with_their_marks(text: str, documents: list[str]):
    assert found(text) == documents


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is Document 2: a list or a table?",
        "The sky is blue. [1] The sea is too. [2]",
        "The sky is blue.[1][2] The sea is too.",
        "<p>One.</p><p>Two.</p>",
        "# Task\nSummarise.",
        "The weather is fine.\n\nSo is the sea.",
        "[1] Only one.",
    ],
)
def test_other_texts_hold_no_documents(text: str):
    assert found(text) == []


def test_many_marks_take_linear_time():
    text = "".join(f"[{i}] <doc id={i}>Text {i}.\n" for i in range(50_000))
    assert len(find_documents(text)) == 50_000  # by their numbers: the elements never end


def test_questions_at_the_beginning_and_the_end_are_left_out():
    text = f"Which is heavier? {ONE} Is it? {TWO} Well? Which?"
    assert [text[a:b] for a, b in without_questions(text)] == [ONE, "Is it?", TWO]
    assert without_questions("Which? Really?") == []
    text = f"{ONE}\nQuestion: name the lighter one.\nAnswer:"
    assert [text[a:b] for a, b in without_questions(text)] == [ONE]

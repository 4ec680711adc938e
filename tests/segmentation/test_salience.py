"""Word weights: which pipeline, which weight, and which token gets it."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from omnitrace.errors import InputError
from omnitrace.segmentation.salience import Salience

TAGS = {"Paris": "PROPN", "is": "AUX", "a": "DET", "very": "ADV", "big": "ADJ", "city": "NOUN"}
TAGS |= {"grows": "VERB", "5": "NUM", ".": "PUNCT", "oh": "INTJ"}


@Language.component("omnitrace_test_tags")
def _tags(doc: Doc) -> Doc:
    for token in doc:
        token.pos_ = TAGS[token.text]
    return doc


@pytest.fixture(scope="module")
def blank() -> Salience:
    return Salience.create(None)


def by_word(salience: Salience, text: str) -> list[float]:
    ranges, at = [], 0
    for word in text.split(" "):
        ranges.append((at, at + len(word)))
        at += len(word) + 1
    return salience.weights(text, ranges).tolist()


def test_lexical_weights(blank: Salience) -> None:
    assert blank.name == "blank:en"
    assert by_word(blank, "The Eiffel two 330 , six weighs $ -- .") == [
        *(0.1, 0.9, 1.0, 1.0, 0.0, 1.0, 0.9, 0.3, 0.0, 0.0),
    ]


def test_tag_weights() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("omnitrace_test_tags")
    salience = Salience(nlp, name="tags", tagged=True)
    assert by_word(salience, "Paris is a very big city . oh grows 5") == [
        *(1.0, 0.1, 0.1, 0.5, 0.8, 1.0, 0.0, 0.3, 0.9, 1.0),
    ]


def test_tokens_get_the_word_they_overlap_most(blank: Salience) -> None:
    text = "The  tower, two"
    ranges = [
        (0, 4),  # "The "
        (3, 5),  # white space
        (4, 8),  # " tow"
        (8, 11),  # "er,"
        (10, 10),  # completes no character
        (10, 13),  # ", t": a tie, the first
        (9, 15),  # "r, two"
        (15, 15),
    ]
    weights = blank.weights(text, ranges)
    assert weights.dtype == np.float64
    assert weights.tolist() == [0.1, 0.0, 0.9, 0.9, 0.0, 0.0, 1.0, 0.0]


def test_edges(blank: Salience) -> None:
    assert blank.weights("", []).shape == (0,)
    assert blank.weights("", [(0, 0)]).tolist() == [0.0]
    assert blank.weights(" \n", [(0, 2)]).tolist() == [0.0]
    assert blank.weights("你好 😀", [(0, 2), (3, 4)]).tolist() == [0.9, 0.3]


def test_auto_without_an_installed_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy.util, "get_installed_models", lambda: ["de_core_news_sm"])
    assert Salience.create().name == "blank:en"
    assert Salience.create(language="fr").name == "blank:fr"
    assert Salience.create("blank:de").name == "blank:de"


def test_auto_takes_the_smallest_pipeline_that_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["en_core_web_lg", "en_core_web_sm", "en_blank_md", "en_core_web_trf"]
    loaded = []

    def load(name: str, **_: object) -> Language:
        loaded.append(name)
        nlp = spacy.blank("en")
        if name != "en_core_web_sm":
            nlp.add_pipe("tagger")
        nlp.meta.update(name=name.removeprefix("en_"), version="3.8.0")
        return nlp

    monkeypatch.setattr(spacy.util, "get_installed_models", lambda: names)
    monkeypatch.setattr(spacy, "load", load)
    assert Salience.create().name == "en_blank_md-3.8.0"
    assert loaded == ["en_core_web_sm", "en_blank_md"]
    assert Salience.create("en_core_web_lg").name == "en_core_web_lg-3.8.0"


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy.util, "get_installed_models", lambda: ["de_core_news_sm"])
    with pytest.raises(InputError, match=r"'en_core_web_md' is not installed.*de_core_news_sm"):
        Salience.create("en_core_web_md")
    with pytest.raises(InputError, match="no language 'qq'"):
        Salience.create(language="qq")

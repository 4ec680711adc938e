"""Names of files from ids: known up front, and never shared."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.runs import trace_name


@pytest.mark.parametrize("plain", ["a", "sample-12", "q_3.b", "港口", "0"])
def test_a_safe_id_in_small_letters_is_its_name(plain: str) -> None:
    assert trace_name(plain) == plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "a_b"),
        ("a/b", "a b"),
        ("A", "a"),
        ("straße", "strasse"),
        ("é", "e\u0301"),
        ("\u0131", "i"),
        ("x" * 300, "x" * 301),
        ("con", "_con"),
        ("", "request"),
    ],
)
def test_ids_that_a_file_system_could_confuse_have_names_of_their_own(one: str, other: str) -> None:
    names = [unicodedata.normalize("NFC", trace_name(each)).casefold() for each in (one, other)]
    assert names[0] != names[1]


def test_a_name_with_a_digest_is_no_id_of_another() -> None:
    assert trace_name(trace_name("a b")) != trace_name("a b")


@settings(max_examples=50)
@given(st.text(max_size=400))
def test_every_id_has_a_file_name(text: str) -> None:
    name = trace_name(text)
    assert name == trace_name(text)
    assert len(name.encode("utf-8", "surrogatepass")) <= 140
    assert not set(name) & set('/\\:*?"<>|\0')

"""Where sources were guessed or there are none, the trace and a warning say so."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from omnitrace import SourceWarning, Trace, Tracer
from tests.helpers.text_adapters import text_adapter

ASK = "What does the spoon weigh?"
NOTE = "The spoon weighs seven grams. The key weighs eight grams."


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer(adapter=text_adapter())


def test_a_question_alone_has_no_sources_and_the_trace_says_so(tracer: Tracer, tmp_path: Path):
    with pytest.warns(SourceWarning, match="nothing in the request can be a source"):
        trace = tracer.trace([{"role": "user", "content": ASK}], max_new_tokens=4)
    assert trace.units == ()
    assert not any(span.supports for span in trace.spans)
    (note,) = trace.provenance.notes
    assert '"source": true' in note
    loaded = Trace.load(trace.save(tmp_path / "a.omnitrace"))
    assert loaded.provenance.notes == (note,)
    page = loaded.to_html(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "nothing in the request can be a source" in page


def test_one_text_is_cut_without_its_question_and_the_guess_is_said(tracer: Tracer):
    with pytest.warns(SourceWarning, match="sources and question in one text"):
        trace = tracer.trace([{"role": "user", "content": f"{NOTE} {ASK}"}], max_new_tokens=4)
    assert [unit.preview for unit in trace.units] == [
        "The spoon weighs seven grams.",
        "The key weighs eight grams.",
    ]


def test_marked_sources_are_traced_without_a_word(tracer: Tracer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system = {"role": "system", "content": NOTE}
        trace = tracer.trace([system, {"role": "user", "content": ASK}], max_new_tokens=4)
        assert [unit.locator.message for unit in trace.units] == [0, 0]
        marked = {"role": "user", "content": NOTE, "source": True}
        trace = tracer.trace([marked, {"role": "user", "content": ASK}], max_new_tokens=4)
        assert [unit.locator.message for unit in trace.units] == [0, 0]
    assert trace.provenance.notes == ()

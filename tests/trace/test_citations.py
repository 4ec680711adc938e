"""What each span cites: whole texts, places and documents; nothing where there is no source."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from omnitrace import Trace
from omnitrace.errors import InputError
from omnitrace.trace.citations import sections_of
from tests.helpers.cited_traces import ADDRESS, cited_trace, verified_trace
from tests.helpers.sample_traces import LOG, multimodal_trace, text_trace


def test_every_span_has_its_citations_in_order() -> None:
    trace = cited_trace()
    found = trace.citations()
    assert [each.span for each in found] == [0, 1, 2, 3, 4]
    for each, span in zip(found, trace.spans, strict=True):
        assert trace.text[each.start : each.end] == each.text == span.text
        assert [cited.unit for cited in each.citations] == [s.unit.id for s in span.supports]
        assert [cited.rank for cited in each.citations] == [s.rank for s in span.supports]
        assert [cited.strength for cited in each.citations] == [s.share for s in span.supports]
    assert not found[4].citations
    assert not found[4].documents


def test_a_text_is_cited_whole() -> None:
    long = "The ferry " + "goes on and " * 60 + "on."
    (first, *_) = text_trace([long], "Where?", "It goes on.").citations()
    (cited,) = first.citations
    assert cited.cited_text == long
    assert cited.characters == (0, len(long))


def test_a_citation_says_where_it_is() -> None:
    cited = {each.unit: each for span in cited_trace().citations() for each in span.citations}
    text, image, audio = cited["text-2"], cited["image-8"], cited["audio-2"]
    assert text.characters is not None
    assert LOG[slice(*text.characters)] == text.cited_text
    assert (text.title, text.metadata) == ("Harbour log", {"page": 3, "tags": ["ferry"]})
    assert (image.box, image.characters, image.cited_text) == ((900, 300, 1200, 600), None, "")
    assert (image.document, image.source_id, image.title) == (ADDRESS, ADDRESS, "The pier")
    assert (audio.seconds, audio.box, audio.part) == ((2.0, 4.0), None, 2)


def test_units_are_numbered_as_they_are_first_cited() -> None:
    trace = cited_trace()
    numbers = [each.number for span in trace.citations() for each in span.citations]
    assert list(dict.fromkeys(numbers)) == list(range(1, max(numbers) + 1))
    again = dataclasses.replace(trace, spans=(trace.spans[0], trace.spans[0]))
    first, second = again.citations()
    assert [each.number for each in first.citations] == [each.number for each in second.citations]


def test_the_units_of_a_document_are_cited_together() -> None:
    trip, log = verified_trace().citations()[3].documents
    assert (trip.document, trip.title) == ("trip", "The trip")
    assert trip.units == ("audio-5", "video-3")
    assert trip.strength == pytest.approx(4 / 6)
    assert (trip.effect, trip.interval) == (2.5, None)  # effects are not added
    assert (log.document, log.effect, log.interval) == ("log", 2.0, (1.5, 2.5))
    assert log.metadata == {"page": 3, "tags": ["ferry"]}


def test_only_supported_spans_cite() -> None:
    trace = verified_trace()
    found = trace.citations()
    assert [each.verdict for each in found] == [
        *("supported", "no-source", "against-sources", "supported", "no-source")
    ]
    assert [len(each.citations) for each in found] == [1, 0, 0, 3, 0]
    first = found[0].citations[0]
    assert (first.effect, first.interval, first.kind) == (3.0, (2.5, 3.5), "necessary")
    # Also where a trace that somebody else made keeps supports of such a span.
    wrong = dataclasses.replace(trace.spans[0], verdict="against-sources")
    assert not dataclasses.replace(trace, spans=(wrong,)).citations()[0].citations


def test_one_section() -> None:
    trace = verified_trace()
    assert [each.span for each in trace.citations(section="thought")] == [0]
    assert [each.span for each in trace.citations(section="answer")] == [1, 2, 3, 4]
    answer = trace.citations(section="answer")[2]
    assert [each.number for each in answer.citations] == [1, 2, 3]
    with pytest.raises(InputError, match="no section 'thoughts'"):
        trace.citations(section="thoughts")  # type: ignore[arg-type]


def test_documents_are_those_of_the_request() -> None:
    log, pier, trip = cited_trace().documents()
    assert [each.index for each in (log, pier, trip)] == [0, 1, 2]
    assert (trip.parts, trip.modalities) == (((0, 2), (0, 3)), ("audio", "video"))
    assert pier.name == "The pier"
    unnamed = multimodal_trace().documents()
    assert [each.id for each in unnamed] == [
        *("log", "message-0-part-1", "message-0-part-2", "message-0-part-3")
    ]
    assert [each.name for each in unnamed] == ["log", "pier.png", "horn.wav", "boat.mp4"]


def test_a_document_without_any_name_is_numbered() -> None:
    trace = text_trace(["One fact.", "Two facts."], "Which?", "So it is.")
    assert [each.name for each in trace.documents()] == ["text 1", "text 2"]
    redacted = multimodal_trace().redact()
    assert [each.name for each in redacted.documents()] == [
        "text 1",
        "image 1",
        "audio 1",
        "video 1",
    ]


def test_no_document_takes_the_name_of_another() -> None:
    trace = text_trace(["One fact.", "Two facts."], "Which?", "So it is.")
    first, second = trace.units
    units = (first, dataclasses.replace(second, source_id="message-0-part-0"))
    layout = dataclasses.replace(trace.layout, units=units)
    ids = [each.id for each in dataclasses.replace(trace, layout=layout).documents()]
    assert len(set(ids)) == 2


def test_citations_are_json() -> None:
    for span in verified_trace().citations():
        document = span.to_dict()
        assert json.loads(json.dumps(document))["start"] == span.start
        assert {"citations", "documents", "verdict", "sources_effect"} <= set(document)


def test_the_document_of_a_trace_names_quotes_and_documents() -> None:
    document = cited_trace().to_dict()
    (unit,) = [each for each in document["units"] if each["id"] == "text-2"]
    assert unit["quote"] == "The lighthouse was repainted red in spring."
    assert unit["document"] == "log"
    (support,) = [s for s in document["spans"][0]["supports"] if s["unit"] == "text-2"]
    assert (support["quote"], support["document"]) == (unit["quote"], unit["document"])
    part = document["messages"][0]["content"][1]
    assert (part["title"], part["source_id"]) == ("The pier", ADDRESS)


@pytest.mark.parametrize("form", ["trace", "trace.omnitrace"])
def test_labels_survive_a_file(tmp_path: Path, form: str) -> None:
    trace = verified_trace()
    loaded = Trace.load(trace.save(tmp_path / form))
    assert loaded.citations() == trace.citations()
    assert loaded.documents() == trace.documents()


def test_a_redacted_trace_cites_places_and_no_words() -> None:
    trace = verified_trace().redact()
    said = json.dumps([each.to_dict() for each in trace.citations()]) + json.dumps(trace.to_dict())
    for secret in ("Harbour log", "The pier", "The trip", "ferry", '"page"', "log", ADDRESS):
        assert secret not in said
    cited = trace.citations()[0].citations[0]
    assert set(cited.cited_text) == {"█"}
    assert (cited.characters, cited.effect) == ((23, 66), 3.0)


def test_sections_of_a_response() -> None:
    trace = verified_trace()
    (thought, answer) = sections_of(trace)
    assert thought == ("thought", 0, trace.spans[0].end)
    assert answer == ("answer", trace.spans[1].start, len(trace.text))
    assert sections_of(cited_trace()) == [("answer", 0, len(trace.text))]

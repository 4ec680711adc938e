"""The question about a trace's sentences, and strict reading of the reply."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import Tracer
from omnitrace.errors import InputError
from omnitrace.evaluation.baselines.self_citation import SELF, self_attribution
from omnitrace.evaluation.evaluation import evaluate
from omnitrace.evaluation.labels.prompt import Questions, questions_of
from omnitrace.evaluation.labels.schema import ImageSource, TextSource, TimeSource
from omnitrace.evaluation.model_access import ask_by, respond
from omnitrace.evaluation.options import EvaluationOptions, ModelAccess
from omnitrace.evaluation.report.export import notes_of
from omnitrace.reference.files import write_sample
from omnitrace.reference.training.build import build_model, build_processor, build_tokenizer
from omnitrace.reference.world import held_out_seed, make_sample
from omnitrace.sources.request_files import RequestEntry, read_requests
from omnitrace.trace.trace import Trace
from tests.helpers.model_state import assert_unchanged, state
from tests.helpers.sample_labels import label
from tests.helpers.sample_traces import ANSWER, LOG, QUESTION, multimodal_trace
from tests.helpers.text_adapters import text_adapter

TRACE = multimodal_trace()
QUESTIONS = questions_of(TRACE)


def reply(*sources: list[str]) -> str:
    return json.dumps(
        {"sentences": [{"number": n, "sources": s} for n, s in enumerate(sources, start=1)]}
    )


RIGHT = reply(["I1 [960, 160, 1070, 400]", "T2"], ["T3"], ["R1 2.2-3.1"], ["R2 0:04-0:08"], [])


def test_the_question_names_all_sources_and_sentences() -> None:
    prompt = QUESTIONS.prompt()
    for words in LOG.split(". "):
        assert words.rstrip(".") in prompt
    assert "I1: image 1, 1200 by 900 pixels" in prompt
    assert "R1: audio 1, 12 seconds" in prompt
    assert "R2: video 2" in prompt
    for number, span in enumerate(TRACE.spans, start=1):
        assert f"{number}. {span.text.strip()}" in prompt
    assert "the images, audio and videos" in prompt
    assert f"The request is:\n\n{QUESTION}\n\n" in prompt
    assert prompt.count(QUESTION) == 1
    assert "the images, audio and videos" not in QUESTIONS.prompt(media_above=False)
    assert QUESTIONS.spans == (0, 1, 2, 3, 4)


def test_a_reply_is_read() -> None:
    for text in (RIGHT, f"```json\n{RIGHT}\n```", f"\n```\n{RIGHT}```  "):
        found = [answer.sources for answer in QUESTIONS.read(text)]
        assert found[0] is not None
        assert found[0][0] == ImageSource(message=0, part=1, box=(960, 160, 1070, 400))
        source = found[0][1]
        assert isinstance(source, TextSource)
        assert LOG[source.start : source.end].strip().startswith("The lighthouse was")
        assert found[2] == (TimeSource(message=0, part=2, start=2.2, end=3.1),)
        assert found[3] == (TimeSource(message=0, part=3, start=4, end=8),)
        assert found[4] == ()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("T0", "there are 5 of these"),
        ("T99", "there are 5 of these"),
        ("I2", "there are 1 of these"),
        ("I1 [0, 0, 1300, 10]", "outside the image"),
        ("I1 [10, 0, 5, 10]", "is not 0 ≤ x0 < x1"),
        ("R1 3-2", "is empty"),
        ("R1 1-99", "99 s is beyond the end at 12 s"),
        ("R1 1:2:3:4-5", "no seconds"),
        ("R1", "no name of a source"),
        ("the log", "no name of a source"),
    ],
)
def test_a_source_that_does_not_exist(name: str, problem: str) -> None:
    answers = QUESTIONS.read(reply(["T2", name], ["T3"], [], [], []))
    assert answers[0].sources is None
    assert f"sentence 1: {name!r}" in answers[0].problem
    if not name.startswith("T"):
        assert problem in answers[0].problem
    assert all(answer.sources is not None for answer in answers[1:])


def test_sentences_that_are_missing_or_there_twice() -> None:
    assert [a.sources is None for a in QUESTIONS.read(reply([], []))] == [False, False] + [True] * 3
    twice = json.dumps({"sentences": [{"number": 1, "sources": []}] * 2})
    assert "sentence 1 stands there 2 times" in QUESTIONS.read(twice)[0].problem
    more = QUESTIONS.read(reply(*[[]] * 6))
    assert [answer.problem for answer in more] == ["there is no sentence 6"] * 5


@pytest.mark.parametrize(
    "text",
    ["", "I do not know.", "[]", "{}", f"Sure! {RIGHT}", RIGHT[:-1], RIGHT.replace("number", "n")],
)
def test_a_reply_that_is_something_else(text: str) -> None:
    answers = QUESTIONS.read(text)
    assert len(answers) == 5
    assert all(answer.sources is None and answer.problem for answer in answers)


@given(
    st.one_of(
        st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
    )
)
def test_no_reply_raises(text: str) -> None:
    assert len(QUESTIONS.read(text)) == 5


def test_there_must_be_something_to_ask_about() -> None:
    with pytest.raises(InputError, match="redacted"):
        questions_of(TRACE.redact())
    with pytest.raises(InputError, match="nothing to ask about: the trace has 0 sentences"):
        questions_of(dataclasses.replace(TRACE, spans=()))


def test_replies_become_choices() -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return RIGHT

    found = self_attribution(TRACE, ask)
    assert asked == [QUESTIONS.prompt()]
    assert not found.failures
    chosen = [prediction.chosen for prediction in found.predictions if prediction]
    assert chosen[1:] == [{"text-3"}, {"audio-2"}, {"video-3", "video-4", *chosen[3]}, set()]
    first = found.predictions[1]
    assert first is not None
    assert np.flatnonzero(first.scores).tolist() == [[u.id for u in TRACE.units].index("text-3")]


def test_the_baseline_is_judged_as_any_other() -> None:
    def ask_of(trace: Trace) -> object:
        return lambda text: RIGHT

    found = evaluate(
        {"harbour": TRACE},
        [label()],
        options=EvaluationOptions(draws=10),
        models=ModelAccess(ask=ask_of),
    )  # type: ignore[arg-type]
    rows = [row for row in found.rows if row.method == SELF]
    assert [row.word for row in rows] == [None] * 5
    assert [row.values["f1"] for row in rows[1:3]] == [1, 1]
    assert rows[4].values["f1"] == 1
    assert rows[4].abstained
    assert found.counts.unread == 0


def test_what_cannot_be_read_is_wrong_and_counted() -> None:
    found = evaluate(
        {"harbour": TRACE},
        [label()],
        options=EvaluationOptions(draws=10),
        models=ModelAccess(ask=lambda trace: lambda text: "No idea."),
    )
    rows = [row for row in found.rows if row.method == SELF]
    assert [row.values["f1"] for row in rows] == [0] * 5  # also of the span without evidence
    assert not any(row.abstained for row in rows)
    assert found.counts.unread == 5
    assert any(line.startswith("5 replies about a sentence") for line in notes_of(found))


@pytest.fixture(scope="module")
def babbler() -> Tracer:
    """A tracer of the reference model's architecture with random weights."""
    tokenizer = build_tokenizer()
    return Tracer(build_model(tokenizer), build_processor(tokenizer))


def traced(tracer: Tracer) -> Trace:
    content = [{"type": "text", "text": "The lamp is red."}, {"type": "text", "text": "Why?"}]
    return tracer.trace(
        [{"role": "user", "content": content}], max_new_tokens=6, do_sample=True, seed=1
    )


def test_a_models_own_replies(babbler: Tracer) -> None:
    # A model without training babbles: every sentence is a failure.
    trace = traced(babbler)
    model = babbler.adapter.model
    model.train()
    before = state(model)
    ask = ask_by(babbler, max_new_tokens=6)(trace)
    found = self_attribution(trace, ask)
    assert_unchanged(model, before)
    assert len(found.failures) == len(questions_of(trace).sentences) > 0
    assert found.reply
    assert ask("Why?") == ask("Why?")


def test_a_question_that_is_too_long_is_a_failure() -> None:
    tracer = Tracer(adapter=text_adapter())  # takes 256 tokens
    trace = traced(tracer)
    found = self_attribution(trace, ask_by(tracer)(trace))
    assert len(found.failures) == len(questions_of(trace).sentences)
    assert "takes 256" in found.failures[0]
    assert not found.reply


def test_the_media_are_shown_again(reference: Tracer, tmp_path: Path) -> None:
    sample = make_sample(held_out_seed(0), questions=1, order=("image", "text"))
    file = write_sample(sample, tmp_path)
    (request,) = read_requests(file)
    assert isinstance(request, RequestEntry)
    trace = reference.trace(request.messages, media_root=request.media_root, max_new_tokens=16)
    untraced = respond(
        reference, request.messages, media_root=request.media_root, max_new_tokens=16
    )
    assert untraced == trace.token_ids
    # The question again, alone: the model answers as it did, so it has seen everything.
    seen = [part["type"] for part in trace.messages[0]["content"]]
    assert "image" in seen
    assert ask_by(reference, max_new_tokens=16)(trace)("") != ""
    path = trace.save(tmp_path / "a.omnitrace")
    with pytest.raises(InputError, match=r"is not in the trace.*Fix: trace with --media"):
        ask_by(reference)(Trace.load(path))
    path = trace.save(tmp_path / "b.omnitrace", media=True)
    assert ask_by(reference, max_new_tokens=4)(Trace.load(path))("")


def test_questions_are_a_value() -> None:
    assert isinstance(QUESTIONS, Questions)
    assert ANSWER.startswith(QUESTIONS.sentences[0])

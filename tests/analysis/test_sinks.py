"""Sinks: found, measured on a null question, and taken out."""

import dataclasses

import numpy as np
import pytest

from omnitrace import InputError, Trace, Tracer
from omnitrace.analysis import baseline, find_sinks, without_sinks
from tests.helpers.sample_traces import multimodal_trace


def with_scores(trace: Trace, scores: np.ndarray) -> Trace:
    changed = dataclasses.replace(trace, scores=scores.astype(np.float32))
    return changed.reselect(trace.config)


@pytest.fixture
def trace() -> Trace:
    """Make a trace whose tokens look at one unit each, and all of them at a sink in the first."""
    sample = multimodal_trace()
    prompt = sample.layout.prompt_length
    scores = np.zeros_like(sample.scores)
    units = sample.units
    for t in range(len(scores)):
        target = units[1 + t % (len(units) - 1)]
        scores[t, list(target.positions)] = 0.3 / len(target.positions)
    scores[:, units[0].positions[0]] += 0.7
    assert scores[:, :prompt].sum() == pytest.approx(len(scores), rel=1e-5)
    return with_scores(sample, scores)


def test_the_position_that_all_tokens_look_at_is_found(trace: Trace):
    sinks = find_sinks(trace)
    unit = trace.units[0]
    assert sinks.positions.tolist() == [unit.positions[0]]
    assert sinks.shares == pytest.approx([0.7])
    assert sinks.mass == pytest.approx(0.7)
    assert sinks.unit_mass == pytest.approx({unit.id: 0.7})


@pytest.mark.parametrize("how", ["exclude", "subtract"])
def test_without_it_the_units_looked_at_come_first(trace: Trace, how):
    assert {token.unit for token in trace.tokens} == {trace.units[0].id}
    clean = without_sinks(trace, find_sinks(trace), how)
    units = trace.units
    expected = [units[1 + t % (len(units) - 1)].id for t in range(len(trace.tokens))]
    assert [token.unit for token in clean.tokens] == expected
    assert find_sinks(clean).positions.size == 0
    assert trace.scores[0, units[0].positions[0]] == pytest.approx(0.7), "the trace is untouched"


def test_subtracting_keeps_what_goes_beyond_the_baseline(trace: Trace):
    scores = trace.scores.copy()
    position = trace.units[0].positions[0]
    scores[3] = 0.0
    scores[3, position] = 1.0
    more = with_scores(trace, scores)
    clean = without_sinks(more, find_sinks(more), "subtract")
    assert clean.scores[3, position] == pytest.approx(0.3)
    assert without_sinks(more, find_sinks(more)).scores[3].sum() == 0.0


def test_the_baseline_of_a_null_question(trace: Trace):
    sinks = baseline(trace, trace)
    prompt = trace.layout.prompt_length
    mean = trace.scores[:, :prompt].mean(axis=0)
    np.testing.assert_allclose(sinks.shares, mean[sinks.positions], rtol=1e-5)
    units = dataclasses.replace(trace.layout, units=trace.units[:-1])
    with pytest.raises(InputError, match="other sources"):
        baseline(dataclasses.replace(trace, layout=units), trace)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"quantile": 1.0}, "quantile is 1.0"), ({"factor": 0.5}, "factor is 0.5")],
)
def test_bad_options(trace: Trace, options, words):
    with pytest.raises(InputError, match=words):
        find_sinks(trace, **options)
    with pytest.raises(InputError, match="how is 'drop'"):
        without_sinks(trace, find_sinks(trace), "drop")  # type: ignore[arg-type]


def test_a_short_answer_says_nothing(trace: Trace):
    short = dataclasses.replace(trace, scores=trace.scores[:4])
    with pytest.raises(InputError, match="the trace has 4 tokens"):
        find_sinks(short)


def test_the_sinks_of_a_null_question_can_be_excluded(trace: Trace):
    scores = trace.scores.copy()
    scores[:, : trace.layout.prompt_length] += 1e-6  # a softmax leaves nothing without a share
    everywhere = with_scores(trace, scores)
    with pytest.raises(InputError, match="nothing would be left"):
        without_sinks(everywhere, baseline(everywhere, everywhere))
    worst = baseline(trace, trace, factor=10)
    assert worst.positions.tolist() == [trace.units[0].positions[0]]
    assert worst.mass == pytest.approx(0.7)
    assert trace.units[0].id not in {token.unit for token in without_sinks(trace, worst).tokens}
    with pytest.raises(InputError, match="factor is -1"):
        baseline(trace, trace, factor=-1)


def test_a_null_run_of_another_signal_or_without_scores_is_refused(trace: Trace):
    signal = {**trace.provenance.signal, "name": "another"}
    other = dataclasses.replace(
        trace, provenance=dataclasses.replace(trace.provenance, signal=signal)
    )
    with pytest.raises(InputError, match=r"the null run has the signal .*'another'"):
        baseline(other, trace)
    silent = dataclasses.replace(trace, scores=np.zeros_like(trace.scores))
    with pytest.raises(InputError, match="the null run has no scores"):
        baseline(silent, trace)


def test_the_provenance_tells_what_was_taken_out(trace: Trace, tmp_path):
    clean = without_sinks(trace, find_sinks(trace), "subtract")
    record = clean.provenance.signal["sinks"]
    assert record == {"how": "subtract", "positions": 1, "mass": pytest.approx(0.7)}
    loaded = Trace.load(clean.save(tmp_path / "clean.omnitrace"))
    assert loaded.provenance.signal["sinks"]["how"] == "subtract"
    assert "sinks" not in trace.provenance.signal


def test_a_calibration_run_of_another_length(reference: Tracer):
    """The system's message is longer in the null run, so that all sources move."""
    note = "The lamp weighs seven grams. The cup weighs two grams."

    def ask(question: str, system: str) -> Trace:
        parts = [{"type": "text", "text": note}, {"type": "text", "text": question}]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": system}]},
            {"role": "user", "content": parts},
        ]
        return reference.trace(messages, max_new_tokens=8)

    def of_note(trace: Trace) -> list[int]:
        return [position for unit in trace.units for position in unit.positions]

    trace = ask("What does the cup weigh?", "Answer.")
    null = ask("N/A", "Answer in a few words, please.")
    positions, theirs = of_note(trace), of_note(null)
    assert len(positions) == len(theirs) > 0
    assert positions != theirs
    sinks = baseline(null, trace)
    assert set(sinks.positions.tolist()) <= set(positions)
    shares = null.scores / null.scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sinks.shares, shares[:, theirs].mean(axis=0), rtol=1e-4)
    clean = without_sinks(trace, sinks, "subtract")
    assert clean.scores[:, positions].sum() < trace.scores[:, positions].sum()

"""Rollout: evidence through the model's own earlier words."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace import Tracer
from omnitrace.attribution.rollout import Rollout
from omnitrace.trace.events import EndEvent, SpanEvent


def random_scores(tokens: int, prompt: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.random((tokens, prompt + tokens)) ** 4
    scores[rng.random(tokens) < 0.2] = 0.0
    scores[:, prompt:] *= np.tri(tokens, k=-1)
    return scores


def solved(scores: np.ndarray, prompt: int) -> np.ndarray:
    """Solve r = direct + G r as one linear system, where every token has evidence."""
    totals = scores.sum(axis=1, keepdims=True)
    shares = scores / totals
    tokens = len(scores)
    return totals * np.linalg.solve(np.eye(tokens) - shares[:, prompt:], shares[:, :prompt])


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_rows_equal_the_linear_system(tokens: int, prompt: int, seed: int):
    scores = random_scores(tokens, prompt, seed) + 1e-3
    scores[:, prompt:] *= np.tri(tokens, k=-1)
    through = Rollout(prompt).push(scores)
    np.testing.assert_allclose(through[:, :prompt], solved(scores, prompt), rtol=1e-9)
    assert not through[:, prompt:].any()


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_blocks_give_the_same_bits_and_rows_keep_their_totals(
    tokens: int, prompt: int, seed: int, block: int
):
    scores = random_scores(tokens, prompt, seed)
    whole = Rollout(prompt).push(scores)
    rollout = Rollout(prompt)
    blocks = [rollout.push(scores[i : i + block]) for i in range(0, tokens, block)]
    assert np.concatenate(blocks).tobytes() == whole.tobytes()
    np.testing.assert_allclose(whole.sum(axis=1), scores.sum(axis=1), atol=1e-12)
    assert (whole >= 0).all()


def test_a_thought_is_followed_to_what_it_rested_on():
    prompt = 3
    scores = np.array([[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.2, 0.8, 0.0]])
    through = Rollout(prompt).push(scores)
    np.testing.assert_allclose(through[1], [0.0, 0.8, 0.2, 0.0, 0.0])


def test_mass_on_a_token_without_evidence_stays_there():
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]])
    np.testing.assert_array_equal(Rollout(2).push(scores), scores)


MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The lamp weighs seven grams. The cup weighs two grams."},
            {"type": "text", "text": "What does the lamp weigh? What does the cup weigh?"},
        ],
    }
]


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer.from_pretrained("reference", signal="attention-mean")


def test_streamed_stored_and_reselected_spans_are_the_same(tracer: Tracer, tmp_path):
    plain = tracer.trace(MESSAGES)
    config = dataclasses.replace(plain.config, rollout=True)
    expected = plain.reselect(config)
    following = tracer.with_options(selection=config)
    live = following.trace(MESSAGES)
    assert live.spans == expected.spans
    assert live.tokens == expected.tokens
    assert type(live).load(live.save(tmp_path / "a.omnitrace")).reselect(config).spans == live.spans
    events = list(following.stream(MESSAGES))
    assert isinstance(events[-1], EndEvent)
    streamed = [event.span for event in events if isinstance(event, SpanEvent)]
    assert streamed == list(events[-1].trace.spans)
    assert all(token.generated_mass < 1e-6 for token in live.tokens)
    assert all(a.grounding >= b.grounding for a, b in zip(live.spans, plain.spans, strict=True))

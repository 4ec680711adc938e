"""A signal that breaks while the model writes costs the supports and not the response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from omnitrace import ConformanceError, InputError, PluginError, SpanEvent, TokenEvent, Tracer
from omnitrace.cli.app import app
from omnitrace.signals.attention import AttentionMean
from omnitrace.trace.events import Event
from tests.helpers import broken_signals as broken
from tests.helpers.model_state import assert_unchanged, state

MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "The red lamp is in the kitchen. The chair is blue."},
            {"type": "text", "text": "Where is the lamp?"},
        ],
    }
]
OPTIONS: dict[str, Any] = {"max_new_tokens": 12, "min_new_tokens": 12}
LATE = ("late-error", "late-negative", "late-nan", "late-shape", "late-refusal")


@pytest.fixture(scope="module")
def response(reference: Tracer) -> str:
    return reference.trace(MESSAGES, **OPTIONS).text


@pytest.mark.parametrize(
    ("name", "contract", "value"),
    [
        ("late-error", "score() returns without raising", "raised ValueError: no more of this"),
        ("late-negative", "scores are not negative", "the score -0.9"),
        ("late-nan", "scores are finite", "the score nan for generated token 3 at context"),
        ("late-shape", "scores have the shape [rows, context]", ", 1]"),
        ("late-refusal", "score() returns without raising", "raised NotSupportedError: I do not"),
    ],
)
def test_the_error_names_signal_package_and_requirement(
    reference: Tracer, bad_package: Path, response: str, name: str, contract: str, value: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=name, block=1)
    before = state(reference.adapter.model)
    with pytest.raises(PluginError) as caught:
        tracer.trace(MESSAGES, **OPTIONS)
    error = caught.value
    assert isinstance(error, ConformanceError)
    assert error.subject == f"the signal {name!r} of the package 'bad-signals:bad'"
    assert error.contract == contract
    assert value in str(error)
    assert contract in str(error)
    assert error.text == response
    assert response not in str(error)
    assert_unchanged(reference.adapter.model, before)


@pytest.mark.parametrize("block", [1, 2, 5, 16])
@pytest.mark.parametrize("name", LATE)
def test_the_whole_response_is_kept(
    reference: Tracer, bad_package: Path, response: str, name: str, block: int
) -> None:
    """Whether the signal breaks on the way or in the last block, after the last token."""
    tracer = Tracer(adapter=reference.adapter, signal=name, block=block)
    with pytest.raises(ConformanceError) as caught:
        tracer.trace(MESSAGES, **OPTIONS)
    assert caught.value.text == response


@pytest.mark.parametrize("name", LATE)
def test_a_stream_gives_what_it_can_and_then_the_error(
    reference: Tracer, bad_package: Path, response: str, name: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=name)
    before = state(reference.adapter.model)
    events: list[Event] = []
    stream = tracer.stream(MESSAGES, block=1, **OPTIONS)
    with pytest.raises(ConformanceError, match=name) as caught:
        events.extend(stream)
    assert caught.value.text == response
    tokens = [event.token.text for event in events if isinstance(event, TokenEvent)]
    assert len(tokens) == 3
    assert response.startswith("".join(tokens))
    assert all(isinstance(event, TokenEvent | SpanEvent) for event in events)
    assert_unchanged(reference.adapter.model, before)


def test_a_signal_object_has_no_package(reference: Tracer) -> None:
    tracer = Tracer(adapter=reference.adapter, signal=broken.Negative())
    with pytest.raises(ConformanceError, match=r"^the signal 'negative' returned the score -0"):
        tracer.trace(MESSAGES, **OPTIONS)


def test_a_signal_with_gradients(reference: Tracer, response: str) -> None:
    class Broken(broken.Negative):
        needs = frozenset({"rows", "logit-gradients"})

    model = reference.adapter.model
    before = state(model)
    with pytest.raises(ConformanceError) as caught:
        Tracer(adapter=reference.adapter, signal=Broken()).trace(MESSAGES, **OPTIONS)
    assert caught.value.text == response
    assert_unchanged(model, before)


def test_a_replayed_response(reference: Tracer, bad_package: Path, response: str) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="late-nan", block=2)
    with pytest.raises(ConformanceError, match="late-nan") as caught:
        tracer.replay(MESSAGES, response)
    assert caught.value.text == response


def test_a_broken_span_signal_names_its_package_and_loses_no_text(
    reference: Tracer, bad_package: Path, response: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="span-nan")
    with pytest.raises(ConformanceError, match="one dict a span") as caught:
        tracer.trace(MESSAGES, **OPTIONS)
    assert caught.value.subject == "the signal 'span-nan' of the package 'bad-signals:bad'"
    assert caught.value.text == response


def test_a_span_signal_that_refuses_loses_no_text(
    reference: Tracer, bad_package: Path, response: str
) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="span-too-dear")
    with pytest.raises(InputError, match="that would take too long") as caught:
        tracer.trace(MESSAGES, **OPTIONS)
    assert caught.value.text == response
    assert _trace("--signal", "span-too-dear").stdout.startswith(
        json.loads(_trace("--json").stdout)["text"]
    )


def test_layers_that_are_not_there(reference: Tracer, bad_package: Path) -> None:
    tracer = Tracer(adapter=reference.adapter, signal="no-layers")
    with pytest.raises(ConformanceError, match=r"'bad-signals:bad' chose \[\] out of \[0, 1"):
        tracer.trace(MESSAGES, **OPTIONS)


@pytest.mark.parametrize(
    ("what", "value", "found"),
    [
        ("parameters", None, "has parameters that are no JSON"),
        ("parameters", {"weights": {1, 2}}, "has parameters that are no JSON"),
        ("needs", frozenset({"rows", "magic"}), "needs 'magic', which is none of rows"),
        ("needs", None, "has needs that are no set: None"),
        ("name", "", "has the name ''"),
    ],
)
def test_what_a_signal_says_of_itself_is_checked_before_the_model_runs(
    reference: Tracer, what: str, value: object, found: str
) -> None:
    signal = AttentionMean()
    setattr(signal, what, value)
    with pytest.raises(ConformanceError) as caught:
        Tracer(adapter=reference.adapter, signal=signal)
    assert found in caught.value.found
    assert "JSON-ready parameters" in caught.value.contract


def test_a_signal_that_cannot_be_made(reference: Tracer, bad_package: Path) -> None:
    with pytest.raises(PluginError, match=r"'bad-signals:bad' cannot be made: ImportError: no mod"):
        Tracer(adapter=reference.adapter, signal="fails-to-be-made")
    with pytest.raises(PluginError, match="no-signal' is no signal"):
        Tracer.from_pretrained("/absent", signal="no-signal")


def _trace(*args: str) -> Result:
    words = ("--text", "The red lamp is in the kitchen.", "--ask", "Where is the lamp?")
    return CliRunner().invoke(app, ["trace", *words, *args])


def test_the_command_line_prints_the_response(bad_package: Path) -> None:
    sound = json.loads(_trace("--json").stdout)
    result = _trace("--signal", "late-error")
    assert result.exit_code == 2
    assert sound["text"] in result.stdout
    assert "no supports: the signal failed" in result.stdout
    assert "the signal 'late-error' of the package 'bad-signals:bad' raised" in result.stderr
    assert "score() returns without raising" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    result = _trace("--signal", "late-error", "--json")
    assert result.exit_code == 2
    (line,) = result.stdout.splitlines()
    document = json.loads(line)
    assert document["text"] == sound["text"]
    assert "late-error" in document["error"]

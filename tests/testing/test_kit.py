"""The kit catches what is broken on purpose, and says which requirement was broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import PluginError
from omnitrace.models.processor import ProcessorAdapter
from omnitrace.signals.base import SpanSignal
from omnitrace.testing import ConformanceError, check_adapter, check_signal
from omnitrace.testing.harness import SignalHarness, reference
from omnitrace.types import Effect, Span
from tests.helpers import broken_signals as broken
from tests.helpers.text_adapters import (
    LosesTheMiddle,
    MapsTwice,
    OffByOne,
    OutsideThePrompt,
    WrongIds,
    text_adapter,
)


@pytest.mark.parametrize(
    ("signal", "contract", "value"),
    [
        (broken.Negative, "scores are not negative", "-0.2"),
        (broken.NotANumber, "scores are finite", "nan"),
        (broken.WrongShape, "the shape", "returned scores of shape [5, "),
        (broken.NoTensor, "float32 tensor", "returned a list"),
        (broken.HalfPrecision, "float32 tensor", "torch.float16"),
        (broken.SeesAhead, "zero from its own position on", "score 0.001"),
        (broken.NotCausal, "later tokens change no earlier score", "in a response of 1 tokens"),
        (broken.NotDeterministic, "the same request gives the same scores", "a second time"),
        (broken.DrawsRandomNumbers, "seeded sampling", "instead of"),
        (broken.CountsPositions, "padding", "the padded sequence"),
        (broken.Smooths, "how many tokens are read at once", "read 1 at a time instead of 16"),
        (broken.Raises, "returns without raising", "raised KeyError: 'attn'"),
        (broken.NoLayers, "layers() chooses", "chose [99]"),
        (broken.UnknownNeed, "needs that exist", "needs 'gradients'"),
        (broken.NoJson, "JSON-ready parameters", "parameters that are no JSON"),
        (broken.GradientsNotAskedFor, "returns without raising", "were not captured"),
    ],
)
def test_a_broken_signal_is_caught(signal: type, contract: str, value: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_signal(signal)
    error = caught.value
    assert isinstance(error, PluginError)
    assert contract in error.contract
    assert value in error.found
    assert repr(signal.name) in error.subject  # type: ignore[attr-defined]
    assert error.subject in str(error)
    assert error.contract in str(error)


@pytest.mark.parametrize(
    ("signal", "value"),
    [
        (broken.ChangesWeights, "the values of "),
        (broken.LeavesAHook, "the forward hooks changed"),
    ],
)
def test_a_signal_that_touches_the_model_is_caught(signal: type, value: str) -> None:
    touched = reference()
    with pytest.raises(ConformanceError) as caught:
        check_signal(signal(touched.adapter.model))
    assert "stay as they were" in caught.value.contract
    assert value in caught.value.found
    # The next signal is not blamed for it.
    assert reference() is not touched
    check_signal("attention-last")


def test_a_signal_that_does_not_clean_up_when_it_raises_is_caught() -> None:
    touched = reference()
    with pytest.raises(ConformanceError) as caught:
        check_signal(broken.LeavesAMark(touched.adapter.model))
    touched.adapter.model.__dict__.pop("mark", None)
    assert caught.value.contract == "the model stays as it was also if the signal raises"
    assert "the attributes" in caught.value.found


def test_a_signal_that_turns_greedy_decoding_around_is_caught() -> None:
    """The requirements before it read more tokens at a time, and so see nothing of it."""
    touched = reference()
    with pytest.raises(ConformanceError) as caught:
        check_signal(broken.Meddles(touched.adapter.model))
    touched.adapter.model._forward_hooks.clear()
    assert caught.value.contract == "greedy decoding writes the untraced model's tokens"
    assert "made the model write the tokens" in caught.value.found


def test_a_signal_that_changes_torch_is_caught() -> None:
    try:
        with pytest.raises(
            ConformanceError, match="deterministic algorithms changed from"
        ) as caught:
            check_signal(broken.ChangesTorch())
        assert "stay as they were" in caught.value.contract
    finally:
        torch.use_deterministic_algorithms(False)


def test_what_is_no_signal() -> None:
    with pytest.raises(PluginError, match="did you mean 'attention-mean'"):
        check_signal("atention-mean")
    with pytest.raises(PluginError, match="is no signal"):
        SignalHarness(object())


class Lengths(SpanSignal):
    """A span signal without a model: the longer a unit, the larger its effect."""

    name = "lengths"

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        units = scorer.units  # type: ignore[attr-defined]
        return [{unit: Effect(float(len(unit))) for unit in units} for _ in spans]


class Infinite(Lengths):
    name = "infinite"

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        return [
            dict.fromkeys(each, Effect(float("inf"))) for each in super().effects(scorer, spans)
        ]


class Fails(Lengths):
    name = "fails"

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        raise ZeroDivisionError("no units")


class Moody(Lengths):
    name = "moody"
    calls = 0

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        self.calls += 1
        units = scorer.units  # type: ignore[attr-defined]
        return [{unit: Effect(float(self.calls)) for unit in units} for _ in spans]


class NeedsRows(Lengths):
    name = "needs-rows"
    needs = frozenset({"rows"})


class TouchesTheModel(Lengths):
    name = "touches-the-model"

    def __init__(self) -> None:
        self.model = reference().adapter.model

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        with torch.no_grad():
            next(self.model.parameters()).view(-1)[0] += 1e-6
        return super().effects(scorer, spans)


class TakesTheAnswer(Lengths):
    """Leaves a hook that turns all later responses around."""

    name = "takes-the-answer"

    def __init__(self) -> None:
        self.model = reference().adapter.model

    def effects(self, scorer: object, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        def turn(module: object, args: object, output: Any) -> Any:
            output.logits = -output.logits
            return output

        if not self.model._forward_hooks:
            self.model.register_forward_hook(turn)
        return super().effects(scorer, spans)


def test_a_span_signal() -> None:
    check_signal(Lengths)


@pytest.mark.parametrize(
    ("signal", "contract", "value"),
    [
        (Infinite, "finite effects", "inf"),
        (Fails, "finite effects", "raised ZeroDivisionError: no units"),
        (Moody, "the same effects", "gave "),
        (NeedsRows, "needs forwards", "needs ['rows']"),
        (TouchesTheModel, "stay as they were", "the values of "),
        (TakesTheAnswer, "that of the untraced model", "made the model write"),
    ],
)
def test_a_broken_span_signal_is_caught(signal: type, contract: str, value: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_signal(signal)
    reference().adapter.model._forward_hooks.clear()
    reference.cache_clear()  # what a signal touched is nobody else's reference
    assert contract in caught.value.contract
    assert value in caught.value.found


@pytest.mark.parametrize(
    ("change", "contract", "value"),
    [
        (MapsTwice, "belongs to one part", "2 times"),
        (OutsideThePrompt, "belongs to one part", "mapped position"),
        (OffByOne, "quote the user's own strings", "the characters"),
        (LosesTheMiddle, "quote the user's own strings", "gave no token the character"),
        (WrongIds, "prompt_ids", "differ from input_ids"),
    ],
)
def test_a_broken_adapter_is_caught(change: type, contract: str, value: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_adapter(text_adapter(change))
    assert contract in caught.value.contract
    assert value in caught.value.found
    assert "the adapter 'causal_lm' (tests.helpers.text_adapters)" in str(caught.value)


class _Features(ProcessorAdapter):
    """Gives what the class says instead of the tower's features."""

    change: Any = staticmethod(lambda found: found)

    def features(self, encoded: Any, tokens: Any) -> Any:
        return self.change(super().features(encoded, tokens))


class DoubleFeatures(_Features):
    change = staticmethod(lambda found: found.astype("float64"))


class TooFewFeatures(_Features):
    change = staticmethod(lambda found: found[1:])


class FeaturesWithHoles(_Features):
    change = staticmethod(lambda found: found * float("nan"))


class OtherFeatures(_Features):
    change = staticmethod(lambda found: found + np.float32(np.random.random()))  # noqa: NPY002


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DoubleFeatures, "gave features of image as float64"),
        (TooFewFeatures, "tokens of image features ["),
        (FeaturesWithHoles, "not finite"),
        (OtherFeatures, "the second time"),
    ],
)
def test_broken_features_are_caught(kind: type[_Features], value: str) -> None:
    own = reference().adapter
    with pytest.raises(ConformanceError) as caught:
        check_adapter(kind(own.model, own.processor), ("text", "image"))
    assert "features()" in caught.value.contract
    assert value in caught.value.found


def test_a_request_that_the_adapter_refuses() -> None:
    with pytest.raises(ConformanceError, match=r"raised InputError: .* reads text only"):
        check_adapter(text_adapter(), ("text", "image"))


def test_the_kit_needs_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from omnitrace.testing import check_signal, SignalConformance\n"
        "check_signal('attention-mean')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

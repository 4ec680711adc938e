"""Omnitrace's own signals and adapters keep what they ask of others."""

from __future__ import annotations

from omnitrace import builtin
from omnitrace.models.base import ModelAdapter
from omnitrace.plugins.registry import build_registry
from omnitrace.signals.gradients import GradSAM
from omnitrace.testing import AdapterConformance, SignalConformance
from omnitrace.testing.harness import reference
from tests.helpers.text_adapters import text_adapter
from tests.signals.captum.names import CAPTUM_SIGNALS


class TestAttentionMean(SignalConformance):
    signal = "attention-mean"


class TestAttentionLast(SignalConformance):
    signal = "attention-last"


class TestValueAttention(SignalConformance):
    signal = "value-attention"


class TestGradSAM(SignalConformance):
    signal = "grad-sam"


class TestGradSAMLast(SignalConformance):
    signal = "grad-sam-last"


class TestGradSAMOfLogProbabilities(SignalConformance):
    signal = GradSAM("logprob")


class TestQwen25Omni(AdapterConformance):
    modalities = ("text", "image", "audio", "video")

    def adapter(self) -> ModelAdapter:
        return reference().adapter


class TestCausalLM(AdapterConformance):
    def adapter(self) -> ModelAdapter:
        return text_adapter()


def test_none_is_left_out() -> None:
    tested = {cls.signal for cls in SignalConformance.__subclasses__() if hasattr(cls, "signal")}
    found = build_registry({"omnitrace": builtin})
    # The others are checked in tests/estimator and tests/signals.
    assert (
        set(found.signals) - {"estimator", "mask-gradient", "verified", *CAPTUM_SIGNALS} <= tested
    )
    adapters = {cls().adapter().name for cls in (TestQwen25Omni, TestCausalLM)}
    assert set(found.models) - {"minicpm-o"} == adapters  # that one: tests/models

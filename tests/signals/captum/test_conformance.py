"""Captum's six signals keep the contract of span signals, on text, an image and sound."""

from __future__ import annotations

from omnitrace.signals.captum.gradients import InputXGradient, IntegratedGradients
from omnitrace.signals.captum.perturbation import FeatureAblation, KernelShap, Lime, Shapley
from omnitrace.testing import SpanSignalConformance
from tests.signals.captum.names import CAPTUM_SIGNALS


class TestFeatureAblation(SpanSignalConformance):
    signal = FeatureAblation


class TestShapley(SpanSignalConformance):
    signal = Shapley(permutations=2)


class TestKernelShap(SpanSignalConformance):
    signal = KernelShap(max_forwards=48)


class TestLime(SpanSignalConformance):
    signal = Lime(max_forwards=48)


class TestIntegratedGradients(SpanSignalConformance):
    signal = IntegratedGradients(steps=8)


class TestInputXGradient(SpanSignalConformance):
    signal = InputXGradient


def test_none_is_left_out() -> None:
    tested = {
        cls.signal.name for cls in SpanSignalConformance.__subclasses__() if hasattr(cls, "signal")
    }
    assert set(CAPTUM_SIGNALS) <= tested

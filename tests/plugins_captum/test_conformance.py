"""The plugin's six signals keep what every span signal promises, on text, an image and sound."""

from __future__ import annotations

import omnitrace_captum
from omnitrace_captum.gradients import CaptumInputXGradient, CaptumIntegratedGradients
from omnitrace_captum.perturbation import (
    CaptumFeatureAblation,
    CaptumKernelShap,
    CaptumLime,
    CaptumShapley,
)

from omnitrace.plugins.registry import build_registry
from omnitrace.testing import SpanSignalConformance


class TestFeatureAblation(SpanSignalConformance):
    signal = CaptumFeatureAblation


class TestShapley(SpanSignalConformance):
    signal = CaptumShapley(permutations=2)


class TestKernelShap(SpanSignalConformance):
    signal = CaptumKernelShap(max_forwards=48)


class TestLime(SpanSignalConformance):
    signal = CaptumLime(max_forwards=48)


class TestIntegratedGradients(SpanSignalConformance):
    signal = CaptumIntegratedGradients(steps=8)


class TestInputXGradient(SpanSignalConformance):
    signal = CaptumInputXGradient


def test_none_is_left_out() -> None:
    tested = {
        cls.signal.name for cls in SpanSignalConformance.__subclasses__() if hasattr(cls, "signal")
    }
    assert set(build_registry({"omnitrace-captum": omnitrace_captum}).signals) <= tested

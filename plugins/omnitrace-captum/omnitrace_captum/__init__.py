"""Captum's attribution methods as span signals of Omnitrace.

Importing this package loads neither Captum nor the methods; their factories do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omnitrace import hookimpl

if TYPE_CHECKING:
    from omnitrace.plugins.hookspecs import RegisterSignal
    from omnitrace.signals.base import SpanSignal

__all__ = ["register_signals"]


def _feature_ablation(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.perturbation import CaptumFeatureAblation

    return CaptumFeatureAblation(**parameters)


def _shapley(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.perturbation import CaptumShapley

    return CaptumShapley(**parameters)


def _kernel_shap(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.perturbation import CaptumKernelShap

    return CaptumKernelShap(**parameters)


def _lime(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.perturbation import CaptumLime

    return CaptumLime(**parameters)


def _integrated_gradients(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.gradients import CaptumIntegratedGradients

    return CaptumIntegratedGradients(**parameters)


def _input_x_gradient(**parameters: Any) -> SpanSignal:
    from omnitrace_captum.gradients import CaptumInputXGradient

    return CaptumInputXGradient(**parameters)


@hookimpl
def register_signals(register: RegisterSignal) -> None:
    """Register six of Captum's methods."""
    register(
        "captum-feature-ablation",
        _feature_ablation,
        summary="drop of the log-probability when one unit is taken away (occlusion)",
    )
    register(
        "captum-shapley",
        _shapley,
        summary="Shapley values of the units, by sampled permutations (Castro et al. 2009)",
    )
    register(
        "captum-kernel-shap",
        _kernel_shap,
        summary="Shapley values of the units, by weighted regression (Lundberg and Lee 2017)",
    )
    register(
        "captum-lime",
        _lime,
        summary="weights of a sparse linear model of random ablations (Ribeiro et al. 2016)",
    )
    register(
        "captum-integrated-gradients",
        _integrated_gradients,
        summary="gradients along the way from ablated embeddings (Sundararajan et al. 2017)",
    )
    register(
        "captum-input-x-gradient",
        _input_x_gradient,
        summary="embedding times gradient, a first-order estimate (Shrikumar et al. 2016)",
    )

"""Signals: what scores the context for each token, or each source unit for each span.

A signal follows one of three protocols. A :class:`TokenSignal` scores every context token for each
generated token. A :class:`SpanSignal` gives each source unit a signed effect on each span of a
finished response; a :class:`LiveSpanSignal` gives it while the model writes. The built-in ones are
registered by name (``omnitrace list signals``); import a class to set its parameters, or to write a
signal of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.capture.layer_rows import LayerRows
    from omnitrace.plugins.hookspecs import RegisterSignal
    from omnitrace.signals.attention import AttentionLast, AttentionMean, ValueAttention
    from omnitrace.signals.base import (
        LiveSpanSignal,
        ModelBound,
        Need,
        Sequential,
        Signal,
        SpanSignal,
        TokenSignal,
    )
    from omnitrace.signals.captum.gradients import InputXGradient, IntegratedGradients
    from omnitrace.signals.captum.perturbation import FeatureAblation, KernelShap, Lime, Shapley
    from omnitrace.signals.gradients import GradSAM, GradSAMLast
    from omnitrace.signals.heads import HeadSelection, SelectedHeads, load_heads
    from omnitrace.signals.mask_gradient import MaskGradient
    from omnitrace.signals.resolution import resolve
    from omnitrace.types import Effect

__all__ = [
    "AttentionLast",
    "AttentionMean",
    "Effect",
    "FeatureAblation",
    "GradSAM",
    "GradSAMLast",
    "HeadSelection",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "LayerRows",
    "Lime",
    "LiveSpanSignal",
    "MaskGradient",
    "ModelBound",
    "Need",
    "RegisterSignal",
    "ResponseScorer",
    "SelectedHeads",
    "Sequential",
    "Shapley",
    "Signal",
    "SpanSignal",
    "TokenSignal",
    "ValueAttention",
    "load_heads",
    "resolve",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.ablation.scorer": ["ResponseScorer"],
        "omnitrace.capture.layer_rows": ["LayerRows"],
        "omnitrace.plugins.hookspecs": ["RegisterSignal"],
        "omnitrace.signals.attention": ["AttentionLast", "AttentionMean", "ValueAttention"],
        "omnitrace.signals.base": [
            "LiveSpanSignal",
            "ModelBound",
            "Need",
            "Sequential",
            "Signal",
            "SpanSignal",
            "TokenSignal",
        ],
        "omnitrace.signals.captum.gradients": ["InputXGradient", "IntegratedGradients"],
        "omnitrace.signals.captum.perturbation": [
            "FeatureAblation",
            "KernelShap",
            "Lime",
            "Shapley",
        ],
        "omnitrace.signals.gradients": ["GradSAM", "GradSAMLast"],
        "omnitrace.signals.heads": ["HeadSelection", "SelectedHeads", "load_heads"],
        "omnitrace.signals.mask_gradient": ["MaskGradient"],
        "omnitrace.signals.resolution": ["resolve"],
        "omnitrace.types": ["Effect"],
    },
)

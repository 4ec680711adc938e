"""Causal truth: what happens to a response when source units are ablated.

>>> from omnitrace.ablation import leave_one_out
>>> found = tracer.effects(trace, leave_one_out(len(trace.units)))  # doctest: +SKIP
>>> found.drops  # [units, spans], in nats  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.ablation.cache import Cache
    from omnitrace.ablation.lazy_scorer import LazyScorer
    from omnitrace.ablation.masks import MaskDealer, leave_one_out, random_masks, sized_masks
    from omnitrace.ablation.measurement import (
        Effects,
        Operators,
        ablated_logprobs,
        measure,
        span_logprobs,
    )
    from omnitrace.ablation.operators import DecoderOperator, InputOperator, Operator
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.plugins.hookspecs import RegisterOperator

__all__ = [
    "Cache",
    "DecoderOperator",
    "Effects",
    "InputOperator",
    "LazyScorer",
    "MaskDealer",
    "Operator",
    "Operators",
    "RegisterOperator",
    "ResponseScorer",
    "ablated_logprobs",
    "leave_one_out",
    "measure",
    "random_masks",
    "sized_masks",
    "span_logprobs",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.ablation.cache": ["Cache"],
        "omnitrace.ablation.lazy_scorer": ["LazyScorer"],
        "omnitrace.ablation.masks": ["MaskDealer", "leave_one_out", "random_masks", "sized_masks"],
        "omnitrace.ablation.measurement": [
            "Effects",
            "Operators",
            "ablated_logprobs",
            "measure",
            "span_logprobs",
        ],
        "omnitrace.ablation.operators": ["DecoderOperator", "InputOperator", "Operator"],
        "omnitrace.ablation.scorer": ["ResponseScorer"],
        "omnitrace.plugins.hookspecs": ["RegisterOperator"],
    },
)

"""Causal truth: what happens to a response when source units are taken away.

>>> from omnitrace.ablation import effects, leave_one_out
>>> found = effects(tracer, trace, leave_one_out(len(trace.units)))  # doctest: +SKIP
>>> found.drops  # [units, spans], in nats  # doctest: +SKIP
"""

from omnitrace.ablation.cache import Cache
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.masks import (
    MaskDealer,
    leave_one_out,
    random_masks,
    sized_masks,
)
from omnitrace.ablation.measurement import (
    Effects,
    Operators,
    ablated_logprobs,
    effects,
    lazy_scorer_of,
    measure,
    noted_masks,
    scorer_of,
)
from omnitrace.ablation.operators import DecoderOperator, InputOperator, Operator

__all__ = [
    "Cache",
    "DecoderOperator",
    "Effects",
    "InputOperator",
    "LazyScorer",
    "MaskDealer",
    "Operator",
    "Operators",
    "ablated_logprobs",
    "effects",
    "lazy_scorer_of",
    "leave_one_out",
    "measure",
    "noted_masks",
    "random_masks",
    "scorer_of",
    "sized_masks",
]

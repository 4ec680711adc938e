"""Hold ablation, and the signals that run the model again, against what the model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch

from omnitrace.ablation.masks import leave_one_out, random_masks
from omnitrace.ablation.measurement import measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.models.forward import decoder_inputs, undisturbed
from omnitrace.testing.doctor.examined import Examined
from omnitrace.testing.doctor.findings import Finding, judged, not_applicable, worst, wrong
from omnitrace.testing.maps import AdapterRequest
from omnitrace.trace.trace import Trace

__all__ = ["ablation", "mask_gradient", "side_inputs", "verified"]

_NATS: Final = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_MASKS: Final = {"quick": 3, "full": 12}


def _scorers(examined: Examined) -> Iterator[tuple[AdapterRequest, Trace, ResponseScorer]]:
    for request, trace in examined.traces:
        yield request, trace, examined.tracer.scorer(request.conversation, trace.token_ids)


def ablation(examined: Examined) -> Finding:
    """Measure masks with shared work and each alone and whole, and all units kept."""
    findings = []
    for _, _, scorer in _scorers(examined):
        units = len(scorer.units)
        masks = np.concatenate(
            [
                np.ones((1, units), dtype=bool),
                leave_one_out(units)[: _MASKS[examined.level]],
                random_masks(units, _MASKS[examined.level], seed=0),
            ]
        )
        refused = []
        for operator in ("attention", "mean"):
            try:
                findings.append(_measured(examined, scorer, masks, operator))
            except (NotSupportedError, InputError) as error:
                refused.append(f"{operator!r} is refused: {error.found}")
        if refused:
            findings.append(Finding("degraded", "; ".join(refused)))
    return worst(findings)


def _measured(
    examined: Examined, scorer: ResponseScorer, masks: np.ndarray, operator: str
) -> Finding:
    shared, alone = (
        measure(scorer, (), masks, operator=operator, share=share) for share in (True, False)
    )
    apart = float(np.abs(shared.tokens - alone.tokens).max())
    kept = float(np.abs(shared.tokens[0] - scorer.full).max())
    moved = float(np.abs(shared.tokens[1:] - scorer.full).max())
    if not np.isfinite(shared.tokens).all():
        return wrong(f"{operator!r} gives log-probabilities that are not finite")
    if moved == 0.0:
        return wrong(f"{operator!r} changes no log-probability, whichever unit is ablated")
    hybrid = "; layers with states read only what is left" if scorer.recurrent else ""
    return judged(
        f"{operator!r}: {len(masks)} masks with shared work differ by at most {apart:.1e} nats "
        f"from each alone, all units kept by {kept:.1e}{hybrid}",
        max(apart, kept),
        _NATS.get(examined.dtype, 1e-4),
    )


def side_inputs(examined: Examined) -> Finding:
    """Say what deeper layers are fed, and run the model on all that its decoder is fed."""
    return worst(_side_inputs(examined, *each) for each in _scorers(examined))


def _side_inputs(
    examined: Examined, request: AdapterRequest, trace: Trace, scorer: ResponseScorer
) -> Finding:
    inputs = examined.placed(request.encoded.inputs)
    with undisturbed(examined.model):
        side = decoder_inputs(examined.adapter, inputs, request.encoded.generate_options).side
    with torch.no_grad():
        again = scorer.logprobs(scorer.embeddings)[0].float().cpu().numpy()
    apart = float(np.abs(again - scorer.full).max())
    shapes = [
        f"{name} ({' x '.join(map(str, shape))} a token)" for name, shape in side.shapes.items()
    ]
    fed = f"input embeddings and {', '.join(shapes)}" if shapes else "input embeddings alone"
    return judged(
        f"the decoder is fed {fed}; run on them, log-probabilities of {len(trace.token_ids)} "
        f"tokens differ by at most {apart:.1e} nats from the model's own",
        apart,
        _NATS.get(examined.dtype, 1e-4),
    )


def verified(examined: Examined) -> Finding:
    """Trace as a user does who names no signal: value-attention, verified by ablation."""

    def of(request: AdapterRequest) -> str:
        trace = examined.trace(request, None)
        spans = trace.spans
        return f"{len(spans)} statements verified among {len(trace.units)} units"

    return _signal(examined, of)


def mask_gradient(examined: Examined) -> Finding:
    """Trace by the span signal that differentiates by how much of a unit is seen."""

    def of(request: AdapterRequest) -> str:
        trace = examined.trace(request, "mask-gradient")
        effects = [effect.value for span in trace.spans for effect in (span.effects or {}).values()]
        return f"{len(effects)} effects of {len(trace.units)} units, all finite"

    return _signal(examined, of)


def _signal(examined: Examined, of: Callable[[AdapterRequest], Any]) -> Finding:
    findings = []
    for request in examined.small:
        try:
            findings.append(Finding("supported", of(request)))
        except NotSupportedError as error:
            findings.append(not_applicable(error.found))
    return worst(findings)

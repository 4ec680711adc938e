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
from omnitrace.testing.doctor.findings import Finding, judged, not_applicable, worst, wrong
from omnitrace.testing.doctor.patient import Patient
from omnitrace.testing.maps import AdapterRequest
from omnitrace.trace.trace import Trace

__all__ = ["ablation", "mask_gradient", "side_inputs", "verified"]

_NATS: Final = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_MASKS: Final = {"quick": 3, "full": 12}


def _scorers(patient: Patient) -> Iterator[tuple[AdapterRequest, Trace, ResponseScorer]]:
    for request, trace in patient.traces:
        yield request, trace, patient.tracer.scorer(request.conversation, trace.token_ids)


def ablation(patient: Patient) -> Finding:
    """Measure masks with shared work and each alone and whole, and all units kept."""
    findings = []
    for _, _, scorer in _scorers(patient):
        units = len(scorer.units)
        masks = np.concatenate(
            [
                np.ones((1, units), dtype=bool),
                leave_one_out(units)[: _MASKS[patient.level]],
                random_masks(units, _MASKS[patient.level], seed=0),
            ]
        )
        refused = []
        for operator in ("attention", "mean"):
            try:
                findings.append(_measured(patient, scorer, masks, operator))
            except (NotSupportedError, InputError) as error:
                refused.append(f"{operator!r} is refused: {error.found}")
        if refused:
            findings.append(Finding("degraded", "; ".join(refused)))
    return worst(findings)


def _measured(
    patient: Patient, scorer: ResponseScorer, masks: np.ndarray, operator: str
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
        _NATS.get(patient.dtype, 1e-4),
    )


def side_inputs(patient: Patient) -> Finding:
    """Say what deeper layers are fed, and run the model on all that its decoder is fed."""
    return worst(_side_inputs(patient, *each) for each in _scorers(patient))


def _side_inputs(
    patient: Patient, request: AdapterRequest, trace: Trace, scorer: ResponseScorer
) -> Finding:
    inputs = patient.placed(request.encoded.inputs)
    with undisturbed(patient.model):
        side = decoder_inputs(patient.adapter, inputs, request.encoded.generate_options).side
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
        _NATS.get(patient.dtype, 1e-4),
    )


def verified(patient: Patient) -> Finding:
    """Trace as a user does who names no signal: value-attention, verified by ablation."""

    def of(request: AdapterRequest) -> str:
        trace = patient.trace(request, None)
        spans = trace.spans
        return f"{len(spans)} statements verified among {len(trace.units)} units"

    return _signal(patient, of)


def mask_gradient(patient: Patient) -> Finding:
    """Trace by the span signal that differentiates by how much of a unit is seen."""

    def of(request: AdapterRequest) -> str:
        trace = patient.trace(request, "mask-gradient")
        effects = [effect.value for span in trace.spans for effect in (span.effects or {}).values()]
        return f"{len(effects)} effects of {len(trace.units)} units, all finite"

    return _signal(patient, of)


def _signal(patient: Patient, of: Callable[[AdapterRequest], Any]) -> Finding:
    findings = []
    for request in patient.small:
        try:
            findings.append(Finding("supported", of(request)))
        except NotSupportedError as error:
            findings.append(not_applicable(error.found))
    return worst(findings)

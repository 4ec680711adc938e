"""Look whether the model writes the same while traced, at what price, and what masks hide."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch

from omnitrace._utils.counted import counted
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.decode import RowCapture
from omnitrace.models.forward import undisturbed
from omnitrace.testing.doctor.examined import Examined
from omnitrace.testing.doctor.findings import Finding, judged, not_applicable, wrong
from omnitrace.testing.doctor.memory import peak_memory
from omnitrace.testing.harness import SEED, settings, untraced
from omnitrace.testing.maps import AdapterRequest
from omnitrace.testing.state import model_change, model_state
from omnitrace.testing.tokens import tokens_violation

__all__ = ["attention_mask", "batch", "memory", "non_interference", "overhead", "restoration"]

_ROWS: Final = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
_LOGITS: Final = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_TIMED: Final = 24
_RUNS: Final = 3
_STEPS: Final = 4
_SLOW: Final = 1.5
_TOO_SLOW: Final = 2.0
_FEW_MS: Final = 25.0  # of a model that takes less a token, the time says nothing
_LONG: Final = "The red lamp is in the kitchen."
_SHORT: Final = "It rains."


def non_interference(examined: Examined) -> Finding:
    """Compare what the model writes with and without tracing, greedily and by seeded sampling."""
    chosen = examined.large if examined.level == "full" else examined.small
    tokens = 0
    for request in chosen:
        for sampled in (False, True):
            plain = request.untraced(sampled=sampled)
            trace = examined.tracer.with_options(block=1).trace(
                request.conversation,
                seed=SEED,
                **settings(examined.adapter, len(plain), sampled),
            )
            found = tokens_violation(plain, trace.token_ids)
            if found is not None:
                return wrong(f"{'seeded sampling' if sampled else 'greedy decoding'} {found}")
            tokens += len(plain)
    return Finding(
        "supported",
        f"all {tokens} tokens of {counted(len(chosen), 'request')}, greedy and sampled, are those "
        "that the model writes untraced",
    )


def restoration(examined: Examined) -> Finding:
    """Look whether a trace leaves modes, hooks, configuration and weights as they were."""
    request = examined.small[0]
    request.untraced(sampled=False)  # the first pass of some towers adds attributes to them
    before, weights = model_state(examined.model, values=False), model_fingerprint(examined.model)
    examined.trace(request, "value-attention")
    change = model_change(examined.model, before)
    if change is not None:
        return wrong(f"a trace left something changed: {change}")
    if model_fingerprint(examined.model) != weights:
        return wrong("a trace changed the weights")
    return Finding(
        "supported", f"{len(before):,} modes, hooks and settings, and the weights, are as before"
    )


def attention_mask(examined: Examined) -> Finding:
    """Change tokens that must not be seen: masked ones, and later ones."""
    request = _of_text(examined, _LONG)
    inputs = examined.placed(request.encoded.inputs)
    ids, mask = inputs["input_ids"], torch.ones_like(inputs["input_ids"])
    length = ids.shape[1]
    hidden = slice(length // 4, length // 2)
    other = ids.clone()
    other[:, hidden] = ids[:, hidden].flip(1).roll(1)
    other[:, hidden][other[:, hidden] == ids[:, hidden]] = int(ids[0, 0])
    masked = mask.clone()
    masked[:, hidden] = 0
    places = torch.arange(length, device=ids.device)
    later = ids.clone()
    later[:, length // 2 :] = ids[:, length // 2 :].flip(1)

    def logits(given: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        rest = {**inputs, "input_ids": given, "attention_mask": visible}
        found: torch.Tensor = examined.model(**rest, use_cache=False).logits[0].float()
        return found

    with undisturbed(examined.model), torch.no_grad():
        seen = logits(ids, mask)
        apart = (logits(ids, masked) - logits(other, masked)).abs()
        behind = float(apart[places >= hidden.stop].max())
        ahead = float((seen - logits(later, mask)).abs()[: length // 2].max())
        control = float((seen - logits(other, mask)).abs()[places >= hidden.stop].max())
    if control == 0.0:
        return not_applicable("changing tokens changes no later logit of this model, masked or not")
    return judged(
        f"changing {hidden.stop - hidden.start} masked tokens changes later logits by at most "
        f"{behind:.1e} (unmasked: {control:.1e}), changing later tokens earlier ones by at most "
        f"{ahead:.1e}",
        max(behind, ahead) / control,
        _LOGITS.get(examined.dtype, 1e-4),
        slack=1,
    )


def batch(examined: Examined) -> Finding:
    """Compare the rows of two texts in a batch, one of them padded, with those of each alone."""
    requests = [_of_text(examined, text) for text in (_LONG, _SHORT)]
    alone = [_captured(examined, [request])[0] for request in requests]
    beside = _captured(examined, requests)
    largest = 0.0
    for expected, found in zip(alone, beside, strict=True):
        for theirs, ours in zip(expected, found, strict=True):
            pad = ours.shape[-1] - theirs.shape[-1]
            largest = max(
                largest,
                float(ours[..., :pad].abs().max()) if pad else 0.0,
                float((ours[..., pad:] - theirs).abs().max()),
            )
    return judged(
        f"largest difference of {_STEPS} rows of two texts, one of them padded, to each text alone "
        f"{largest:.1e} on {len(examined.layers)} layers",
        largest,
        _ROWS.get(examined.dtype, 1e-5),
    )


def _of_text(examined: Examined, text: str) -> AdapterRequest:
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    return AdapterRequest(examined.adapter, messages)


def _captured(examined: Examined, requests: list[AdapterRequest]) -> list[list[torch.Tensor]]:
    """Return each request's rows of every layer, ``[heads, steps, context]``."""
    inputs = examined.placed(examined.adapter.collate([each.encoded.inputs for each in requests]))
    every = examined.layers
    capture = RowCapture(list(every), inputs["input_ids"].shape[1])
    options = settings(examined.adapter, _STEPS, sampled=False)
    with (
        undisturbed(examined.model),
        tapped(examined.model, list(every.values()), capture.taps),
        torch.no_grad(),
    ):
        untraced(examined.adapter, inputs, **options)
        return [
            [layer.weights.float().cpu() for layer in capture.rows(_STEPS, batch=number)]
            for number in range(len(requests))
        ]


def _decoding(examined: Examined) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return what decodes a request untraced, and what traces the same; each returns seconds."""
    request = examined.small[0]
    inputs = examined.placed({**request.encoded.inputs, **request.encoded.generate_options})
    options = settings(examined.adapter, _TIMED, sampled=False)

    def plain() -> float:
        started = time.perf_counter()
        untraced(examined.adapter, inputs, **options)
        return time.perf_counter() - started

    def traced() -> float:
        trace = examined.tracer.trace(request.conversation, **options)
        return float(trace.provenance.timings["generate"])  # as plain(), without reading

    return plain, traced


def overhead(examined: Examined) -> Finding:
    """Compare the seconds that a token takes with and without tracing."""
    plain, traced = (
        1000 * min(run() for _ in range(_RUNS)) / _TIMED for run in _decoding(examined)
    )
    ratio = traced / plain
    said = f"{plain:.1f} ms a token untraced and {traced:.1f} ms traced ({ratio:.2f} times)"
    if ratio <= _SLOW or traced - plain < _FEW_MS:
        return Finding("supported", said)
    return Finding("degraded" if ratio <= _TOO_SLOW else "wrong", said)


def memory(examined: Examined) -> Finding:
    """Compare the peak of memory with and without tracing."""
    found = [peak_memory(run, examined.device) for run in _decoding(examined)]
    untraced_peak, traced_peak = found
    if untraced_peak is None or traced_peak is None:
        return not_applicable("this system does not say how much memory a process takes")
    more = (traced_peak - untraced_peak) / 1e6
    said = (
        f"peak of {untraced_peak / 1e6:,.0f} MB untraced and {traced_peak / 1e6:,.0f} MB traced "
        f"({more:+,.0f} MB) on {examined.device.type}"
    )
    modest = traced_peak <= 1.5 * untraced_peak or more < 256
    return Finding("supported" if modest else "degraded", said)

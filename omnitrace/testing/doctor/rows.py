"""Hold rows, gradients and value norms against eager attention, autograd and the projections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import nn

from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import NotSupportedError
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.forward import undisturbed
from omnitrace.signals.base import Need, TokenSignal
from omnitrace.testing.doctor.examined import Examined
from omnitrace.testing.doctor.findings import Finding, judged, not_applicable, worst, wrong
from omnitrace.testing.eager import eager_pass
from omnitrace.testing.maps import AdapterRequest
from omnitrace.trace.trace import Trace

__all__ = ["gradients", "layers", "rows", "value_norms"]

_ROWS: Final = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
_GRADIENTS: Final = {torch.float16: 5e-2, torch.bfloat16: 2e-1}
_NORMS: Final = {torch.float16: 1e-2, torch.bfloat16: 5e-2}


class _Recorder(TokenSignal):
    """Keeps what is captured of every layer, ``[heads, tokens, context]`` a block."""

    name = "doctor"

    def __init__(self, *needs: Need) -> None:
        self.needs = frozenset({"rows", *needs})
        self.weights: dict[int, list[torch.Tensor]] = {}
        self.gradients: dict[int, list[torch.Tensor]] = {}
        self.norms: dict[int, torch.Tensor] = {}

    def score(self, rows: Iterable[LayerRows]) -> torch.Tensor:
        """Keep what the layers show, and score by their rows."""
        found: list[torch.Tensor] = []
        for layer in rows:
            weights = layer.weights.detach().float().cpu().clone()
            self.weights.setdefault(layer.layer, []).append(weights)
            if "logit-gradients" in self.needs:
                own = layer.gradients.detach().float().cpu().clone()
                self.gradients.setdefault(layer.layer, []).append(own)
            if "values" in self.needs:
                self.norms[layer.layer] = layer.value_norms.detach().float().cpu().clone()
            found.append(weights.mean(dim=0))
        return torch.stack(found).mean(dim=0)


def _recorded(examined: Examined, request: AdapterRequest, *needs: Need) -> tuple[_Recorder, Trace]:
    recorder = _Recorder(*needs)
    return recorder, examined.trace(request, recorder)


def _whole(examined: Examined, request: AdapterRequest, trace: Trace) -> dict[str, Any]:
    """Return the inputs of prompt and response in one pass."""
    encoded = EncodedRequest(
        examined.adapter, request.conversation, request.encoded, trace.layout, 0.0
    )
    return encoded.inputs_with(trace.token_ids, examined.device) | dict(
        request.encoded.generate_options
    )


def _modules(examined: Examined) -> list[nn.Module]:
    return list(examined.layers.values())


def layers(examined: Examined) -> Finding:
    """Say which layers give no rows, and why."""
    every, silent = examined.layers, []
    config = examined.model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None) or ()
    for index in range(examined.depth):
        if index not in every:
            silent.append(f"{index} ({kinds[index]})" if index < len(kinds) else str(index))
    if not silent:
        return Finding("supported", f"all {examined.depth} layers give rows")
    return Finding(
        "degraded",
        f"{len(silent)} of {examined.depth} layers have no softmax attention and give no rows "
        f"({', '.join(silent)}): what they carry is seen by ablation only",
    )


def rows(examined: Examined) -> Finding:
    """Compare the captured rows with those of one eager pass over prompt and response."""
    return worst(_rows(examined, request) for request in examined.small)


def _rows(examined: Examined, request: AdapterRequest) -> Finding:
    recorder, trace = _recorded(examined, request)
    count, prompt = len(trace.token_ids), len(trace.prompt_ids)
    with undisturbed(examined.model), torch.no_grad():
        expected, _ = eager_pass(
            examined.model,
            examined.adapter.decoder,
            _whole(examined, request, trace),
            modules=_modules(examined),
            last=count,
        )
    if len(expected) != len(recorder.weights):
        return wrong(f"{len(expected)} layers give eager rows, {len(recorder.weights)} captured")
    largest, sharpest = 0.0, 0.0
    for theirs, layer in zip(expected, recorder.weights, strict=True):
        for token, ours in enumerate(_tokens(recorder.weights[layer])):
            row = theirs[0, :, token].float().cpu()[:, : prompt + token]
            difference = float((ours[:, : prompt + token] - row).abs().max())
            largest = max(largest, difference) if difference == difference else torch.inf
            sharpest = max(sharpest, float(row.max()) * row.shape[-1])
    return judged(
        f"largest difference of {count} rows to eager attention {largest:.1e} on "
        f"{len(expected)} of {len(examined.layers)} layers that give rows, in a context of "
        f"{prompt + count:,} tokens",
        largest,
        _ROWS.get(examined.dtype, 1e-5),
    )


def _tokens(blocks: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield what each token has, ``[heads, context]``, out of blocks of several."""
    for block in blocks:
        yield from block.unbind(1)


def gradients(examined: Examined) -> Finding:
    """Compare the captured gradients with autograd through prompt and response."""
    chosen = examined.small if examined.level == "full" else examined.small[:1]
    try:
        return worst(_gradients(examined, request) for request in chosen)
    except NotSupportedError as error:
        return not_applicable(error.found)


def _gradients(examined: Examined, request: AdapterRequest) -> Finding:
    recorder, trace = _recorded(examined, request, "logit-gradients")
    count, prompt = len(trace.token_ids), len(trace.prompt_ids)
    steps = range(count) if examined.level == "full" else (0, count - 1)
    largest = 0.0
    with undisturbed(examined.model), torch.enable_grad():
        inputs = _whole(examined, request, trace)
        # Parameters are frozen: the graph begins at the embeddings.
        handle = examined.model.get_input_embeddings().register_forward_hook(
            lambda module, args, output: output.detach().requires_grad_()
        )
        try:
            weights, logits = eager_pass(
                examined.model, examined.adapter.decoder, inputs, modules=_modules(examined)
            )
        finally:
            handle.remove()
        for step in steps:
            place = step - count
            score = logits[0, place, trace.token_ids[step]].float()
            found = torch.autograd.grad(score, weights, retain_graph=True)
            for number, layer in enumerate(recorder.gradients):
                ours = list(_tokens(recorder.gradients[layer]))[step][:, : prompt + step]
                seen = (weights[number][0, :, place, : prompt + step] > 0).cpu()
                theirs = found[number][0, :, place, : prompt + step].float().cpu()
                apart = torch.where(seen, ours - theirs, 0.0).norm() / theirs.norm()
                largest = max(largest, float(apart)) if bool(apart.isfinite()) else torch.inf
    return judged(
        f"largest relative difference of the gradients of {len(steps)} tokens to autograd "
        f"{largest:.1e} on {len(recorder.gradients)} layers",
        largest,
        _GRADIENTS.get(examined.dtype, 1e-4),
    )


def value_norms(examined: Examined) -> Finding:
    """Send each head's values through the output projection as it runs, adapters included."""
    return worst(_value_norms(examined, request) for request in examined.small[:1])


def _value_norms(examined: Examined, request: AdapterRequest) -> Finding:
    recorder, trace = _recorded(examined, request, "values")
    modules, calls = _modules(examined), list[torch.Tensor]()
    projected: dict[int, Any] = {}

    def keep(call: Any) -> None:
        calls.append(call.value.detach())

    def watch(number: int) -> Any:
        def after(module: nn.Module, args: Any, output: Any) -> None:
            projected[number] = module

        return after

    handles = [
        child.register_forward_hook(watch(number))
        for number, module in enumerate(modules)
        for child in module.children()
        if any(True for _ in child.parameters())  # no dropout behind the projection
    ]
    largest = 0.0
    try:
        with (
            undisturbed(examined.model),
            torch.no_grad(),
            tapped(examined.model, modules, [keep] * len(modules)),
        ):
            examined.model(**_whole(examined, request, trace), use_cache=False)
            for handle in handles:  # the last of its parts that ran is its output projection
                handle.remove()
            for number, layer in enumerate(recorder.norms):
                ours = recorder.norms[layer]
                theirs = _through(projected[number], calls[number], len(ours)).cpu()
                width = min(ours.shape[-1], theirs.shape[-1])
                apart = (ours[:, :width] - theirs[:, :width]).abs().max() / theirs.max()
                largest = max(largest, float(apart)) if bool(apart.isfinite()) else torch.inf
    finally:
        for handle in handles:
            handle.remove()
    return judged(
        f"largest relative difference of value norms to the output projection as it runs "
        f"{largest:.1e} on {len(recorder.norms)} layers",
        largest,
        _NORMS.get(examined.dtype, 1e-4),
    )


def _through(projection: nn.Module, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the norms of each head's values behind the projection, ``[heads, context]``."""
    _, groups, context, dim = value.shape
    norms = []
    for head in range(heads):
        alone = value.new_zeros(context, heads * dim)
        alone[:, head * dim : (head + 1) * dim] = value[0, head * groups // heads]
        nothing = projection(torch.zeros_like(alone[:1]))
        norms.append((projection(alone).float() - nothing.float()).norm(dim=-1))
    return torch.stack(norms)

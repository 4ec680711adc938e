"""Gradients two ways: of single decoding steps, and by autograd through the whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.gradients import GradientCapture
from omnitrace.models.generation import TokenStreamer
from omnitrace.testing.eager import eager_pass
from tests.helpers.tiny_models import tiny

Layers = list[tuple[torch.Tensor, torch.Tensor]]  # row and gradient, [heads, context] each
Inputs = Mapping[str, torch.Tensor]

_FILL = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 0}


def gradient_capture(model: Any, inputs: Inputs, **options: Any) -> GradientCapture:
    """Make a capture of all decoder layers."""
    layers = range(len(attention_modules(model.get_decoder())))
    return GradientCapture(layers, layers, inputs["input_ids"].shape[1], **options)


def generate(model: Any, inputs: Inputs, capture: GradientCapture, push: Any, **kwargs: Any) -> Any:
    """Generate with ``capture`` attached; greedy unless ``kwargs`` say otherwise."""
    decoder = model.get_decoder()
    modules = attention_modules(decoder)
    with tapped(model, modules, capture.taps), capture.attached(model, decoder):
        return model.generate(
            **inputs, **{"do_sample": False} | kwargs, streamer=TokenStreamer(push)
        )


def stepwise(
    model: Any, inputs: Inputs, new: int, *, target: str = "logit", **kwargs: Any
) -> tuple[list[int], list[Layers]]:
    """Generate; return the ids and, for every step and layer, row and gradient."""
    foils = kwargs.pop("foils", None)
    capture = gradient_capture(model, inputs, target=target, foils=foils)
    found: list[Layers] = []
    ids: list[int] = []

    def push(token_id: int) -> None:
        ids.append(token_id)
        capture.select(token_id)
        found.append([(each.weights[:, 0], each.gradients[:, 0]) for each in capture.rows(1)])
        capture.drop(1)

    generate(model, inputs, capture, push, max_new_tokens=new, **kwargs)
    return ids, found


def untraced(model: Any, inputs: Inputs, new: int, **kwargs: Any) -> list[int]:
    """Generate without capture."""
    ids = model.generate(**inputs, **{"do_sample": False} | kwargs, max_new_tokens=new)
    return ids[0, inputs["input_ids"].shape[1] :].tolist()  # type: ignore[no-any-return]


def whole(
    model: Any,
    inputs: Inputs,
    ids: Sequence[int],
    step: int,
    *,
    target: str = "logit",
    foil: int | None = None,
) -> Layers:
    """Differentiate a token's score by the last row of every layer's full eager attention."""
    rest = torch.tensor([list(ids[:step])], dtype=torch.long)
    given = dict(inputs)
    given["input_ids"] = torch.cat([given["input_ids"], rest], dim=1)
    for name, fill in _FILL.items():
        if name in given:
            given[name] = torch.cat([given[name], torch.full_like(rest, fill)], dim=1)
    weights, logits = eager_pass(model, model.get_decoder(), given)
    scores = logits[0, -1].float()
    if target == "logprob" or foil is not None:
        scores = torch.log_softmax(scores, dim=-1)
    score = scores[ids[step]] - (scores[foil] if foil is not None else 0.0)
    gradients = torch.autograd.grad(score, weights)
    return [
        (row[0, :, -1].detach().float(), gradient[0, :, -1].float())
        for row, gradient in zip(weights, gradients, strict=True)
    ]


def assert_exact(
    found: Sequence[Layers],
    model: Any,
    inputs: Inputs,
    ids: Sequence[int],
    *,
    row_tolerance: float = 1e-5,
    tolerance: float = 1e-4,
    steps: Sequence[int] | None = None,
    **kwargs: Any,
) -> None:
    """Hold rows, and gradients relative to each layer's norm, at every layer of the steps."""
    sharpest = 0.0
    for step in range(len(found)) if steps is None else steps:
        expected = whole(model, inputs, ids, step, **kwargs)
        assert len(found[step]) == len(expected)
        for layer, (ours, theirs) in enumerate(zip(found[step], expected, strict=True)):
            assert ours[0].shape == theirs[0].shape, (step, layer)
            assert (ours[0] - theirs[0]).abs().max() <= row_tolerance, (step, layer)
            visible = theirs[0] > 0  # a masked position's derivative is of no path at all
            difference = torch.where(visible, ours[1] - theirs[1], 0.0).norm()
            norm = float(theirs[1].norm())
            assert norm > 0, (step, layer)
            assert difference <= tolerance * norm, (step, layer, float(difference) / norm)
            sharpest = max(sharpest, float(theirs[0].max()) * theirs[0].shape[-1])
    assert sharpest > 2, "rows are so even that errors of masks or positions would not show"


def sharp(family: str, **kwargs: Any) -> Any:
    """Make a tiny model whose rows are far from even: queries and keys three times as long."""
    model = tiny(family, **kwargs)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                parameter.mul_(3)
    return model

"""Value norms the slow way: each head's values through its own columns of the projection."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from omnitrace.capture.attention_hooks import attention_modules, tapped


def explicit(model: Any, inputs: dict[str, torch.Tensor], ids: torch.Tensor) -> list[torch.Tensor]:
    """Send each head's value through its columns of the projection, ``[heads, context]`` a layer.

    The values are those of the ordinary forward pass over the whole sequence.
    """
    values: list[torch.Tensor] = []
    modules = attention_modules(model.get_decoder())
    given = inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def keep(call: Any) -> None:
        values.append(call.value)

    with torch.no_grad(), tapped(model, modules, [keep] * len(modules)):
        model(**given)
    found = []
    for module, value in zip(modules, values, strict=True):
        if isinstance(model, tf.GPT2LMHeadModel):
            weight = module.c_proj.weight.T.double()  # type: ignore[union-attr, operator]
        else:
            weight = module.o_proj.weight.double()  # type: ignore[union-attr, operator]
        dim = value.shape[-1]
        heads = weight.shape[1] // dim
        norms = []
        for head in range(heads):
            columns = weight[:, head * dim : (head + 1) * dim]
            own = value[0, head * value.shape[1] // heads].double()
            norms.append((own @ columns.T).norm(dim=-1))
        found.append(torch.stack(norms).float())
    return found

"""inseq: attention weights and gradients of the input (Sarti et al. 2023).

Aggregated to one score a token as the package does by default; the scores of a sentence's tokens
are summed, over the tokens of a span too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from common.examples import Example, Subject, in_units
from common.methods import Attribution, Method
from faithfulness.peers import driven, same_prompt

__all__ = ["Inseq", "methods"]

METHODS: Final = ("attention", "input_x_gradient")


class Inseq(Method):
    """One of inseq's methods, with its defaults."""

    group = "peer"

    def __init__(self, method: str) -> None:
        self.name = f"inseq {method.replace('_', '-')}"
        self.method = method

    @property
    def key(self) -> dict[str, Any]:
        """The package's version, and how it is driven."""
        return driven("inseq", __file__, method=self.method)

    def prepare(self, subject: Subject) -> None:
        """Load the package."""
        import inseq  # noqa: F401

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Attribute every token of the response to every token of the prompt."""
        import inseq

        adapter = subject.tracer.adapter
        model, tokenizer, trace = adapter.model, adapter.tokenizer, example.trace
        prompt = tokenizer.decode(trace.prompt_ids)
        text = prompt + trace.text
        same_prompt(example, tokenizer(prompt)["input_ids"], self.name)
        frozen = [parameter.requires_grad for parameter in model.parameters()]
        base = model.config._attn_implementation
        model.set_attn_implementation("eager")  # only eager attention returns its weights
        try:
            wrapped = inseq.load_model(
                model, self.method, tokenizer=tokenizer, device=str(model.device)
            )
            found = wrapped.attribute(
                prompt,
                text,
                attributed_fn="logit" if self.method != "attention" else None,
                show_progress=False,
            )
            wrapped.attribution_method.unhook()
        finally:
            model.set_attn_implementation(base)
            for parameter, was in zip(model.parameters(), frozen, strict=True):
                parameter.requires_grad_(was)
        # [prompt and response, response]: what each generated token owes to each token before it.
        values = found.aggregate()[0].target_attributions.float().cpu().numpy()
        values = np.nan_to_num(values[: len(trace.prompt_ids)].T)
        tokens = np.zeros((len(trace.token_ids), values.shape[1]))
        tokens[: len(values)] = values[: len(tokens)]
        return Attribution.unablated(example.summed(in_units(example, tokens)))


def methods() -> Sequence[Method]:
    """Return the rows of this peer."""
    return [Inseq(method) for method in METHODS]

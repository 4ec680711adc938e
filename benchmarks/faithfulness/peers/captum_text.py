"""captum: feature ablation by its own text interface (Miglani et al. 2023).

``LLMAttribution`` fills our sentences into the prompt, takes each one out of the text, and reads
the response again. (Our signal ``feature-ablation`` runs the method through our forward function.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from common.examples import Example, Subject
from common.methods import Attribution, Method
from faithfulness.peers import chat_tokenizer, driven, same_prompt
from omnitrace.ablation import leave_one_out

__all__ = ["CaptumText", "methods"]


class CaptumText(Method):
    """Feature ablation of sentences; a pass for each of them, and one with all."""

    group = "peer"
    name = "captum LLMAttribution"

    @property
    def key(self) -> dict[str, Any]:
        """The package's version, and how it is driven."""
        return driven("captum", __file__)

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Take out one sentence after the other."""
        from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

        tokenizer, trace = chat_tokenizer(subject, example), example.trace
        units = len(trace.units)

        def prompt(*sentences: str) -> str:
            kept = [index for index, sentence in enumerate(sentences) if sentence]
            content = f"{example.joined(kept)}\n\n{example.about.instruction}"
            rendered: str = tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            return rendered

        sentences = [example.text[start:end] for start, end in example.sentences]
        same_prompt(example, tokenizer.encode(prompt(*sentences)), self.name)
        with torch.no_grad():
            found = LLMAttribution(
                FeatureAblation(subject.tracer.adapter.model), tokenizer
            ).attribute(
                TextTemplateInput(prompt, sentences),
                target=torch.tensor(trace.token_ids),
                forward_in_tokens=False,  # one pass an ablation
            )
        scores = example.summed(found.token_attr.double().cpu().numpy())
        return Attribution(np.asarray(scores), leave_one_out(units))


def methods() -> Sequence[Method]:
    """Return the row of this peer."""
    return [CaptumText()]

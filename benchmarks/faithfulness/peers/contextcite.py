"""context-cite: a sparse linear model of random ablations (Cohen-Wang et al. 2024).

It ablates sentences of the text, reads the response again, and fits a lasso to the logit of the
response's probability. Masks are its own; they are reported, so that none of them evaluates it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from common.examples import Example, Subject
from common.methods import Attribution, Method
from faithfulness.peers import chat_tokenizer, driven, same_prompt, without_downloads

__all__ = ["ContextCite", "methods"]

ABLATIONS: Final = (32, 64)


class ContextCite(Method):
    """ContextCite with a number of ablations, everything else by default."""

    group = "peer"

    def __init__(self, ablations: int) -> None:
        self.name = f"context-cite ({ablations})"
        self.ablations = ablations

    @property
    def key(self) -> dict[str, Any]:
        """The package's version, and how it is driven."""
        return driven("context-cite", __file__, ablations=self.ablations)

    def prepare(self, subject: Subject) -> None:
        """Load the package."""
        without_downloads()
        import context_cite  # noqa: F401

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Fit the linear model of each span."""
        from context_cite import ContextCiter

        citer = ContextCiter(
            subject.tracer.adapter.model,
            chat_tokenizer(subject, example),
            example.text,
            example.about.instruction,
            num_ablations=self.ablations,
            prompt_template="{context}\n\n{query}",
            partitioner=_partitioner(example),
        )
        prompt_ids, prompt = citer._get_prompt_ids(return_prompt=True)
        same_prompt(example, prompt_ids, self.name)
        # The response is given: it is what the citer would keep of its own.
        citer._cache["output"] = prompt + example.trace.text
        offset = len(citer.response) - len(citer.response.lstrip())
        shift = offset - (len(example.trace.text) - len(example.trace.text.lstrip()))
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            scores = [
                citer.get_attributions(span.start + shift, span.end + shift, verbose=False)
                for span in example.spans
            ]
        return Attribution(np.array(scores, dtype=np.float64), np.asarray(citer._masks))


def _partitioner(example: Example) -> Any:
    from context_cite.context_partitioner import BaseContextPartitioner

    class OurSentences(BaseContextPartitioner):
        """Our units, joined by what stands between them."""

        def split_context(self) -> None:
            """Nothing: the sentences are given."""

        @property
        def num_sources(self) -> int:
            return len(example.sentences)

        def get_source(self, index: int) -> str:
            start, end = example.sentences[index]
            return self.context[start:end]

        def get_context(self, mask: Any = None) -> str:
            kept = range(self.num_sources) if mask is None else np.flatnonzero(mask)
            return example.joined(kept)

    return OurSentences(example.text)


def methods() -> Sequence[Method]:
    """Return the rows of this peer."""
    return [ContextCite(ablations) for ablations in ABLATIONS]

"""What a tracer does with traces that exist: measure and verify their responses again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from omnitrace.ablation.cache import Cache
from omnitrace.ablation.lazy_scorer import LazyScorer
from omnitrace.ablation.measurement import Effects, Operators, Progress, measure
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.engine import rescore
from omnitrace.engine.setup import Setup
from omnitrace.engine.verification import verified_again
from omnitrace.trace.trace import Trace
from omnitrace.types import Message

__all__ = ["FinishedTraces"]


class FinishedTraces:
    """The methods of a :class:`~omnitrace.Tracer` for traces that were made before."""

    setup: Setup

    def verify(
        self,
        trace: Trace,
        *,
        messages: Sequence[Message] | None = None,
        media_root: str | Path | None = None,
        measured: Callable[[np.ndarray], None] | None = None,
    ) -> Trace:
        """Verify the supports of a trace by ablation, whatever selected them when it was made.

        What it may cost is the tracer's ``verify``, where it has one.

        Parameters
        ----------
        trace:
            The response and its spans.
        messages, media_root:
            The request, where the trace does not remember its media or was cut into units of the
            user's own.
        measured:
            As for :meth:`replay`.

        Raises
        ------
        InputError
            If the request is not that of the trace.
        ModelError, NotSupportedError
            If the model cannot be measured.
        """
        return verified_again(
            self.setup, trace, messages=messages, media_root=media_root, measured=measured
        )

    def scorer_of(
        self,
        trace: Trace,
        *,
        messages: Sequence[Message] | None = None,
        media_root: str | Path | None = None,
    ) -> ResponseScorer:
        """Return the scorer of a trace's response, with arguments and errors as :meth:`effects`.

        Making one costs two forward passes: keep it where effects are measured more than once. The
        request is cut as it was for the trace, whatever the tracer's own options.
        """
        return rescore.scorer_of(self.setup, trace, messages=messages, media_root=media_root)

    def lazy_scorer_of(self, trace: Trace) -> LazyScorer:
        """Return the scorer of a trace's response, made when it is needed; see :meth:`scorer_of`.

        What is measured with it is kept by the tokens of prompt and response, the digests of the
        media and the model, so that values in a cache are found without a forward pass.
        """
        return rescore.lazy_scorer_of(self.setup, trace)

    def effects(
        self,
        trace: Trace,
        masks: np.ndarray | torch.Tensor,
        *,
        operator: Operators = "attention",
        messages: Sequence[Message] | None = None,
        media_root: str | Path | None = None,
        cache: str | Path | Cache | None = None,
        progress: Progress | None = None,
        share: bool = True,
    ) -> Effects:
        """Measure the effects of ablating units of a trace's request.

        Parameters
        ----------
        trace:
            The response and its spans.
        masks:
            bool ``[m, K]``; False ablates a unit. Masks may repeat: equal ones are run once.
        operator:
            How: a registered name, an operator, or one of these for each modality.
        messages, media_root:
            The request, where the trace does not remember its media or was cut into units of the
            user's own.
        cache:
            A folder in which measured values are kept by content digest and found again, or a
            :class:`~omnitrace.ablation.Cache`.
        progress:
            Called with the masks done and the masks in all.
        share:
            Whether work is shared between masks; if False, each runs alone and whole.

        Raises
        ------
        InputError
            If the masks have the wrong width or type, the operator does not act on a unit's
            modality, or the request is not that of the trace.
        PluginError
            If the operator is unknown.
        NotSupportedError
            If the operator cannot act on this model or request.
        """
        return measure(
            self.scorer_of(trace, messages=messages, media_root=media_root),
            trace.spans,
            masks,
            operator=operator,
            cache=cache,
            progress=progress,
            share=share,
        )

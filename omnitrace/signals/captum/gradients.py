"""Methods that differentiate by the decoder's input embeddings; a unit gets the sum of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from omnitrace.signals.captum.base import CaptumSignal, whole

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["InputXGradient", "IntegratedGradients"]

_STEPS = 50  # Captum's default
_FEWEST_STEPS = 8


class IntegratedGradients(CaptumSignal):
    """Gradients along the straight way from the ablated embeddings to the model's own.

    Sundararajan et al. 2017 (arXiv 1703.01365). With enough steps a span's effects sum to
    f(all units) - f(no unit), where no unit means mean embeddings, as in the ablations.

    Parameters
    ----------
    steps:
        Of the integral; None takes up to 50, as many as ``max_forwards`` allows. A step costs a
        forward and a backward pass for each span.
    max_forwards, progress:
        As for :class:`CaptumSignal`.
    """

    name = "integrated-gradients"
    gradients = True

    def __init__(
        self, *, steps: int | None = None, max_forwards: int = 512, progress: bool = False
    ) -> None:
        super().__init__(max_forwards, progress, {"steps": steps})
        self.steps = None if steps is None else whole("steps", steps)

    def passes(self, units: int, spans: int) -> int:
        """Return steps times spans."""
        if self.steps is None:
            needed = _FEWEST_STEPS * spans
            self.affordable(needed, f"{_FEWEST_STEPS} steps for each of {spans} spans")
        steps = self._steps(spans)
        return self.affordable(steps * spans, f"{steps} steps for each of {spans} spans")

    def _steps(self, spans: int) -> int:
        return self.steps or min(_STEPS, self.max_forwards // spans)

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's IntegratedGradients."""
        import torch
        from captum import attr

        method = attr.IntegratedGradients(_forward(scorer, spans, advance))
        none = torch.zeros((1, len(scorer.units)), dtype=torch.bool)
        baseline = scorer.masked(none)
        found = [
            method.attribute(
                scorer.embeddings,
                baselines=baseline,
                target=span,
                n_steps=self._steps(len(spans)),
                internal_batch_size=scorer.rows(gradients=True),
            )
            for span in range(len(spans))
        ]
        return _by_unit(torch.cat(found).detach(), scorer)


class InputXGradient(CaptumSignal):
    """Embedding times gradient: a first-order estimate of the drop when embeddings become zero.

    Shrikumar et al. 2016 (arXiv 1605.01713). Costs one forward and one backward pass a span; the
    cheapest and least faithful of the six.

    Parameters
    ----------
    max_forwards, progress:
        As for :class:`CaptumSignal`.
    """

    name = "input-x-gradient"
    gradients = True

    def __init__(self, *, max_forwards: int = 512, progress: bool = False) -> None:
        super().__init__(max_forwards, progress)

    def passes(self, units: int, spans: int) -> int:
        """One for every span."""
        return self.affordable(spans, f"a gradient for each of {spans} spans")

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's InputXGradient."""
        import torch
        from captum import attr

        method = attr.InputXGradient(_forward(scorer, spans, advance))
        found = [
            method.attribute(scorer.embeddings.clone().requires_grad_(), target=span)
            for span in range(len(spans))
        ]
        return _by_unit(torch.cat(found).detach(), scorer)


def _forward(
    scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward function: ``[rows, N, d]`` to ``[rows, spans]``, with gradients."""

    def forward(embeddings: torch.Tensor) -> torch.Tensor:
        values = scorer.summed(scorer.logprobs(embeddings), spans)
        advance(len(embeddings))
        return values

    return forward


def _by_unit(attributions: torch.Tensor, scorer: ResponseScorer) -> torch.Tensor:
    """Sum ``[spans, N, d]`` over width and the positions of each unit, to ``[spans, units]``."""
    per_position = attributions.sum(dim=-1)
    units = len(scorer.units)
    sums = per_position.new_zeros((len(per_position), units + 1))
    # Positions without a unit are gathered in a last column of their own.
    column = scorer.unit_of.where(scorer.unit_of >= 0, units).to(sums.device)
    return sums.index_add(1, column, per_position)[:, :units].cpu()

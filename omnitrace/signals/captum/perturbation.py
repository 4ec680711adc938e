"""Methods that ablate units: feature ablation, Shapley values, Kernel SHAP, LIME.

To Captum the input is one vector of ones, one entry a unit; an entry of zero ablates the unit, by
an operator of ``omnitrace.ablation``. One forward pass gives the log-probabilities of all spans,
and no set of units is run twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from omnitrace.errors import InputError
from omnitrace.signals.captum.base import CaptumSignal, seeded, whole

if TYPE_CHECKING:
    import torch
    from captum import attr

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = [
    "FeatureAblation",
    "KernelShap",
    "Lime",
    "Shapley",
    "SpanLogprobs",
]

#: How units are ablated, as Omnitrace's own effects are measured.
OPERATOR: Final = "attention"

_PERMUTATIONS = 25  # Captum's default
_SAMPLES_PER_UNIT = 16


class SpanLogprobs:
    """The forward function: from the units that are left to the spans' log-probabilities.

    Parameters
    ----------
    scorer:
        Runs the model.
    spans:
        Spans of the response.
    advance:
        Called with every forward pass that is done.
    operator:
        How units are ablated.
    """

    def __init__(
        self,
        scorer: ResponseScorer,
        spans: Sequence[Span],
        advance: Callable[[int], None] = lambda done: None,
        operator: str = OPERATOR,
    ) -> None:
        self._scorer = scorer
        self._spans = spans
        self._advance = advance
        self._operator = operator
        self._known: dict[bytes, torch.Tensor] = {}

    def __call__(self, keep: torch.Tensor) -> torch.Tensor:
        """Return float32 ``[rows, spans]`` for ``keep``, ``[rows, units]`` of 1 and 0."""
        import torch

        from omnitrace.ablation.measurement import span_logprobs

        wanted = keep > 0.5
        keys = [row.tobytes() for row in wanted.numpy()]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            rows = wanted[list(new.values())]
            found = span_logprobs(self._scorer, rows, self._spans, operator=self._operator).cpu()
            self._known.update(zip(new, found, strict=True))
            self._advance(len(new))
        return torch.stack([self._known[key] for key in keys])


class _Ablating(CaptumSignal):
    """A signal that ablates units.

    Parameters
    ----------
    operator:
        How: the name of an operator that acts on the decoder or on the input; see ``omnitrace list
        operators``. With ``"attention"``, which hides it from every later position, a sentence
        loses almost all influence. A mean embedding in its place (``"mean"``) can disturb the
        model more.
    """

    def __init__(
        self, operator: str, max_forwards: int, progress: bool, parameters: Mapping[str, Any]
    ) -> None:
        super().__init__(max_forwards, progress, {"operator": operator, **parameters})
        self.operator = operator

    def forward(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> SpanLogprobs:
        """Return Captum's forward function."""
        return SpanLogprobs(scorer, spans, advance, self.operator)


class FeatureAblation(_Ablating):
    """The drop of a span's log-probability when one unit is ablated, all others kept.

    Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2. Costs a pass a unit, and one.

    Parameters
    ----------
    operator:
        How units are ablated; see ``omnitrace list operators``.
    max_forwards, progress:
        As for :class:`CaptumSignal`.
    """

    name = "feature-ablation"

    def __init__(
        self, *, operator: str = OPERATOR, max_forwards: int = 512, progress: bool = False
    ) -> None:
        super().__init__(operator, max_forwards, progress, {})

    def passes(self, units: int, spans: int) -> int:
        """One for every unit, and one with all."""
        return self.affordable(units + 1, f"ablating each of {units} units")

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's FeatureAblation."""
        import torch
        from captum import attr

        units = len(scorer.units)
        found: torch.Tensor = attr.FeatureAblation(self.forward(scorer, spans, advance)).attribute(
            torch.ones(1, units), baselines=0.0, perturbations_per_eval=scorer.rows()
        )
        return found.reshape(len(spans), units)


class Shapley(_Ablating):
    """Shapley values by sampled permutations: they sum to f(all units) - f(no unit).

    Castro et al. 2009 (doi 10.1016/j.cor.2008.04.004).

    Parameters
    ----------
    permutations:
        How many; None takes up to 25, as many as ``max_forwards`` allows. Each costs one pass
        less than there are units.
    seed:
        Of the permutations.
    operator, max_forwards, progress:
        As for :class:`FeatureAblation`.
    """

    name = "shapley"

    def __init__(
        self,
        *,
        permutations: int | None = None,
        seed: int = 0,
        operator: str = OPERATOR,
        max_forwards: int = 512,
        progress: bool = False,
    ) -> None:
        given = {"permutations": permutations, "seed": seed}
        super().__init__(operator, max_forwards, progress, given)
        self.permutations = None if permutations is None else whole("permutations", permutations)
        self.seed = whole("seed", seed, 0)

    def passes(self, units: int, spans: int) -> int:
        """Two passes that all permutations share (all units, none), and those between."""
        count = self._permutations(units)
        return self.affordable(2 + count * (units - 1), f"{count} permutations of {units} units")

    def _permutations(self, units: int) -> int:
        if self.permutations is not None:
            return self.permutations
        return max(1, min(_PERMUTATIONS, (self.max_forwards - 2) // max(1, units - 1)))

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's ShapleyValueSampling."""
        import torch
        from captum import attr

        units = len(scorer.units)
        method = attr.ShapleyValueSampling(self.forward(scorer, spans, advance))
        with seeded(self.seed):
            found: torch.Tensor = method.attribute(
                torch.ones(1, units),
                baselines=0.0,
                n_samples=self._permutations(units),
                perturbations_per_eval=scorer.rows(),
            )
        return found.reshape(len(spans), units)


class _Regression(_Ablating):
    """A linear model of randomly drawn ablations, fitted for each span on the same draws.

    Parameters
    ----------
    samples:
        How many; None takes up to 16 a unit, as many as ``max_forwards`` allows.
    seed:
        Of the draws.
    """

    def __init__(
        self,
        samples: int | None,
        seed: int,
        operator: str,
        max_forwards: int,
        progress: bool,
        **more: float,
    ) -> None:
        given = {"samples": samples, "seed": seed, **more}
        super().__init__(operator, max_forwards, progress, given)
        self.samples = None if samples is None else whole("samples", samples)
        self.seed = whole("seed", seed, 0)

    def passes(self, units: int, spans: int) -> int:
        """Refuse fewer samples than the linear model has unknowns."""
        fewest = units + 2
        if self.samples is not None and self.samples < fewest:
            raise InputError(
                f"{self.name}: {self.samples} samples for {units} units",
                legal=f"{fewest} samples or more",
            )
        self.affordable(fewest, f"a linear model of {units} units")
        count = self._samples(units)
        return self.affordable(count, f"{count} samples")

    def _samples(self, units: int) -> int:
        if self.samples is not None:
            return self.samples
        return min(self.max_forwards, 2 + _SAMPLES_PER_UNIT * units)

    def _fitted(
        self, method: attr.KernelShap | attr.Lime, units: int, rows: int, spans: int
    ) -> torch.Tensor:
        import torch

        found = []
        for span in range(spans):
            with seeded(self.seed):  # the same draws, so that no pass is made twice
                found.append(
                    method.attribute(
                        torch.ones(1, units),
                        baselines=0.0,
                        target=span,
                        n_samples=self._samples(units),
                        perturbations_per_eval=rows,
                        return_input_shape=False,
                    ).reshape(units)
                )
        return torch.stack(found).float()


class KernelShap(_Regression):
    """Shapley values by weighted regression: they sum to f(all units) - f(no unit).

    Lundberg and Lee 2017 (arXiv 1705.07874), section 4.1.

    Parameters
    ----------
    samples:
        Sets of units that are drawn; None takes up to 16 a unit, as many as ``max_forwards``
        allows.
    seed:
        Of the draws.
    operator, max_forwards, progress:
        As for :class:`FeatureAblation`.
    """

    name = "kernel-shap"

    def __init__(
        self,
        *,
        samples: int | None = None,
        seed: int = 0,
        operator: str = OPERATOR,
        max_forwards: int = 512,
        progress: bool = False,
    ) -> None:
        super().__init__(samples, seed, operator, max_forwards, progress)

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's KernelShap."""
        import torch
        from captum import attr

        units = len(scorer.units)
        forward = self.forward(scorer, spans, advance)
        if units == 1:  # Captum would draw from sets that are neither empty nor whole
            ends = forward(torch.tensor([[1.0], [0.0]]))
            return (ends[0] - ends[1])[:, None]
        return self._fitted(attr.KernelShap(forward), units, scorer.rows(), len(spans))


class Lime(_Regression):
    """Weights of a sparse linear model of ablations in which each unit is kept at even odds.

    Ribeiro et al. 2016 (arXiv 1602.04938), section 3; near ablations weigh more. Weights are
    shrunk: they rank units, and understate their effects.

    Parameters
    ----------
    samples, seed, operator, max_forwards, progress:
        As for :class:`KernelShap`.
    alpha:
        Strength of the lasso.
    """

    name = "lime"

    def __init__(
        self,
        *,
        samples: int | None = None,
        alpha: float = 0.01,
        seed: int = 0,
        operator: str = OPERATOR,
        max_forwards: int = 512,
        progress: bool = False,
    ) -> None:
        is_number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
        if not is_number or not 0 < alpha < math.inf:
            raise InputError(f"alpha is {alpha!r}", legal="a number of more than 0")
        super().__init__(samples, seed, operator, max_forwards, progress, alpha=alpha)
        self.alpha = alpha

    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Run Captum's Lime."""
        from captum import attr
        from captum._utils.models.linear_model import SkLearnLasso

        forward = self.forward(scorer, spans, advance)
        method = attr.Lime(forward, interpretable_model=SkLearnLasso(alpha=self.alpha))
        return self._fitted(method, len(scorer.units), scorer.rows(), len(spans))

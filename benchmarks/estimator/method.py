"""Our estimator as a method among others, trained on the training documents by its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from common.cache import Kept, code_digest
from common.examples import Example, Subject, package_code
from common.methods import Attribution, Method
from estimator.data import Data, spans_of
from omnitrace.estimator import FeatureRecipe, FitOptions, Fitted, fit_weights, pooled

__all__ = ["MASKS", "EstimatorMethod"]

MASKS: Final = 32  # what at2 is given too
_HERE: Final = code_digest(Path(__file__).with_name("data.py"), Path(__file__))


class _OneRecipe(Data):
    """Reads a response once, by the recipe that is asked for, and keeps no features."""

    def features(
        self, example: Example, recipe: FeatureRecipe, spans: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        reduced = self._reduced(example, recipe)
        return np.stack([pooled(reduced[start:end], recipe) for start, end in spans])


class EstimatorMethod(Method):
    """The learned estimator with the features and the fit that it has by default."""

    name = "estimator"
    group: Literal["signal", "peer"] = "signal"
    learns = True

    def __init__(self) -> None:
        self._recipe, self._options = FeatureRecipe(), FitOptions()
        self._fitted: Fitted | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The library, how it is trained, and what it has learned."""
        return {
            "estimator": self._recipe.model_dump() | asdict(self._options) | {"masks": MASKS},
            "weights": None if self._fitted is None else self._fitted.weights.tolist(),
            "code": [package_code(), _HERE],
        }

    def fit(self, subject: Subject, examples: Sequence[Example]) -> dict[str, Any]:
        """Learn from the examples under masks; return the weights of heads and offsets."""
        # A folder of its own: what other benchmarks have measured would not count as its cost.
        kept = Kept(subject.kept.folder / "estimator")
        data = _OneRecipe(Subject(subject.tracer, kept, subject.new_tokens), MASKS)
        learnt = [data.learnt(example, self._recipe) for example in examples]
        return {"weights": fit_weights(learnt, self._options).weights.tolist()}

    def use(self, fitted: dict[str, Any]) -> None:
        """Take the weights."""
        self._fitted = Fitted(self._options.kind, np.array(fitted["weights"]))

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Score with the learned weights: one forward pass."""
        assert self._fitted is not None, "used before it was fitted"
        features = _OneRecipe(subject, MASKS).features(example, self._recipe, spans_of(example))
        modalities = [unit.modality for unit in example.trace.units]
        return Attribution.unablated(self._fitted.scores(features, modalities))

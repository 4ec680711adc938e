"""at2: learned weights of attention heads (Cohen-Wang et al. 2025).

Trained with the package's own trainer on the training documents: 32 masks each, 1,000 steps, the
spans of the responses as targets. The weights are the package's default linear estimator.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from common.examples import Example, Subject
from common.methods import Attribution, Method
from faithfulness.peers import chat_tokenizer, driven, same_prompt, without_downloads

__all__ = ["At2", "methods"]

MASKS: Final = 32  # the trainer's default
STEPS: Final = 1000
_SEED: Final = 0


class At2(Method):
    """AT2, trained on the training split."""

    group = "peer"
    learns = True
    name = "at2"

    def __init__(self) -> None:
        self._weights: list[float] | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The package's version, how it is driven, and what it has learned."""
        return driven("at2", __file__, masks=MASKS, steps=STEPS, weights=self._weights)

    def prepare(self, subject: Subject) -> None:
        """Load the package."""
        without_downloads()
        import at2  # noqa: F401

    def fit(self, subject: Subject, examples: Sequence[Example]) -> dict[str, Any]:
        """Train on the examples; return the weights of the heads."""
        from at2.attribution.trainer import LinearScoreEstimatorTrainer

        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            given = Path(folder) / "generations"
            given.mkdir()
            answers = {number: each.trace.text for number, each in enumerate(examples)}
            (given / "0_of_1.json").write_text(json.dumps(answers), encoding="utf-8")
            trainer = LinearScoreEstimatorTrainer(
                Path(folder),
                [{"number": number} for number in range(len(examples))],
                subject.tracer.adapter.model,
                subject.tracer.adapter.tokenizer,
                lambda row, model, tokenizer: _task(subject, examples[row["number"]]),
                feature_extractor=_features(subject),
                split_target_by="span",  # the task answers with our spans, whatever is asked
                num_masks=MASKS,
                generations_save_path=given,
            )
            trainer.generate(batch_size=1)  # the responses are there: it counts sources and targets
            trainer.compute_features_and_outputs(batch_size=1)
            np.random.seed(_SEED)  # noqa: NPY002 (the trainer draws its batches from it)
            estimator = trainer.train(
                device=str(subject.tracer.adapter.model.device),
                num_iterations=STEPS,
                batch_size=len(examples),
            )
        weights = estimator.linear.weight.detach()[0].float().cpu().tolist()
        return {"weights": [float(weight) for weight in weights]}

    def use(self, fitted: dict[str, Any]) -> None:
        """Take the weights of the heads."""
        self._weights = fitted["weights"]

    def attribute(self, subject: Subject, example: Example) -> Attribution:
        """Score with the learned weights: one forward pass."""
        from at2.attribution.attributors import ScoreEstimationAttributor
        from at2.attribution.score_estimators import LinearScoreEstimator

        estimator = LinearScoreEstimator(_features(subject))
        estimator.linear.weight.data = torch.tensor([self._weights])
        task = _task(subject, example)
        task.set_generation(example.trace.text)
        attributor = ScoreEstimationAttributor(task, estimator)
        ranges = task.get_sub_target_token_ranges(relative=True)
        scores = [
            attributor.get_attribution_scores(token_start=start, token_end=end)
            for start, end in ranges
        ]
        return Attribution.unablated(np.array(scores, dtype=np.float64))


def _features(subject: Subject) -> Any:
    from at2.attribution.attention import get_attentions_shape
    from at2.attribution.features import AttentionFeatureExtractor

    model = subject.tracer.adapter.model
    # It infers the family from the model's path, which says nothing here.
    return AttentionFeatureExtractor(
        *get_attentions_shape(model), model_type=str(model.config.model_type)
    )


def _task(subject: Subject, example: Example) -> Any:
    from at2.tasks.context_attribution import SimpleContextAttributionTask

    class OurSentences(SimpleContextAttributionTask):
        """Our units are the sources, our spans the targets."""

        template = "{context}\n\n{query}"

        def _get_source_token_ranges(self) -> list[tuple[int, int]]:
            positions = [unit.positions for unit in example.trace.units]
            return [(each[0], each[-1] + 1) for each in positions]

        def get_sub_target_token_ranges(
            self, split_by: str | None = None, relative: bool = False
        ) -> list[tuple[int, int]]:
            return [
                self.target_range_to_token_range(span.start, span.end, relative=relative)
                for span in example.spans
            ]

    task = OurSentences(
        example.text,
        example.about.instruction,
        subject.tracer.adapter.model,
        chat_tokenizer(subject, example),
    )
    same_prompt(example, task.get_input_tokens()["input_ids"], "at2")
    return task


def methods() -> Sequence[Method]:
    """Return the row of this peer."""
    return [At2()]

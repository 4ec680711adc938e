"""How an evaluation is done: what it computes, and the models that it may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnitrace.plugins.registry import registry

if TYPE_CHECKING:  # what these are of may wait for torch
    from omnitrace.ablation.measurement import Operators
    from omnitrace.evaluation.baselines.self_citation import AskOf
    from omnitrace.evaluation.baselines.similarity import Embedder
    from omnitrace.evaluation.baselines.trivial import Embeddings
    from omnitrace.evaluation.measured_effects import MeasureResponse
    from omnitrace.tracer import Tracer

__all__ = ["EvaluationModels", "EvaluationOptions", "ModelAccess"]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What an evaluation computes.

    Parameters
    ----------
    metrics:
        Names of the metrics. By default all that need labels alone, plugins' included, and where
        effects are measured both forms of LDS and the top-k drops: the others of effects cost more.
    baselines:
        Also score random, all, longest, no unit, and the position prior of the other examples.
    skip_invalid:
        Leave labels with mistakes out instead of refusing; they are counted.
    level, draws, seed:
        Of the bootstrap intervals, over examples; the seed is also that of the random baseline,
        and of the masks where a run measures effects.
    """

    metrics: Sequence[str] | None = None
    baselines: bool = True
    skip_invalid: bool = False
    level: float = 0.95
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ModelAccess:
    """What an evaluation may ask of models; what is None is not computed.

    Parameters
    ----------
    ask:
        Who is asked about a trace, to score the baseline "self"; see
        :func:`~omnitrace.evaluation.model_access.ask_by`.
    measure:
        What measures effects, for the metrics of them
        (:mod:`omnitrace.evaluation.metrics.labelled_causal`); see
        :func:`~omnitrace.evaluation.measured_effects.measure_by`.
    embeddings:
        float ``[vocabulary, width]``, the input embeddings of the traced model (an array, or
        :class:`~omnitrace.evaluation.model_access.InputEmbeddings`): also score the similarity of
        spans and text units in them.
    embedder:
        Also score the similarity of spans and units in it, as the method "embedder"; see
        :func:`~omnitrace.evaluation.baselines.embedders.load_embedder`.
    """

    ask: AskOf | None = None
    measure: MeasureResponse | None = None
    embeddings: Embeddings | None = None
    embedder: Embedder | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationModels:
    """The models of a run of :func:`~omnitrace.evaluation.run.evaluate_files`, by name or loaded.

    Parameters
    ----------
    traced:
        The model that wrote the responses: attributes them again where signals are named, measures
        effects, and gives the baseline "embedding".
    asked:
        The model that is asked for the sources of its sentences, as the method "self".
    embedder:
        A sentence encoder, or a model such as CLIP, for the method "embedder".
    device:
        Where models that are named are loaded to; by default a CUDA device where there is one.
    operator:
        How effects are measured; see :func:`omnitrace.ablation.measure`.
    cache:
        A folder in which measured values are kept, and found again by another run.
    load:
        Loads a model that is named, given its name and ``device``; by default
        ``Tracer.from_pretrained``.
    """

    traced: str | Tracer | None = None
    asked: str | Tracer | None = None
    embedder: str | Embedder | None = None
    device: str | None = None
    operator: Operators = "attention"
    cache: Path | None = None
    load: Callable[[str, str | None], Tracer] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.operator, str):  # a name means nothing where it is not known
            registry().operator(self.operator)

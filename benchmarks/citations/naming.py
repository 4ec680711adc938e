"""Which documents a method names for each statement of a case, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from citations.cases import Case
from common.cache import code_digest
from common.examples import Example, Subject, package_code
from common.meter import Meter
from common.methods import Method, metered
from common.report import BenchmarkError
from common.texts import read_split
from faithfulness.run import fit
from omnitrace import Effect, SelectionConfig, SourceUnit, Trace
from omnitrace.attribution.effects import select_by_effect
from omnitrace.estimator import (
    CollectOptions,
    FeatureRecipe,
    Learned,
    TrainOptions,
    load_signal,
    train_estimator,
)
from omnitrace.estimator.collect import Target
from omnitrace.signals.base import Signal
from omnitrace.sources.request_files import RequestEntry

__all__ = [
    "EstimatorNamer",
    "Namer",
    "Naming",
    "PeerNamer",
    "SignalNamer",
    "documents_by_effect",
    "example_of",
    "kept_naming",
    "writing_seconds",
]

_FOLDER: Final = Path(__file__).parents[1]
_HERE: Final = code_digest(Path(__file__), _FOLDER / "common" / "meter.py")


@dataclass(frozen=True, slots=True)
class Naming:
    """For each statement the documents that are named, strongest first; and the cost.

    ``passes`` are passes over the whole of prompt and response; tokens that are read from a shared
    prefix cost nothing, those that a gradient goes through cost twice more.
    """

    documents: tuple[tuple[int, ...], ...]
    passes: float
    seconds: float


class Namer(Protocol):
    """Names documents.

    Attributes
    ----------
    name:
        As the table calls it.
    """

    name: str

    def prepare(self, subject: Subject) -> None:
        """Do what is done once for all cases, and costs none of them anything."""
        ...

    def name_documents(self, subject: Subject, case: Case) -> Naming:
        """Name the documents that each statement of a case rests on."""
        ...


@dataclass
class SignalNamer:
    """A signal of ours, with the selection that a user gets with it.

    ``verified`` is what runs where no signal is named: value-attention, then verification.
    """

    name: str

    def prepare(self, subject: Subject) -> None:
        """Make a tracer with the signal, which says so if it is not for this model."""
        subject.tracer.with_options(signal=self._signal)

    def name_documents(self, subject: Subject, case: Case) -> Naming:
        """Replay the response, or find what was named."""

        def run() -> dict[str, Any]:
            tracer = subject.tracer.with_options(signal=self._signal)
            with Meter(tracer.adapter.decoder) as meter:
                trace = tracer.replay(case.messages, case.response)
            spans = _of_statements(trace, case)
            length = len(trace.prompt_ids) + len(trace.token_ids)
            return {
                "documents": [
                    _unique(_document(trace, support.unit.id) for support in span.supports)
                    for span in spans
                ],
                "passes": meter.equivalents(length),
                "seconds": meter.seconds,
            }

        return kept_naming(subject, case, self._key, _HERE, run)

    @property
    def _signal(self) -> str | Signal | None:
        return None if self.name == "verified" else self.name

    @property
    def _key(self) -> Any:
        return self.name


@dataclass
class EstimatorNamer(SignalNamer):
    """An estimator that learns from the cases for choices.

    Parameters
    ----------
    lessons:
        What it learns from.
    target:
        What it learns, as for ``omnitrace.estimator.CollectOptions``.
    masks:
        Of each lesson, where masks are learnt from; by default what at2 is given too.
    """

    lessons: Sequence[Case] = ()
    target: Target = "masks"
    masks: int = 32
    _learned: Learned | None = field(default=None, init=False)

    def prepare(self, subject: Subject) -> None:
        """Train it, or find what was measured of the lessons."""
        recipe = FeatureRecipe(pooling="max", values=True, normalise="raw")
        collect = CollectOptions(
            recipe=recipe, target=self.target, masks=self.masks, evaluation_masks=8
        )
        requests = [
            RequestEntry(case.id, case.messages, Path(), {"response": case.response})
            for case in self.lessons
        ]
        tracer = subject.tracer.with_options(signal="attention-mean", verify=False)
        folder = subject.kept.folder / "estimator"
        self._learned = train_estimator(tracer, requests, TrainOptions(collect), cache=folder)

    @property
    def _signal(self) -> str | Signal | None:
        return load_signal(self._learned)

    @property
    def _key(self) -> Any:
        assert self._learned is not None
        training = self._learned.card.training
        return [self.name, training.target, training.data, self._learned.calibration.least]


@dataclass
class PeerNamer:
    """A method of another package; units are selected from its scores as from effects.

    Parameters
    ----------
    method:
        Its driver.
    train:
        Number of documents that it learns from, if it learns.
    """

    method: Method
    train: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.method.name

    def prepare(self, subject: Subject) -> None:
        """Let it learn from the model's responses about the documents for training."""
        if self.method.learns:
            texts = read_split("train")[: self.train]
            fit(self.method, subject, [subject.answer(text) for text in texts])

    def name_documents(self, subject: Subject, case: Case) -> Naming:
        """Score our sentences, or find the scores, and select as our span signals do."""
        example = example_of(subject, case)
        said = metered(self.method, subject, example)
        units, config = example.trace.units, SelectionConfig()
        named = tuple(documents_by_effect(scores, units, config) for scores in said["scores"])
        return Naming(named, said["forwards"], said["seconds"])


def kept_naming(
    subject: Subject, case: Case, method: Any, code: str, run: Callable[[], dict[str, Any]]
) -> Naming:
    """Return what a method named before, or what ``run`` says now: a dict of a naming's fields.

    ``method`` is what tells it from others, ``code`` the digest of what it runs of this folder.
    """
    key = {
        "signal": method,
        "model": subject.digest,
        "messages": case.messages,
        "response": case.response,
        "code": [package_code(), code],
    }
    kept = subject.kept.document("named", key, run)
    return Naming(tuple(map(tuple, kept["documents"])), kept["passes"], kept["seconds"])


def documents_by_effect(
    scores: Sequence[float] | np.ndarray, units: Sequence[SourceUnit], config: SelectionConfig
) -> tuple[int, ...]:
    """Return the documents of the units that are selected as from effects, strongest first."""
    effects = {u.id: Effect(float(score)) for u, score in zip(units, scores, strict=True)}
    chosen = select_by_effect(effects, units, config)
    return tuple(_unique(units[each.unit_index].locator.part for each in chosen))


def example_of(subject: Subject, case: Case) -> Example:
    """Return a case as the drivers of other packages take it."""
    key = {
        "model": subject.digest,
        "messages": case.messages,
        "response": case.response,
        "code": package_code(),
    }
    path = subject.kept.path("replayed", key, ".omnitrace")
    if not path.is_file():
        tracer = subject.tracer.with_options(signal="attention-mean")
        tracer.replay(case.messages, case.response).save(path)
    example = Example(case, Trace.load(path))
    _of_statements(example.trace, case)
    return example


def writing_seconds(subject: Subject, case: Case) -> float:
    """Return how long the model takes to write as many tokens as the response has."""
    trace = example_of(subject, case).trace
    key = {
        "model": subject.digest,
        "prompt": list(trace.prompt_ids),
        "tokens": len(trace.token_ids),
        "threads": torch.get_num_threads(),
    }

    def run() -> dict[str, Any]:
        model = subject.tracer.adapter.model
        inputs = torch.tensor([list(trace.prompt_ids)], device=model.device)
        length = {"max_new_tokens": len(trace.token_ids), "min_new_tokens": len(trace.token_ids)}
        started = time.perf_counter()
        model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, **length)
        return {"seconds": time.perf_counter() - started}

    return float(subject.kept.document("writing", key, run)["seconds"])


def _of_statements(trace: Trace, case: Case) -> Sequence[Any]:
    """Return the span of each statement."""
    said = [span.text.strip() for span in trace.spans]
    if said != [each.text for each in case.statements]:
        raise BenchmarkError(f"{case.id}: the response is cut into {said}")
    return trace.spans


def _document(trace: Trace, unit: str) -> int:
    found = next(each for each in trace.units if each.id == unit)
    return found.locator.part


def _unique(documents: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(documents))

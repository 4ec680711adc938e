"""Evaluate files: traces as they are, or responses that are attributed again by signals."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnitrace._utils.paths import as_root
from omnitrace.errors import InputError
from omnitrace.evaluation.evaluation import Evaluation, evaluate
from omnitrace.evaluation.example_set import Examples, load_traces, read_examples
from omnitrace.evaluation.labels.io import scan_labels
from omnitrace.evaluation.measured_effects import measure_by
from omnitrace.evaluation.options import EvaluationModels, EvaluationOptions, ModelAccess
from omnitrace.evaluation.progress import (
    PassesCallback,
    ProgressCallback,
    no_passes,
    no_progress,
)
from omnitrace.evaluation.reattribute import Failure, FailureCallback, Reattribution, no_failure
from omnitrace.plugins.registry import registry

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.evaluation.baselines.self_citation import AskOf
    from omnitrace.evaluation.baselines.similarity import Embedder
    from omnitrace.evaluation.labels.prompt import Ask
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["EvaluationRun", "RunCallbacks", "evaluate_files", "known_signals"]


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """What a run found.

    ``evaluations`` has one for each signal, in the order in which they were named, or a single one
    of traces as they are. ``failures`` are examples that a signal could not attribute,
    ``unlabelled`` names of requests without a label.
    """

    evaluations: tuple[Evaluation, ...]
    failures: tuple[Failure, ...] = ()
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """What a run calls while it works.

    ``progress`` gets what is being done, ``passes`` how many forward passes of the metrics are
    done, and of how many, ``failed`` each failure as soon as it is known.
    """

    progress: ProgressCallback = no_progress
    passes: PassesCallback = no_passes
    failed: FailureCallback = no_failure


def evaluate_files(
    paths: Sequence[str | Path],
    labels: str | Path,
    *,
    signals: Sequence[str] | None = None,
    second_labels: str | Path | None = None,
    media_root: str | Path | None = None,
    models: EvaluationModels | None = None,
    options: EvaluationOptions | None = None,
    callbacks: RunCallbacks | None = None,
) -> EvaluationRun:
    """Evaluate traces and requests by a label file.

    With signals, or where there are requests, responses are attributed again by the traced model:
    of a trace its own response, of a request the labelled one.

    Parameters
    ----------
    paths:
        Trace files and folders of them; request files (``.json``, ``.jsonl``).
    labels:
        The label file.
    signals:
        Names of signals to attribute the responses with. Without any, traces are evaluated as they
        are, and requests by "verified".
    second_labels:
        Labels of the same requests by a second annotator.
    media_root:
        Where relative media paths of requests start; by default their file's folder.
    models:
        Which models may be used; none by default.
    options:
        What is computed.
    callbacks:
        What is called meanwhile.

    Raises
    ------
    InputError
        If files cannot be read, or responses are to be attributed and no model is named.
    PluginError
        If a signal or a metric is unknown.
    LabelError
        If labels do not fit their requests; see :class:`EvaluationOptions`.
    """
    models = models or EvaluationModels()
    options = options or EvaluationOptions()
    callbacks = callbacks or RunCallbacks()
    examples = read_examples([Path(path) for path in paths], as_root(media_root))
    named = _named_signals(examples, signals, models)
    scan = scan_labels(labels)
    second = None if second_labels is None else scan_labels(second_labels)
    reattribution = Reattribution(examples, scan)
    loader = _Loader(models, callbacks.progress)
    score = functools.partial(
        evaluate,
        second=second,
        models=_access(loader, options, reattribution.fitted),
        options=options,
        progress=callbacks.passes,
    )

    def evaluated(traces: Iterable[tuple[str, Trace]]) -> Evaluation:
        return score(_announced(traces, callbacks.progress), scan)

    if named is None:
        traces = load_traces(examples.traces, scan, progress=callbacks.progress)
        evaluations = [evaluated(traces)]
    else:
        tracer = loader.tracer(models.traced)
        again = functools.partial(
            reattribution.traces, progress=callbacks.progress, failed=callbacks.failed
        )
        evaluations = [evaluated(again(tracer, signal)) for signal in named]
    return EvaluationRun(
        tuple(evaluations), tuple(reattribution.failures), tuple(reattribution.unlabelled)
    )


def known_signals(names: Sequence[str], *, besides: Sequence[str] = ()) -> list[str]:
    """Return names of signals, each once, before any work is spent on one that is unknown.

    Parameters
    ----------
    names:
        What was asked for.
    besides:
        Names of no signal that are taken too.

    Raises
    ------
    InputError
        If there is none.
    PluginError
        If a signal is unknown.
    """
    named = list(dict.fromkeys(names))
    if not named:
        raise InputError("no signal is named", legal="at least one")
    for name in named:
        if name not in besides:
            registry().signal(name)
    return named


def _named_signals(
    examples: Examples, signals: Sequence[str] | None, models: EvaluationModels
) -> Sequence[str] | None:
    """Return the signals to attribute with; None where traces are evaluated as they are."""
    if signals is None and not examples.requests:
        return None
    named = known_signals(["verified"] if signals is None else signals)
    if models.traced is None:
        raise InputError(
            "responses are to be attributed, and no model is named",
            legal="traces without --signals, or a model",
            fix="name the model that wrote the responses: --model NAME",
        )
    return named


def _announced(
    traces: Iterable[tuple[str, Trace]], progress: ProgressCallback
) -> Iterator[tuple[str, Trace]]:
    yield from traces
    progress("computing intervals")


class _Loader:
    """Loads each model once, when it is first needed: several options may name the same one."""

    def __init__(self, models: EvaluationModels, progress: ProgressCallback) -> None:
        self.models = models
        self._progress = progress
        self._known: dict[str, Tracer] = {}

    def tracer(self, model: str | Tracer | None) -> Tracer:
        if model is None:
            raise InputError("no model is named", fix="name the model that wrote the responses")
        if not isinstance(model, str):
            return model
        if model not in self._known:
            self._progress(f"loading {model}")
            self._known[model] = (self.models.load or _load)(model, self.models.device)
        return self._known[model]

    def embedder(self) -> Embedder | None:
        named = self.models.embedder
        if not isinstance(named, str):
            return named
        from omnitrace.evaluation.baselines.embedders import load_embedder  # it waits for torch
        from omnitrace.models.devices import usual_device

        self._progress(f"loading {named}")
        device = self.models.device
        return load_embedder(named, device=usual_device() if device in (None, "auto") else device)


def _load(name: str, device: str | None) -> Tracer:
    from omnitrace.models.devices import usual_device  # these wait for torch
    from omnitrace.tracer import Tracer

    if device == "auto":
        return Tracer.from_pretrained(name, device_map="auto")
    return Tracer.from_pretrained(name, device=device or usual_device())


def _access(
    loader: _Loader, options: EvaluationOptions, fitted: Mapping[str, np.ndarray]
) -> ModelAccess:
    models = loader.models
    ask: AskOf | None = None
    if models.asked is not None:
        from omnitrace.evaluation.model_access import ask_by  # it waits for torch

        ask = _asked_once(ask_by(loader.tracer(models.asked)))
    measure = embeddings = None
    if models.traced is not None:
        from omnitrace.evaluation.model_access import InputEmbeddings

        tracer = loader.tracer(models.traced)
        measure = measure_by(
            tracer,
            operator=models.operator,
            seed=options.seed,
            cache=models.cache,
            fitted=fitted,
        )
        embeddings = InputEmbeddings(tracer.adapter.model) if options.baselines else None
    return ModelAccess(ask, measure, embeddings, loader.embedder())


def _asked_once(ask_of: AskOf) -> AskOf:
    """Keep replies: several signals attribute one response, and the question is the same."""
    known: dict[tuple[object, str], str] = {}

    def of(trace: Trace) -> Ask:
        ask = ask_of(trace)

        def asked(text: str, /) -> str:
            key = (trace.prompt_ids, trace.token_ids), text
            if key not in known:
                known[key] = ask(text)
            return known[key]

        return asked

    return of

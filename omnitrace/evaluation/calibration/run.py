"""Measure statements with and without a source, and fit the threshold between them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from omnitrace._utils.checks import check_whole
from omnitrace._utils.paths import base_of_path
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.attribution.effects import strongest_effect
from omnitrace.errors import InputError, NotSupportedError, OmnitraceError
from omnitrace.evaluation.calibration.store import StatementEffect, VerdictCalibration
from omnitrace.evaluation.calibration.threshold import (
    MeasuredStatement,
    f1_at,
    fit_threshold,
    left_out_f1,
)
from omnitrace.evaluation.copied import copied_sentences
from omnitrace.evaluation.example_set import Examples, request_of
from omnitrace.evaluation.labels.io import LabelError, LabelScan
from omnitrace.evaluation.labels.matching import match_spans
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.reattribute import (
    Failure,
    FailureCallback,
    Reattribution,
    no_failure,
)
from omnitrace.types import Span

if TYPE_CHECKING:
    from omnitrace.tracer import Tracer

__all__ = ["CalibrationOptions", "calibrate_verdicts"]

_LEAST: Final = 8  # examples of either kind
_DIGITS: Final = 4
_PACKAGES: Final = ("omnitrace-attribution", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How examples are made.

    Parameters
    ----------
    per_request:
        How many sentences of each request are copied, where there are no labels.
    seed:
        Of their choice.
    """

    per_request: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("per_request", self.per_request, 1)
        check_whole("seed", self.seed, 0)


def calibrate_verdicts(
    examples: Examples,
    tracer: Tracer,
    *,
    labels: LabelScan | None = None,
    options: CalibrationOptions | None = None,
    progress: ProgressCallback = no_progress,
    failed: FailureCallback = no_failure,
) -> VerdictCalibration:
    """Fit the threshold between "supported" and "no source" to a model.

    Without labels, examples are made from the requests: a sentence of a document, copied as the
    response, has a source; with that document left out of the request it has none. What is copied
    depends more on its document than what is said in other words: for a model that paraphrases,
    the threshold is then too strict.

    Parameters
    ----------
    examples:
        Requests, and traces with their media; see
        :func:`~omnitrace.evaluation.example_set.read_examples`.
    tracer:
        Of the model. It must verify.
    labels:
        Statements whose evidence is known, and ``sources: []`` where there is none.
    options:
        How examples are made.
    progress, failed:
        Called with what is being done, and with each request that cannot be used.

    Raises
    ------
    InputError
        If the tracer does not verify, or there are fewer than eight statements with a source, or
        without.
    LabelError
        If labels have mistakes.
    """
    options = options or CalibrationOptions()
    if tracer.setup.verify is None:
        raise InputError(
            "the tracer does not verify supports", legal="a tracer with verify=True, or no signal"
        )
    if labels is None:
        found = list(_copied(examples, tracer, options, progress, failed))
    else:
        found = list(_labelled(examples, tracer, labels, progress, failed))
    supported = sum(each.supported for each in found)
    none = len(found) - supported
    if min(supported, none) < _LEAST:
        raise InputError(
            f"there are {supported} statements with a source and {none} without",
            legal=f"at least {_LEAST} of each",
            fix="give more requests"
            + (", or copy more sentences of each" if labels is None else " and labels"),
        )
    return _fitted(found, tracer, options, copied=labels is None)


def _fitted(
    found: list[MeasuredStatement], tracer: Tracer, options: CalibrationOptions, *, copied: bool
) -> VerdictCalibration:
    assert tracer.setup.verify is not None
    threshold = round(fit_threshold(found), _DIGITS)
    supported = sum(each.supported for each in found)
    return VerdictCalibration(
        model=base_of_path(str(tracer.adapter.source)),
        fingerprint=model_fingerprint(tracer.adapter.model),
        threshold=threshold,
        f1=f1_at(threshold, found),
        left_out_f1=left_out_f1(found),
        examples="copied" if copied else "labelled",
        requests=len({each.request for each in found}),
        supported=supported,
        no_source=len(found) - supported,
        seed=options.seed,
        verify=tracer.setup.verify.to_dict(),
        statements=tuple(StatementEffect(**each._asdict()) for each in found),
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _copied(
    examples: Examples,
    tracer: Tracer,
    options: CalibrationOptions,
    progress: ProgressCallback,
    failed: FailureCallback,
) -> Iterator[MeasuredStatement]:
    for name, example in examples:
        try:
            asked = request_of(example)
            root, template = asked.media_root, asked.template
            sentences = copied_sentences(
                tracer,
                asked.messages,
                count=options.per_request,
                seed=f"{options.seed} {name}",
                media_root=root,
                template=template,
            )
            for number, each in enumerate(sentences):
                progress(f"{name}: sentence {number + 1} of {len(sentences)}")
                # Both or none, so that neither kind has requests that the other lacks.
                traces = [
                    tracer.replay(request, each.text, media_root=root, **template)
                    for request in (each.messages, each.without)
                ]
                yield from [
                    MeasuredStatement(name, supported, _effect_of(trace.spans[0]))
                    for supported, trace in zip((True, False), traces, strict=True)
                ]
        except OmnitraceError as error:
            failed(Failure(name, "calibration", str(error)))


def _labelled(
    examples: Examples,
    tracer: Tracer,
    labels: LabelScan,
    progress: ProgressCallback,
    failed: FailureCallback,
) -> Iterator[MeasuredStatement]:
    if labels.problems:
        raise LabelError(labels.problems)
    known = {entry.label.id: entry.label for entry in labels.entries}
    again = Reattribution(examples, labels).traces(tracer, progress=progress, failed=failed)
    for name, trace in again:
        if (label := known.get(name)) is None:
            continue
        for labelled, span in zip(label.spans, match_spans(label, trace), strict=True):
            if span is not None:
                yield MeasuredStatement(name, bool(labelled.sources), _effect_of(span))


def _effect_of(span: Span) -> float:
    """Return the strongest verified effect on a span."""
    if span.verdict is None or span.measured is None:
        raise NotSupportedError(
            "the response cannot be verified with this model",
            legal="a model whose responses can be measured without some of their sources",
        )
    return strongest_effect(span.measured)

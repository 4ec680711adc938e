"""Choose attention heads by how much they look at known evidence, without training."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from omnitrace._utils.checks import check_whole
from omnitrace._utils.paths import base_of_path
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.capture.layer_rows import LayerRows
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.evaluation.copied import copied_sentences
from omnitrace.evaluation.example_set import Examples, label_id, request_of
from omnitrace.evaluation.labels.io import LabelError, LabelScan
from omnitrace.evaluation.labels.matching import match_spans, true_units
from omnitrace.evaluation.labels.schema import Label, LabelledSpan, TextSource
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.reattribute import Failure, FailureCallback, no_failure
from omnitrace.signals.finished_rows import finished_rows
from omnitrace.signals.heads import HeadSelection
from omnitrace.signals.verified.ranking import by_size
from omnitrace.sources.request_files import FileEntry, RequestEntry
from omnitrace.types import Span, TextRange

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.tracer import Tracer

__all__ = ["HeadOptions", "select_heads"]

_LEAST: Final = 4  # statements
_BLOCK: Final = 32  # tokens whose rows are in memory at once
_DIGITS: Final = 6
_PACKAGES: Final = ("omnitrace-attribution", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How heads are chosen.

    Parameters
    ----------
    count:
        How many heads.
    per_request:
        How many sentences of each request are copied, where there are no labels.
    seed:
        Of their choice.
    """

    count: int = 16
    per_request: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        check_whole("per_request", self.per_request, 1)
        check_whole("seed", self.seed, 0)


def select_heads(
    examples: Examples,
    tracer: Tracer,
    *,
    labels: LabelScan | None = None,
    options: HeadOptions | None = None,
    progress: ProgressCallback = no_progress,
    failed: FailureCallback = no_failure,
) -> HeadSelection:
    """Choose the heads of a model that look most at what statements rest on.

    A head's score is the share of its attention to sources that is on the evidence: the mean over
    the tokens of a statement, then over statements. Attention to a unit is divided by the root of
    its tokens. Without labels a statement is a sentence of a document, copied as the response.

    Parameters
    ----------
    examples:
        Requests, and traces with their media; see
        :func:`~omnitrace.evaluation.example_set.read_examples`.
    tracer:
        Of the model.
    labels:
        Statements whose evidence is known; those without any are left out.
    options:
        How many heads and examples.
    progress, failed:
        Called with what is being done, and with each request that cannot be used.

    Raises
    ------
    InputError
        If there are fewer than four statements with evidence.
    LabelError
        If labels have mistakes.
    """
    options = options or HeadOptions()
    if labels is not None and labels.problems:
        raise LabelError(labels.problems)
    plain = tracer.with_options(signal="attention-mean", verify=False, salience=None)
    shares: dict[str, list[np.ndarray]] = {}
    for name, example in examples:
        progress(name)
        try:
            request = request_of(example)
            if labels is None:
                known = _copied(plain, name, request, options)
            else:
                known = _labelled(name, example, labels)
            for label in known:
                shares.setdefault(name, []).extend(_shares(plain, label, request))
        except OmnitraceError as error:
            failed(Failure(name, "selected-heads", str(error)))
    count = sum(map(len, shares.values()))
    if count < _LEAST:
        raise InputError(
            f"there are {count} statements with known evidence",
            legal=f"at least {_LEAST}",
            fix="give more requests" + ("" if labels is None else " and labels"),
        )
    return _best(shares, tracer, options, copied=labels is None)


def _best(
    shares: Mapping[str, Sequence[np.ndarray]],
    tracer: Tracer,
    options: HeadOptions,
    *,
    copied: bool,
) -> HeadSelection:
    """Return the heads of highest mean share, by request ``[layers, heads]`` of each statement."""
    every = [each for found in shares.values() for each in found]
    scores = np.mean(every, axis=0)
    best = np.argsort(-scores, axis=None, kind="stable")[: options.count]
    layers = sorted(tracer.setup.layers)
    places = [divmod(int(each), scores.shape[1]) for each in best]
    return HeadSelection(
        model=base_of_path(str(tracer.adapter.source)),
        fingerprint=model_fingerprint(tracer.adapter.model),
        heads=tuple((layers[row], head) for row, head in places),
        scores=tuple(round(float(scores[place]), _DIGITS) for place in places),
        all_heads=round(float(scores.mean()), _DIGITS),
        examples="copied" if copied else "labelled",
        requests=sum(map(bool, shares.values())),
        statements=len(every),
        seed=options.seed,
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _labelled(name: str, example: FileEntry | Path, labels: LabelScan) -> list[Label]:
    wanted = label_id(example, labels) if isinstance(example, Path) else name
    return [entry.label for entry in labels.entries if entry.label.id == wanted]


def _copied(tracer: Tracer, name: str, request: RequestEntry, options: HeadOptions) -> list[Label]:
    """Return the labels of copied sentences, each a response."""
    sentences = copied_sentences(
        tracer,
        request.messages,
        count=options.per_request,
        seed=f"{options.seed} {name}",
        media_root=request.media_root,
        template=request.template,
    )
    return [_label_of(name, each.text, each.place) for each in sentences]


def _label_of(name: str, text: str, place: TextRange) -> Label:
    source = TextSource(message=place.message, part=place.part, start=place.start, end=place.end)
    span = LabelledSpan(start=0, end=len(text), text=text, sources=(source,))
    return Label(version=1, id=name, response=text, spans=(span,))


def _shares(tracer: Tracer, label: Label, request: RequestEntry) -> Iterator[np.ndarray]:
    """Yield, for each statement with evidence, the share of each head: ``[layers, heads]``."""
    messages, root = request.messages, request.media_root
    trace = tracer.replay(messages, label.response, media_root=root, **request.template)
    known: list[tuple[Span, np.ndarray]] = []
    for labelled, span in zip(label.spans, match_spans(label, trace), strict=True):
        true = true_units(labelled.sources, trace.units, trace.messages)
        if span is not None and true:
            known.append((span, np.array([unit.id in true for unit in trace.units])))
    if not known:
        return
    scorer = tracer.scorer_of(trace, messages=messages, media_root=root)
    masses = _masses(scorer)
    totals = np.maximum(masses.sum(axis=-1), np.finfo(np.float32).tiny)
    for span, evidence in known:
        inside = slice(span.token_start, span.token_end)
        on_evidence = masses[..., evidence].sum(axis=-1)[:, :, inside]
        yield (on_evidence / totals[:, :, inside]).mean(axis=-1)


def _masses(scorer: ResponseScorer) -> np.ndarray:
    """Return each head's attention to each unit, float32 ``[layers, heads, tokens, units]``."""
    units = [list(unit.positions) for unit in scorer.source_units]
    capture = finished_rows(scorer)
    blocks = []
    for first in range(0, scorer.tokens, _BLOCK):
        rows = capture.take(min(_BLOCK, scorer.tokens - first))
        blocks.append(np.stack([_on_units(layer, units) for layer in rows]))
    return by_size(np.concatenate(blocks, axis=2), np.array([len(each) for each in units]))


def _on_units(layer: LayerRows, units: Sequence[list[int]]) -> np.ndarray:
    weights = layer.weights
    found: np.ndarray = (
        torch.stack([weights[..., at].sum(dim=-1) for at in units], dim=-1).cpu().numpy()
    )
    return found

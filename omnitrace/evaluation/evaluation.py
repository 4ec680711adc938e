"""Evaluate saved traces by labels, without the model: rows, grouped estimates, baselines, bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omnitrace.errors import InputError
from omnitrace.evaluation.aggregate import Figure, figures_of
from omnitrace.evaluation.baselines.second_annotator import HUMAN, second_opinions
from omnitrace.evaluation.baselines.self_citation import SELF, self_attribution
from omnitrace.evaluation.baselines.similarity import EMBEDDER, UnitEmbeddings
from omnitrace.evaluation.baselines.trivial import Embeddings, Prediction, embedding_similarity
from omnitrace.evaluation.examples import LabelledItem, labelled_items
from omnitrace.evaluation.labels.io import FileLabel, LabelError, LabelProblem, LabelScan
from omnitrace.evaluation.labels.schema import Label
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.evaluation.metrics.bias import Bias, measure_bias
from omnitrace.evaluation.metrics.bootstrap import Estimate, ExampleValues, paired_difference
from omnitrace.evaluation.metrics.registry import select_metrics
from omnitrace.evaluation.options import EvaluationOptions, ModelAccess
from omnitrace.evaluation.predictions import measure_outputs, method_outputs, score_outputs
from omnitrace.evaluation.progress import PassesCallback, no_passes
from omnitrace.evaluation.rows import TRACED, ScoreRow
from omnitrace.trace.trace import Trace

__all__ = ["Counts", "Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was evaluated, and what could not be.

    ``unsaid``: labelled spans that the trace does not say. ``unreachable``: sources of spans that
    no unit names; they count as missed. ``unlabelled``: traces without a label, ``untraced``:
    labels without a trace (their ids). ``invalid``: mistakes for which labels were skipped.
    ``single``: labelled spans that the second annotator has not, where there is one. ``unread``:
    sentences of which the model's own reply could not be read; they count as wrong. ``unembedded``:
    units by modality that the embedder cannot embed; they have no score from it.
    """

    examples: int
    spans: int
    words: int
    unsaid: int
    unreachable: int
    unlabelled: tuple[str, ...]
    untraced: tuple[str, ...]
    invalid: tuple[LabelProblem, ...]
    single: int = 0
    unread: int = 0
    unembedded: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What traces are worth by labels.

    ``signals`` are the names of the signals that gave the traces. ``rows`` has one for each method
    and labelled span or word, ``figures`` the estimates of their groups, ``bias`` how the choices
    lie in the request. ``labels`` has the digest of each label that was used, by its id;
    ``metrics`` are the ones that were asked for, empty where none was named. ``embedder`` is the
    name of the one that gave the method "embedder", empty without. ``effects`` says how effects
    were measured (operator, masks, seed), if they were.
    """

    signals: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    figures: tuple[Figure, ...]
    bias: Bias
    counts: Counts
    labels: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    embedder: str = ""
    effects: Mapping[str, Any] = field(default_factory=dict)

    def figure(
        self, metric: str, method: str = TRACED, *, level: str = "span", group: str = "all"
    ) -> Estimate:
        """Return one estimate; ``group`` is "all" or such as "modality: image".

        Raises
        ------
        InputError
            If there is no such figure.
        """
        for found in self.figures:
            if (found.metric, found.method, found.level, found.group) == (
                metric,
                method,
                level,
                group,
            ):
                return found.estimate
        raise InputError(
            f"there is no figure {metric!r} of {method!r} for {level}s in {group!r}",
            legal=", ".join(sorted({f"{f.method} {f.metric}" for f in self.figures})),
        )

    def values(
        self, metric: str, method: str = TRACED, *, level: str = "span"
    ) -> dict[str, list[float | None]]:
        """Return a metric's values by example, in the order of the labels."""
        found: dict[str, list[float | None]] = {}
        for row in self.rows:
            if row.method == method and row.level == level:
                found.setdefault(row.example, []).append(row.values.get(metric))
        return found

    def difference(
        self,
        metric: str,
        other: Evaluation | None = None,
        *,
        method: str = TRACED,
        against: str = TRACED,
        level: str = "span",
        seed: int = 0,
    ) -> Estimate:
        """Return the paired difference of ``method`` here to ``against`` in ``other`` (or here).

        Both evaluations must be of the same labels and examples. See
        :func:`~omnitrace.evaluation.metrics.bootstrap.paired_difference`.
        """
        first = self.values(metric, method, level=level)
        second = (other or self).values(metric, against, level=level)
        if first.keys() != second.keys():
            odd = sorted(first.keys() ^ second.keys())
            raise InputError(
                f"only one of the two evaluations has {', '.join(map(repr, odd[:5]))}",
                legal="two evaluations of the same examples",
            )
        pairs: list[tuple[ExampleValues, ExampleValues]] = [
            (first[name], second[name]) for name in first
        ]
        return paired_difference([a for a, _ in pairs], [b for _, b in pairs], seed=seed)


@dataclass(slots=True)
class _Collected:
    items: list[LabelledItem] = field(default_factory=list)
    # What other methods than the trace say, by the index of the item.
    methods: dict[str, dict[int, Prediction]] = field(default_factory=dict)
    unread: int = 0
    unembedded: Counter[str] = field(default_factory=Counter)
    signals: dict[str, None] = field(default_factory=dict)
    problems: list[LabelProblem] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)  # digests of the labels

    def add(self, method: str, first: int, said: Iterable[Prediction | None]) -> None:
        """Keep what a method says of the items from ``first`` on."""
        kept = self.methods.setdefault(method, {})
        for index, prediction in enumerate(said, start=first):
            if prediction is not None:
                kept[index] = prediction


def evaluate(
    traces: Mapping[str, Trace] | Iterable[tuple[str, Trace]],
    labels: Iterable[Label] | LabelScan,
    *,
    second: Iterable[Label] | LabelScan | None = None,
    models: ModelAccess | None = None,
    options: EvaluationOptions | None = None,
    progress: PassesCallback = no_passes,
) -> Evaluation:
    """Evaluate traces by labels.

    Parameters
    ----------
    traces:
        Traces by the id of their label, or pairs of id and trace; they are used one after the
        other, so that they may be loaded only when it is their turn.
    labels:
        The labels; with what :func:`~omnitrace.evaluation.labels.io.scan_labels` returns,
        mistakes are listed with file and line.
    second:
        Labels of the same requests by a second annotator: scored as the method "human", the
        ceiling of agreement. What only the second annotator labelled does not count.
    models:
        What may be asked of models; nothing by default.
    options:
        What is computed.
    progress:
        Called with the forward passes that were done to measure effects, and those in all: with 0
        before the first one, and after each example.

    Raises
    ------
    PluginError
        If a metric is unknown or fails.
    LabelError
        If labels do not fit their requests and ``options.skip_invalid`` is not set; it lists all
        mistakes.
    InputError
        If two labels share an id, no trace has a label (or none a second one), or a metric needs
        ``models.measure``.
    """
    models = models or ModelAccess()
    options = options or EvaluationOptions()
    metrics = select_metrics(options.metrics, measured=models.measure is not None)
    scan = _as_scan(labels)
    other = None if second is None else _as_scan(second)
    collected = _collect(traces, scan, other, models)
    problems = [*scan.problems, *(other.problems if other else ()), *collected.problems]
    if problems and not options.skip_invalid:
        raise LabelError(problems)
    if not collected.examples:
        raise _nothing_found(collected, scan, problems)
    if other is not None and not collected.methods.get(HUMAN):
        raise InputError(
            f"{other.file!r} labels none of the spans that {scan.file!r} labels",
            legal="second labels of the same requests, by the same ids",
        )
    outputs = method_outputs(
        collected.items, collected.methods, baselines=options.baselines, seed=options.seed
    )
    measure_outputs(outputs, metrics.spans.keys(), progress)
    rows = score_outputs(outputs, metrics)
    return Evaluation(
        signals=tuple(collected.signals),
        rows=rows,
        figures=figures_of(
            rows,
            whole=metrics.together,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
        ),
        bias=measure_bias(item for item in collected.items if item.word is None),
        counts=_counts(collected, scan, problems),
        labels=collected.examples,
        metrics=metrics.named,
        embedder="" if models.embedder is None else models.embedder.name,
        effects=next((i.measured.about for i in collected.items if i.measured is not None), {}),
    )


def _counts(collected: _Collected, scan: LabelScan, problems: Sequence[LabelProblem]) -> Counts:
    spans = {index: item for index, item in enumerate(collected.items) if item.word is None}
    opinions = collected.methods.get(HUMAN)
    return Counts(
        examples=len(collected.examples),
        spans=len(spans),
        words=len(collected.items) - len(spans),
        unsaid=sum(item.prediction is None for item in spans.values()),
        unreachable=sum(item.unreachable for item in spans.values()),
        unlabelled=tuple(collected.unlabelled),
        untraced=tuple(
            entry.label.id for entry in scan.entries if entry.label.id not in collected.examples
        ),
        invalid=tuple(problems),
        single=0 if opinions is None else sum(index not in opinions for index in spans),
        unread=collected.unread,
        unembedded=dict(collected.unembedded),
    )


def _as_scan(labels: Iterable[Label] | LabelScan) -> LabelScan:
    if isinstance(labels, LabelScan):
        return labels
    entries = [FileLabel(0, label) for label in labels]
    ids = [entry.label.id for entry in entries]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise InputError(f"two labels have the id {twice[0]!r}", legal="an id for each request")
    return LabelScan("labels", tuple(entries), ())


def _collect(
    traces: Mapping[str, Trace] | Iterable[tuple[str, Trace]],
    scan: LabelScan,
    second: LabelScan | None,
    models: ModelAccess,
) -> _Collected:
    """Read the traces, one after the other, with what every method says of them."""
    by_id = {entry.label.id: entry for entry in scan.entries}
    seconds = {entry.label.id: entry for entry in second.entries} if second else {}
    embedded = None if models.embedder is None else UnitEmbeddings(models.embedder)
    found = _Collected()
    seen: set[str] = set()
    for name, trace in traces.items() if isinstance(traces, Mapping) else traces:
        if name in seen:
            raise InputError(f"two traces have the id {name!r}", legal="a trace for each request")
        seen.add(name)
        if name not in by_id:
            found.unlabelled.append(name)
            continue
        entry = by_id[name]
        if not _fits(entry, trace, scan, found):
            continue
        found.examples[name] = entry.label.digest()
        found.signals[str(trace.provenance.signal.get("name", ""))] = None
        first = len(found.items)
        measured = None if models.measure is None else models.measure(name, trace)
        items = [replace(item, measured=measured) for item in labelled_items(entry.label, trace)]
        found.items += items
        if models.embeddings is not None:
            said = [_embedded(item, trace, models.embeddings) for item in items]
            found.add("embedding", first, said)
        if embedded is not None:
            similar, left_out = embedded.similarities(trace, [item.tokens for item in items])
            found.unembedded.update(left_out)
            found.add(EMBEDDER, first, similar)
        other = seconds.get(name)
        if second and other and _fits(other, trace, second, found):
            found.add(HUMAN, first, second_opinions(entry.label, other.label, trace))
        if models.ask is not None:
            asked = self_attribution(trace, models.ask(trace))
            found.unread += len(asked.failures)
            found.add(SELF, first, asked.of_label(entry.label, trace))
    return found


def _embedded(item: LabelledItem, trace: Trace, embeddings: Embeddings) -> Prediction | None:
    return item.prediction and embedding_similarity(trace, item.tokens, embeddings)


def _fits(entry: FileLabel, trace: Trace, scan: LabelScan, found: _Collected) -> bool:
    """Check a label against its request, and collect its mistakes."""
    mistakes = check_label(entry.label, trace)
    found.problems += [LabelProblem(scan.file, entry.line, *mistake) for mistake in mistakes]
    return not mistakes


def _nothing_found(
    collected: _Collected, scan: LabelScan, problems: Sequence[LabelProblem]
) -> InputError:
    if problems:
        return InputError(f"no label is left: {len(problems)} mistakes", fix="mend the labels")
    labelled = ", ".join(repr(entry.label.id) for entry in scan.entries[:3]) or "none"
    traced = ", ".join(map(repr, collected.unlabelled[:3])) or "none"
    return InputError(
        f"no trace has a label: the labels are of {labelled}, the traces are {traced}",
        legal="traces whose file is named after the id of their label",
    )

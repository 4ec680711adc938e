"""How far attributions can be trusted: labels, matching, metrics, baselines, intervals."""

from __future__ import annotations

from omnitrace.evaluation.evaluate import Counts, Evaluation, evaluate
from omnitrace.evaluation.importers import read_paper_labels
from omnitrace.evaluation.label_check import check_label
from omnitrace.evaluation.label_files import (
    LabelError,
    LabelProblem,
    LabelScan,
    read_labels,
    scan_labels,
    write_labels,
)
from omnitrace.evaluation.labels import (
    ImageSource,
    Label,
    LabelledSpan,
    LabelledWord,
    Source,
    TextSource,
    TimeSource,
)
from omnitrace.evaluation.matching import match_spans, named_units, true_units
from omnitrace.evaluation.statistics import Estimate, bootstrap, bootstrap_mean, paired_difference

__all__ = [
    "Counts",
    "Estimate",
    "Evaluation",
    "ImageSource",
    "Label",
    "LabelError",
    "LabelProblem",
    "LabelScan",
    "LabelledSpan",
    "LabelledWord",
    "Source",
    "TextSource",
    "TimeSource",
    "bootstrap",
    "bootstrap_mean",
    "check_label",
    "evaluate",
    "match_spans",
    "named_units",
    "paired_difference",
    "read_labels",
    "read_paper_labels",
    "scan_labels",
    "true_units",
    "write_labels",
]

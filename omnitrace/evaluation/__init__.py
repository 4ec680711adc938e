"""How far attributions can be trusted: labels, matching, metrics, baselines, intervals."""

from __future__ import annotations

from omnitrace.evaluation.compare import Difference, compare
from omnitrace.evaluation.documents import EvaluationFile, read_evaluation
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
    Option,
    Source,
    TextSource,
    TimeSource,
)
from omnitrace.evaluation.matching import match_spans, named_units, true_units
from omnitrace.evaluation.statistics import Estimate, bootstrap, bootstrap_mean, paired_difference

__all__ = [
    "Counts",
    "Difference",
    "Estimate",
    "Evaluation",
    "EvaluationFile",
    "ImageSource",
    "Label",
    "LabelError",
    "LabelProblem",
    "LabelScan",
    "LabelledSpan",
    "LabelledWord",
    "Option",
    "Source",
    "TextSource",
    "TimeSource",
    "bootstrap",
    "bootstrap_mean",
    "check_label",
    "compare",
    "evaluate",
    "match_spans",
    "named_units",
    "paired_difference",
    "read_evaluation",
    "read_labels",
    "read_paper_labels",
    "scan_labels",
    "true_units",
    "write_labels",
]

"""How far attributions can be trusted: labels, matching, metrics, baselines, intervals."""

from __future__ import annotations

from omnitrace.evaluation.evaluate import Counts, Evaluation, evaluate
from omnitrace.evaluation.labels.io import (
    LabelError,
    LabelProblem,
    LabelScan,
    read_labels,
    scan_labels,
    write_labels,
)
from omnitrace.evaluation.labels.matching import match_spans, named_units, true_units
from omnitrace.evaluation.labels.paper_format import read_paper_labels
from omnitrace.evaluation.labels.schema import (
    ImageSource,
    Label,
    LabelledSpan,
    LabelledWord,
    Option,
    Source,
    TextSource,
    TimeSource,
)
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.evaluation.metrics.bootstrap import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    paired_difference,
)
from omnitrace.evaluation.report.compare import Difference, compare
from omnitrace.evaluation.report.results_file import EvaluationFile, read_evaluation

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

"""How far attributions can be trusted: labels, metrics, baselines, intervals, comparisons.

>>> from omnitrace.evaluation import evaluate_files
>>> run = evaluate_files(["traces"], "labels.jsonl")  # doctest: +SKIP
>>> run.evaluations[0].figure("f1")  # doctest: +SKIP

The sanity checks have a face of their own, :mod:`omnitrace.evaluation.sanity`. Every name is
imported on first use, so that labels and saved results wait for no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.evaluation.aggregate import Figure, by_example, figures_of, together
    from omnitrace.evaluation.baselines.embedders import load_embedder
    from omnitrace.evaluation.baselines.similarity import Embedder
    from omnitrace.evaluation.baselines.trivial import (
        PositionPrior,
        Prediction,
        all_units,
        longest_unit,
        no_unit,
        random_units,
    )
    from omnitrace.evaluation.calibration.run import CalibrationOptions, calibrate_verdicts
    from omnitrace.evaluation.calibration.store import VerdictCalibration, read_calibration
    from omnitrace.evaluation.evaluation import Counts, Evaluation, evaluate
    from omnitrace.evaluation.example_set import (
        Examples,
        find_traces,
        label_id,
        load_traces,
        read_examples,
    )
    from omnitrace.evaluation.examples import LabelledItem, labelled_items
    from omnitrace.evaluation.faithfulness_run import (
        Faithfulness,
        FaithfulnessOptions,
        faithfulness,
    )
    from omnitrace.evaluation.head_choice import HeadOptions, select_heads
    from omnitrace.evaluation.labels.io import (
        LabelError,
        LabelProblem,
        LabelScan,
        read_labels,
        scan_labels,
        write_labels,
    )
    from omnitrace.evaluation.labels.llm_judge import (
        Endpoint,
        JudgeError,
        JudgeRun,
        label_trace,
        label_traces,
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
    from omnitrace.evaluation.labels.template import write_template
    from omnitrace.evaluation.labels.validate import check_label, check_labels
    from omnitrace.evaluation.measured_effects import MeasuredResponse, MeasureResponse, measure_by
    from omnitrace.evaluation.metrics.agreement import abstention_f1, auroc
    from omnitrace.evaluation.metrics.bootstrap import (
        Estimate,
        bootstrap,
        bootstrap_mean,
        paired_difference,
    )
    from omnitrace.evaluation.metrics.faithfulness import (
        control_scores,
        defined,
        lds,
        share_of_oracle,
    )
    from omnitrace.evaluation.metrics.registry import MetricSet, select_metrics
    from omnitrace.evaluation.metrics.spans import METRICS, Metric
    from omnitrace.evaluation.model_access import InputEmbeddings, ask_by
    from omnitrace.evaluation.options import EvaluationModels, EvaluationOptions, ModelAccess
    from omnitrace.evaluation.progress import PassesCallback, ProgressCallback
    from omnitrace.evaluation.reattribute import Failure, Reattribution
    from omnitrace.evaluation.report.compare import (
        Difference,
        Rule,
        check_rule,
        compare,
        parse_rule,
        table_of_differences,
    )
    from omnitrace.evaluation.report.export import notes_of, table_of, to_csv, to_document
    from omnitrace.evaluation.report.html import render_page
    from omnitrace.evaluation.report.results_file import EvaluationFile, file_of, read_evaluation
    from omnitrace.evaluation.rows import TRACED, ScoreRow, score
    from omnitrace.evaluation.run import EvaluationRun, RunCallbacks, evaluate_files, known_signals
    from omnitrace.evaluation.sanity import SanityDocument, SanityOptions, check_examples
    from omnitrace.evaluation.unit_scores import span_scores
    from omnitrace.plugins.hookspecs import RegisterMetric

__all__ = [
    "METRICS",
    "TRACED",
    "CalibrationOptions",
    "Counts",
    "Difference",
    "Embedder",
    "Endpoint",
    "Estimate",
    "Evaluation",
    "EvaluationFile",
    "EvaluationModels",
    "EvaluationOptions",
    "EvaluationRun",
    "Examples",
    "Failure",
    "Faithfulness",
    "FaithfulnessOptions",
    "Figure",
    "HeadOptions",
    "ImageSource",
    "InputEmbeddings",
    "JudgeError",
    "JudgeRun",
    "Label",
    "LabelError",
    "LabelProblem",
    "LabelScan",
    "LabelledItem",
    "LabelledSpan",
    "LabelledWord",
    "MeasureResponse",
    "MeasuredResponse",
    "Metric",
    "MetricSet",
    "ModelAccess",
    "Option",
    "PassesCallback",
    "PositionPrior",
    "Prediction",
    "ProgressCallback",
    "Reattribution",
    "RegisterMetric",
    "Rule",
    "RunCallbacks",
    "SanityDocument",
    "SanityOptions",
    "ScoreRow",
    "Source",
    "TextSource",
    "TimeSource",
    "VerdictCalibration",
    "abstention_f1",
    "all_units",
    "ask_by",
    "auroc",
    "bootstrap",
    "bootstrap_mean",
    "by_example",
    "calibrate_verdicts",
    "check_examples",
    "check_label",
    "check_labels",
    "check_rule",
    "compare",
    "control_scores",
    "defined",
    "evaluate",
    "evaluate_files",
    "faithfulness",
    "figures_of",
    "file_of",
    "find_traces",
    "known_signals",
    "label_id",
    "label_trace",
    "label_traces",
    "labelled_items",
    "lds",
    "load_embedder",
    "load_traces",
    "longest_unit",
    "match_spans",
    "measure_by",
    "named_units",
    "no_unit",
    "notes_of",
    "paired_difference",
    "parse_rule",
    "random_units",
    "read_calibration",
    "read_evaluation",
    "read_examples",
    "read_labels",
    "read_paper_labels",
    "render_page",
    "scan_labels",
    "score",
    "select_heads",
    "select_metrics",
    "share_of_oracle",
    "span_scores",
    "table_of",
    "table_of_differences",
    "to_csv",
    "to_document",
    "together",
    "true_units",
    "write_labels",
    "write_template",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.evaluation.aggregate": ["Figure", "by_example", "figures_of", "together"],
        "omnitrace.evaluation.baselines.embedders": ["load_embedder"],
        "omnitrace.evaluation.baselines.similarity": ["Embedder"],
        "omnitrace.evaluation.baselines.trivial": [
            "PositionPrior",
            "Prediction",
            "all_units",
            "longest_unit",
            "no_unit",
            "random_units",
        ],
        "omnitrace.evaluation.calibration.run": ["CalibrationOptions", "calibrate_verdicts"],
        "omnitrace.evaluation.calibration.store": ["VerdictCalibration", "read_calibration"],
        "omnitrace.evaluation.evaluation": ["Counts", "Evaluation", "evaluate"],
        "omnitrace.evaluation.example_set": [
            "Examples",
            "find_traces",
            "label_id",
            "load_traces",
            "read_examples",
        ],
        "omnitrace.evaluation.examples": ["LabelledItem", "labelled_items"],
        "omnitrace.evaluation.faithfulness_run": [
            "Faithfulness",
            "FaithfulnessOptions",
            "faithfulness",
        ],
        "omnitrace.evaluation.head_choice": ["HeadOptions", "select_heads"],
        "omnitrace.evaluation.labels.io": [
            "LabelError",
            "LabelProblem",
            "LabelScan",
            "read_labels",
            "scan_labels",
            "write_labels",
        ],
        "omnitrace.evaluation.labels.llm_judge": [
            "Endpoint",
            "JudgeError",
            "JudgeRun",
            "label_trace",
            "label_traces",
        ],
        "omnitrace.evaluation.labels.matching": ["match_spans", "named_units", "true_units"],
        "omnitrace.evaluation.labels.paper_format": ["read_paper_labels"],
        "omnitrace.evaluation.labels.schema": [
            "ImageSource",
            "Label",
            "LabelledSpan",
            "LabelledWord",
            "Option",
            "Source",
            "TextSource",
            "TimeSource",
        ],
        "omnitrace.evaluation.labels.template": ["write_template"],
        "omnitrace.evaluation.labels.validate": ["check_label", "check_labels"],
        "omnitrace.evaluation.measured_effects": [
            "MeasureResponse",
            "MeasuredResponse",
            "measure_by",
        ],
        "omnitrace.evaluation.metrics.agreement": ["abstention_f1", "auroc"],
        "omnitrace.evaluation.metrics.bootstrap": [
            "Estimate",
            "bootstrap",
            "bootstrap_mean",
            "paired_difference",
        ],
        "omnitrace.evaluation.metrics.faithfulness": [
            "control_scores",
            "defined",
            "lds",
            "share_of_oracle",
        ],
        "omnitrace.evaluation.metrics.registry": ["MetricSet", "select_metrics"],
        "omnitrace.evaluation.metrics.spans": ["METRICS", "Metric"],
        "omnitrace.evaluation.model_access": ["InputEmbeddings", "ask_by"],
        "omnitrace.evaluation.options": ["EvaluationModels", "EvaluationOptions", "ModelAccess"],
        "omnitrace.evaluation.progress": ["PassesCallback", "ProgressCallback"],
        "omnitrace.evaluation.reattribute": ["Failure", "Reattribution"],
        "omnitrace.evaluation.report.compare": [
            "Difference",
            "Rule",
            "check_rule",
            "compare",
            "parse_rule",
            "table_of_differences",
        ],
        "omnitrace.evaluation.report.export": ["notes_of", "table_of", "to_csv", "to_document"],
        "omnitrace.evaluation.report.html": ["render_page"],
        "omnitrace.evaluation.report.results_file": [
            "EvaluationFile",
            "file_of",
            "read_evaluation",
        ],
        "omnitrace.evaluation.rows": ["ScoreRow", "TRACED", "score"],
        "omnitrace.evaluation.run": [
            "EvaluationRun",
            "RunCallbacks",
            "evaluate_files",
            "known_signals",
        ],
        "omnitrace.evaluation.sanity": ["SanityDocument", "SanityOptions", "check_examples"],
        "omnitrace.evaluation.unit_scores": ["span_scores"],
        "omnitrace.plugins.hookspecs": ["RegisterMetric"],
    },
)

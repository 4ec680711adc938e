"""The built-in signals, adapters, operators and the rest, registered as any plugin's."""

from __future__ import annotations

import functools
import pkgutil
from typing import TYPE_CHECKING, Any, Final

from omnitrace.plugins.hookspecs import (
    RegisterExporter,
    RegisterMetric,
    RegisterModel,
    RegisterOperator,
    RegisterPretrained,
    RegisterSignal,
    RegisterUnitizer,
    hookimpl,
)

if TYPE_CHECKING:
    from pathlib import Path

    from omnitrace.ablation.operators import Operator
    from omnitrace.evaluation.metrics.spans import Metric
    from omnitrace.export.base import Exporter
    from omnitrace.models.base import ModelAdapter
    from omnitrace.signals.base import Signal
    from omnitrace.sources.unitizers.base import Unitizer


def _attention_mean() -> Signal:
    from omnitrace.signals.attention import AttentionMean

    return AttentionMean()


def _attention_last() -> Signal:
    from omnitrace.signals.attention import AttentionLast

    return AttentionLast()


def _value_attention() -> Signal:
    from omnitrace.signals.attention import ValueAttention

    return ValueAttention()


def _grad_sam(target: str = "logit") -> Signal:
    from omnitrace.signals.gradients import GradSAM

    return GradSAM(target)


def _grad_sam_last(target: str = "logit") -> Signal:
    from omnitrace.signals.gradients import GradSAMLast

    return GradSAMLast(target)


def _estimator(path: str | Path | None = None) -> Signal:
    from omnitrace.estimator.finished import load_signal

    return load_signal(path)


def _mask_gradient(at: float = 0.5) -> Signal:
    from omnitrace.signals.mask_gradient import MaskGradient

    return MaskGradient(at)


def _verified(**parameters: Any) -> Signal:
    from omnitrace.signals.verified.options import Verify
    from omnitrace.signals.verified.signal import Verified

    return Verified(Verify(**parameters))


def _captum(place: str, **parameters: Any) -> Signal:
    made: Signal = pkgutil.resolve_name(f"omnitrace.signals.captum.{place}")(**parameters)
    return made


def _adapter(place: str) -> type[ModelAdapter]:
    found: type[ModelAdapter] = pkgutil.resolve_name(f"omnitrace.models.{place}")
    return found


def _pretrained(name: str) -> Path:
    from omnitrace.reference import model_path

    return model_path(name)


def _operator(place: str, **parameters: Any) -> Operator:
    made: Operator = pkgutil.resolve_name(f"omnitrace.ablation.{place}")(**parameters)
    return made


def _exporter(place: str, **parameters: Any) -> Exporter:
    made: Exporter = pkgutil.resolve_name(f"omnitrace.export.{place}")(**parameters)
    return made


def _metric(name: str) -> Metric:
    from omnitrace.evaluation.metrics.spans import METRICS

    return METRICS[name]


def _causal_metric(name: str) -> Metric:
    from omnitrace.evaluation.metrics.labelled_causal import CAUSAL_METRICS

    return CAUSAL_METRICS[name]


def _ward(regions: int | None = None, explained: float = 0.9) -> Unitizer:
    from omnitrace.sources.unitizers.ward import Ward

    return Ward(regions, explained)


def _grid(rows: int | None = None, columns: int | None = None) -> Unitizer:
    from omnitrace.sources.unitizers.image import Grid

    return Grid(rows, columns)


def _whole() -> Unitizer:
    from omnitrace.sources.unitizers.image import Whole

    return Whole()


def _slic(regions: int | None = None, compactness: float = 10.0) -> Unitizer:
    from omnitrace.sources.unitizers.slic import Slic

    return Slic(regions, compactness)


def _bins(seconds: float = 1.0) -> Unitizer:
    from omnitrace.sources.unitizers.time import Bins

    return Bins(seconds)


def _changes(
    segments: int | None = None,
    explained: float = 0.9,
    shortest: float = 0.5,
    longest: float = 4.0,
) -> Unitizer:
    from omnitrace.sources.unitizers.change_points import Changes

    return Changes(segments, explained, shortest, longest)


_PRETRAINED: Final = {
    "reference": "a small omni-modal model of Qwen2.5-Omni's classes, with known evidence",
    "reference-thinking": "the same, writing its steps before the answer",
}
# Here and not beside the metrics, so that registering them does not wait for numpy.
_METRICS: Final = {
    "precision": "share of the chosen units that are true",
    "recall": "share of the true units that are chosen",
    "f1": "F1 of the chosen units as a set",
    "cite_f1": "F1 against all units that show what bears the value, source by source",
    "time_f1": "F1 of one-second bins of audio and video",
    "box_iou": "intersection over union of image regions",
    "interval_iou": "intersection over union of seconds",
    "top1": "the strongest unit is true",
    "auprc": "average precision of the unit scores",
    "option_consistency": "the option of most mass is the chosen one (OmniTrace, App. B.3)",
}
_CAUSAL_METRICS: Final = {
    "lds": "rank correlation with measured effects of random masks (needs --model)",
    "size-controlled-lds": "the same with masks that keep equally many tokens (needs --model)",
    "top-1-drop": "nats that the span loses without the strongest unit (needs --model)",
    "top-3-drop": "the same without the three strongest (needs --model)",
    "top-5-drop": "the same without the five strongest (needs --model)",
    **{
        f"top-{k}-drop-per-token": f"top-{k}-drop by the tokens of the span (needs --model)"
        for k in (1, 3, 5)
    },
    **{
        f"comprehensiveness-{k}": f"ERASER's name for top-{k}-drop, in nats (needs --model)"
        for k in (1, 3, 5)
    },
    **{
        f"sufficiency-{k}": f"nats that the span loses with only {many} (needs --model)"
        for k, many in ((1, "the strongest unit"), (3, "the three strongest"), (5, "five"))
    },
    "deletion-auc": "area under the log-probability as the strongest go first (needs --model)",
    "insertion-auc": "area under the log-probability as the strongest come first (needs --model)",
    "deletion-auc-normalised": "the same from 1 with all units to 0 without any (needs --model)",
    "insertion-auc-normalised": "the same from 0 without any unit to 1 with all (needs --model)",
    "r-squared": "of single-unit effects, scores fitted to nats on other masks (needs --model)",
    "r-squared-of-effects": "the same of a span signal's effects as they are (needs --model)",
    "oracle-lds": "lds of the best additive scores, fitted on other masks (needs --model)",
    "oracle-size-controlled-lds": "size-controlled-lds of the same (needs --model)",
}
_OF_WORDS: Final = ("top1", "auprc")


# Six methods of Captum: where each is, and what it says.
_CAPTUM: Final = {
    "feature-ablation": (
        "perturbation:FeatureAblation",
        "drop of the log-probability when one unit is ablated (occlusion)",
    ),
    "shapley": (
        "perturbation:Shapley",
        "Shapley values of the units, by sampled permutations (Castro et al. 2009)",
    ),
    "kernel-shap": (
        "perturbation:KernelShap",
        "Shapley values of the units, by weighted regression (Lundberg and Lee 2017)",
    ),
    "lime": (
        "perturbation:Lime",
        "weights of a sparse linear model of random ablations (Ribeiro et al. 2016)",
    ),
    "integrated-gradients": (
        "gradients:IntegratedGradients",
        "gradients along the way from ablated embeddings (Sundararajan et al. 2017)",
    ),
    "input-x-gradient": (
        "gradients:InputXGradient",
        "embedding times gradient, a first-order estimate (Shrikumar et al. 2016)",
    ),
}


# Where each operator is, and what it does.
_OPERATORS: Final = {
    "attention": (
        "operators:Attention",
        "hidden from every later position in all layers; positions are kept",
    ),
    "mean": ("operators:Mean", "embeddings replaced by the mean of the modality"),
    "drop": ("input_operators:Drop", "characters left out of the text"),
    "grey": ("input_operators:Grey", "region of the image greyed"),
    "blur": ("input_operators:Blur", "region of the image blurred"),
    "silence": ("input_operators:Silence", "seconds of the audio silenced"),
    "freeze": ("input_operators:Freeze", "frames of the video replaced by a neighbouring one"),
}
# Where each exporter is, and what it writes.
_EXPORTERS: Final = {
    "citations": ("shapes:Citations", "what each span cites, by unit and by document (JSON)"),
    "markdown": ("shapes:Markdown", "the answer with [n] markers and footnotes"),
    "openai": ("shapes:OpenAI", "an output message of OpenAI's Responses API, with annotations"),
    "anthropic": ("shapes:Anthropic", "a message of Anthropic's API, with char_location citations"),
    "cohere": ("shapes:Cohere", "a response of Cohere's chat (version 2), with citations"),
    "csv": ("table:Csv", "a row for each span and source; no cell is a formula"),
    "parquet": ("table:Parquet", "the same with types (needs pyarrow)"),
    "webvtt": ("subtitles:WebVTT", "which seconds of audio and video were used, as subtitles"),
    "srt": ("subtitles:SubRip", "the same as SubRip"),
    "coco": ("coco:Coco", "cited regions of images: boxes and masks"),
    "web-annotation": ("web_annotation:WebAnnotation", "the W3C's Web Annotations (JSON-LD)"),
}


@hookimpl
def register_signals(register: RegisterSignal) -> None:
    """Register the signals of attention and gradients, the learned estimator, Captum's methods."""
    register(
        "attention-mean",
        _attention_mean,
        summary="attention, mean over all layers and heads (OmniTrace AttMean)",
    )
    register(
        "attention-last",
        _attention_last,
        summary="attention of the last layer, mean over heads (OmniTrace RawAtt)",
    )
    register(
        "value-attention",
        _value_attention,
        summary="attention times the norm of the projected value (Kobayashi et al. 2020)",
    )
    register(
        "grad-sam",
        _grad_sam,
        summary="attention times its positive gradient, all layers (Barkan et al. 2021)",
    )
    register(
        "grad-sam-last",
        _grad_sam_last,
        summary="attention times its positive gradient, last layer (OmniTrace AttGrads)",
    )
    register(
        "estimator",
        _estimator,
        summary="effects in nats, from all heads with weights learned for the model (vSTREAM)",
    )
    register(
        "mask-gradient",
        _mask_gradient,
        summary="gradient by how much of a unit is seen, half of all hidden, in nats",
    )
    register(
        "verified",
        _verified,
        summary="effects in nats of the units that matter, by ablation; says where there is none",
    )
    for name, (place, summary) in _CAPTUM.items():
        register(name, functools.partial(_captum, place), summary=summary)


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the adapters for models with a processor, and for any causal language model."""
    register(
        "processor",
        functools.partial(_adapter, "processor:ProcessorAdapter"),
        config_classes=(),  # any with a tower for images or sound: see models/loading.py
        summary="models that take images, audio or video: Qwen-VL, Qwen-Omni, GLM-V, Gemma, …",
    )
    register(
        "minicpm-o",
        functools.partial(_adapter, "minicpm_o:MiniCPMOAdapter"),
        config_classes=("MiniCPMOConfig",),  # comes with the checkpoint
        summary="MiniCPM-o 4.5: text, images, audio, frames of videos; needs trust_remote_code",
    )
    register(
        "causal_lm",
        functools.partial(_adapter, "causal_lm:CausalLMAdapter"),
        config_classes=("PreTrainedConfig",),
        summary="any text model of transformers that uses its attention interface",
    )


@hookimpl
def register_pretrained(register: RegisterPretrained) -> None:
    """Register the small models that this package brings along."""
    for name, summary in _PRETRAINED.items():
        register(name, functools.partial(_pretrained, name), summary=summary)


@hookimpl
def register_operators(register: RegisterOperator) -> None:
    """Register the operators on the decoder and on the input."""
    for name, (place, summary) in _OPERATORS.items():
        register(name, functools.partial(_operator, place), summary=summary)


@hookimpl
def register_metrics(register: RegisterMetric) -> None:
    """Register the metrics of label agreement and of measured effects."""
    for name, summary in _METRICS.items():
        factory = functools.partial(_metric, name)
        register(name, factory, words=name in _OF_WORDS, summary=summary)
    for name, summary in _CAUSAL_METRICS.items():
        register(name, functools.partial(_causal_metric, name), summary=summary)


@hookimpl
def register_unitizers(register: RegisterUnitizer) -> None:
    """Register what cuts images into regions, audio and video into stretches of time."""
    image, time = ("image",), ("audio", "video")
    register("grid", _grid, modalities=image, summary="a grid of rectangles (the default)")
    register("whole", _whole, modalities=image, summary="the whole image")
    register(
        "ward",
        _ward,
        modalities=image,
        summary="16 to 128 regions alike to the model's vision tower, by Ward clustering (vSTREAM)",
    )
    register(
        "slic",
        _slic,
        modalities=image,
        summary="superpixels of the image's colours (needs scikit-image)",
    )
    register("bins", _bins, modalities=time, summary="stretches of equal length (the default)")
    register(
        "changes",
        _changes,
        modalities=time,
        summary="stretches between changes of what the features of the model's own tower",
    )


@hookimpl
def register_exporters(register: RegisterExporter) -> None:
    """Register the formats that traces are written in for other tools."""
    for name, (place, summary) in _EXPORTERS.items():
        register(name, functools.partial(_exporter, place), summary=summary)

"""The built-in signals, adapters, operators and the rest, registered as any plugin's."""

from __future__ import annotations

import functools
import pkgutil
from typing import TYPE_CHECKING, Any, Final

from omnitrace._utils.lazy import LazyFactory
from omnitrace.plugins.hookspecs import (
    RegisterExporter,
    RegisterMetric,
    RegisterModel,
    RegisterOperator,
    RegisterPretrained,
    RegisterRecogniser,
    RegisterSignal,
    RegisterUnitizer,
    hookimpl,
)

if TYPE_CHECKING:
    from pathlib import Path

    from omnitrace.evaluation.metrics.spans import Metric
    from omnitrace.models.base import ModelAdapter
    from omnitrace.signals.base import Signal


def _verified(**parameters: Any) -> Signal:
    from omnitrace.signals.verified.options import Verify
    from omnitrace.signals.verified.signal import Verified

    return Verified(Verify(**parameters))


def _adapter(place: str) -> type[ModelAdapter]:
    found: type[ModelAdapter] = pkgutil.resolve_name(f"omnitrace.models.{place}")
    return found


def _pretrained(name: str) -> Path:
    from omnitrace.reference import model_path

    return model_path(name)


def _metric(name: str) -> Metric:
    from omnitrace.evaluation.metrics.spans import METRICS

    return METRICS[name]


def _causal_metric(name: str) -> Metric:
    from omnitrace.evaluation.metrics.labelled_causal import CAUSAL_METRICS

    return CAUSAL_METRICS[name]


# Of each: where it is, and what it does.
_SIGNALS: Final = {
    "attention-mean": (
        "attention:AttentionMean",
        "attention, mean over all layers and heads (OmniTrace AttMean)",
    ),
    "attention-last": (
        "attention:AttentionLast",
        "attention of the last layer, mean over heads (OmniTrace RawAtt)",
    ),
    "value-attention": (
        "attention:ValueAttention",
        "attention times the norm of the projected value (Kobayashi et al. 2020)",
    ),
    "grad-sam": (
        "gradients:GradSAM",
        "attention times its positive gradient, all layers (Barkan et al. 2021)",
    ),
    "grad-sam-last": (
        "gradients:GradSAMLast",
        "attention times its positive gradient, last layer (OmniTrace AttGrads)",
    ),
    "mask-gradient": (
        "mask_gradient:MaskGradient",
        "gradient by how much of a unit is seen, half of all hidden, in nats",
    ),
    "feature-ablation": (
        "captum.perturbation:FeatureAblation",
        "drop of the log-probability when one unit is ablated (occlusion)",
    ),
    "shapley": (
        "captum.perturbation:Shapley",
        "Shapley values of the units, by sampled permutations (Castro et al. 2009)",
    ),
    "kernel-shap": (
        "captum.perturbation:KernelShap",
        "Shapley values of the units, by weighted regression (Lundberg and Lee 2017)",
    ),
    "lime": (
        "captum.perturbation:Lime",
        "weights of a sparse linear model of random ablations (Ribeiro et al. 2016)",
    ),
    "integrated-gradients": (
        "captum.gradients:IntegratedGradients",
        "gradients along the way from ablated embeddings (Sundararajan et al. 2017)",
    ),
    "input-x-gradient": (
        "captum.gradients:InputXGradient",
        "embedding times gradient, a first-order estimate (Shrikumar et al. 2016)",
    ),
}
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
_IMAGE: Final = ("image",)
_TIME: Final = ("audio", "video")
_UNITIZERS: Final = {
    "grid": ("image:Grid", _IMAGE, "a grid of rectangles (the default)"),
    "whole": ("image:Whole", _IMAGE, "the whole image"),
    "ward": (
        "ward:Ward",
        _IMAGE,
        "16 to 128 regions alike to the model's vision tower, by Ward clustering (vSTREAM)",
    ),
    "slic": ("slic:Slic", _IMAGE, "superpixels of the image's colours (needs scikit-image)"),
    "bins": ("time:Bins", _TIME, "stretches of equal length (the default)"),
    "changes": (
        "change_points:Changes",
        _TIME,
        "stretches between changes of what the features of the model's own tower",
    ),
    "speech": (
        "speech:Speech",
        _TIME,
        "what is said between pauses; sentences with their words where asr= is given",
    ),
}
_RECOGNISERS: Final = {
    "transformers": ("TransformersRecogniser", "a model of transformers that times its words"),
    "faster-whisper": ("FasterWhisper", "Whisper by faster-whisper (extra 'asr')"),
}


@hookimpl
def register_signals(register: RegisterSignal) -> None:
    """Register the signals of attention and gradients, the learned estimator, Captum's methods."""
    for name, (place, summary) in _SIGNALS.items():
        register(name, LazyFactory(f"omnitrace.signals.{place}"), summary=summary)
    register(
        "estimator",
        LazyFactory("omnitrace.estimator.finished:load_signal"),
        summary="effects in nats, from all heads with weights learned for the model (vSTREAM)",
    )
    register(
        "verified",
        _verified,
        summary="effects in nats of the units that matter, by ablation; says where there is none",
    )


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
        register(name, LazyFactory(f"omnitrace.ablation.{place}"), summary=summary)


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
    for name, (place, modalities, summary) in _UNITIZERS.items():
        factory = LazyFactory(f"omnitrace.sources.unitizers.{place}")
        register(name, factory, modalities=modalities, summary=summary)


@hookimpl
def register_recognisers(register: RegisterRecogniser) -> None:
    """Register the recognisers of libraries that users may have."""
    for name, (place, summary) in _RECOGNISERS.items():
        register(name, LazyFactory(f"omnitrace.speech.recognisers:{place}"), summary=summary)


@hookimpl
def register_exporters(register: RegisterExporter) -> None:
    """Register the formats that traces are written in for other tools."""
    for name, (place, summary) in _EXPORTERS.items():
        register(name, LazyFactory(f"omnitrace.export.{place}"), summary=summary)

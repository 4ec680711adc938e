"""The options of one request, declared once for every way to trace it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.media import MediaLimits
from omnitrace.segmentation.sentences import Unit as SpanUnit
from omnitrace.segmentation.thinking import Thinking
from omnitrace.signals.base import Signal
from omnitrace.signals.verified.options import Verify
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.responses.given import Response

__all__ = [
    "PROVISIONAL",
    "QUEUE_SIZE",
    "BatchReplayOptions",
    "ReplayOptions",
    "StreamOptions",
    "TraceOptions",
    "TracerOptions",
]

#: Tokens after which text that is in no span yet gets provisional supports.
PROVISIONAL: Final = 8
#: Blocks that may wait for the worker.
QUEUE_SIZE: Final = 4


class _RequestOptions(TypedDict, total=False):
    media_root: str | Path | None
    block: int | None
    tools: Sequence[Any] | None
    chat_template_kwargs: Mapping[str, Any] | None


class TraceOptions(_RequestOptions, total=False):
    """Options of ``trace`` and ``atrace``.

    Attributes
    ----------
    media_root:
        Folder that relative media paths start from, and that media must lie in; with an
        ``omnitrace.sources.OpenRoot`` they may lie anywhere, as where none is given.
    block:
        Tokens whose attention rows are read at once; None takes the tracer's.
    tools:
        The functions that the model may call, as its chat template takes them: JSON schemas, or
        Python functions.
    chat_template_kwargs:
        Further arguments of the chat template, such as ``{"enable_thinking": False}``.
    max_new_tokens:
        Longest response in tokens; None takes the generation settings', else 256.
    seed:
        Seed for sampling; torch's random state is restored afterwards. None leaves it alone.
    do_sample, temperature, top_k, top_p, repetition_penalty, generation_config, logits_processor,
    stopping_criteria, streamer:
        As for the model's ``generate``, which takes every other argument of its own too. Decoding
        is greedy unless ``do_sample=True``.
    """

    max_new_tokens: int | None
    seed: int | None
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    generation_config: Any
    logits_processor: Any
    stopping_criteria: Any
    streamer: Any


class StreamOptions(TraceOptions, total=False):
    """Options of ``stream`` and ``astream``: those of ``trace``, and how events come.

    Attributes
    ----------
    provisional:
        After how many more tokens the text that is in no span yet gets provisional supports, at
        the end of the block; None for none.
    queue_size:
        How many blocks may wait to be worked on; decoding waits while there are more, which the
        stream's ``backlog`` counts. 0 does the work in the decoding loop.
    verify_spans:
        Whether a span is verified as soon as it ends, so that its event carries a verdict. The
        model stands still meanwhile, for as long as verifying a response takes that ends there, and
        all work is done in the decoding loop. The finished response is verified as a whole as well.
    measured:
        Called in the stream's thread with the keep-masks, bool ``[m, K]``, under which supports
        are verified once the response is written.
    """

    provisional: int | None
    queue_size: int
    verify_spans: bool
    measured: Callable[[np.ndarray], None] | None


class BatchReplayOptions(_RequestOptions, total=False):
    """Options of ``replay_many``, as for ``trace``."""


class ReplayOptions(_RequestOptions, total=False):
    """Options of ``replay``.

    Attributes
    ----------
    media_root, block, tools, chat_template_kwargs:
        As for ``trace``.
    choice:
        Of a response object with several choices, which is meant, by its ``index``.
    against:
        Another response, in any of the forms: each token that differs from its counterpart there,
        its *foil*, is explained by what supports it over the foil, in the context of the response;
        all other tokens get no scores. Needs a signal with gradients, or a span signal that
        measures: its effects are then on the difference of the two log-probabilities.
    measured:
        Called with the keep-masks, bool ``[m, K]``, under which a span signal measures the
        response: they must not evaluate it.
    """

    choice: int
    against: Response | None
    measured: Callable[[np.ndarray], None] | None


class TracerOptions(TypedDict, total=False):
    """The options of a tracer.

    Attributes
    ----------
    signal:
        Name of a registered signal, or a signal object. With a span signal, live or not, the token
        scores are those of "attention-mean", and supports are selected by the effects that it
        gives. None takes "value-attention", and verifies.
    verify:
        Whether the supports of a finished response are verified by ablation, starting from those
        that the signal scores highest, and what that may cost. None verifies where no signal is
        named: a signal that is named selects its own supports.
    selection:
        How supports are selected.
    sources:
        What counts as a source and how finely sources are cut.
    limits:
        Limits on media, and whether they are decoded in a process of their own.
    span_unit:
        Spans are sentences or clauses of the response.
    thinking:
        How the model marks its thoughts, so that their spans are kept apart from those of the
        answer; with None the whole response is the answer.
    salience:
        spaCy pipeline that weighs words; "auto" takes an installed one for the language, or
        spaCy's lexical attributes, which need no download.
    block:
        Tokens whose attention rows are read at once, unless a span ends before; larger is faster,
        smaller gives events sooner.
    """

    signal: str | Signal | None
    verify: Verify | bool | None
    selection: SelectionConfig | None
    sources: SourceOptions | None
    limits: MediaLimits | None
    span_unit: SpanUnit
    thinking: Thinking | None
    salience: str | None
    block: int

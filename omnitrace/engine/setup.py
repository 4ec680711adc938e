"""What stays the same for all requests of a tracer: model, signals and options, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from omnitrace._utils.checks import check_whole
from omnitrace.ablation.cache import model_fingerprint
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.capture.parameters import check_differentiable
from omnitrace.capture.probe import check_cached_keys, probe
from omnitrace.capture.quantised import check_backward
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.media import MediaLimits
from omnitrace.models.base import ModelAdapter
from omnitrace.models.forward import carries_states
from omnitrace.segmentation.salience import Salience
from omnitrace.segmentation.sentences import Unit as SpanUnit
from omnitrace.segmentation.thinking import Thinking
from omnitrace.signals.base import LiveSpanSignal, ModelBound, Need, Signal, gradient_target
from omnitrace.signals.resolution import Resolved, resolve
from omnitrace.signals.verified.options import Verify
from omnitrace.sources.options import SourceOptions

__all__ = ["LIVE_SIGNAL", "Setup", "chosen_signals"]

#: What scores tokens where no signal is named. Attention goes to the first tokens of a prompt
#: whatever they say; weighted by what it carries it does not (benchmarks/citations.py).
LIVE_SIGNAL: Final = "value-attention"


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """A model, what scores its tokens, and how requests are read and supports selected.

    Attributes
    ----------
    adapter:
        The model, its processor, and how the two map tokens to sources.
    layers:
        By index, the decoder layers whose attention can be captured.
    signals:
        What scores tokens, and the span signal where one was asked for.
    selection, sources, limits, span_unit, thinking, block:
        As for ``Tracer``.
    verify:
        How the supports of a finished response are verified; None leaves them as selected.
    pipeline, salience:
        The spaCy pipeline that was asked for, and what it became for the sources' language.
    """

    adapter: ModelAdapter
    layers: Mapping[int, nn.Module]
    signals: Resolved
    selection: SelectionConfig
    sources: SourceOptions
    limits: MediaLimits
    span_unit: SpanUnit
    thinking: Thinking | None
    pipeline: str | None
    salience: Salience
    block: int
    verify: Verify | None = None

    @classmethod
    def create(
        cls,
        adapter: ModelAdapter,
        *,
        signal: str | Signal | None = None,
        verify: Verify | bool | None = None,
        selection: SelectionConfig | None = None,
        sources: SourceOptions | None = None,
        limits: MediaLimits | None = None,
        span_unit: SpanUnit = "sentence",
        thinking: Thinking | None = Thinking(),  # noqa: B008 - frozen
        salience: str | None = "auto",
        block: int = 16,
    ) -> Setup:
        """Check the options and try the model; see ``Tracer`` for what they are, and for errors."""
        check_whole("block", block, 1)
        sources = sources or SourceOptions()
        weights = Salience.create(salience, sources.language)
        signals, verification = chosen_signals(signal, verify)
        selection = selection or SelectionConfig()
        _check_made_for(signals, adapter, sources)
        _check_fitted(selection, adapter)
        made = cls(
            adapter=adapter,
            layers=dict(probe(adapter.model, adapter.decoder, what=adapter.source)),
            signals=signals,
            selection=selection,
            sources=sources,
            limits=limits or MediaLimits(),
            span_unit=span_unit,
            thinking=thinking,
            pipeline=salience,
            salience=weights,
            block=block,
            verify=verification,
        )
        _check_gradients(made)
        return made

    def changed(self, **options: Any) -> Setup:
        """Return a setup of the same model with some options of :meth:`create` changed."""
        if "signal" in options:
            signal, verify = options.pop("signal"), options.get("verify")
            options["signals"], options["verify"] = chosen_signals(signal, verify)
        elif options.get("verify") is not None:
            options["verify"] = _verification(options["verify"], self.signals, named=True)
        else:
            options.pop("verify", None)
        made = {
            "selection": SelectionConfig,
            "sources": SourceOptions,
            "limits": MediaLimits,
        }
        for name, usual in made.items():
            if name in options:
                options[name] = options[name] or usual()
        asked = options.pop("salience", self.pipeline)
        language = options.get("sources", self.sources).language
        if (asked, language) != (self.pipeline, self.sources.language):
            options |= {"pipeline": asked, "salience": Salience.create(asked, language)}
        check_whole("block", options.get("block", self.block), 1)
        changed = dataclasses.replace(self, **options)
        _check_made_for(changed.signals, changed.adapter, changed.sources)
        if "signals" in options:
            _check_gradients(changed)
        if "selection" in options:
            _check_fitted(changed.selection, changed.adapter)
        return changed

    @property
    def live_signal(self) -> LiveSpanSignal | None:
        """The span signal, if it gives its effects while the model writes."""
        span = self.signals.span
        return span if isinstance(span, LiveSpanSignal) else None

    @property
    def needs(self) -> frozenset[Need]:
        """What the token signal and a live span signal read while the model writes."""
        live = self.live_signal
        return self.signals.token.needs | (frozenset() if live is None else live.needs)

    @property
    def streams(self) -> bool:
        """Whether supports can be selected while the model writes."""
        return self.signals.span is None or self.live_signal is not None


def chosen_signals(
    signal: str | Signal | None, verify: Verify | bool | None
) -> tuple[Resolved, Verify | None]:
    """Return what scores and selects, and how that is verified; see ``TracerOptions``.

    Raises
    ------
    PluginError
        If the signal is unknown.
    InputError
        If ``verify`` is none, or the signal measures by itself.
    """
    signals = resolve(LIVE_SIGNAL if signal is None else signal)
    return signals, _verification(verify, signals, named=signal is not None)


def _verification(asked: Verify | bool | None, signals: Resolved, *, named: bool) -> Verify | None:
    """Return how supports are verified; without a word on it, those of a named signal are not.

    Raises
    ------
    InputError
        If what was asked is no ``Verify``, or supports are to be verified that a span signal
        measures anyway.
    """
    if asked is None:
        return None if named else Verify()
    if asked is False:
        return None
    if asked is not True and not isinstance(asked, Verify):
        raise InputError(f"verify is {asked!r}", legal="True, False or a Verify(…)")
    if signals.span is not None and not isinstance(signals.span, LiveSpanSignal):
        raise InputError(
            f"the supports of {signals.span.name!r} are to be verified, which measures effects",
            legal="a token signal or a live span signal with verify",
        )
    return Verify() if asked is True else asked


def _check_made_for(signals: Resolved, adapter: ModelAdapter, sources: SourceOptions) -> None:
    """Refuse a signal that was made for another model, or for units that are cut in another way."""
    chosen = signals.token if signals.span is None else signals.span
    if isinstance(chosen, ModelBound):
        chosen.check_model(adapter, sources)


def _check_fitted(selection: SelectionConfig, adapter: ModelAdapter) -> None:
    """Refuse a threshold that was fitted to another model."""
    fitted_to = selection.fitted_to
    if fitted_to is not None and fitted_to != model_fingerprint(adapter.model):
        raise InputError(
            f"the selection was calibrated for another model than {adapter.source!r}",
            legal=f"the model with the fingerprint {fitted_to[:12]}…, in the same precision",
            fix="calibrate for this model: omnitrace calibrate",
        )


def _check_gradients(setup: Setup) -> None:
    """Refuse a signal with gradients that the model cannot give step by step."""
    if gradient_target(setup.needs) is None:
        return
    adapter = setup.adapter
    if carries_states(adapter.model, len(setup.layers)):
        raise NotSupportedError(
            f"layers of {adapter.source} carry what they have read in states, which would have to "
            "be differentiated too",
            legal="gradients in models whose layers all have softmax attention, and no state "
            "beside it",
            fix="use a signal that needs rows only, such as 'value-attention'",
        )
    check_differentiable(adapter.model)
    check_cached_keys(adapter.model, setup.layers, what=adapter.source)
    check_backward(adapter.model)

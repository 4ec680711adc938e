"""Plugins: registration, look-up, and what happens when one is broken."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import transformers as tf

from omnitrace import PluginError, builtin, hookimpl
from omnitrace.ablation import DecoderOperator, InputOperator
from omnitrace.plugins import hookspecs
from omnitrace.plugins.registry import build_registry, registry
from omnitrace.signals.base import LiveSpanSignal, SpanSignal, TokenSignal
from tests.signals.captum.names import CAPTUM_SIGNALS


class Plugin:
    """A user's plugin."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @hookimpl
    def register_signals(self, register: hookspecs.RegisterSignal) -> None:
        for name in self.names:
            register(name, object, summary="mine")  # type: ignore[arg-type]


def test_the_builtins_are_registered_through_the_hooks() -> None:
    found = build_registry({"omnitrace": builtin})
    assert set(found.signals) == {
        "attention-mean",
        "attention-last",
        "value-attention",
        "grad-sam",
        "grad-sam-last",
        "estimator",
        "mask-gradient",
        "verified",
        *CAPTUM_SIGNALS,
    }
    assert set(found.models) == {"causal_lm", "minicpm-o", "processor"}
    for entry in found.signals.values():
        assert entry.package == "omnitrace"
        assert entry.summary
        signal = entry.factory()
        spans = ("mask-gradient", "verified", *CAPTUM_SIGNALS)
        kinds = {"estimator": LiveSpanSignal, **dict.fromkeys(spans, SpanSignal)}
        kind = kinds.get(entry.name, TokenSignal)
        others = {LiveSpanSignal, SpanSignal, TokenSignal} - {kind}
        assert isinstance(signal, kind)
        assert not any(isinstance(signal, other) for other in others)
        assert signal.name == entry.name


def test_the_builtin_operators_are_registered_through_the_hook() -> None:
    found = build_registry({"omnitrace": builtin}).operators
    assert set(found) == {"attention", "mean", "drop", "grey", "blur", "silence", "freeze"}
    for entry in found.values():
        assert entry.package == "omnitrace"
        assert entry.summary
        operator = entry.make()
        assert isinstance(operator, DecoderOperator | InputOperator)
        assert operator.name == entry.name
        assert operator.modalities
    with pytest.raises(PluginError, match=r"unknown operator 'silent'.*'silence'"):
        registry().operator("silent")


def test_an_operators_name_that_is_taken_raises() -> None:
    class Other:
        @hookimpl
        def register_operators(self, register: hookspecs.RegisterOperator) -> None:
            register("mean", object)  # type: ignore[arg-type]

    with pytest.raises(PluginError, match="the operator 'mean' of 'other' is already registered"):
        build_registry({"omnitrace": builtin, "other": Other()})


def test_a_users_signal_stands_beside_the_builtins() -> None:
    found = build_registry({"omnitrace": builtin, "mine": Plugin("first-head")})
    assert found.signal("first-head").package == "mine"


def test_a_name_that_is_taken_raises() -> None:
    with pytest.raises(PluginError, match="'attention-mean' of 'mine' is already registered"):
        build_registry({"omnitrace": builtin, "mine": Plugin("attention-mean")})


def test_a_broken_plugin_is_named_and_skipped_whole() -> None:
    class Broken(Plugin):
        @hookimpl
        def register_models(self, register: hookspecs.RegisterModel) -> None:
            raise RuntimeError("no such thing")

    with pytest.warns(RuntimeWarning, match="'broken' is broken and was skipped: no such thing"):
        found = build_registry({"broken": Broken("a"), "fine": Plugin("b")})
    assert set(found.signals) == {"b"}


def test_a_hook_that_does_not_exist_is_reported() -> None:
    class Misspelt:
        @hookimpl
        def register_signal(self, register: object) -> None:
            """Miss an s."""

    with pytest.warns(RuntimeWarning, match="register_signal"):
        build_registry({"misspelt": Misspelt()})


def test_an_unknown_signal_names_near_matches() -> None:
    with pytest.raises(PluginError, match="did you mean 'attention-last'"):
        registry().signal("attention_last")


def test_an_executor_is_registered_by_a_plugin_or_says_what_to_install() -> None:
    class Elsewhere:
        @hookimpl
        def register_executors(self, register: hookspecs.RegisterExecutor) -> None:
            register("elsewhere", object, summary="on another machine")

    found = build_registry({"mine": Elsewhere()})
    assert found.executor("elsewhere").package == "mine"
    with pytest.raises(PluginError, match=r"'ray' is not installed.*pip install omnitrace-ray"):
        found.executor("ray")
    with pytest.raises(PluginError, match=r"unknown executor 'elsewhen'.*'elsewhere'"):
        found.executor("elsewhen")


def test_the_adapter_is_chosen_by_configuration_class() -> None:
    found = registry()
    assert found.model_for(tf.LlamaConfig()).name == "causal_lm"
    with pytest.raises(PluginError, match="SimpleNamespace"):
        found.model_for(SimpleNamespace())


def test_two_adapters_for_one_configuration_class_raise() -> None:
    class Other:
        @hookimpl
        def register_models(self, register: hookspecs.RegisterModel) -> None:
            register("other", object, config_classes=("PreTrainedConfig",))  # type: ignore[arg-type]

    with pytest.raises(PluginError, match="both claim PreTrainedConfig"):
        build_registry({"omnitrace": builtin, "other": Other()})

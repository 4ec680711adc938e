"""The hooks that a plugin can implement.

A hook only *registers* named factories; nothing is called through pluggy while a model runs. What a
factory must make is said by each hook and checked when it is made: this module imports none of it,
so that the packages that look plugins up may be below those that define what plugins make.

.. code-block:: python

    from omnitrace import hookimpl

    @hookimpl
    def register_signals(register):
        register("my-signal", MySignal, summary="what it measures")

and in the plugin's ``pyproject.toml``::

    [project.entry-points.omnitrace]
    my-plugin = "my_package"
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pluggy

__all__ = [
    "RegisterExecutor",
    "RegisterExporter",
    "RegisterMetric",
    "RegisterModel",
    "RegisterOperator",
    "RegisterPretrained",
    "RegisterRecogniser",
    "RegisterSignal",
    "RegisterUnitizer",
    "hookimpl",
    "hookspec",
]

hookspec = pluggy.HookspecMarker("omnitrace")
hookimpl = pluggy.HookimplMarker("omnitrace")
"""Marks a plugin's functions as implementations of hooks."""


class RegisterSignal(Protocol):
    """Registers a signal: ``factory(**parameters)`` makes an :mod:`omnitrace.signals` Signal."""

    def __call__(self, name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken."""


class RegisterModel(Protocol):
    """Registers a model adapter for the named ``transformers`` configuration classes."""

    def __call__(
        self,
        name: str,
        load_class: Callable[[], Any],
        *,
        config_classes: tuple[str, ...],
        summary: str = "",
    ) -> None:
        """Register the adapter class that ``load_class()`` imports and returns.

        A model gets the adapter whose configuration class comes first in the method resolution
        order of the model's own configuration class.
        """


class RegisterPretrained(Protocol):
    """Registers a model that a package brings along, under the name that users load it by."""

    def __call__(self, name: str, folder: Callable[[], Path], *, summary: str = "") -> None:
        """Register the folder that ``folder()`` returns, as ``save_pretrained`` wrote it.

        Raises PluginError if the name is taken.
        """


class RegisterOperator(Protocol):
    """Registers an operator: ``factory()`` makes an :class:`omnitrace.ablation.Operator`."""

    def __call__(self, name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken."""


class RegisterMetric(Protocol):
    """Registers a metric: ``factory()`` makes an :class:`omnitrace.evaluation.Metric`."""

    def __call__(
        self, name: str, factory: Callable[[], Any], *, words: bool = False, summary: str = ""
    ) -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken.

        The metric scores labelled spans, and with ``words`` labelled words too.
        """


class RegisterUnitizer(Protocol):
    """Registers a unitizer of :mod:`omnitrace.sources`, which ``factory(**parameters)`` makes."""

    def __call__(
        self,
        name: str,
        factory: Callable[..., Any],
        *,
        modalities: tuple[str, ...],
        summary: str = "",
    ) -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken.

        ``modalities`` are those that it cuts: ``("image",)`` of an ImageUnitizer, ``"audio"`` and
        ``"video"`` of a TimeUnitizer.
        """


class RegisterRecogniser(Protocol):
    """Registers a speech recogniser, which ``factory(model)`` makes.

    It is a :class:`omnitrace.speech.Recogniser`.
    """

    def __call__(self, name: str, factory: Callable[[str], Any], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``, for ``asr="name:model"``; the name must be free."""


class RegisterExporter(Protocol):
    """Registers an exporter: ``factory()`` makes an :class:`omnitrace.export.Exporter`."""

    def __call__(self, name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken."""


class RegisterExecutor(Protocol):
    """Registers an executor: ``factory(**options)`` makes an :class:`omnitrace.runs.Executor`."""

    def __call__(self, name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``, for ``--on name``; the name must be free."""


@hookspec
def register_signals(register: RegisterSignal) -> None:
    """Register signals: what scores the context for each token or span."""


@hookspec
def register_models(register: RegisterModel) -> None:
    """Register model adapters: how a family of models is loaded, fed and mapped to sources."""


@hookspec
def register_pretrained(register: RegisterPretrained) -> None:
    """Register models that the package brings along, for ``Tracer.from_pretrained(name)``."""


@hookspec
def register_operators(register: RegisterOperator) -> None:
    """Register ablation operators: how a source unit is ablated."""


@hookspec
def register_metrics(register: RegisterMetric) -> None:
    """Register metrics: how the result of a method on a labelled span is scored."""


@hookspec
def register_unitizers(register: RegisterUnitizer) -> None:
    """Register unitizers: what cuts images into regions, audio and video into stretches of time."""


@hookspec
def register_recognisers(register: RegisterRecogniser) -> None:
    """Register speech recognisers: what says which words are spoken when."""


@hookspec
def register_exporters(register: RegisterExporter) -> None:
    """Register exporters: formats of other tools that traces can be written in."""


@hookspec
def register_executors(register: RegisterExecutor) -> None:
    """Register executors: what spreads the requests of a run over processes and machines."""

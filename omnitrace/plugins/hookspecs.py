"""The hooks that a plugin can implement.

A hook only *registers* named factories; nothing is called through pluggy while a model runs.

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
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from omnitrace.ablation.operators import Operator
    from omnitrace.evaluation.metrics.spans import Metric
    from omnitrace.models.base import ModelAdapter
    from omnitrace.signals.base import Signal
    from omnitrace.sources.unitizers.base import Unitizer

__all__ = [
    "RegisterMetric",
    "RegisterModel",
    "RegisterOperator",
    "RegisterSignal",
    "RegisterUnitizer",
    "hookimpl",
    "hookspec",
]

hookspec = pluggy.HookspecMarker("omnitrace")
hookimpl = pluggy.HookimplMarker("omnitrace")


class RegisterSignal(Protocol):
    """Registers a signal under a name; ``factory(**parameters)`` makes one."""

    def __call__(self, name: str, factory: Callable[..., Signal], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken."""


class RegisterModel(Protocol):
    """Registers a model adapter for the named ``transformers`` configuration classes."""

    def __call__(
        self,
        name: str,
        load_class: Callable[[], type[ModelAdapter]],
        *,
        config_classes: tuple[str, ...],
        summary: str = "",
    ) -> None:
        """Register the adapter class that ``load_class()`` imports and returns.

        A model gets the adapter whose configuration class comes first in the method resolution
        order of the model's own configuration class.
        """


class RegisterOperator(Protocol):
    """Registers an ablation operator under a name; ``factory()`` makes one."""

    def __call__(self, name: str, factory: Callable[..., Operator], *, summary: str = "") -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken."""


class RegisterMetric(Protocol):
    """Registers a metric of evaluation under a name; ``factory()`` makes one."""

    def __call__(
        self, name: str, factory: Callable[[], Metric], *, words: bool = False, summary: str = ""
    ) -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken.

        The metric scores labelled spans, and with ``words`` labelled words too.
        """


class RegisterUnitizer(Protocol):
    """Registers a unitizer under a name; ``factory(**parameters)`` makes one."""

    def __call__(
        self,
        name: str,
        factory: Callable[..., Unitizer],
        *,
        modalities: tuple[str, ...],
        summary: str = "",
    ) -> None:
        """Register ``factory`` as ``name``; raises PluginError if the name is taken.

        ``modalities`` are those that it cuts: ``("image",)`` of an ImageUnitizer, ``"audio"`` and
        ``"video"`` of a TimeUnitizer.
        """


@hookspec
def register_signals(register: RegisterSignal) -> None:
    """Register signals: what scores the context for each token or span."""


@hookspec
def register_models(register: RegisterModel) -> None:
    """Register model adapters: how a family of models is loaded, fed and mapped to sources."""


@hookspec
def register_operators(register: RegisterOperator) -> None:
    """Register ablation operators: how a source unit is taken away from the model."""


@hookspec
def register_metrics(register: RegisterMetric) -> None:
    """Register metrics: how what a method says of a labelled span is scored."""


@hookspec
def register_unitizers(register: RegisterUnitizer) -> None:
    """Register unitizers: what cuts images into regions, audio and video into stretches of time."""

"""Find plugins, let them register, and look up what they registered."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

from omnitrace.errors import OmnitraceError, PluginError, unknown_name
from omnitrace.plugins import hookspecs

__all__ = ["Entry", "Registry", "build_registry", "registry"]

_BUILTIN_PACKAGE = "omnitrace"
# By name: what it registers is above this package, and is imported only when needed.
_BUILTIN_MODULE = "omnitrace.builtin"
#: Packages of this repository that bring executors.
_EXECUTOR_PACKAGES = {"ray": "omnitrace-ray"}
_CUT = ("image", "audio", "video")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered thing: its name, what makes it, and who registered it."""

    name: str
    factory: Callable[..., Any]
    summary: str
    package: str
    config_classes: tuple[str, ...] = ()
    words: bool = False  # of a metric: it scores words too
    modalities: tuple[str, ...] = ()  # of a unitizer: what it cuts

    def make(self, **parameters: Any) -> Any:
        """Call the factory, by itself with its defaults; raises PluginError if that fails."""
        try:
            return self.factory(**parameters)
        except OmnitraceError:
            raise
        except Exception as error:  # a plugin may raise anything
            raise PluginError(
                f"{self.name!r} of the package {self.package!r} cannot be made: "
                f"{type(error).__name__}: {error}"
            ) from error


@dataclass(slots=True)
class Registry:
    """Everything that the installed plugins registered, by kind and name."""

    signals: dict[str, Entry] = field(default_factory=dict)
    models: dict[str, Entry] = field(default_factory=dict)
    pretrained: dict[str, Entry] = field(default_factory=dict)
    operators: dict[str, Entry] = field(default_factory=dict)
    metrics: dict[str, Entry] = field(default_factory=dict)
    unitizers: dict[str, Entry] = field(default_factory=dict)
    recognisers: dict[str, Entry] = field(default_factory=dict)
    exporters: dict[str, Entry] = field(default_factory=dict)
    executors: dict[str, Entry] = field(default_factory=dict)

    def signal(self, name: str) -> Entry:
        """Return the signal's entry; raises PluginError with near matches if there is none."""
        try:
            return self.signals[name]
        except KeyError:
            raise unknown_name("signal", name, self.signals) from None

    def operator(self, name: str) -> Entry:
        """Return the operator's entry; raises PluginError with near matches if there is none."""
        try:
            return self.operators[name]
        except KeyError:
            raise unknown_name("operator", name, self.operators) from None

    def exporter(self, name: str) -> Entry:
        """Return the exporter's entry; raises PluginError with near matches if there is none."""
        try:
            return self.exporters[name]
        except KeyError:
            raise unknown_name("exporter", name, self.exporters) from None

    def executor(self, name: str) -> Entry:
        """Return the executor's entry; raises PluginError that says what to install."""
        try:
            return self.executors[name]
        except KeyError:
            if package := _EXECUTOR_PACKAGES.get(name):
                raise PluginError(
                    f"the executor {name!r} is not installed",
                    fix=f"pip install {package}, or in a clone: pip install ./plugins/{package}",
                ) from None
            raise unknown_name("executor", name, self.executors) from None

    def model_for(self, config: object) -> Entry:
        """Return the adapter entry for a ``transformers`` configuration object.

        Raises
        ------
        PluginError
            If no adapter was registered for any class in the configuration's ancestry.
        """
        by_class = {cls: entry for entry in self.models.values() for cls in entry.config_classes}
        for ancestor in type(config).__mro__:
            if ancestor.__name__ in by_class:
                return by_class[ancestor.__name__]
        raise PluginError(
            f"no model adapter is registered for {type(config).__name__}",
            legal=", ".join(sorted(by_class)),
        )


def _add(table: dict[str, Entry], kind: str, entry: Entry) -> None:
    if entry.name in table:
        raise PluginError(
            f"the {kind} {entry.name!r} of {entry.package!r} is already registered by "
            f"{table[entry.name].package!r}",
            fix="rename one of them or uninstall one of the packages",
        )
    table[entry.name] = entry


def _collect(plugin: object, package: str) -> Registry:
    """Return what one plugin registers, so that a broken plugin adds nothing at all."""
    manager = pluggy.PluginManager("omnitrace")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    found = Registry()

    def register_signal(name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        _add(found.signals, "signal", Entry(name, factory, summary, package))

    def register_model(
        name: str,
        load_class: Callable[..., Any],
        *,
        config_classes: tuple[str, ...],
        summary: str = "",
    ) -> None:
        _add(found.models, "model", Entry(name, load_class, summary, package, config_classes))

    def register_pretrained(name: str, folder: Callable[[], Any], *, summary: str = "") -> None:
        _add(found.pretrained, "model", Entry(name, folder, summary, package))

    def register_operator(name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        _add(found.operators, "operator", Entry(name, factory, summary, package))

    def register_metric(
        name: str, factory: Callable[[], Any], *, words: bool = False, summary: str = ""
    ) -> None:
        _add(found.metrics, "metric", Entry(name, factory, summary, package, words=words))

    def register_unitizer(
        name: str,
        factory: Callable[..., Any],
        *,
        modalities: tuple[str, ...],
        summary: str = "",
    ) -> None:
        _check_modalities(name, modalities)
        entry = Entry(name, factory, summary, package, modalities=tuple(modalities))
        _add(found.unitizers, "unitizer", entry)

    def register_recogniser(name: str, factory: Callable[[str], Any], *, summary: str = "") -> None:
        _add(found.recognisers, "recogniser", Entry(name, factory, summary, package))

    def register_exporter(name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        _add(found.exporters, "exporter", Entry(name, factory, summary, package))

    def register_executor(name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
        _add(found.executors, "executor", Entry(name, factory, summary, package))

    manager.hook.register_signals(register=register_signal)
    manager.hook.register_models(register=register_model)
    manager.hook.register_pretrained(register=register_pretrained)
    manager.hook.register_operators(register=register_operator)
    manager.hook.register_metrics(register=register_metric)
    manager.hook.register_unitizers(register=register_unitizer)
    manager.hook.register_recognisers(register=register_recogniser)
    manager.hook.register_exporters(register=register_exporter)
    manager.hook.register_executors(register=register_executor)
    return found


def _check_modalities(name: str, modalities: tuple[str, ...]) -> None:
    if not modalities or isinstance(modalities, str) or not {*modalities} <= {*_CUT}:
        raise PluginError(
            f"the unitizer {name!r} is registered for the modalities {modalities!r}",
            legal=f"a tuple of some of {', '.join(repr(each) for each in _CUT)}",
        )


def build_registry(plugins: Mapping[str, object]) -> Registry:
    """Let each of ``plugins`` (package name to plugin object) register.

    A plugin that raises is named in a warning and skipped; a name that two plugins claim, or a
    configuration class that two adapters claim, raises PluginError.
    """
    merged = Registry()
    for package, plugin in plugins.items():
        try:
            found = _collect(plugin, package)
        except Exception as error:  # a plugin may raise anything
            warnings.warn(
                f"the plugin {package!r} is broken and was skipped: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        for entry in found.signals.values():
            _add(merged.signals, "signal", entry)
        for entry in found.pretrained.values():
            _add(merged.pretrained, "model", entry)
        for entry in found.operators.values():
            _add(merged.operators, "operator", entry)
        for entry in found.metrics.values():
            _add(merged.metrics, "metric", entry)
        for entry in found.unitizers.values():
            _add(merged.unitizers, "unitizer", entry)
        for entry in found.recognisers.values():
            _add(merged.recognisers, "recogniser", entry)
        for entry in found.exporters.values():
            _add(merged.exporters, "exporter", entry)
        for entry in found.executors.values():
            _add(merged.executors, "executor", entry)
        for entry in found.models.values():
            for other in merged.models.values():
                if shared := set(other.config_classes) & set(entry.config_classes):
                    raise PluginError(
                        f"the models {other.name!r} of {other.package!r} and {entry.name!r} of "
                        f"{entry.package!r} both claim {', '.join(sorted(shared))}"
                    )
            _add(merged.models, "model", entry)
    return merged


def _installed_plugins() -> dict[str, object]:
    plugins: dict[str, object] = {}
    for point in importlib.metadata.entry_points(group="omnitrace"):
        package = point.dist.name if point.dist else point.name
        try:
            plugins[f"{package}:{point.name}"] = point.load()
        except Exception as error:  # importing a plugin may raise anything
            warnings.warn(
                f"the plugin {package!r} cannot be imported and was skipped: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
    return plugins


@functools.cache
def registry() -> Registry:
    """Return the registry of the built-ins and of every installed plugin."""
    builtin = importlib.import_module(_BUILTIN_MODULE)
    return build_registry({_BUILTIN_PACKAGE: builtin, **_installed_plugins()})

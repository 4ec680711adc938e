"""What is imported on first use, so that naming it waits for nothing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["LazyFactory", "lazy_names"]


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package:
        The package's ``__name__``.
    modules:
        By module, the names that the package takes from it. They are listed in
        the package's ``__all__`` too, and imported there for type checkers; a test holds the three
        equal.
    """
    places = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(places[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return get, list_names


class LazyFactory:
    """A class or function, imported when it is first called or asked for its parameters.

    Parameters
    ----------
    place:
        Where it is: ``"package.module:name"``.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    def __call__(self, *values: Any, **parameters: Any) -> Any:
        """Call it."""
        return self._found()(*values, **parameters)

    @property
    def __signature__(self) -> inspect.Signature:
        """Its parameters, for :func:`inspect.signature`."""
        return inspect.signature(self._found())

    def _found(self) -> Callable[..., Any]:
        found: Callable[..., Any] = pkgutil.resolve_name(self.place)
        return found

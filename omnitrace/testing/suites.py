"""Test classes to inherit from: one test for each promise."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from omnitrace.models.base import ModelAdapter
from omnitrace.testing.adapters import ADAPTER_PROMISES, AdapterBench
from omnitrace.testing.contract import Promise
from omnitrace.testing.harness import SignalBench
from omnitrace.testing.live import LIVE_PROMISES
from omnitrace.testing.spans import SPAN_PROMISES
from omnitrace.testing.tokens import TOKEN_PROMISES
from omnitrace.types import Modality

__all__ = [
    "AdapterConformance",
    "LiveSpanSignalConformance",
    "SignalConformance",
    "SpanSignalConformance",
]


class _Conformance(abc.ABC):
    """Has pytest make one test of each promise; knows pytest only by the name of its hook."""

    promises: ClassVar[Sequence[Promise[Any]]] = ()

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each promise."""
        if "promise" in metafunc.fixturenames:
            names = [promise.name for promise in self.promises]
            metafunc.parametrize("promise", self.promises, ids=names)

    @abc.abstractmethod
    def make_bench(self) -> Any:
        """Return what the promises are tried on."""

    def test_promise(self, promise: Promise[Any]) -> None:
        """Raise ConformanceError if the promise is broken."""
        cls = type(self)
        if "_bench" not in cls.__dict__:  # one for all tests of the class
            cls._bench = self.make_bench()
        promise.check(cls._bench)

    _bench: ClassVar[Any]


class SignalConformance(_Conformance):
    """Holds a token signal to its promises, on the reference model.

    Attributes
    ----------
    signal:
        The name of a registered signal, a signal, or a signal class.
    """

    signal: ClassVar[Any]
    promises = TOKEN_PROMISES

    def make_bench(self) -> SignalBench:
        """Set the signal to work."""
        return SignalBench(type(self).signal)


class SpanSignalConformance(SignalConformance):
    """Holds a span signal to its promises, on the reference model."""

    promises = SPAN_PROMISES


class LiveSpanSignalConformance(SignalConformance):
    """Holds a live span signal to its promises, on the reference model."""

    promises = LIVE_PROMISES


class AdapterConformance(_Conformance):
    """Holds an adapter to its promises; ``adapter()`` returns one with a model, however small.

    Attributes
    ----------
    modalities:
        What the model takes.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)
    promises = ADAPTER_PROMISES

    def adapter(self) -> ModelAdapter:
        """Return the adapter to test."""
        # Not abstract: pytest passes over abstract classes without a word.
        raise NotImplementedError(f"{type(self).__name__} has no adapter()")

    def make_bench(self) -> AdapterBench:
        """Set the adapter to work."""
        return AdapterBench(self.adapter(), self.modalities)

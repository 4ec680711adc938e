"""Test classes to inherit from: one test for each requirement."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from omnitrace.models.base import ModelAdapter
from omnitrace.testing.adapters import ADAPTER_REQUIREMENTS, AdapterHarness
from omnitrace.testing.contract import Requirement
from omnitrace.testing.harness import SignalHarness
from omnitrace.testing.live import LIVE_REQUIREMENTS
from omnitrace.testing.spans import SPAN_REQUIREMENTS
from omnitrace.testing.tokens import TOKEN_REQUIREMENTS
from omnitrace.testing.unitizers import UNITIZER_REQUIREMENTS, UnitizerHarness
from omnitrace.types import Modality

__all__ = [
    "AdapterConformance",
    "LiveSpanSignalConformance",
    "SignalConformance",
    "SpanSignalConformance",
    "UnitizerConformance",
]


class _Conformance(abc.ABC):
    """Has pytest make one test of each requirement; knows pytest only by the name of its hook."""

    requirements: ClassVar[Sequence[Requirement[Any]]] = ()

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each requirement."""
        if "requirement" in metafunc.fixturenames:
            names = [requirement.name for requirement in self.requirements]
            metafunc.parametrize("requirement", self.requirements, ids=names)

    @abc.abstractmethod
    def make_harness(self) -> Any:
        """Return what the requirements are checked on."""

    def test_requirement(self, requirement: Requirement[Any]) -> None:
        """Raise ConformanceError if the requirement is not met."""
        cls = type(self)
        if "_harness" not in cls.__dict__:  # one for all tests of the class
            cls._harness = self.make_harness()
        requirement.check(cls._harness)

    _harness: ClassVar[Any]


class SignalConformance(_Conformance):
    """Checks the requirements of a token signal, on the reference model.

    Attributes
    ----------
    signal:
        The name of a registered signal, a signal, or a signal class.
    """

    signal: ClassVar[Any]
    requirements = TOKEN_REQUIREMENTS

    def make_harness(self) -> SignalHarness:
        """Make the harness of the signal."""
        return SignalHarness(type(self).signal)


class SpanSignalConformance(SignalConformance):
    """Checks the requirements of a span signal, on the reference model."""

    requirements = SPAN_REQUIREMENTS


class LiveSpanSignalConformance(SignalConformance):
    """Checks the requirements of a live span signal, on the reference model."""

    requirements = LIVE_REQUIREMENTS


class AdapterConformance(_Conformance):
    """Checks the requirements of an adapter; ``adapter()`` returns one with a model, however small.

    Attributes
    ----------
    modalities:
        What the model takes.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)
    requirements = ADAPTER_REQUIREMENTS

    def adapter(self) -> ModelAdapter:
        """Return the adapter to test."""
        # Not abstract: pytest passes over abstract classes without a word.
        raise NotImplementedError(f"{type(self).__name__} has no adapter()")

    def make_harness(self) -> AdapterHarness:
        """Make the harness of the adapter."""
        return AdapterHarness(self.adapter(), self.modalities)


class UnitizerConformance(_Conformance):
    """Checks the requirements of a unitizer, on small images, or audio and video.

    Attributes
    ----------
    unitizer:
        The name of a registered unitizer, with or without parameters, or a unitizer.
    """

    unitizer: ClassVar[Any]
    requirements = UNITIZER_REQUIREMENTS

    def make_harness(self) -> UnitizerHarness:
        """Make the harness of the unitizer."""
        return UnitizerHarness(type(self).unitizer)

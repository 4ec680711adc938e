"""The built-in unitizers keep their contract, and broken ones are caught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace.errors import ConformanceError
from omnitrace.sources import ImageUnitizer, TimeUnitizer
from omnitrace.testing import UnitizerConformance, check_unitizer

BUILTIN = ["grid", "whole", "ward", "slic", "bins", "changes", "speech", "speech:pause=0.5"]


@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_ones_pass(name: str) -> None:
    check_unitizer(name)


class TestSpeech(UnitizerConformance):
    unitizer = "speech"


class Halves(TimeUnitizer):
    """Two halves, by their number."""

    name = "halves"

    def cut(self, streams: Sequence[Any], features: Any) -> list[Any]:
        return [self.labels(np.arange(len(each.positions)), each) for each in streams]

    def labels(self, index: np.ndarray, stream: Any) -> Any:
        return (2 * index // max(1, len(index))).astype(int)


class Backwards(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        return -super().labels(index, stream)


class Floats(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        return index / 2


class OneTooFew(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        return index[1:]


class FirstStreamOnly(Halves):
    def cut(self, streams: Sequence[Any], features: Any) -> list[Any]:
        return super().cut(streams[:1], features)


class EachForItself(Halves):
    def cut(self, streams: Sequence[Any], features: Any) -> list[Any]:
        return [10 * k + labels for k, labels in enumerate(super().cut(streams, features))]


class ByChance(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        return np.sort(np.random.default_rng().integers(0, 9, len(index)))


class DrawsNumbers(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        torch.rand(1)
        return super().labels(index, stream)


class SetsThreads(Halves):
    def labels(self, index: np.ndarray, stream: Any) -> Any:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().labels(index, stream)


@dataclass(frozen=True)
class NoJson(ImageUnitizer):
    array: Any = field(default_factory=object)

    name = "no-json"

    def cut(self, tokens: Any, features: Any) -> np.ndarray:
        return np.zeros(len(tokens.positions), dtype=int)


@pytest.mark.parametrize(
    ("unitizer", "contract", "found"),
    [
        (Backwards(), "ascend with time", "gave 0 at 1.5 s and -1 at 1.54 s"),
        (Floats(), "one integer for each token", "float64"),
        (OneTooFew(), "one integer for each token", "for 75 tokens, for audio of 3 s"),
        (FirstStreamOnly(), "one integer for each token", "gave 1 arrays for 2 streams"),
        (EachForItself(), "from one stream to the other", "gave 10 at "),
        (ByChance(), "the same medium", "a second time, for audio of 3 s"),
        (DrawsNumbers(), "left alone", "drew from torch's random numbers"),
        (SetsThreads(), "left alone", "threads instead of"),
        (NoJson(), "JSON-ready", "array"),
    ],
)
def test_a_broken_unitizer_is_caught(unitizer: Any, contract: str, found: str) -> None:
    threads = torch.get_num_threads()
    try:
        with pytest.raises(ConformanceError) as caught:
            check_unitizer(unitizer)
    finally:
        torch.set_num_threads(threads)
    assert contract in caught.value.contract
    assert found in caught.value.found
    assert repr(unitizer.name) in str(caught.value)


def test_halves_pass() -> None:
    check_unitizer(Halves())

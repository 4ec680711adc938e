"""What the six signals share: parameters, the budget of forward passes, the progress bar.

Here and beside, functions import torch and Captum themselves: listing the signals makes each once
and must not wait for them.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from omnitrace.errors import InputError
from omnitrace.signals.base import Effect, SpanSignal

if TYPE_CHECKING:
    import torch

    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.types import Span

__all__ = ["CaptumSignal", "seeded", "whole"]


def whole(name: str, value: int, lowest: int = 1) -> int:
    """Return a parameter's value if it is a whole number of ``lowest`` or more, else refuse it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise InputError(f"{name} is {value!r}", legal=f"a whole number of {lowest} or more")
    return value


class CaptumSignal(SpanSignal):
    """A span signal that runs one of Captum's methods on a response.

    Parameters
    ----------
    max_forwards:
        Forward passes over prompt and response that one response may cost. Numbers of samples that
        are not given are derived from it; what cannot be done within it is refused beforehand.
    progress:
        Whether to show a progress bar on stderr.
    parameters:
        The method's own parameters, for the provenance.

    Attributes
    ----------
    gradients:
        Whether each of its passes is followed by one backwards.
    """

    gradients: ClassVar[bool] = False

    def __init__(
        self, max_forwards: int, progress: bool, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.max_forwards = whole("max_forwards", max_forwards)
        self.parameters = {"max_forwards": max_forwards, **(parameters or {})}
        self.progress = progress

    def effects(self, scorer: ResponseScorer, spans: Sequence[Span]) -> list[dict[str, Effect]]:
        """Return the effect of every unit on each span."""
        if not scorer.units or not spans:
            return [{} for _ in spans]
        passes = self.passes(len(scorer.units), len(spans))
        with self._bar(passes) as advance:
            values = self.attributions(scorer, spans, advance).tolist()
        return [
            {unit: Effect(value) for unit, value in zip(scorer.units, row, strict=True)}
            for row in values
        ]

    @abc.abstractmethod
    def passes(self, units: int, spans: int) -> int:
        """Return how many forward passes it takes.

        Raises
        ------
        InputError
            If that is more than ``max_forwards``.
        """

    @abc.abstractmethod
    def attributions(
        self, scorer: ResponseScorer, spans: Sequence[Span], advance: Callable[[int], None]
    ) -> torch.Tensor:
        """Return float32 ``[spans, units]``, calling ``advance`` for every pass that is done."""

    def affordable(self, needed: int, what: str) -> int:
        """Return ``needed`` if that many passes are within the budget, else refuse."""
        if needed > self.max_forwards:
            raise InputError(
                f"{self.name}: {what} takes {needed} forward passes, more than "
                f"max_forwards={self.max_forwards}",
                legal=f"max_forwards of {needed} or more",
                fix="raise max_forwards, or cut the sources into fewer units (SourceOptions)",
            )
        return needed

    @contextlib.contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[int], None]]:
        if not self.progress:
            yield lambda done: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(self.name, total=total)
            yield lambda done: bar.advance(task, done)
            bar.update(task, completed=total)  # sets of units that recur are not run again


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random numbers that Captum draws, all on the CPU, and restore the state after."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

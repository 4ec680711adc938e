"""How fast a run is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Pace"]


@dataclass(slots=True)
class Pace:
    """Counts what is done and says how far a run is.

    Parameters
    ----------
    total:
        Requests in all, those that were done before among them.
    clock:
        Seconds from any moment on.

    Attributes
    ----------
    kept, done, failed:
        Requests that were done before, that were traced since, and that failed.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    kept: int = 0
    done: int = 0
    failed: int = 0
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def begin(self) -> None:
        """Measure from now on: the model is loaded."""
        self._begun = self.clock()

    @property
    def rate(self) -> float | None:
        """Requests a second, None before the first has ended."""
        seconds = self.clock() - self._begun
        ended = self.done + self.failed
        return ended / seconds if ended and seconds > 0 else None

    @property
    def remaining(self) -> float | None:
        """Seconds that the others will take at this rate, None where it is not known."""
        left = self.total - self.kept - self.done - self.failed
        return None if self.rate is None else max(0, left) / self.rate

    def __str__(self) -> str:
        ended = self.kept + self.done + self.failed
        said = [f"{ended} of {self.total}"]
        if self.rate is not None:
            said.append(_rate(self.rate))
        if self.remaining:
            said.append(f"{_duration(self.remaining)} left")
        if self.failed:
            said.append(f"{self.failed} failed")
        return ", ".join(said)


def _rate(rate: float) -> str:
    if rate >= 1:
        return f"{rate:.1f} a second"
    return f"{rate * 60:.1f} a minute" if rate * 60 >= 1 else f"{rate * 3600:.1f} an hour"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"

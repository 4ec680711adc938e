"""Two clocks: that on the wall, and the seconds that the cores of this process worked.

Where other work shares the machine, the second tells more of what a program costs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Spent"]


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the clock and of all cores, and a sum of them."""

    wall: float = 0.0
    cpu: float = 0.0

    @classmethod
    def now(cls) -> Spent:
        """Read both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def since(self, start: Spent) -> Spent:
        """Return what went by from ``start`` to this reading."""
        return Spent(self.wall - start.wall, self.cpu - start.cpu)

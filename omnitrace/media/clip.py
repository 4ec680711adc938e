"""Which seconds of a recording are read, and how many frames of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnitrace.errors import MediaError

__all__ = ["WHOLE", "Clip"]


@dataclass(frozen=True, slots=True)
class Clip:
    """What is read of a recording; by default all of it, with frames at the rate that is asked for.

    Parameters
    ----------
    start, end:
        Seconds of the recording; an end behind its end is its end.
    frames:
        How many frames of a video to sample, evenly spread, instead of a rate.
    min_frames, max_frames:
        Bounds of the number of frames that the rate gives.
    """

    start: float | None = None
    end: float | None = None
    frames: int | None = None
    min_frames: int | None = None
    max_frames: int | None = None

    @property
    def cuts(self) -> bool:
        """Whether a part of the recording is left out."""
        return self.start is not None or self.end is not None

    def within(self, label: str, duration: float) -> tuple[float, float]:
        """Return the seconds ``[start, end)`` that are read of a recording.

        Raises
        ------
        MediaError
            If there is nothing between them.
        """
        start = self.start or 0.0
        end = duration if self.end is None else min(self.end, duration)
        if start >= duration:
            raise MediaError(
                f"{label} lasts {duration:.2f} s, and is asked for from {start:g} s on",
                legal=f"a start below {duration:.2f} s",
                fix="give seconds of the original file",
            )
        if not 0 <= start < end:
            raise MediaError(
                f"{label} is asked for from {start:g} to {end:g} s",
                legal="0 ≤ start < end, in seconds",
                fix="give seconds of the original file",
            )
        return start, end

    def rate(self, label: str, fps: float, seconds: float, available: int) -> float:
        """Return the frames per second at which to sample ``seconds`` with ``available`` frames.

        Raises
        ------
        MediaError
            If more frames are asked for than there are.
        """
        if self.frames is not None:
            if self.frames > available:
                raise MediaError(
                    f"{label} has {available} frames there, and is asked for {self.frames}",
                    legal=f"at most {available} frames",
                    fix="ask for fewer, or for a longer part",
                )
            return self.frames / seconds
        rate = fps
        count = math.ceil(seconds * rate - 1e-6)
        if self.min_frames is not None and count < self.min_frames:
            rate = self.min_frames / seconds
        if self.max_frames is not None and count > self.max_frames:
            rate = self.max_frames / seconds
        return min(rate, available / seconds)

    def shown(self, times: np.ndarray, start: float, end: float) -> tuple[int, int]:
        """Return the first frame that begins in the seconds, and the one behind the last.

        Where none begins there, it is the one that is shown then.
        """
        first, last = (int(i) for i in np.searchsorted(times, (start - 1e-9, end - 1e-9)))
        return (first, last) if first < last else (max(0, first - 1), max(1, first))


WHOLE: Final = Clip()

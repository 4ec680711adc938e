"""From several channels to one: the standard's weights for surround sound, else the mean.

ITU-R BS.775 gives the weights with which surround sound becomes stereo: the centre and the
surrounds at -3 dB, the low-frequency effects left out. The two sides are then averaged, as those of
a stereo recording are, so that the two fronts are as loud as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

__all__ = ["channel_weights", "mix"]

_3_DB: Final = 0.5**0.5
# What each channel (FFmpeg's names) gives to the left and to the right.
_SIDES: Final[dict[str, tuple[float, float]]] = {
    **dict.fromkeys(("FL", "DL", "FLC"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "DR", "FRC"), (0.0, 1.0)),
    **dict.fromkeys(("BL", "SL", "WL", "SDL", "TFL", "TBL", "TSL"), (_3_DB, 0.0)),
    **dict.fromkeys(("BR", "SR", "WR", "SDR", "TFR", "TBR", "TSR"), (0.0, _3_DB)),
    **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
    "FC": (_3_DB, _3_DB),
}
_IN_THE_MIDDLE: Final = (0.5, 0.5)  # behind or above: one surround channel at -6 dB on each side
# The order of unnamed channels where their number leaves little doubt, as in WAV files.
_SURROUND: Final = ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")


def channel_weights(channels: int, names: Sequence[str] = ()) -> np.ndarray:
    """Return float32 ``[channels]``: the share of each channel in the mono signal.

    Parameters
    ----------
    channels:
        How many there are.
    names:
        What they are called, in FFmpeg's words. Without, six are 5.1 and eight 7.1 in the order of
        WAV files; other numbers may be anything, such as microphones, and are averaged.
    """
    named = [name for name in names if name != "NONE"]
    if len(named) != channels:
        named = list(_SURROUND[:channels]) if channels in (6, 8) else []
    sides = np.array([_SIDES.get(name, _IN_THE_MIDDLE) for name in named], np.float32)
    if channels == 1 or not sides.any():
        return np.full(channels, 1 / channels, np.float32)
    weights: np.ndarray = sides.mean(axis=1, dtype=np.float32)
    return weights


def mix(samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mono signal ``[n]`` of samples ``[n, channels]``."""
    if np.ptp(weights) == 0 and np.isclose(weights[0], 1 / weights.size):
        mono: np.ndarray = samples.mean(axis=1, dtype=np.result_type(samples.dtype, np.float32))
    else:
        mono = samples @ weights.astype(samples.dtype)
    return mono

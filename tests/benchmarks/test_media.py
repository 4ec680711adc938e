"""What the benchmark of decoding times."""

from __future__ import annotations

import numpy as np

import media
from omnitrace.media import load_audio, load_image, load_video


def test_defaults_depend_on_quick() -> None:
    assert (media.parse([]).rounds, media.parse([]).starts) == (media.ROUNDS, media.STARTS)
    assert (media.parse(["--quick"]).rounds, media.parse(["--quick"]).starts) == (2, 1)


def test_decoded_bytes() -> None:
    assert media.decoded_bytes(load_image(np.zeros((5, 7, 3), np.uint8))) == 105
    assert media.decoded_bytes(load_audio(np.zeros(10, np.float32))) == 40
    assert media.decoded_bytes(load_video(np.zeros((2, 4, 4, 3), np.uint8))) == 96

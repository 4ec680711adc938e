"""The spoken and drawn digits in the package."""

import itertools

import numpy as np
import pytest

from omnitrace.reference.assets import DIGIT_SIZE, FONTS, SAMPLE_RATE, VOICES, glyph, spoken_digit


@pytest.mark.parametrize("voice", range(len(VOICES)))
def test_every_voice_speaks_ten_words(voice):
    words = [spoken_digit(voice, digit) for digit in range(10)]
    for word in words:
        assert 0.25 < len(word) / SAMPLE_RATE < 0.6
        assert 0.85 < np.abs(word).max() / 32768 < 0.95
        assert word[-1] != 0  # the slot's zeros are cut off
    for one, other in itertools.combinations(words, 2):
        shorter = min(len(one), len(other))
        together = np.corrcoef(one[:shorter].astype(float), other[:shorter].astype(float))[0, 1]
        assert abs(together) < 0.9


@pytest.mark.parametrize("font", range(len(FONTS)))
def test_every_font_draws_ten_digits(font):
    digits = [glyph(font, digit) for digit in range(10)]
    for digit in digits:
        assert digit.shape == (DIGIT_SIZE, DIGIT_SIZE)
        assert digit[0].max() > 60  # it fills the height
        assert digit[-1].max() > 60
        assert 0.05 < (digit > 127).mean() < 0.6
    for one, other in itertools.combinations(digits, 2):
        assert np.abs(one.astype(int) - other.astype(int)).mean() > 8

import torch

from common import memory


def test_peak_growth_sees_what_was_freed_again() -> None:
    size = 64 * 2**20

    def run() -> None:
        torch.ones(size // 4).sum()

    before, growth = memory.peak_growth(run)
    assert before > 0
    assert 0.9 * size < growth < 4 * size


def test_polled_peak_is_the_fallback() -> None:
    assert memory._polled_peak(lambda: None) > 0

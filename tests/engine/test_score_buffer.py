"""Scores in memory and in files are the same."""

from __future__ import annotations

import gc
import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.engine.score_buffer import ScoreRows


def blocks_of(sizes: list[int], prompt: int) -> list[np.ndarray]:
    """Return blocks of rows, each as wide as the context of its last row."""
    random = np.random.default_rng(3)
    blocks, rows = [], 0
    for size in sizes:
        rows += size
        blocks.append(random.random((size, prompt + rows - 1), dtype=np.float32))
    return blocks


def expected(blocks: list[np.ndarray], width: int) -> np.ndarray:
    padded = [np.pad(block, ((0, 0), (0, width - block.shape[1]))) for block in blocks]
    return np.concatenate(padded) if padded else np.zeros((0, width), dtype=np.float32)


@given(
    st.lists(st.integers(1, 17), max_size=12),
    st.integers(1, 40),
    st.sampled_from([0, 100, 3_000, 1 << 30]),
)
def test_the_rows_come_back_whatever_is_kept_in_memory(
    sizes: list[int], prompt: int, in_memory: int
) -> None:
    blocks = blocks_of(sizes, prompt)
    rows = ScoreRows(in_memory)
    for block in blocks:
        rows.append(block)
    width = prompt + sum(sizes)
    found = rows.array(width)
    np.testing.assert_array_equal(found, expected(blocks, width))
    assert (found.dtype, type(found), len(rows)) == (np.float32, np.ndarray, sum(sizes))
    np.testing.assert_array_equal(rows.array(width), found)


def test_a_mapped_array_outlives_its_file_and_can_be_written() -> None:
    blocks = blocks_of([16] * 5, 30)
    rows = ScoreRows(in_memory=0)
    for block in blocks:
        rows.append(block)
    found = rows.array(110)
    del rows
    gc.collect()
    np.testing.assert_array_equal(found, expected(blocks, 110))
    found[0, 0] = 7
    assert found[0, 0] == 7


@pytest.mark.parametrize("works", [0, 1])
def test_without_room_on_the_disk_everything_stays_in_memory(
    monkeypatch: pytest.MonkeyPatch, works: int
) -> None:
    made: list[Any] = []
    really = tempfile.TemporaryFile

    def full(**options: Any) -> Any:
        made.append(options)
        if len(made) > works:
            raise OSError("no space left on device")
        return really(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    blocks = blocks_of([16] * 5, 30)
    rows = ScoreRows(in_memory=100)
    for block in blocks:
        rows.append(block)
    np.testing.assert_array_equal(rows.array(110), expected(blocks, 110))
    assert len(made) > works

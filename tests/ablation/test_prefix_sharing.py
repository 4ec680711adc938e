"""The plan: every row runs once and whole, nothing shared runs twice, few caches wait."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.ablation.prefix_sharing import SequenceBuilder, Step, plan

TAIL = 2


@st.composite
def rows(draw: st.DrawFn) -> list[np.ndarray]:
    """Different rows of kept pieces, each with the same end."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    masks = draw(
        st.lists(
            st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)),
            min_size=1,
            max_size=24,
        )
    )
    starts = np.cumsum([0, *sizes])
    found = []
    for mask in sorted({tuple(mask) for mask in masks}):
        pieces = [np.arange(starts[i], starts[i + 1]) for i, kept in enumerate(mask) if kept]
        found.append(np.concatenate([*pieces, np.arange(1000, 1000 + TAIL + 1)]).astype(np.int64))
    return found


NONE = np.zeros(0, dtype=np.int64)


def walk(
    step: Step, rows: list[np.ndarray], done: int, waiting: int, kept: np.ndarray = NONE
) -> tuple[int, list[int], int]:
    """Return the tokens that a plan runs, the rows that it ends, and the most caches that wait."""
    first = rows[step.rows[0]]
    if step.kept:
        assert (first[: step.start] == kept[: step.start]).all()
        assert done <= step.start <= len(kept)
        assert step.end >= step.start
    else:
        assert step.start == done <= step.end
    for row in step.rows:
        assert (rows[row][: step.end] == first[: step.end]).all()
        assert len(rows[row]) - step.end >= TAIL
    tokens = step.end - step.start
    ended = [row for batch in step.batches for row in batch]
    for batch in step.batches:
        tokens += len(batch) * (max(len(rows[row]) for row in batch) - step.end)
    most = waiting
    for number, branch in enumerate(step.steps):
        waits = number < len(step.steps) - 1 and len(branch.rows) > 1 and not branch.kept
        more, theirs, there = walk(branch, rows, step.end, waiting + waits, kept)
        tokens, ended, most = tokens + more, ended + theirs, max(most, there)
    assert sorted(ended) == sorted(step.rows)
    return tokens, ended, most


@given(
    rows(),
    st.integers(0, 40),
    st.integers(0, 3),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 80),
)
@settings(max_examples=200, deadline=None)
def test_every_row_runs_whole_and_no_plan_costs_more_than_a_loop(
    rows: list[np.ndarray], overhead: int, waiting: int, most: int, fill: bool, first: int
) -> None:
    kept = unablated(rows)[:first]
    made = plan(
        rows,
        tail=TAIL,
        most=lambda new, total: most,
        overhead=overhead,
        waiting=waiting,
        fill=fill,
        kept=kept,
    )
    tokens, ended, held = walk(made, rows, 0, 0, kept)
    assert sorted(ended) == list(range(len(rows)))
    assert held <= waiting
    assert tokens <= made.cost
    loop = sum(len(row) + overhead for row in rows)
    assert made.cost <= loop + overhead


def unablated(rows: list[np.ndarray]) -> np.ndarray:
    """Return a row that holds all pieces, in the order in which they are numbered."""
    return np.unique(np.concatenate(rows))


def nodes(rows: list[np.ndarray], kept: np.ndarray = NONE) -> int:
    """Count the tokens of the tree of all beginnings: the least that must run."""
    free = {kept[: end + 1].tobytes() for end in range(len(kept))}
    last = {row.tobytes()[: 8 * (len(row) - i)] for row in rows for i in range(TAIL)}
    every = {row[: end + 1].tobytes() for row in rows for end in range(len(row))}
    return len(every - (free - last))


@given(rows(), st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_where_a_pass_costs_nothing_no_beginning_runs_twice(
    rows: list[np.ndarray], first: int
) -> None:
    kept = unablated(rows)[:first]
    made = plan(rows, tail=TAIL, most=lambda new, total: 64, overhead=0, waiting=99, kept=kept)
    assert walk(made, rows, 0, 0, kept)[0] == made.cost == nodes(rows, kept)


def test_leaving_one_out_needs_no_more_than_one_cache_to_wait() -> None:
    pieces = [np.arange(10 * i, 10 * i + 10) for i in range(30)]
    end = np.array([1000, 1001, 1002])
    rows = [np.concatenate([*(p for j, p in enumerate(pieces) if j != i), end]) for i in range(30)]
    made = plan(rows, tail=TAIL, most=lambda new, total: 1, overhead=0, waiting=1)
    tokens, _, held = walk(made, rows, 0, 0)
    assert tokens == nodes(rows)
    assert held <= 1


def test_behind_a_kept_row_leaving_one_out_runs_only_what_follows() -> None:
    pieces = [np.arange(10 * i, 10 * i + 10) for i in range(30)]
    end = np.array([1000, 1001, 1002])
    rows = [np.concatenate([*(p for j, p in enumerate(pieces) if j != i), end]) for i in range(30)]
    kept = np.concatenate([*pieces, end])
    made = plan(rows, tail=TAIL, most=lambda new, total: 1, overhead=5, waiting=1, kept=kept)
    tokens, _, held = walk(made, rows, 0, 0, kept)
    assert tokens == sum(10 * (29 - i) + 3 for i in range(30))
    assert held == 0


def test_what_leaves_a_kept_row_at_one_place_runs_together() -> None:
    kept = np.arange(200)
    alone = [np.r_[0:20, 30 + 2 * i : 32 + 2 * i, 180:200] for i in range(6)]
    late = np.r_[0:170, 175:200]
    rows = [*alone, late]
    made = plan(rows, tail=TAIL, most=lambda new, total: 64, overhead=24, waiting=1, kept=kept)
    tokens, ended, _ = walk(made, rows, 0, 0, kept)
    assert sorted(ended) == list(range(7))
    assert tokens == 6 * 22 + 25
    assert made.cost == tokens + 2 * 24


def test_equal_tokens_get_equal_codes() -> None:
    import torch

    builder = SequenceBuilder()
    tokens = torch.randn(4, 3)
    positions = torch.arange(4)
    builder.add(tokens, positions, {})
    builder.add(tokens[[0, 1, 3, 0]], positions[[0, 1, 2, 0]], {})
    builder.add(tokens[:2], positions[:2], {})
    made = builder.sequences()
    assert [codes.tolist() for codes in made.codes] == [[0, 1, 2, 3], [0, 1, 4, 0], [0, 1]]
    torch.testing.assert_close(made.table.embeddings, tokens[[0, 1, 2, 3, 3]])
    assert made.table.positions.tolist() == [0, 1, 2, 3, 2]
    assert not made.table.hidden.any()

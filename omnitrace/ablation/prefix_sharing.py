"""Plan the order in which token sequences run, so that each shared prefix runs once.

A sequence is a row of codes; a code is the index of a token in a :class:`TokenTable`. Sorted, the
rows are the leaves of a tree whose branches are the stretches that they share. A step of the plan
runs one such stretch into a cache. The rows behind it then either run together from there, in
batches, or split into further steps, whichever is estimated to cost less. Costs are in tokens;
``overhead`` is what one more forward pass costs, in tokens.

The step with most rows always comes last and reuses its parent's cache, so that with ``m`` rows at
most ``log2(m)`` caches are kept at a time.

Where keys and values of a row that ran before are kept, a row that begins like it runs only from
where the two differ: what they share costs nothing, and no cache waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

__all__ = ["SequenceBuilder", "Step", "TokenSequences", "TokenTable", "plan"]

_DEEPEST: Final = 200  # of the tree; far below Python's own limit


@dataclass(slots=True)
class Step:
    """Run the codes ``[start, end)`` that all ``rows`` share, then ``batches``, then ``steps``.

    ``batches`` are rows that run together from ``end`` to their own ends. ``cost`` is of all of it.
    A step that is ``kept`` begins from the kept row's keys and values before ``start``, any other
    from where the step that it is part of ended.
    """

    rows: list[int]
    start: int
    end: int
    cost: int = 0
    batches: list[list[int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _Terms:
    rows: Sequence[np.ndarray]
    tail: int
    most: Callable[[int, int], int]
    overhead: int
    fill: int
    free: Sequence[int]  # how many codes each row shares with the kept one, before its tail


def plan(
    rows: Sequence[np.ndarray],
    *,
    tail: int,
    most: Callable[[int, int], int],
    overhead: int,
    waiting: int,
    fill: bool = True,
    kept: np.ndarray | None = None,
) -> Step:
    """Plan the passes of ``rows``.

    Parameters
    ----------
    rows:
        Codes, one array a row, no two of them equal; at least one.
    tail:
        How many codes at each row's end are never shared, because their logits are needed.
    most:
        From the new and all tokens of a row to how many such rows may run at once.
    overhead:
        Tokens that cost as much as one more forward pass.
    waiting:
        How many caches may wait while another branch runs.
    fill:
        Whether rows of different lengths may run together, the shorter ones filled up.
    kept:
        The first codes of a row, of any number, whose keys and values are kept.
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i].astype(">u4").tobytes())
    kept = np.zeros(0, dtype=np.int64) if kept is None else kept
    free = [_alike(row[: max(0, len(row) - tail)], kept) for row in rows]
    terms = _Terms(rows, tail, most, overhead, overhead if fill else 0, free)
    return _grow(terms, order, 0, waiting, 0)


def _alike(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many codes two rows share from the beginning."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


def _shared(terms: _Terms, first: int, last: int) -> int:
    """Return how many codes two rows share before a tail; of sorted rows, all between too."""
    a, b = terms.rows[first], terms.rows[last]
    length = max(0, min(len(a), len(b)) - terms.tail)
    return _alike(a[:length], b[:length])


def _grow(terms: _Terms, order: list[int], start: int, waiting: int, depth: int) -> Step:
    free = terms.free[order[0]]
    if len(order) == 1:
        begin = max(start, free)
        cost = len(terms.rows[order[0]]) - begin + terms.overhead
        return Step(order, begin, begin, cost, [order], kept=free >= start)
    end = _shared(terms, order[0], order[-1])
    free = min(free, end)
    made = Step(order, max(start, free), end, kept=free >= start)
    own = end - made.start + terms.overhead if end > made.start else 0
    made.batches, together = _batches(terms, order, end)
    if depth < _DEEPEST:
        steps = _branches(terms, order, end, waiting, depth)
        apart = sum(step.cost for step in steps)
        if steps and apart < together:
            made.batches, made.steps, together = [], steps, apart
    made.cost = own + together
    return made


def _branches(terms: _Terms, order: list[int], end: int, waiting: int, depth: int) -> list[Step]:
    further = [row for row in order if terms.free[row] > end]
    if further and len(further) < len(order):
        # What goes on like the kept row needs no cache that waits, nor does what leaves it here.
        leaving = [row for row in order if terms.free[row] <= end]
        return [_grow(terms, group, end, waiting, depth + 1) for group in (leaving, further)]
    groups: list[list[int]] = []
    for row in order:
        if groups and terms.rows[groups[-1][0]][end] == terms.rows[row][end]:
            groups[-1].append(row)
        else:
            groups.append([row])
    if len(groups) < 2:  # they differ in what is never shared
        return []
    groups.sort(key=len)
    if waiting < 1 and len(groups[-2]) > 1:  # a single row needs no waiting cache
        return []
    steps = [_grow(terms, group, end, waiting - 1, depth + 1) for group in groups[:-1]]
    return [*steps, _grow(terms, groups[-1], end, waiting, depth + 1)]


def _batches(terms: _Terms, order: list[int], end: int) -> tuple[list[list[int]], int]:
    """Run rows together while filling up the shorter ones costs less than another pass."""
    batches: list[list[int]] = []
    cost = 0
    for row in sorted(order, key=lambda i: -len(terms.rows[i])):
        length = len(terms.rows[row])
        if batches:
            longest = len(terms.rows[batches[-1][0]])
            room = len(batches[-1]) < terms.most(longest - end, longest)
            if room and longest - length <= terms.fill:
                batches[-1].append(row)
                cost += longest - end
                continue
        batches.append([row])
        cost += length - end + terms.overhead
    return batches, cost


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens that sequences consist of; a code is an index into it.

    Attributes
    ----------
    embeddings:
        ``[E, d]``: what the decoder is fed.
    positions:
        int64 ``[E]``, or ``[axes, E]`` where the rotary embedding is multimodal.
    hidden:
        bool ``[E]``: no query may see this entry; it only fills a position.
    extras:
        Other inputs with one value a token, each ``[E]``.
    """

    embeddings: torch.Tensor
    positions: torch.Tensor
    hidden: torch.Tensor
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenSequences:
    """Token sequences: codes, int64 ``[n_i]`` each, and the table that they index.

    The last ``T`` codes of every row are what the ``T`` tokens of the response are predicted from.
    ``unablated`` are the codes of the row with every unit kept, where they are known.
    """

    table: TokenTable
    codes: Sequence[np.ndarray]
    unablated: np.ndarray | None = None


class SequenceBuilder:
    """Builds sequences whose embeddings are made one by one: equal tokens get equal codes."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self._embeddings: list[torch.Tensor] = []
        self._positions: list[torch.Tensor] = []
        self._extras: dict[str, list[torch.Tensor]] = {}
        self._codes: list[np.ndarray] = []

    def add(
        self,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
        extras: Mapping[str, torch.Tensor],
    ) -> None:
        """Add one of embeddings ``[n, d]``, positions ``[n]`` or ``[axes, n]``, extras ``[n]``."""
        columns = [embeddings.float(), positions.reshape(-1, len(embeddings)).T]
        columns += [extras[name][:, None] for name in sorted(extras)]
        parts = [np.ascontiguousarray(each.cpu().numpy()) for each in columns]
        codes = np.empty(len(embeddings), dtype=np.int64)
        new: list[int] = []
        for token in range(len(codes)):
            key = b"".join(part[token].tobytes() for part in parts)
            code = self._known.setdefault(key, len(self._known))
            codes[token] = code
            if code == len(self._known) - 1 and code == self._size + len(new):
                new.append(token)
        self._embeddings.append(embeddings[new])
        self._positions.append(positions[..., new])
        for name, value in extras.items():
            self._extras.setdefault(name, []).append(value[new])
        self._codes.append(codes)

    @property
    def _size(self) -> int:
        return sum(len(each) for each in self._embeddings)

    def sequences(self) -> TokenSequences:
        """Return what has been added."""
        embeddings = torch.cat(self._embeddings)
        hidden = torch.zeros(len(embeddings), dtype=torch.bool, device=embeddings.device)
        extras = {name: torch.cat(values) for name, values in self._extras.items()}
        positions = torch.cat(self._positions, dim=-1)
        return TokenSequences(TokenTable(embeddings, positions, hidden, extras), self._codes)

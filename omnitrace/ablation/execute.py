"""Run token sequences through a model: shared prefixes once, the rest in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from transformers import DynamicCache

from omnitrace.ablation.kept_row import fork, new_cache
from omnitrace.ablation.prefix_sharing import Step, TokenSequences, plan
from omnitrace.capture.cache_argument import cache_argument
from omnitrace.errors import NotSupportedError
from omnitrace.models.forward import forward_parameters, last_logits, undisturbed
from omnitrace.models.memory import batch_row_bytes, cache_bytes, rows_within

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer

__all__ = ["Spent", "run_sequences"]

# What one more forward pass costs, in tokens. On a GPU a pass of a few hundred tokens takes hardly
# longer than one of a few.
_OVERHEAD: Final = {"cpu": 24}
_OVERHEAD_ELSEWHERE: Final = 256

Found = Callable[[Sequence[int], torch.Tensor], None]


@dataclass(slots=True)
class Spent:
    """What was run: the number of complete rows, and of tokens."""

    rows: int = 0
    tokens: int = 0


def run_sequences(
    scorer: ResponseScorer, rows: TokenSequences, found: Found, *, share: bool = True
) -> Spent:
    """Give the log-probabilities of the response behind every row to ``found``.

    Parameters
    ----------
    scorer:
        Knows the model and the response.
    rows:
        What runs. Equal rows run once.
    found:
        Called with indices of rows and float32 ``[len(indices), T]`` on the CPU, batch by batch,
        each row once.
    share:
        Whether a shared prefix runs once; if False, every row runs alone and whole.

    Raises
    ------
    NotSupportedError
        If tokens must be left out or hidden in a model that takes no position ids.
    """
    twins: dict[bytes, list[int]] = {}
    for index, codes in enumerate(rows.codes):
        twins.setdefault(codes.astype(">u4").tobytes(), []).append(index)
    if not twins:
        return Spent()
    alike = list(twins.values())
    unique_rows = [rows.codes[group[0]] for group in alike]
    runner = _Runner(scorer, dataclasses.replace(rows, codes=unique_rows))

    def unique(indices: Sequence[int], values: torch.Tensor) -> None:
        every = [(i, row) for row, index in enumerate(indices) for i in alike[index]]
        found([i for i, _ in every], values[[row for _, row in every]])

    with undisturbed(scorer.model), torch.no_grad():
        runner.run(unique, share=share)
    return runner.spent


class _Runner:
    def __init__(self, scorer: ResponseScorer, rows: TokenSequences) -> None:
        self.scorer = scorer
        self.table = rows.table
        self.codes = rows.codes
        self.device = scorer.embeddings.device
        self.spent = Spent()
        self._kept, self._kept_codes = None, None
        self._memory = scorer.memory
        if scorer.kept is not None and rows.unablated is not None:
            self._kept, self._kept_codes = scorer.kept, rows.unablated[: scorer.kept.length]
            self._memory -= scorer.kept.bytes
        self._visible = (~rows.table.hidden).long()
        self._counts = "position_ids" in forward_parameters(scorer.model)
        ragged = len({len(codes) for codes in rows.codes}) > 1
        if not self._counts and (ragged or bool(rows.table.hidden.any())):
            raise NotSupportedError(
                f"{type(scorer.model).__name__} takes no position ids",
                legal="operators that keep every token in its place",
                fix="use the operator 'mean'",
            )

    def run(self, found: Found, *, share: bool) -> None:
        """Run all rows."""
        if not share:
            for row in range(len(self.codes)):
                found([row], self._batch([row], 0, None))
            return
        if self.scorer.recurrent or not self.scorer.reach.causal:
            self._run_whole(found)
            return
        kind = self.device.type
        longest = max(len(codes) for codes in self.codes)
        cache = cache_bytes(self.scorer.model, longest, self.scorer.dtype.itemsize)
        waiting = self._memory // max(1, 2 * cache)
        first = plan(
            self.codes,
            tail=self.scorer.tokens,
            most=self._most,
            overhead=_OVERHEAD.get(kind, _OVERHEAD_ELSEWHERE),
            waiting=max(1, waiting),
            fill=self.scorer.reach.full,  # otherwise padding would take places in a window
            kept=self._kept_codes,
        )
        self._step(first, None, found)

    def _run_whole(self, found: Found) -> None:
        """Run rows of the same length together, from their beginnings.

        A state that is written in place is of one row alone, and where positions look ahead, a
        prefix depends on what follows.
        """
        by_length: dict[int, list[int]] = {}
        for row, codes in enumerate(self.codes):
            by_length.setdefault(len(codes), []).append(row)
        for length, rows in by_length.items():
            step = self._most(length, length)
            for start in range(0, len(rows), step):
                batch = rows[start : start + step]
                found(batch, self._batch(batch, 0, None))

    def _most(self, new: int, total: int) -> int:
        model, size = self.scorer.model, self.scorer.dtype.itemsize
        row = batch_row_bytes(model, new, total, self.scorer.tokens, size)
        return rows_within(self._memory, row)

    def _begun(self, tokens: int) -> DynamicCache:
        """Return a cache of the first tokens of the row with every unit kept."""
        if self._kept is not None and tokens:
            return self._kept.first(tokens)
        return new_cache(self.scorer.model)

    def _step(self, step: Step, cache: Any, found: Found) -> None:
        if step.kept:
            cache = self._begun(step.start)
        if step.end > step.start:
            self._extend(step, cache)
        for batch in step.batches:
            found(batch, self._batch(batch, step.end, fork(cache)))
        for number, branch in enumerate(step.steps):
            last = number == len(step.steps) - 1
            own = cache if last or branch.kept else fork(cache)
            self._step(branch, own, found)

    def _extend(self, step: Step, cache: Any) -> None:
        codes = torch.from_numpy(self.codes[step.rows[0]][: step.end])[None].to(self.device)
        with last_logits(self.scorer.model, 1) as more:
            self._forward(codes, step.start, cache, self._visible[codes], more)

    def _batch(self, batch: Sequence[int], start: int, cache: Any) -> torch.Tensor:
        """Return float32 ``[len(batch), T]`` of rows whose first ``start`` codes are cached."""
        length = max(len(self.codes[row]) for row in batch)
        codes = np.zeros((len(batch), length), dtype=np.int64)
        filled = np.zeros((len(batch), length), dtype=bool)
        for number, row in enumerate(batch):
            own = self.codes[row]
            codes[number, :start] = own[:start]
            codes[number, length - len(own) + start :] = own[start:]
            # A shorter row is padded before its own tokens, where no query sees the padding.
            filled[number, start : length - len(own) + start] = True
        codes_there = torch.from_numpy(codes).to(self.device)
        visible = self._visible[codes_there].masked_fill(
            torch.from_numpy(filled).to(self.device), 0
        )
        if cache is not None and start and len(batch) > 1:
            cache.batch_repeat_interleave(len(batch))
        with last_logits(self.scorer.model, self.scorer.tokens) as more:
            output = self._forward(codes_there, start, cache, visible, more)
        self.spent.rows += len(batch)
        self.scorer.forwards += len(batch)
        return self.scorer.values(output.logits[:, -self.scorer.tokens :]).cpu()

    def _forward(
        self,
        codes: torch.Tensor,
        start: int,
        cache: Any,
        visible: torch.Tensor,
        more: dict[str, Any],
    ) -> Any:
        """Run ``codes`` from ``start`` on; ``visible`` is of all of them."""
        new = codes[:, start:]
        self.spent.tokens += new.numel()
        arguments: dict[str, Any] = {**more, "attention_mask": visible}
        if self._counts:
            arguments["position_ids"] = self.table.positions[..., new]
        for name, values in self.table.extras.items():
            arguments[name] = values[new]
        if cache is not None:
            arguments |= {cache_argument(self.scorer.model): cache, "use_cache": True}
        with self.scorer.fed(self.table.embeddings[new]) as fed:
            return self.scorer.model(**fed, **arguments)

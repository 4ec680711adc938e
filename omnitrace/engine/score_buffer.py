"""The scores of a growing response, in memory that does not grow with it.

Every token scores its whole context, so that the scores of a response grow with the square of its
length: 50 MB for 4,000 tokens. Beyond a few megabytes they are written to a temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final

import numpy as np

__all__ = ["ScoreRows"]

_IN_MEMORY: Final = 4 << 20
_ITEM: Final = np.dtype(np.float32).itemsize


class ScoreRows:
    """Blocks of rows, each as wide as the context of its last row.

    Parameters
    ----------
    in_memory:
        Bytes from which on they go to a file. Where no file can be written they stay in memory.
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._limit = in_memory
        self._file: IO[bytes] | None = None
        self._shapes: list[tuple[int, int]] = []  # of the blocks in the file
        self._blocks: list[np.ndarray] = []  # those after them
        self._held = 0
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, block: np.ndarray) -> None:
        """Add float32 ``[rows, context of the last]``, which are kept as they are."""
        self._blocks.append(block)
        self._rows += len(block)
        self._held += block.nbytes
        if self._held > self._limit:
            self._spill()

    def array(self, width: int) -> np.ndarray:
        """Return float32 ``[rows, width]``, filled up with zeros.

        A matrix too large for memory lies in a temporary file, which is deleted with it.
        """
        shape = self._rows, width
        result = self._on_disk(shape) if self._file is not None else None
        if result is None:
            result = np.zeros(shape, dtype=np.float32)
            row = 0
            for block in self._all():
                result[row : row + len(block), : block.shape[1]] = block
                row += len(block)
        return result

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="omnitrace-scores-")  # noqa: SIM115
            end = sum(rows * width for rows, width in self._shapes) * _ITEM
            self._file.seek(end)  # a half-written block is overwritten
            for block in self._blocks:
                self._file.write(np.ascontiguousarray(block).data)
            self._file.flush()
        except OSError:  # no room, or no folder for temporary files
            self._limit = 2 * self._held
            return
        self._shapes += [(block.shape[0], block.shape[1]) for block in self._blocks]
        self._blocks, self._held = [], 0

    def _all(self) -> Iterator[np.ndarray]:
        if self._file is not None:
            self._file.seek(0)
        for rows, width in self._shapes:
            assert self._file is not None
            read = self._file.read(rows * width * _ITEM)
            yield np.frombuffer(read, dtype=np.float32).reshape(rows, width)
        yield from self._blocks

    def _on_disk(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Write the whole to a file of its own and map it; None where the disk is full."""
        try:
            with tempfile.TemporaryFile(prefix="omnitrace-scores-") as file:
                for block in self._all():
                    padded = np.zeros((len(block), shape[1]), dtype=np.float32)
                    padded[:, : block.shape[1]] = block
                    file.write(padded.data)
                file.flush()
                # Private pages: changing the scores changes no file.
                return np.asarray(np.memmap(file, dtype=np.float32, mode="c", shape=shape))
        except OSError:
            return None

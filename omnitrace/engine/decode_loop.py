"""The push-based core that ``trace`` and ``stream`` share: token ids in, blocks out.

``generate`` runs as the user configured it; it hands every selected token to :meth:`Engine.push`
through a streamer. The attention rows are waiting in the capture by then; they are handed over in
blocks, to be scored and turned into token traces and spans (:mod:`omnitrace.engine.assembler`),
inside the decoding loop or beside it. A block ends when it is full and when a span ends, and so
depends on the response alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from omnitrace.capture.base import Capture
from omnitrace.engine.assembler import Assembler, Block
from omnitrace.models.detokenize import Detokenizer
from omnitrace.segmentation.thinking import SectionSegmenter

__all__ = ["Engine"]


@dataclass(slots=True)
class Engine:
    """Turns generated tokens into blocks, as much of the work as cannot leave the decoding loop.

    Parameters
    ----------
    capture:
        Where the rows of the generated tokens wait.
    assembler:
        Works on the blocks. If a signal breaks its contract, decoding goes on without it
        and :meth:`check` raises.
    detokenizer, segmenter:
        Token ids to text, text to spans.
    block:
        How many tokens' rows are read at once, at most. 1 gives every token its event at once.
    """

    capture: Capture
    assembler: Assembler
    detokenizer: Detokenizer
    segmenter: SectionSegmenter
    block: int = 16

    text: str = ""
    ids: list[int] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)  # of the pending tokens
    _ended: list[tuple[int, int]] = field(default_factory=list)

    def push(self, token_id: int, hand_over: Callable[[Block], None]) -> None:
        """Take a token that the model has selected; hand over the block that it completes."""
        self.capture.select(token_id)
        piece = self.detokenizer.push(token_id)
        self.text += piece
        self.ids.append(token_id)
        self._pieces.append(piece)
        if self.assembler.broken is not None:
            self.capture.drop(len(self._pieces))
            self._pieces.clear()
            return
        self._ended += self.segmenter.push(piece, token_id)
        if len(self._pieces) >= self.block or self.capture.forgets or self._ended:
            hand_over(self._take())

    def finish(self, hand_over: Callable[[Block], None]) -> None:
        """End the response: hand over what is pending, with the last spans."""
        rest = self.detokenizer.finish()
        if not self.ids:
            rest = ""
        self.text += rest
        if self._pieces:
            self._pieces[-1] += rest
        self._ended += self.segmenter.push(rest)
        self._ended += self.segmenter.finish()
        handed_over = "" if self._pieces else rest
        if self.assembler.broken is None and (self._pieces or self._ended or handed_over):
            hand_over(self._take(handed_over))

    def check(self) -> None:
        """Raise the error of a signal that broke its contract, with the whole text.

        Raises
        ------
        ConformanceError
            If a signal has broken its contract.
        OmnitraceError
            As a live span signal raised it.
        """
        if self.assembler.broken is not None:
            self.assembler.broken.text = self.text
            raise self.assembler.broken

    def _take(self, rest: str = "") -> Block:
        count = len(self._pieces)
        written = len(self.text) - sum(map(len, self._pieces))
        starts = accumulate(map(len, self._pieces), initial=written)
        block = Block(
            ids=self.ids[len(self.ids) - count :],
            pieces=self._pieces,
            rows=self.capture.take(count) if count else (),
            ended=[(a, b, self.segmenter.section_at(a)) for a, b in self._ended],
            open=(self.segmenter.start, self.segmenter.section_at(self.segmenter.start)),
            sections=[self.segmenter.section_of(*each) for each in pairwise(starts)],
            rest=rest,
        )
        self._pieces, self._ended = [], []
        return block

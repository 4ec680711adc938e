"""Decode a response token by token, with the characters of each token."""

from __future__ import annotations

from typing import Any

__all__ = ["Detokenizer"]

_INCOMPLETE = "\ufffd"
# A character takes at most four byte tokens.
_LONGEST_CHARACTER = 4


class Detokenizer:
    """Turns generated ids into text as they arrive, without decoding the prefix again.

    The pieces joined are what ``tokenizer.decode(ids, skip_special_tokens=True)`` gives. A token
    that completes no character (a part of a multi-byte one, or a special token) gets an empty
    piece.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0  # ids whose characters are complete
        self._sent = 0  # characters, from the prefix on, that have been returned

    def _decode(self, start: int, end: int) -> str:
        text: str = self._tokenizer.decode(
            self._ids[start:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def push(self, token_id: int) -> str:
        """Take the next id and return the characters that it completes."""
        self._ids.append(token_id)
        return self._emit(final=False)

    def finish(self) -> str:
        """Return what an unfinished character at the end decodes to."""
        return self._emit(final=True) if self._read < len(self._ids) else ""

    def _emit(self, *, final: bool) -> str:
        text = self._decode(self._prefix, len(self._ids))
        waiting = len(self._ids) - self._read
        if text.endswith(_INCOMPLETE) and not final:
            if waiting <= _LONGEST_CHARACTER:
                return ""
            # A long run of them is really that text, but for its end, which may become another.
            tail = len(text) - len(text.rstrip(_INCOMPLETE))
            ended = max(self._sent, len(text) - min(tail, _LONGEST_CHARACTER - 1))
            piece, self._sent = text[self._sent : ended], ended
            return piece
        piece = text[self._sent :]
        self._prefix, self._read = self._read, len(self._ids)
        self._sent = len(self._decode(self._prefix, self._read))
        return piece

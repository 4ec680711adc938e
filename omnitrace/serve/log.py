"""The events of a request, kept so that any number of readers can follow them from any one on.

What writes never waits: an event is appended, and whoever follows is woken once for all that has
come since. A log is bounded by the response. What is out of date with the next event of its kind (a
position in the queue, provisional supports) is kept only until that comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Entry", "EventLog"]

_OVERHEAD: Final = 400  # bytes of an entry beside its data, about


@dataclass(frozen=True)
class Entry:
    """One event: its number from 1, its type, and values that JSON can hold."""

    number: int
    type: str
    data: Mapping[str, Any]

    @functools.cached_property
    def encoded(self) -> bytes:
        """The event as server-sent events have it."""
        data = json.dumps(self.data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return f"id: {self.number}\nevent: {self.type}\ndata: {data}\n\n".encode("ascii")


class EventLog:
    """The events of one request.

    Attributes
    ----------
    watchers:
        How many follow it now.
    watched:
        When somebody last did, by ``time.monotonic()``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._number = 0
        self._passing: dict[str, int] = {}  # by kind, the number of the entry to be replaced
        self._bells: set[_Bell] = set()
        self._closed = False
        self.watchers = 0
        self.watched = time.monotonic()

    @property
    def closed(self) -> bool:
        """Whether no more events come, as far as is known."""
        return self._closed

    def append(
        self,
        type_: str,
        data: Mapping[str, Any],
        *,
        passing: bool = False,
        ends: Collection[str] = (),
        last: bool = False,
    ) -> None:
        """Write an event down; waits for nobody.

        Parameters
        ----------
        type_, data:
            The event.
        passing:
            Whether the next event of this type replaces it.
        ends:
            The types of passing events that are out of date with this one.
        last:
            Whether no more events come.
        """
        with self._lock:
            for each in (type_, *ends) if passing else ends:
                self._drop(each)
            self._number += 1
            self._entries.append(Entry(self._number, type_, data))
            if passing:
                self._passing[type_] = self._number
            self._closed = last
            self._ring()

    def close(self) -> None:
        """Have no more events come."""
        with self._lock:
            self._closed = True
            self._ring()

    def reopen(self) -> None:
        """Have more events come."""
        with self._lock:
            self._closed = False

    def touch(self) -> None:
        """Note that somebody has asked for the run."""
        self.watched = time.monotonic()

    def shorten(self) -> None:
        """Forget all but the last event, for a request that is done and followed by nobody."""
        with self._lock:
            if self._closed and not self.watchers:
                del self._entries[:-1]
                self._passing.clear()

    def after(self, number: int) -> list[Entry]:
        """Return the entries with larger numbers."""
        with self._lock:
            return self._entries[bisect_right(self._entries, number, key=_number_of) :]

    def has(self, type_: str) -> bool:
        """Whether a passing event of this type is up to date."""
        return type_ in self._passing

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        with self._lock:
            return sum(_OVERHEAD + len(entry.encoded) for entry in self._entries)

    async def follow(self, after: int = 0) -> AsyncGenerator[list[Entry]]:
        """Yield the entries behind one, as they come, in lists of all that is there.

        It ends with the last event. The one that follows must close it (``contextlib.aclosing``).
        """
        bell = _Bell(asyncio.get_running_loop())
        with self._lock:
            self._bells.add(bell)
            self.watchers += 1
        try:
            while True:
                bell.reset()
                closed = self._closed
                if entries := self.after(after):
                    after = entries[-1].number
                    yield entries
                elif closed:
                    return
                else:
                    await bell.wait()
        finally:
            with self._lock:
                self._bells.discard(bell)
                self.watchers -= 1
                self.watched = time.monotonic()

    def _drop(self, type_: str) -> None:
        number = self._passing.pop(type_, None)
        if number is not None:
            at = bisect_right(self._entries, number - 1, key=_number_of)
            if at < len(self._entries) and self._entries[at].number == number:
                del self._entries[at]

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()


def _number_of(entry: Entry) -> int:
    return entry.number


class _Bell:
    """Wakes a follower in its event loop from another thread, once until it looks again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self._rung = False

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._event.set)

    def reset(self) -> None:
        self._event.clear()
        self._rung = False

    async def wait(self) -> None:
        await self._event.wait()

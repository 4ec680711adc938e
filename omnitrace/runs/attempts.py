"""How often a request was begun and not ended: it is given up when it ended too many processes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from omnitrace.errors import GivenUpError
from omnitrace.runs.digests import digest_of_request
from omnitrace.runs.folder import Claim, Folder
from omnitrace.runs.names import trace_name
from omnitrace.sources.request_files import RequestEntry

__all__ = ["ATTEMPTS", "attempted", "marker_of", "note_attempt"]

ATTEMPTS: Final = 3
"""Processes that a request may end before it is given up: one more than a stray kill or two."""


def marker_of(request_id: str) -> str:
    """Return the name, within a folder, of the lines of a request's attempts."""
    return f"attempts/{trace_name(request_id)}"


def note_attempt(claim: Claim, request_id: str, digest: str, limit: int) -> None:
    """Add the line of an attempt.

    Raises
    ------
    GivenUpError
        If ``limit`` attempts were begun and not ended; those before it was changed do not count.
    """
    before = sum(f'"{digest}"' in line for line in claim.lines())
    if before >= limit:
        raise GivenUpError(
            f"the request {request_id!r} is given up: {before} processes that tried it died",
            fix=f"allow more (--attempts {before + 1}), or look at what it asks for",
        )
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"id": request_id, "digest": digest, "process": os.getpid(), "time": time}
    claim.add(json.dumps(line))


@contextlib.contextmanager
def attempted(folder: Folder, entry: RequestEntry, limit: int = ATTEMPTS) -> Iterator[None]:
    """Note in a folder that a request is tried, for as long as the block takes.

    For work on requests that writes no traces. A request that another process has is not noted.

    Raises
    ------
    GivenUpError
        As :func:`note_attempt` does.
    """
    claim = folder.claim(marker_of(entry.id))
    if claim is None:
        yield
        return
    try:
        note_attempt(claim, entry.id, digest_of_request(entry), limit)
        try:
            yield
        except Exception:
            claim.remove()
            raise
        claim.remove()
    except BaseException:  # it was not tried, or somebody stopped this process, not the request
        claim.withdraw()
        raise

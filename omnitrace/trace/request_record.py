"""Which request of which run a trace file answers: a small member of its own beside the trace.

It is written with the trace, in one step, and read without it: a run that goes on asks thousands of
files what they are. A trace that no run wrote has none.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from omnitrace._utils.files import open_regular

__all__ = ["RECORD", "RequestRecord", "read_record", "request_name"]

RECORD: Final = "request.json"
_MAX_BYTES: Final = 2**20
_ERRORS: Final = (OSError, ValueError, RuntimeError, EOFError, LookupError, zlib.error)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What a run writes of a request beside its trace.

    Attributes
    ----------
    id:
        The request's id, as its file has it.
    digest:
        SHA-256 of what decides the result: messages, media, the response to replay.
    run:
        The digest of the run's options and model.
    """

    id: str
    digest: str
    run: str

    def to_bytes(self) -> bytes:
        """Return the member's content."""
        return json.dumps(asdict(self), ensure_ascii=True, sort_keys=True).encode("ascii")


def read_record(place: Path | IO[bytes]) -> RequestRecord | None:
    """Return the record of a trace file, None where it has none or is no trace file.

    Parameters
    ----------
    place:
        The ``.omnitrace`` file, or a seekable stream of one.
    """
    try:
        if isinstance(place, Path):
            with open_regular(place) as file:
                return _read(file)
        return _read(place)
    except (*_ERRORS, zipfile.BadZipFile):
        return None


def request_name(path: Path) -> str:
    """Return the id of the request that a trace answers; without a record, the file's name."""
    record = read_record(path)
    return path.stem if record is None else record.id


def _read(file: IO[bytes]) -> RequestRecord | None:
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(RECORD)
        if info.file_size > _MAX_BYTES:
            return None
        found = json.loads(archive.read(info))
    values = [found[name] for name in ("id", "digest", "run")]
    return RequestRecord(*values) if all(isinstance(value, str) for value in values) else None

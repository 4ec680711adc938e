"""What a command is given to judge: request files, trace files, and folders of traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnitrace.errors import InputError
from omnitrace.sources.request_files import Entry, read_requests
from omnitrace.trace.io import DOCUMENT, SUFFIX

__all__ = ["Examples", "find_traces", "read_examples"]


@dataclass(slots=True)
class Examples:
    """What is judged, by name: requests, and traces, whose answer is there."""

    requests: list[Entry] = field(default_factory=list)
    traces: list[Path] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, Entry | Path]]:
        yield from ((entry.id, entry) for entry in self.requests)
        yield from ((path.stem, path) for path in self.traces)


def read_examples(paths: Sequence[Path], media_root: Path | None = None) -> Examples:
    """Read the requests of .json and .jsonl files, and find the traces of all other paths.

    Raises
    ------
    InputError
        If a file cannot be read, a path holds no trace, or two examples have one name.
    """
    found = Examples()
    traces: list[Path] = []
    for path in paths:
        if path.suffix.lower() in (".json", ".jsonl"):
            found.requests += read_requests(path, media_root=media_root)
        else:
            traces.append(path)
    found.traces = find_traces(traces)
    for name, count in Counter(name for name, _ in found).items():
        if count > 1:
            raise InputError(f"{count} examples are named {name!r}", legal="a name for each")
    return found


def find_traces(paths: Sequence[Path]) -> list[Path]:
    """Return the traces that files and folders hold, sorted within a folder.

    Raises
    ------
    InputError
        If a path is missing or holds no trace, or two traces have the same name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and not (path / DOCUMENT).is_file():
            inside = [each for each in sorted(path.iterdir()) if _is_trace(each)]
            if not inside:
                raise InputError(f"the folder {str(path)!r} holds no trace", legal=_LEGAL)
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no {str(path)!r}", legal=_LEGAL)
    for name, count in Counter(path.stem for path in found).items():
        if count > 1:
            raise InputError(
                f"{count} traces are named {name!r}", legal="one trace for each request"
            )
    return found


_LEGAL = f"files that end in {SUFFIX}, trace folders, or a folder of these"


def _is_trace(path: Path) -> bool:
    return path.suffix == SUFFIX if path.is_file() else (path / DOCUMENT).is_file()

"""What is evaluated: the requests of files, trace files, and folders of traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from omnitrace._utils.file_names import safe_name
from omnitrace._utils.files import in_folder, what_is
from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import LabelScan
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem, read_requests
from omnitrace.trace.io import DOCUMENT, SUFFIX
from omnitrace.trace.request_record import request_name
from omnitrace.trace.trace import Trace
from omnitrace.types import OpenRoot

__all__ = ["Examples", "find_traces", "label_id", "load_traces", "read_examples", "request_of"]

_LEGAL: Final = f"files that end in {SUFFIX}, trace folders, or a folder of these"


@dataclass(slots=True)
class Examples:
    """What is evaluated, by name: requests, and traces, whose response is there."""

    requests: list[FileEntry] = field(default_factory=list)
    traces: list[Path] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, FileEntry | Path]]:
        yield from ((entry.id, entry) for entry in self.requests)
        yield from ((request_name(path), path) for path in self.traces)


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
        kind = what_is(path)
        if kind == "folder" and what_is(path / DOCUMENT) != "file":
            inside = [each for each in in_folder(path) if _is_trace(each)]
            if not inside:
                raise InputError(f"the folder {str(path)!r} holds no trace", legal=_LEGAL)
            found += inside
        elif kind:
            found.append(path)
        else:
            raise InputError(f"there is no {str(path)!r}", legal=_LEGAL)
    for name, count in Counter(path.stem for path in found).items():
        if count > 1:
            raise InputError(
                f"{count} traces are named {name!r}", legal="one trace for each request"
            )
    return found


def _is_trace(path: Path) -> bool:
    return path.suffix == SUFFIX if what_is(path) == "file" else what_is(path / DOCUMENT) == "file"


def request_of(example: FileEntry | Path) -> RequestEntry:
    """Return the request of an entry or of a trace.

    Raises
    ------
    InputError
        If it is no request, or a trace without its media.
    """
    if isinstance(example, RequestProblem):
        raise example.error
    if isinstance(example, Path):
        trace = Trace.load(example)
        template = trace.provenance.template
        return RequestEntry(request_name(example), trace.request(), OpenRoot(), template=template)
    return example


def label_id(path: Path, labels: LabelScan) -> str:
    """Return the id of a trace's label: its request's, or what its file is named after."""
    ids = [entry.label.id for entry in labels.entries]
    name = request_name(path)
    if name in ids:
        return name
    of_name = [each for each in ids if safe_name(each) == path.stem]
    return of_name[0] if len(of_name) == 1 else name


def load_traces(
    files: Sequence[Path], labels: LabelScan, *, progress: ProgressCallback = no_progress
) -> Iterator[tuple[str, Trace]]:
    """Load one trace after the other, by the id of the label that its file is named after."""
    for number, path in enumerate(files):
        progress(f"{request_name(path)} ({number + 1} of {len(files)})")
        yield label_id(path, labels), Trace.load(path)

"""A run folder: what is done, what is being tried, and what was given up.

::

    run.json            what was asked for, and the model
    <name>.omnitrace    a trace, with the id and digest of its request inside
    failures.jsonl      a line for each failure
    attempts/<name>     while a request is tried: a line for each attempt that nobody ended

A process that dies leaves the line of its attempt behind. Such a request is tried again, after all
others, and given up once it has ended as many processes as are allowed.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from omnitrace._utils.checks import check_whole
from omnitrace.errors import GivenUpError, InputError, OmnitraceError, RunError
from omnitrace.runs.attempts import ATTEMPTS, marker_of, note_attempt
from omnitrace.runs.digests import digest_of_request
from omnitrace.runs.folder import Claim, Folder, LocalFolder
from omnitrace.runs.manifest import Manifest, differences, model_record
from omnitrace.runs.names import trace_name
from omnitrace.sources.request_files import FileEntry, RequestEntry, RequestProblem
from omnitrace.trace.archive import SUFFIX
from omnitrace.trace.request_record import RequestRecord

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter
    from omnitrace.trace.trace import Trace

__all__ = ["Failure", "OnChange", "Run", "Summary", "open_run"]

OnChange: TypeAlias = Literal["refuse", "redo"]
"""What becomes of a request or option that differs from that of the folder."""

_TRIES: Final = 20
_PAUSE: Final = 0.1  # seconds
MANIFEST: Final = "run.json"
FAILURES: Final = "failures.jsonl"
_REDO: Final = "run with on_change='redo' (--on-change redo), or into another folder"


@dataclass(frozen=True, slots=True)
class Failure:
    """A line of ``failures.jsonl``: which request failed, why, and whether it was given up."""

    id: str
    digest: str
    error: str
    kind: str
    time: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """How far a run folder is: how many traces it holds, and the failures that still stand."""

    done: int
    failed: tuple[Failure, ...]

    @property
    def given_up(self) -> tuple[Failure, ...]:
        """Those requests that ended their processes."""
        return tuple(each for each in self.failed if each.kind == GivenUpError.__name__)


def open_run(
    folder: str | Path | Folder,
    asked: Mapping[str, Any],
    *,
    input: str = "",
    on_change: OnChange = "refuse",
    resume: bool = True,
    attempts: int = ATTEMPTS,
    media: bool = False,
    metadata: bool = False,
) -> Run:
    """Begin a run in a folder, or go on with the one that it holds.

    Parameters
    ----------
    folder:
        A path, or what stands in for a folder.
    asked:
        The options, as :func:`~omnitrace.runs.asked_of` gives them.
    input:
        The name of the file of requests, for people.
    on_change:
        What becomes of options or requests that differ from those that are there: an error, or
        the traces that differ are made again.
    resume:
        Whether traces of the same options and requests are kept; False makes all of them again.
    attempts:
        After how many processes that it ended a request is given up, at least 1.
    media, metadata:
        As for :meth:`Trace.save`.

    Raises
    ------
    RunError
        If the folder holds a run with other options, or something else under the name ``run.json``.
    InputError
        If it cannot be written to.
    """
    check_whole("attempts", attempts, 1)
    if on_change not in ("refuse", "redo"):
        raise InputError(f"on_change is {on_change!r}", legal="'refuse' or 'redo'")
    place = LocalFolder(folder) if isinstance(folder, str | Path) else folder
    manifest = _manifest(place, asked, input, on_change, resume)
    return Run(place, manifest, on_change, attempts, {"media": media, "metadata": metadata})


def _manifest(
    folder: Folder, asked: Mapping[str, Any], input: str, on_change: OnChange, resume: bool
) -> Manifest:
    data = folder.read(MANIFEST)
    found = None if data is None else Manifest.from_bytes(data, f"{MANIFEST} of {folder}")
    if found is not None and resume and found.asked == asked:
        return found
    if found is not None and resume and on_change == "refuse":
        raise RunError(
            f"the folder {str(folder)!r} holds a run with other options: "
            f"{differences(found.asked, asked)}",
            fix=_REDO,
        )
    salt = "" if resume else uuid.uuid4().hex
    manifest = Manifest.begin(asked, input=input, salt=salt)
    folder.write(MANIFEST, manifest.to_bytes())
    return manifest


@dataclass(slots=True)
class Run:
    """A run folder that is open; made by :func:`open_run`.

    Several processes may work on one folder, with a run each: whoever begins a request has it
    until it is done. A run can be pickled, and sent to where the work is done.

    Attributes
    ----------
    folder, manifest:
        Where the files are, and what was asked for.
    on_change, attempts, saving:
        As for :func:`open_run`.
    kept:
        How many requests :meth:`todo` left out, since their traces are there.
    """

    folder: Folder
    manifest: Manifest
    on_change: OnChange = "refuse"
    attempts: int = ATTEMPTS
    saving: Mapping[str, bool] = field(default_factory=dict)
    kept: int = 0
    _begun: dict[str, tuple[str, Claim]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.folder, self.manifest, self.on_change, self.attempts, dict(self.saving)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.folder, self.manifest, self.on_change, self.attempts, self.saving = state
        self.kept, self._begun = 0, {}

    def bind(self, adapter: ModelAdapter) -> None:
        """Check that the run was begun with this model; note it where it is the first.

        Raises
        ------
        RunError
            If the run was begun with another model, and ``on_change`` is "refuse".
        """
        self.update()
        model, known = model_record(adapter), self.manifest.model
        if known.get("fingerprint") == model["fingerprint"]:
            return
        if known and self.on_change == "refuse":
            raise RunError(
                f"the folder {str(self.folder)!r} holds a run of another model, or in another "
                f"precision: {known.get('name')!r} ({known.get('dtype')}), now {model['name']!r} "
                f"({model['dtype']}) with other weights",
                fix=_REDO,
            )
        self.manifest = replace(self.manifest, model=model)
        self.folder.write(MANIFEST, self.manifest.to_bytes())

    def update(self) -> None:
        """Read the manifest again: another process may have noted its model meanwhile."""
        data = self.folder.read(MANIFEST)
        if data is not None:
            current = Manifest.from_bytes(data, f"{MANIFEST} of {self.folder}")
            if (current.asked, current.salt) == (self.manifest.asked, self.manifest.salt):
                self.manifest = current

    def path_of(self, request_id: str) -> str:
        """Return the name, within the folder, of the trace of a request."""
        return f"{trace_name(request_id)}{SUFFIX}"

    def todo(self, entries: Iterable[FileEntry]) -> Iterator[FileEntry]:
        """Yield what is to be done, in order; what ended a process before comes after the others.

        Requests whose trace is there are left out. One that was changed, where that is refused,
        comes as a :class:`~omnitrace.sources.RequestProblem`.
        """
        suspects: list[RequestEntry] = []
        for entry in entries:
            if isinstance(entry, RequestProblem):
                yield entry
                continue
            try:
                done = self._is_done(entry)
            except InputError as error:
                yield RequestProblem(entry.id, error)
                continue
            if done:
                self.kept += 1
            elif self.folder.exists(marker_of(entry.id)):
                suspects.append(entry)
            else:
                yield entry
        yield from suspects

    def begin(self, entry: RequestEntry) -> bool:
        """Note that a request is tried now; False where another process has it, or had it.

        :meth:`bind` comes before. Each request that was begun is :meth:`done`, :meth:`failed` or
        :meth:`abandoned`.

        Raises
        ------
        GivenUpError
            If the request ended too many processes.
        RunError
            If it was changed since its trace was written, or the folder cannot be written to.
        """
        digest = digest_of_request(entry)
        claim = self.folder.claim(marker_of(entry.id))
        if claim is None:
            return False
        try:
            if self._is_done(entry, digest):
                claim.remove()
                return False
            note_attempt(claim, entry.id, digest, self.attempts)
        except BaseException:
            claim.withdraw()
            raise
        self._begun[entry.id] = digest, claim
        return True

    def done(self, entry: RequestEntry, trace: Trace) -> str | Path:
        """Write the trace of a request that was begun, whole or not at all; return where it is.

        Raises
        ------
        TraceFileError
            If it cannot be written; the request is still begun, and can be :meth:`failed`.
        """
        digest, claim = self._begun[entry.id]
        record = RequestRecord(entry.id, digest, self.manifest.digest)
        path = self.folder.save_trace(self.path_of(entry.id), trace, record, **self.saving)
        self._ended(entry, claim)
        return path

    def failed(self, entry: RequestEntry | RequestProblem, error: Exception) -> None:
        """Note in ``failures.jsonl`` that a request failed; it is tried again by the next run."""
        digest, claim = self._begun.get(entry.id, ("", None))
        reason = str(error)
        if not isinstance(error, OmnitraceError):
            reason = f"{type(error).__name__}: {error}"
        line = {
            "id": entry.id,
            "digest": digest,
            "error": reason,
            "kind": type(error).__name__,
            "time": _now(),
        }
        with contextlib.suppress(InputError):  # the disk is full: what failed is printed as well
            self.folder.append(FAILURES, json.dumps(line))
        if claim is not None:
            self._ended(entry, claim)

    def abandoned(self, entry: RequestEntry) -> None:
        """Take back that a request was begun: somebody stopped this process, not the request."""
        found = self._begun.pop(entry.id, None)
        if found is not None:
            found[1].withdraw()

    def _ended(self, entry: FileEntry, claim: Claim) -> None:
        claim.remove()
        del self._begun[entry.id]  # last: Ctrl-C before leaves a request that can be abandoned

    def finished(self, entries: Iterable[FileEntry]) -> Iterator[str]:
        """Yield the ids of those requests whose trace of this run is there."""
        for entry in entries:
            record = self.folder.record(self.path_of(entry.id))
            if record is not None and (record.id, record.run) == (entry.id, self.manifest.digest):
                yield entry.id

    def load(self, request_id: str) -> Trace:
        """Read the trace of a request.

        Raises
        ------
        TraceFileError
            If there is none, or it is damaged.
        """
        return self.folder.load_trace(self.path_of(request_id))

    def take_back(self, entry: RequestEntry) -> None:
        """Take back that another process began a request: it was stopped, and is not to blame."""
        for _ in range(_TRIES):
            if not self.folder.exists(marker_of(entry.id)):
                return
            claim = self.folder.claim(marker_of(entry.id))
            if claim is not None:
                claim.drop()
                return
            time.sleep(_PAUSE)  # it takes a moment until a process is gone

    def summary(self) -> Summary:
        """Read how far the folder is; failures count whose trace has not been written since."""
        done = {
            record.id
            for name in self.folder.names(SUFFIX)
            if (record := self.folder.record(name)) is not None
            and record.run == self.manifest.digest
        }
        last: dict[str, Failure] = {}
        for line in (self.folder.read(FAILURES) or b"").decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                failure = Failure(**json.loads(line))
                last[failure.id] = failure
        return Summary(len(done), tuple(each for each in last.values() if each.id not in done))

    def _is_done(self, entry: RequestEntry, digest: str = "") -> bool:
        """Return whether the trace of this request is there.

        The digest, which reads media, is made here where it is needed and was not made before.

        Raises
        ------
        RunError
            If a changed request is refused, or a file of that name was not written by a run.
        """
        name = self.path_of(entry.id)
        if not self.folder.exists(name):
            return False
        record = self.folder.record(name)
        if record is None or record.id != entry.id:
            raise RunError(
                f"{name} in {str(self.folder)!r} is not of this request and stays",
                fix="move that file, or run into another folder",
            )
        if record.run != self.manifest.digest:
            return False  # of other options, which were to be made again
        if record.digest == (digest or digest_of_request(entry)):
            return True
        if self.on_change == "refuse":
            raise RunError(
                f"the request {entry.id!r} was changed since its trace {name} was written",
                fix=_REDO,
            )
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

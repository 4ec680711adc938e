"""Run requests one after the other, print what comes, and keep what is done."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from omnitrace._utils.file_names import safe_name
from omnitrace._utils.files import make_folder, what_is
from omnitrace.cli.console import (
    StatusLine,
    make_console,
    names_of_request,
    plain,
    print_json,
    print_section,
    print_span,
    print_unsupported,
)
from omnitrace.cli.exit_codes import (
    DEFECT,
    MISTAKE,
    ended_by,
    is_of_output,
    say,
    say_defect,
    say_mistake,
)
from omnitrace.cli.loading import load_tracer
from omnitrace.errors import InputError, OmnitraceError
from omnitrace.sources.request_files import RequestEntry, RequestProblem
from omnitrace.types import Section, Span

if TYPE_CHECKING:
    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.signals.base import Signal
    from omnitrace.sources.options import SourceOptions
    from omnitrace.trace.events import Event
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["Runner", "TraceOutput"]

_SAID: Final = 1000  # mistakes, each in a line
_NAMED: Final = 50  # of the requests that failed
_BLOCK: Final = 8  # tokens between two signs of life; spans come when they end all the same


@dataclass(frozen=True, slots=True)
class TraceOutput:
    """What becomes of traces.

    ``out`` is the folder that they are kept in, if they are; ``html`` also writes a report there,
    ``media`` also keeps the original media, ``metadata`` with all that is in them. ``as_json``
    prints one JSON document a request, instead of the spans.
    """

    out: Path | None = None
    html: bool = False
    media: bool = False
    as_json: bool = False
    metadata: bool = False

    @classmethod
    def asked(
        cls, out: Path | None, html: bool, media: bool, as_json: bool, metadata: bool
    ) -> TraceOutput:
        """Check what the options ask for, and make the folder, before a model is loaded."""
        if out is None and (html or media):
            option = "--html" if html else "--media"
            raise InputError(f"{option} has no folder to write to", fix="add --out DIR")
        if metadata and not media:
            raise InputError("--keep-metadata has no media to keep", fix="add --media")
        return cls(None if out is None else make_folder(out), html, media, as_json, metadata)


@dataclass(slots=True)
class Runner:
    """Traces requests.

    Parameters
    ----------
    model, signal, verify, selection, thinking:
        As for ``Tracer.from_pretrained``; loaded when the first request needs them.
    device:
        Of ``--device``.
    sources:
        How sources are cut.
    options:
        What ``Tracer.stream`` is given besides the request (or ``trace``, with a span signal).
    output:
        What is written and printed.
    """

    model: str
    signal: str | Signal | None = None
    verify: bool | None = None
    selection: SelectionConfig | None = None
    sources: SourceOptions | None = None
    thinking: Thinking | None = None
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    output: TraceOutput = TraceOutput()

    _saved: dict[str, Path] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _mistakes: list[str] = field(default_factory=list)
    _defects: list[str] = field(default_factory=list)
    _done: int = 0

    def run(self, entries: Sequence[RequestEntry | RequestProblem]) -> int:
        """Trace all entries, and return the exit code; a failed one does not stop the others."""
        interrupt: KeyboardInterrupt | None = None
        with StatusLine() as status:
            tracer: Tracer | None = None
            try:
                for number, entry in enumerate(entries):
                    if isinstance(entry, RequestEntry) and tracer is None:
                        tracer = load_tracer(
                            self.model,
                            self.signal,
                            status,
                            verify=self.verify,
                            selection=self.selection,
                            sources=self.sources,
                            thinking=self.thinking,
                            device=self.device,
                        )
                    where = f" ({number + 1} of {len(entries)})" if len(entries) > 1 else ""
                    status.show(f"{entry.id}{where}: reading")
                    self._one(entry, tracer, status, where, several=len(entries) > 1)
            except KeyboardInterrupt as error:
                interrupt = error
                words, code = ended_by(error)
                with status.paused():
                    self._say_kept(words, len(entries))
            except BrokenPipeError:
                raise
            except OSError:  # of the output: the requests to come could not be shown either
                with status.paused():
                    self._say_kept("stopped", len(entries))
                raise
        if self.output.html and self._saved:
            self._report()
        return code if interrupt is not None else self._sum_up(len(entries))

    def _say_kept(self, ended: str, count: int) -> None:
        kept = f"; kept in {self.output.out}" if self._saved else ""
        say(f"{ended} after {self._done} of {count} requests{kept}")

    def _one(
        self,
        entry: RequestEntry | RequestProblem,
        tracer: Tracer | None,
        status: StatusLine,
        where: str,
        *,
        several: bool,
    ) -> None:
        try:
            if isinstance(entry, RequestProblem):
                raise entry.error
            assert tracer is not None
            self._trace(entry, tracer, status, where, several=several)
            self._done += 1
        except OmnitraceError as error:
            self._mistakes.append(entry.id)
            text = error.text
            with status.paused():
                if text and not self.output.as_json:
                    print_unsupported(make_console(), text)
                if len(self._mistakes) <= _SAID:
                    say_mistake(f"{entry.id}: {error}" if several else str(error))
                elif len(self._mistakes) == _SAID + 1:
                    say("further mistakes are only counted")
            self._print_failure(entry.id, str(error), text)
        except Exception as error:
            if is_of_output(error):
                raise
            self._defects.append(entry.id)
            with status.paused():
                say_defect()
            self._print_failure(entry.id, f"{type(error).__name__}: {error}")

    def _trace(
        self,
        request: RequestEntry,
        tracer: Tracer,
        status: StatusLine,
        where: str,
        *,
        several: bool,
    ) -> None:
        from omnitrace.trace.events import EndEvent, SpanEvent  # not for --help

        console = make_console()
        names = names_of_request(request.messages)
        with self._events(request, tracer) as events:
            if several and not self.output.as_json:
                with status.paused():
                    console.print(Text(plain(request.id), style="bold underline"), soft_wrap=True)
            tokens = 0
            section: Section = "answer"

            def show(span: Span) -> None:
                nonlocal section
                if not self.output.as_json:
                    with status.paused():
                        section = print_section(console, span.section, section)
                        print_span(console, span, names)

            verifies = tracer.setup.verify is not None  # spans are printed with what that finds
            for event in events:
                if isinstance(event, EndEvent):
                    for span in event.trace.spans if verifies else ():
                        show(span)
                    self._keep(request.id, event.trace, status)
                elif isinstance(event, SpanEvent):
                    if not verifies:
                        show(event.span)
                else:
                    tokens += 1
                    status.show(f"{request.id}{where}: {tokens} tokens")

    def _events(
        self, request: RequestEntry, tracer: Tracer
    ) -> contextlib.AbstractContextManager[Iterable[Event]]:
        """Return what happens, as it happens where the signal allows it; replay a response."""
        if request.response is not None:
            from omnitrace.trace.events import EndEvent, SpanEvent

            found = tracer.replay(
                request.messages,
                request.response,
                media_root=request.media_root,
                **request.template,
            )
            return contextlib.nullcontext([*map(SpanEvent, found.spans), EndEvent(found)])
        if tracer.streams:
            return tracer.stream(
                request.messages,
                media_root=request.media_root,
                block=_BLOCK,
                provisional=None,
                **request.template,
                **self.options,
            )
        from omnitrace.trace.events import EndEvent, SpanEvent

        trace = tracer.trace(
            request.messages, media_root=request.media_root, **request.template, **self.options
        )
        return contextlib.nullcontext([*map(SpanEvent, trace.spans), EndEvent(trace)])

    def _keep(self, name: str, trace: Trace, status: StatusLine) -> None:
        if self.output.out is not None:
            path = self._free_path(self.output.out, name, trace, status)
            self._saved[name] = trace.save(
                path, media=self.output.media, metadata=self.output.metadata
            )
        with status.paused():
            if self.output.as_json:
                print_json({"id": name, **trace.to_dict()})
            elif not trace.spans:
                make_console().print(Text("(the response is empty)", style="dim"))

    def _free_path(self, out: Path, name: str, trace: Trace, status: StatusLine) -> Path:
        """Return where a trace is kept: what is there of another request stays."""
        first = path = out / f"{self._file_name(name)}.omnitrace"
        while what_is(path) and not _is_of_same_request(path, trace):
            path = out / f"{self._file_name(name)}.omnitrace"
        if path != first:
            with status.paused():
                say(f"{first} is not of this request and stays; this trace is kept as {path.name}")
        return path

    def _file_name(self, name: str) -> str:
        safe = base = safe_name(name)
        number = 1
        while safe.casefold() in self._taken:
            number += 1
            safe = f"{base}-{number}"
        self._taken.add(safe.casefold())
        return safe

    def _print_failure(self, name: str, reason: str, text: str = "") -> None:
        """Keep the documents on stdout in step with the requests."""
        if self.output.as_json:
            print_json({"id": name, "error": reason} | ({"text": text} if text else {}))

    def _report(self) -> None:
        from omnitrace.report.html import write_report
        from omnitrace.trace.trace import Trace

        assert self.output.out is not None
        traces = [Trace.load(path) for path in self._saved.values()]
        path = self.output.out / "report.html"
        write_report(traces, path, titles=list(self._saved), media=self.output.media)
        say(f"wrote {path}")

    def _sum_up(self, count: int) -> int:
        if self._saved:
            say(f"wrote {len(self._saved)} of {count} traces to {self.output.out}")
        failed = [*self._mistakes, *self._defects]
        if failed and count > 1:
            more = f", and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
            names = ", ".join(failed[:_NAMED]) + more
            say(f"{len(failed)} of {count} requests failed: {names}")
        if self._defects:
            return DEFECT
        return MISTAKE if self._mistakes else 0


def _is_of_same_request(path: Path, trace: Trace) -> bool:
    """Whether a file holds a trace of the same messages and media."""
    try:
        found = type(trace).load(path)
    except OmnitraceError:
        return False
    one, other = (
        (json.dumps(each.messages, sort_keys=True, default=str), [m.sha256 for m in each.media])
        for each in (found, trace)
    )
    return one == other

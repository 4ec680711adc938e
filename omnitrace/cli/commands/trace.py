"""Run requests one after the other, print what comes, and keep what is done."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.status import Status
from rich.text import Text

from omnitrace._utils.files import make_folder
from omnitrace.cli.console import (
    make_console,
    names_of_request,
    plain,
    print_section,
    print_span,
    print_unsupported,
)
from omnitrace.cli.exit_codes import DEFECT, INTERRUPTED, MISTAKE, say, say_defect, say_mistake
from omnitrace.errors import OmnitraceError
from omnitrace.sources.request_files import Request, RequestProblem
from omnitrace.trace.events import EndEvent, Event, SpanEvent
from omnitrace.types import Section

if TYPE_CHECKING:
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.signals.base import Signal
    from omnitrace.sources.options import SourceOptions
    from omnitrace.trace.trace import Trace
    from omnitrace.tracer import Tracer

__all__ = ["Progress", "Runner", "load_tracer", "make_folder", "print_json", "safe_name"]

_NAME_LENGTH: Final = 60
_BLOCK: Final = 8  # tokens between two signs of life; spans come when they end all the same
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return a file name, without ending, that is safe on every system."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:_NAME_LENGTH].rstrip("._-")
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe or "request"


def print_json(document: Mapping[str, Any]) -> None:
    """Write one JSON document as one line on stdout."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
    line = json.dumps(document, ensure_ascii=not utf8, allow_nan=False)
    print(line, flush=True)


class Progress:
    """What is being done, on stderr and only if that is a terminal."""

    def __init__(self) -> None:
        console = make_console(stderr=True)
        self._status = Status(Text(""), console=console) if console.is_terminal else None
        self._live = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, text: str) -> None:
        """Show a line until the next one."""
        if self._status is not None:
            self._status.update(Text(plain(text)))
            self._status.start()
            self._live = True

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Clear the line while something else is printed; stdout may be the same terminal."""
        if self._status is None or not self._live:
            yield
            return
        self._status.stop()
        yield
        self._status.start()


def load_tracer(
    model: str,
    signal: str | Signal,
    progress: Progress,
    *,
    device: str | None = None,
    **options: Any,
) -> Tracer:
    """Load a model, quietly, to the device of ``--device``; ``options`` are those of ``Tracer``."""
    progress.show(f"loading {model}")
    if not sys.stderr.isatty():  # read by tqdm when it is imported: no bars in log files
        os.environ.setdefault("TQDM_DISABLE", "1")
    from transformers.utils import logging

    from omnitrace.models.devices import usual_device
    from omnitrace.tracer import Tracer

    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    if device == "auto":
        return Tracer.from_pretrained(model, signal=signal, device_map="auto", **options)
    return Tracer.from_pretrained(model, signal=signal, device=device or usual_device(), **options)


@dataclass(slots=True)
class Runner:
    """Traces requests.

    Parameters
    ----------
    model, signal, thinking:
        As for ``Tracer.from_pretrained``; loaded when the first request needs them.
    device:
        Of ``--device``.
    sources:
        How sources are cut.
    options:
        What ``Tracer.stream`` is given besides the request (or ``trace``, with a span signal).
    out:
        Folder for the traces, if they are kept.
    html, media:
        Also write a report; also keep the original media in the traces.
    as_json:
        Print one JSON document a request, instead of the spans.
    """

    model: str
    signal: str | Signal
    sources: SourceOptions | None = None
    thinking: Thinking | None = None
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    html: bool = False
    media: bool = False
    as_json: bool = False

    _saved: dict[str, Path] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _mistakes: list[str] = field(default_factory=list)
    _defects: list[str] = field(default_factory=list)
    _done: int = 0

    def run(self, entries: Sequence[Request | RequestProblem]) -> int:
        """Trace all entries, and return the exit code; a failed one does not stop the others."""
        interrupted = False
        with Progress() as progress:
            tracer: Tracer | None = None
            try:
                for number, entry in enumerate(entries):
                    if isinstance(entry, Request) and tracer is None:
                        tracer = load_tracer(
                            self.model,
                            self.signal,
                            progress,
                            sources=self.sources,
                            thinking=self.thinking,
                            device=self.device,
                        )
                    where = f" ({number + 1} of {len(entries)})" if len(entries) > 1 else ""
                    progress.show(f"{entry.id}{where}: reading")
                    self._one(entry, tracer, progress, where, several=len(entries) > 1)
            except KeyboardInterrupt:
                interrupted = True
        if self.html and self._saved:
            self._report()
        if interrupted:
            kept = f"; kept in {self.out}" if self._saved else ""
            say(f"interrupted after {self._done} of {len(entries)} requests{kept}")
            return INTERRUPTED
        return self._sum_up(len(entries))

    def _one(
        self,
        entry: Request | RequestProblem,
        tracer: Tracer | None,
        progress: Progress,
        where: str,
        *,
        several: bool,
    ) -> None:
        try:
            if isinstance(entry, RequestProblem):
                raise entry.error
            assert tracer is not None
            self._trace(entry, tracer, progress, where, several=several)
            self._done += 1
        except OmnitraceError as error:
            self._mistakes.append(entry.id)
            text = error.text
            with progress.paused():
                if text and not self.as_json:
                    print_unsupported(make_console(), text)
                say_mistake(f"{entry.id}: {error}" if several else str(error))
            self._print_failure(entry.id, str(error), text)
        except BrokenPipeError:
            raise
        except Exception as error:
            self._defects.append(entry.id)
            with progress.paused():
                say_defect()
            self._print_failure(entry.id, f"{type(error).__name__}: {error}")

    def _trace(
        self, request: Request, tracer: Tracer, progress: Progress, where: str, *, several: bool
    ) -> None:
        console = make_console()
        names = names_of_request(request.messages)
        with self._events(request, tracer) as events:
            if several and not self.as_json:
                with progress.paused():
                    console.print(Text(plain(request.id), style="bold underline"), soft_wrap=True)
            tokens = 0
            section: Section = "answer"
            for event in events:
                if isinstance(event, EndEvent):
                    self._keep(request.id, event.trace, progress)
                elif isinstance(event, SpanEvent):
                    if not self.as_json:
                        with progress.paused():
                            section = print_section(console, event.span.section, section)
                            print_span(console, event.span, names)
                else:
                    tokens += 1
                    progress.show(f"{request.id}{where}: {tokens} tokens")

    def _events(
        self, request: Request, tracer: Tracer
    ) -> contextlib.AbstractContextManager[Iterable[Event]]:
        """Return what happens, as it happens where the signal allows it."""
        if tracer.streams:
            return tracer.stream(
                request.messages,
                media_root=request.media_root,
                block=_BLOCK,
                provisional=None,
                **self.options,
            )
        trace = tracer.trace(request.messages, media_root=request.media_root, **self.options)
        return contextlib.nullcontext([*map(SpanEvent, trace.spans), EndEvent(trace)])

    def _keep(self, name: str, trace: Trace, progress: Progress) -> None:
        if self.out is not None:
            path = self.out / f"{self._file_name(name)}.omnitrace"
            self._saved[name] = trace.save(path, media=self.media)
        with progress.paused():
            if self.as_json:
                print_json({"id": name, **trace.to_dict()})
            elif not trace.spans:
                make_console().print(Text("(the response is empty)", style="dim"))

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
        if self.as_json:
            print_json({"id": name, "error": reason} | ({"text": text} if text else {}))

    def _report(self) -> None:
        from omnitrace.report.html import write_report
        from omnitrace.trace.trace import Trace

        assert self.out is not None
        traces = [Trace.load(path) for path in self._saved.values()]
        path = self.out / "report.html"
        write_report(traces, path, titles=list(self._saved))
        say(f"wrote {path}")

    def _sum_up(self, count: int) -> int:
        if self._saved:
            say(f"wrote {len(self._saved)} of {count} traces to {self.out}")
        failed = [*self._mistakes, *self._defects]
        if failed and count > 1:
            say(f"{len(failed)} of {count} requests failed: {', '.join(failed)}")
        if self._defects:
            return DEFECT
        return MISTAKE if self._mistakes else 0

"""Run requests one after the other, print what comes, and keep what is done."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from omnitrace.cli.console import (
    StatusLine,
    make_console,
    names_of_request,
    print_json,
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
from omnitrace.cli.loading import tracer_loader
from omnitrace.cli.response_view import ResponseView
from omnitrace.cli.run_options import RunChoices, TraceOutput
from omnitrace.cli.stops import stops
from omnitrace.errors import GivenUpError, OmnitraceError
from omnitrace.runs.inputs import Requests
from omnitrace.runs.pace import Pace
from omnitrace.runs.run import Run, open_run
from omnitrace.runs.shards import Shard, chosen, count_chosen
from omnitrace.sources.request_files import FileEntry, RequestEntry

if TYPE_CHECKING:
    import numpy as np

    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.runs.executor import Executor, RequestSaved
    from omnitrace.runs.loop import RequestDone, RequestFailed, RunEvent
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.signals.base import Signal
    from omnitrace.sources.options import SourceOptions
    from omnitrace.tracer import Tracer

__all__ = ["Runner"]

_SAID: Final = 1000  # mistakes, each in a line
_NAMED: Final = 50  # of the requests that failed
_BLOCK: Final = 8  # tokens between two signs of life; spans come when they end all the same
_NEWS: Final = 60.0  # seconds between two lines about the progress, where nobody sees the status


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
    choices:
        Which requests, and how a run goes on.
    batch_size:
        How many requests the model runs at once.
    executor:
        Whose processes trace; None: this one. It needs a folder.
    """

    model: str
    signal: str | Signal | None = None
    verify: bool | None = None
    selection: SelectionConfig | None = None
    sources: SourceOptions | None = None
    thinking: Thinking | None = None
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    output: TraceOutput = field(default_factory=TraceOutput)
    choices: RunChoices = field(default_factory=RunChoices)
    batch_size: int = 1
    executor: Executor | None = None

    _status: StatusLine = field(default_factory=StatusLine)
    _pace: Pace = field(default_factory=lambda: Pace(0))
    _tracer: Tracer | None = None
    _view: ResponseView | None = None
    _mistakes: list[str] = field(default_factory=list)
    _defects: list[str] = field(default_factory=list)
    _given_up: list[str] = field(default_factory=list)
    _news: float = 0.0

    def run(self, requests: Requests) -> int:
        """Trace the requests, and return the exit code; a failed one does not stop the others."""
        interrupt: KeyboardInterrupt | None = None
        total = count_chosen(len(requests), limit=self.choices.limit, shard=self.choices.shard)
        self._pace = Pace(total)
        self._news = time.monotonic()
        run = self._opened(requests)
        with self._status:
            try:
                self._follow(requests, run)
            except KeyboardInterrupt as error:
                interrupt = error
                words, code = ended_by(error)
                with self._status.paused():
                    if self._view is not None:
                        self._view.show_waiting()
                    self._say_kept(words)
            except BrokenPipeError:
                raise
            except OSError:  # of the output: the requests to come could not be shown either
                with self._status.paused():
                    self._say_kept("stopped")
                raise
        if self.output.html and run is not None:
            self._report(requests, run)
        return code if interrupt is not None else self._sum_up(run)

    def _opened(self, requests: Requests) -> Run | None:
        """Open the folder of ``--out``, before a model is loaded for it."""
        self.choices.check(self.output.out)
        if self.output.out is None:
            return None
        from omnitrace.runs.manifest import asked_of

        return open_run(
            self.output.out,
            asked_of(generation=self._generation, **self._tracer_options),
            input=requests.name,
            on_change=self.choices.on_change,
            resume=self.choices.resume,
            attempts=self.choices.attempts,
            media=self.output.media,
            metadata=self.output.metadata,
        )

    @property
    def _generation(self) -> dict[str, Any]:
        return {"block": _BLOCK, **self.options}

    @property
    def _tracer_options(self) -> dict[str, Any]:
        return {
            "signal": self.signal,
            "verify": self.verify,
            "selection": self.selection,
            "sources": self.sources,
            "thinking": self.thinking,
        }

    @property
    def loader(self) -> Callable[..., Tracer]:
        """What loads the tracer; it can be sent to another process."""
        return tracer_loader(self.model, device=self.device, **self._tracer_options)

    def _load(self) -> Tracer:
        self._tracer = self.loader(status=self._status)
        self._pace.begin()
        return self._tracer

    def _chosen(self, requests: Requests, shard: Shard | None) -> Iterator[FileEntry]:
        return chosen(requests, limit=self.choices.limit, shard=shard)

    def _follow(self, requests: Requests, run: Run | None) -> None:
        events = self._events(self._chosen(requests, self.choices.shard), run)
        with contextlib.closing(events):  # leaving takes back that a request was begun
            for event in events:
                stops.check()
                if run is not None:
                    self._pace.kept = run.kept
                try:
                    self._show(event)
                except Exception as error:
                    if is_of_output(error):
                        raise
                    self._fail(event.entry.id, error)
                self._tell_news()

    def _events(
        self, entries: Iterator[FileEntry], run: Run | None
    ) -> Generator[RunEvent | RequestSaved, None, None]:
        from omnitrace.runs.executor import run_elsewhere  # not for --help
        from omnitrace.runs.loop import run_requests

        options = {"live": True, "batch_size": self.batch_size, **self._generation}
        if self.executor is None or run is None:
            return run_requests(self._load, entries, run, measured=self._measured, **options)
        self._status.show("starting processes")
        self._pace.begin()
        return run_elsewhere(self.executor, self.loader, entries, run, **options)

    def _show(self, event: RunEvent | RequestSaved) -> None:
        from omnitrace.runs.executor import RequestSaved
        from omnitrace.runs.loop import RequestDone, RequestEvent, RequestStarted

        name = event.entry.id
        if name in self._defects:  # what could not be shown was told already
            return
        if isinstance(event, RequestStarted):
            self._view = None  # also where the next line fails
            self._view = self._view_of(event.entry)
            self._view.say_progress()
        elif isinstance(event, RequestEvent):
            assert self._view is not None
            self._view.follow(event.event)
        elif isinstance(event, RequestDone):
            self._show_end(event)
        elif isinstance(event, RequestSaved):
            self._show_saved(event)
        else:
            self._show_failure(event)

    def _view_of(self, entry: RequestEntry) -> ResponseView:
        return ResponseView(
            self._status,
            label=entry.id + self._where,
            heading=entry.id if self._several else "",
            names=names_of_request(entry.messages),
            verifies=self._tracer is not None and self._tracer.setup.verify is not None,
            silent=self.output.as_json,
        )

    def _measured(self, masks: np.ndarray) -> None:
        if self._view is not None:
            self._view.measured(masks)

    def _show_saved(self, event: RequestSaved) -> None:
        """Print what another process wrote."""
        from omnitrace.runs.loop import RequestDone
        from omnitrace.trace.trace import Trace

        trace = Trace.load(event.path)
        self._view_of(event.entry).show(*trace.spans)
        self._show_end(RequestDone(event.entry, trace, event.path))
        self._status.show(str(self._pace))

    def _show_end(self, event: RequestDone) -> None:
        with self._status.paused():
            if self.output.as_json:
                print_json({"id": event.entry.id, **event.trace.to_dict()})
            elif not event.trace.spans:
                make_console().print(Text("(the response is empty)", style="dim"))
        self._pace.done += 1

    def _show_failure(self, event: RequestFailed) -> None:
        error, name = event.error, event.entry.id
        if not isinstance(error, OmnitraceError):
            self._fail(name, error)
            return
        (self._given_up if isinstance(error, GivenUpError) else self._mistakes).append(name)
        self._pace.failed += 1
        with self._status.paused():
            if error.text and not self.output.as_json:
                print_unsupported(make_console(), error.text)
            if self._pace.failed <= _SAID:
                say_mistake(f"{name}: {error}" if self._several else str(error))
            elif self._pace.failed == _SAID + 1:
                say("further mistakes are only counted")
        self._print_failure(name, str(error), error.text)

    def _fail(self, name: str, error: Exception) -> None:
        """Tell of a defect of ours."""
        self._defects.append(name)
        self._pace.failed += 1
        with self._status.paused():
            say_defect(error)
        self._print_failure(name, f"{type(error).__name__}: {error}")

    def _print_failure(self, name: str, reason: str, text: str = "") -> None:
        """Keep the documents on stdout in step with the requests."""
        if self.output.as_json:
            print_json({"id": name, "error": reason} | ({"text": text} if text else {}))

    @property
    def _several(self) -> bool:
        return self._pace.total > 1

    @property
    def _where(self) -> str:
        return f" ({self._pace})" if self._several else ""

    def _tell_news(self) -> None:
        """Say now and then how far the run is, where there is no status line."""
        if self._several and not sys.stderr.isatty() and time.monotonic() - self._news >= _NEWS:
            self._news = time.monotonic()
            say(str(self._pace))

    def _say_kept(self, ended: str) -> None:
        kept = f"; kept in {self.output.out}" if self.output.out and self._pace.done else ""
        say(f"{ended} after {self._pace.done} of {self._pace.total} requests{kept}")

    def _report(self, requests: Requests, run: Run) -> None:
        from omnitrace.report.html import write_report

        assert self.output.out is not None
        done = [*run.finished(self._chosen(requests, None))]
        if not done:
            return
        path = self.output.out / "report.html"
        traces = (run.load(name) for name in done)
        write_report(traces, path, titles=done, media=self.output.media)
        say(f"wrote {path}")

    def _sum_up(self, run: Run | None) -> int:
        pace = self._pace
        if run is not None:
            if pace.done or not run.kept:
                say(f"wrote {pace.done} of {pace.total} traces to {self.output.out}")
            if run.kept:
                say(f"{run.kept} of {pace.total} traces were in {self.output.out} already")
        for names, what in (
            ([*self._mistakes, *self._defects], "failed"),
            (self._given_up, "were given up"),
        ):
            if names and pace.total > 1:
                more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                said = ", ".join(names[:_NAMED]) + more
                say(f"{len(names)} of {pace.total} requests {what}: {said}")
        if self._defects or self._given_up:
            return DEFECT
        return MISTAKE if self._mistakes else 0

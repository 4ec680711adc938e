"""Exporters by name: files in a folder, and plugins that break the contract."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from rich.console import Console

from omnitrace import Trace, builtin
from omnitrace.cli.trace_view import print_trace
from omnitrace.cli.word_view import print_words
from omnitrace.errors import ConformanceError, InputError, PluginError
from omnitrace.export import ExportedFile, NamedTrace, RegisterExporter, exported_files
from omnitrace.export import base as module
from omnitrace.export.base import write_exports
from omnitrace.plugins.hookspecs import hookimpl
from omnitrace.plugins.registry import build_registry, registry
from omnitrace.trace.citations import parts_of
from tests.helpers.cited_traces import cited_trace, verified_trace
from tests.helpers.random_traces import traces
from tests.helpers.sample_traces import text_trace

TRACES = [("one", cited_trace()), ("two/../x", verified_trace())]


@pytest.mark.parametrize("to", registry().exporters)
def test_every_format_writes_files_inside_its_folder(tmp_path: Path, to: str) -> None:
    paths = write_exports(TRACES, to, tmp_path / "new")
    assert paths
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    assert len({path.suffix for path in paths}) == 1
    again = write_exports(TRACES, to, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize("to", registry().exporters)
def test_a_format_reads_traces_one_by_one(to: str) -> None:
    """Formats of a file for each trace have written the first before they read the second."""
    read: list[str] = []

    def reading() -> Iterator[NamedTrace]:
        for name, trace in TRACES:
            read.append(name)
            yield name, trace

    first = next(exported_files(reading(), to))
    together = first.name.startswith("traces.")
    assert read == (["one", "two/../x"] if together else ["one"])


@pytest.mark.parametrize("to", registry().exporters)
def test_a_redacted_trace_exports_no_words(to: str) -> None:
    said = b"".join(file.data for file in exported_files([("x", verified_trace().redact())], to))
    assert said
    for secret in (b"Harbour log", b"pier", b"trip", b"ferry", b"example.org", b"horn"):
        assert secret not in said


@given(trace=traces())
@settings(max_examples=15, deadline=None)
def test_any_trace_can_be_exported_and_shown(trace: Trace) -> None:
    """Whatever a file may hold: empty ids, places far outside, odd words."""
    for to in registry().exporters:
        with contextlib.suppress(InputError):  # nothing to say
            assert all(file.data is not None for file in exported_files([("x", trace)], to))
    out = Console(file=io.StringIO(), width=40, force_terminal=True)
    print_trace(out, trace, "x")
    for span in trace.spans:
        print_words(out, trace, span)
    for said in trace.citations():
        for each in said.citations:
            if each.characters:
                text = parts_of(trace.messages[each.message])[each.part]["text"]
                assert text[slice(*each.characters)] == each.cited_text


def test_formats_that_have_nothing_to_say_do_so() -> None:
    text = text_trace(["One fact."], "Which?", "So it is.")
    for to in ("webvtt", "srt", "coco"):
        with pytest.raises(InputError, match=f"'{to}' has nothing to say"):
            list(exported_files([("x", text)], to))


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(PluginError, match="did you mean 'webvtt'"):
        list(exported_files(TRACES, "webvt"))


def test_a_plugin_adds_a_format_and_stays_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    class Texts:
        def __init__(self, name: str) -> None:
            self.name = name

        def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
            for _, trace in traces:
                yield ExportedFile(self.name, trace.text.encode())

    class Plugin:
        @hookimpl
        def register_exporters(self, register: RegisterExporter) -> None:
            register("texts", lambda: Texts("a.txt"), summary="the response alone")
            register("escaping", lambda: Texts("../a.txt"))

    both = build_registry({"omnitrace": builtin, "mine": Plugin()})
    monkeypatch.setattr(module, "registry", lambda: both)
    (file,) = exported_files(TRACES[:1], "texts")
    assert file.data.decode() == TRACES[0][1].text
    with pytest.raises(ConformanceError, match=r"'escaping' of the package 'mine' names a file"):
        list(exported_files(TRACES, "escaping"))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "one.md").mkdir()
    with pytest.raises(InputError, match=r"cannot write '.*one.md'"):
        write_exports(TRACES[:1], "markdown", tmp_path)


def test_the_citations_of_a_trace_are_one_document() -> None:
    (file,) = exported_files([("one", verified_trace())], "citations")
    document = json.loads(file.data)
    assert (document["format"], document["version"]) == ("omnitrace-citations", 1)
    assert document["documents"][0]["id"] == "log"
    assert document["spans"][3]["documents"][0]["units"] == ["audio-5", "video-3"]
    assert document["text"][slice(*document["spans"][0]["citations"][0]["characters"])]

"""What a terminal shows: locators as people say them, and text that stays text."""

# ruff: noqa: RUF001

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from omnitrace.cli import console as console_module
from omnitrace.cli.console import (
    StatusLine,
    describe,
    make_console,
    names_of_request,
    plain,
    print_span,
)
from omnitrace.types import (
    Effect,
    ImageRegion,
    Locator,
    Modality,
    SourceUnit,
    Span,
    Support,
    TextRange,
    TimeRange,
)


def console(**options: bool) -> Console:
    return Console(
        file=io.StringIO(), width=60, highlight=False, markup=False, emoji=False, **options
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def span(text: str, *supports: Support, grounding: float = 0.5) -> Span:
    return Span(0, text, 0, len(text), 0, 1, grounding, supports, not supports)


def support(
    locator: Locator, modality: Modality, *, preview: str = "", source_id: str | None = None
) -> Support:
    unit = SourceUnit("u1", modality, locator, (1, 2), preview, source_id)
    return Support(unit, mass=0.3, share=0.64, run=0.5, score=0.6, rank=1)


@pytest.mark.parametrize(
    ("locator", "modality", "expected"),
    [
        (TextRange(0, 2, 5, 17), "text", "text part 2 [5–17]"),
        (
            ImageRegion(0, 1, (0.0, 0.0, 56.0, 56.5), (4, 4), (0, 1)),
            "image",
            "image part 1 (cat.png) [0,0 – 56,56.5] px",
        ),
        (TimeRange(0, 3, 2.0, 3.0), "audio", "audio part 3 2.0–3.0 s"),
        (TimeRange(2, 1, 0.5, 1.25, (4, 8)), "video", "message 2 video part 1 0.5–1.2 s"),
    ],
)
def test_locators(locator: Locator, modality: Modality, expected: str) -> None:
    assert describe(locator, modality, {(0, 1): "cat.png"}) == expected


def test_a_span_with_its_supports() -> None:
    out = console()
    lamp = support(TextRange(0, 0, 0, 9), "text", preview="The lamp.", source_id="doc 7")
    print_span(out, span("A lamp.", lamp, grounding=0.825))
    assert shown(out).splitlines() == [
        "A lamp.  grounding 82%",
        "   1.  64%  text part 0 [0–9]  “The lamp.”  source doc 7",
    ]


def test_effects_are_shown_with_their_intervals() -> None:
    out = console()
    lamp = dataclasses.replace(support(TextRange(0, 0, 0, 9), "text"), effect=3.0)
    said = span("A lamp.", lamp)
    print_span(out, said)
    print_span(out, dataclasses.replace(said, effects={"u1": Effect(3.0)}))
    print_span(out, dataclasses.replace(said, effects={"u1": Effect(3.0, -0.25, 4.5)}))
    lines = [line.partition("[0–9]")[2] for line in shown(out).splitlines()[1::2]]
    assert lines == ["  +3.00 nats", "  +3.00 nats", "  +3.00 nats [-0.25, +4.50]"]


def test_a_span_without_supports_is_marked() -> None:
    out = console()
    print_span(out, span("Who knows?", grounding=0.04))
    assert "grounding 4%  ungrounded" in shown(out)
    assert "no source supports this" in shown(out)


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_emoji_codes_are_printed_as_they_are(terminal: bool) -> None:
    text = "Is it [red]red[/red] [/] [link=http://x] :smile: [bold"
    out = console(force_terminal=terminal)
    print_span(out, span(text, support(TextRange(0, 0, 0, 3), "text", preview=text)))
    assert shown(out).count(text) == 2


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert plain("a\x1b[31mb\x07\u202ec\n\n d\x9b") == "a\\x1b[31mb\\x07\\u202ec d\\x9b"
    out = console()
    print_span(out, span("\x1b]0;owned\x07"))
    assert "\x1b" not in shown(out)


def test_long_quotes_are_cut_and_lines_are_not_wrapped() -> None:
    out = console()
    long = "word " * 60
    print_span(out, span(long, support(TextRange(0, 0, 0, 3), "text", preview=long)))
    lines = shown(out).splitlines()
    assert len(lines) == 2
    assert long.strip() in lines[0]
    assert lines[1].endswith("word…”")
    assert len(lines[1]) < 120


def test_names_of_a_request() -> None:
    content = [
        {"type": "image", "image": "a/b/cat.png"},
        {"type": "audio", "audio": "data:audio/wav;base64,AAAA"},
        {"type": "video", "path": "C:\\films\\dog.mp4"},
        {"type": "image", "image": 5},
        "nonsense",
        {"type": "text", "text": "cat.png"},
    ]
    messages = ["nonsense", {"role": "user", "content": content}, {"role": "user", "content": "x"}]
    assert names_of_request(messages) == {(1, 0): "cat.png", (1, 2): "dog.mp4"}


def test_the_console_interprets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("[red]x[/red] :smile: 1")
    make_console(stderr=True).print("[red]y[/red]")
    captured = capsys.readouterr()
    assert captured.out == "[red]x[/red] :smile: 1\n"
    assert captured.err == "[red]y[/red]\n"


def test_the_status_line_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, markup=False)
        monkeypatch.setattr(console_module, "make_console", lambda console=console, **_: console)
        with StatusLine() as status:
            status.show("[red]first\x1b")
            with status.paused():
                console.print("between")
            status.show("second")
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert "between" in text
        assert ("[red]first\\x1b" in text) is terminal
        assert ("second" in text) is terminal

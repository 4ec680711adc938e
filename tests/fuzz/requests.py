"""Malformed request files: their bytes, their structure, and what stands where they should be."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.fuzz.case import Build, Case, Expected, Source
from tests.fuzz.good import Good
from tests.fuzz.mutate import RAW, damaged, mutated, to_json
from tests.fuzz.special_files import SPECIAL_FILES, SPECIAL_PATHS

__all__ = ["SHORT", "SOURCE", "ask", "request"]

#: Options that let an accepted request cost little; every tenth is verified as users' are.
SHORT: Final = ("--max-new-tokens", "2", "--signal", "attention-mean")
MIB: Final = 1 << 20


def ask(*parts: Any, **more: Any) -> dict[str, Any]:
    """Return a request with these parts before its question."""
    content = [*parts, {"type": "text", "text": "What is it?"}]
    return {"id": "x", "messages": [{"role": "user", "content": content}], **more}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def request(document: Any, *options: str, file: str = "r.json", **files: bytes) -> Build:
    """Return what writes a request file, beside other files (``m_wav`` is ``m.wav``)."""

    def build(folder: Path, good: Good) -> list[str]:
        for name, data in files.items():
            (folder / name.replace("_", ".")).write_bytes(data)
        content = document if isinstance(document, bytes) else to_json(document)
        (folder / file).write_bytes(content)
        return ["trace", file, *(SHORT if "--max-new-tokens" not in options else ()), *options]

    return build


_GOOD: Final = to_json(ask())
_LINE: Final = _GOOD + b"\n"

_BYTES: Final[tuple[tuple[str, bytes, Expected], ...]] = (
    ("blank", b" \n\t\n", "refused"),
    ("a byte order mark", b"\xef\xbb\xbf" + _GOOD, "accepted"),
    ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + _GOOD, "refused"),
    ("UTF-32", _GOOD.decode().encode("utf-32"), "refused"),
    ("not UTF-8", _GOOD.replace(b"What", b"Wh\xff\xfet"), "refused"),
    ("overlong UTF-8", _GOOD.replace(b"What", b"\xc0\xaf"), "refused"),
    ("a null in a string", _GOOD.replace(b"What", b"Wh\x00t"), "refused"),
    ("a null at the end", _GOOD + b"\x00", "refused"),
    ("something after", _GOOD + b"x", "refused"),
    ("two documents", _GOOD + _GOOD, "refused"),
    ("a deep list", b"[" * 200_000 + b"]" * 200_000, "refused"),
    ("a deep object", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "refused"),
    ("deep, but parsed", b'{"messages": ' + b"[" * 900 + b"]" * 900 + b"}", "refused"),
    ("NaN", b'{"messages": NaN}', "refused"),
    ("a number", b"3", "refused"),
    ("a string", b'"x"', "refused"),
    ("null", b"null", "refused"),
    ("an empty list", b"[]", "refused"),
    ("an empty object", b"{}", "refused"),
    ("5,000 digits", b'{"id": ' + b"9" * 5000 + b', "messages": []}', "refused"),
    ("single quotes", _GOOD.replace(b'"', b"'"), "refused"),
    ("a comma too many", _GOOD[:-1] + b",}", "refused"),
    ("a comment", b"// hello\n" + _GOOD, "refused"),
    ("half a surrogate pair", _GOOD.replace(b"What", b"\\ud800"), "refused"),
    ("lines in a .json file", _LINE * 2, "refused"),
    ("300,000 numbers", b"[" + b",".join([b"1"] * 300_000) + b"]", "refused"),
    ("100 MB of empty lists", b"[" + b"[]," * (32 * MIB) + b"[]]", "refused"),
    ("20 MB of empty objects", b"[" + b"{}," * (7 * MIB) + b"{}]", "refused"),
    ("60 MB of nulls in a part", b'{"messages": [' + b"null," * (12 * MIB) + b"null]}", "refused"),
)
_LINES: Final[tuple[tuple[str, bytes, Expected], ...]] = (
    ("CR LF", _LINE.replace(b"\n", b"\r\n") * 2, "accepted"),
    ("one bad of three", _LINE + b"{bad\n" + _LINE, "refused"),
    ("the same id again", _LINE * 3, "accepted"),
    ("a line of nulls", b"\x00\n" + _LINE, "refused"),
    ("cut off", _LINE + _LINE[: len(_LINE) // 2], "refused"),
    ("a document over lines", json.dumps(ask(), indent=1).encode(), "refused"),
    ("100,000 empty objects", b"{}\n" * 100_000, "refused"),
)
_IDS: Final[tuple[tuple[Any, Expected], ...]] = (
    *((name, "accepted") for name in ("../../etc/x", "/etc/passwd", "a\x00b", "..", ".", "CON")),
    *((name, "accepted") for name in ("x" * 5000, "中" * 500, "\U00020000" * 500, "e\u0301" * 200)),
    *((name, "accepted") for name in ("a\nomnitrace: error", "\x1b[31mred\x1b]0;t\x07", "\u202eb")),
    *((name, "accepted") for name in ("report.html", 7, RAW + "9" * 4000)),
    *((name, "refused") for name in (True, 1.5, [], {}, [1], {"a": 1}, "\ud800")),
)
_SOURCE_IDS: Final[tuple[tuple[Any, Expected], ...]] = (
    *((name, "refused") for name in ([1, 2], {"a": [1]}, True, 1.5, "\ud800", [], {}, "")),
    *((name, "accepted") for name in ("doc", 7)),
    ("s" * MIB, "either"),
)
_TEXTS: Final[tuple[tuple[str, str, Expected], ...]] = (
    ("1 MB without a space", "a" * MIB, "refused"),
    ("1 MB of spaces", " " * MIB, "either"),
    ("1 MB of line ends", "\n" * MIB, "either"),
    ("1 MB of full stops", "." * MIB, "refused"),
    ("1 MB of brackets", "(" * MIB, "refused"),
    ("1 MB of quotes", '"' * MIB, "refused"),
    ("1 MB of XML", "<a>" * (MIB // 3), "refused"),
    ("1 MB of table", "|a" * (MIB // 2), "refused"),
    ("1 MB of JSON", "[" * MIB, "refused"),
    ("1 MB of numbered documents", "[1] a. " * (MIB // 7), "refused"),
    ("1 MB of headings", "# a\n" * (MIB // 4), "refused"),
    ("1 MB of options", "(A) a\n" * (MIB // 6), "refused"),
    ("1 MB of CSV", "a,b,c\n" * (MIB // 6), "refused"),
    ("3 MB of words", "The lamp weighs. " * 180_000, "refused"),
    ("10 MB of words", "The lamp weighs. " * 600_000, "refused"),
    ("50,000 accents on one letter", "e" + "\u0301" * 50_000, "either"),
    ("5,000 joined emoji", "\U0001f468\u200d" * 5_000, "either"),
    ("private use", "\ue0000\ue001 \ue0001\ue001", "accepted"),
    ("special tokens", "<|im_end|><|im_start|>system\n<|endoftext|>", "either"),
    ("placeholders", "<|IMAGE|><|AUDIO|><|VIDEO|><|image_pad|><|audio_bos|>", "either"),
    ("control characters", "\x1b[2J\x1b]0;x\x07 \x9b31m", "accepted"),
    ("the command line's @", "@/etc/passwd", "accepted"),
    (
        "a template",
        "{{ cycler.__init__.__globals__ }}{% for i in range(10**9) %}{% endfor %}",
        "accepted",
    ),
)
_DOCUMENTS: Final[tuple[tuple[str, Any, Expected], ...]] = (
    ("no user message", {"messages": [{"role": "assistant", "content": "x"}]}, "refused"),
    ("an empty content", {"messages": [{"role": "user", "content": ""}]}, "refused"),
    ("an empty text", {"messages": [{"role": "user", "content": [text("")]}]}, "refused"),
    ("no parts", {"messages": [{"role": "user", "content": []}]}, "refused"),
    ("a content of blanks", {"messages": [{"role": "user", "content": "  \n "}]}, "refused"),
    (
        "5,000 messages",
        {
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
            * 2500
        },
        "either",
    ),
    ("20,000 parts", {"messages": [{"role": "user", "content": [text("a.")] * 20_000}]}, "refused"),
    ("an unknown key", ask(mesages=1), "refused"),
    ("an unknown key of a part", ask(text("A lamp.", soruce=True)), "refused"),
    ("an unknown role", {"messages": [{"role": "{{7*7}}", "content": "x"}]}, "refused"),
    ("no question", {"question": []}, "refused"),
    ("a question of two", {"question": [{"text": "a", "image": "b"}]}, "refused"),
    ("a prompt of 3", {"question": [{"text": "a"}], "prompt": 3}, "refused"),
    ("a text of 3", {"question": [{"text": [3]}]}, "refused"),
    ("a null in a path", {"question": [{"image": "a\x00b"}], "prompt": "x"}, "refused"),
    ("token ids beyond the vocabulary", ask(response=[10**9]), "refused"),
    ("token ids beyond 64 bits", ask(response=[10**30]), "refused"),
    ("negative token ids", ask(response=[-1]), "refused"),
    ("a response of half a pair", ask(response="\ud800"), "refused"),
    ("1 MB of response", ask(response="a " * (MIB // 2)), "refused"),
    ("deep tools", ask(tools=[{"a": RAW + "[" * 500 + "]" * 500}]), "either"),
    ("tools of numbers", ask(tools=[1, None, "x"]), "either"),
    (
        "template arguments that are ours",
        ask(chat_template_kwargs={"messages": 1, "tokenize": True}),
        "either",
    ),
)
#: Good requests of several formats; one thing of each is made wrong.
_BASES: Final[tuple[Any, ...]] = (
    {
        "id": "x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    text(
                        "The lamp weighs four grams.",
                        source_id="doc",
                        source=True,
                        units=[{"start": 0, "end": 8, "id": "u"}, [8, 27]],
                    ),
                    text("What does it weigh?"),
                ],
            },
        ],
    },
    {
        "id": "x",
        "metadata": {"a": [1]},
        "messages": [
            {"role": "user", "content": "The lamp weighs four grams."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "It is blue."},
            {"role": "user", "content": "What colour?"},
        ],
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "t",
                        "source": {
                            "type": "text",
                            "media_type": "text/plain",
                            "data": "It is blue.",
                        },
                    },
                    {"type": "tool_result", "tool_use_id": "u", "content": [text("Four.")]},
                    text("What?"),
                ],
            },
        ],
        "response": "It is blue.",
    },
    {
        "id": "p",
        "prompt": "What?",
        "question": [{"text": "The lamp is blue."}, {"text": ["a", "b"]}],
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "The lamp."},
                    {
                        "type": "input_file",
                        "filename": "a.txt",
                        "file_data": "data:text/plain;base64,SXQgaXMgYmx1ZS4=",
                    },
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"},
                    },
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            },
        ],
    },
)


def _special(name: str, suffix: str) -> Build:
    def build(folder: Path, good: Good) -> list[str]:
        SPECIAL_FILES[name](folder / f"r{suffix}")
        return ["trace", f"r{suffix}", *SHORT]

    return build


def _known() -> Iterator[Case]:
    for name, data, expected in _BYTES:
        yield Case("requests", name, request(data), expected)
    for name, data, expected in _LINES:
        yield Case("requests", f"lines, {name}", request(data, file="r.jsonl"), expected)
    for value, expected in _IDS:
        build = request(ask() | {"id": value}, "--out", "out", *SHORT)
        yield Case("requests", f"id {ascii(value)[:40]}", build, expected)
    for value, expected in _SOURCE_IDS:
        build = request(ask(text("A lamp.", source_id=value)))
        yield Case("requests", f"source_id {ascii(value)[:40]}", build, expected)
    for name, value, expected in _TEXTS:
        yield Case("requests", f"text, {name}", request(ask(text(value))), expected)
    for name, document, expected in _DOCUMENTS:
        yield Case("requests", name, request(document), expected)
    for name in SPECIAL_FILES:
        for suffix in (".json", ".jsonl"):
            yield Case("requests", f"{suffix} is {name}", _special(name, suffix), "refused")
    for path in SPECIAL_PATHS:
        yield Case("requests", f"path {path[:40]!r}", lambda f, g, p=path: ["trace", p], "refused")
        yield Case(
            "requests",
            f"path {path[:40]!r}.json",
            lambda f, g, p=path: ["trace", f"{p}.json"],
            "refused",
        )


def _more(rng: random.Random, index: int) -> Case:
    base = rng.choice(_BASES)
    if rng.random() < 0.2:
        name, data = damaged(to_json(base), rng)
        return Case("requests", name, request(data))
    name, document = mutated(base, rng)
    return Case("requests", name, request(document))


SOURCE: Final = Source(_known, _more)

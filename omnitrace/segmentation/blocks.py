"""Cut a source text into units, also where it is no prose.

Lines are units in tables of every kind (CSV, TSV, Markdown, HTML), in JSON Lines, logs, transcripts
and lists of options; JSON is cut by element and code by statement; the rest by sentence. What only
draws lines, such as the rule below a table's head, belongs to no unit.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeAlias

from omnitrace.segmentation.sentences import segment

__all__ = ["source_units"]

Range: TypeAlias = tuple[int, int]

_FENCE: Final = re.compile(r"^[^\S\n]*(```|~~~)([\w+-]*)[^\n]*$", re.M)
_BLANK: Final = re.compile(r"\n[^\S\n]*\n\s*")
_RULE: Final = re.compile(r"^[\s|+]*:?(?:-{2,}|={2,}):?[\s|:+=-]*$")
_ROW: Final = re.compile(r"^\s*\|.*\|\s*$")
_TR: Final = re.compile(r"<(/?)tr\b[^<>]*>", re.I)
_TAGS: Final = re.compile(r"(?:\s|<[^<>]*>)*")
_TIMED: Final = re.compile(
    r"^\s*[\[(<]?(?:\d{4}[-/]\d\d[-/]\d\d|\d{1,2}:\d\d(?::\d\d)?"
    r"|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d|\d{9,13}\b)"
)
_LEVEL: Final = re.compile(
    r"^\s*[\[(<]?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b"
)
_SPEAKER: Final = re.compile(r"^\s*(?:[-*]\s*)?\**[^\W\d_][\w .'()-]{0,30}\**\s?:\**\s+\S")
_OPTION: Final = re.compile(r"^\s*\(?([A-Za-z])[.):]\)?\s+\S")
_OPEN: Final = dict(zip("([{", ")]}", strict=True))
_CODE_END: Final = re.compile(r"^\s*(?:[)\]}]+[;,]?|end\b.*|fi|done|esac)\s*$")
_FIELD: Final = re.compile(r'"(?:[^"]|"")*"')  # quoted, and so with any marks in it
_MOST_JSON: Final = 5_000_000
_SHARE: Final = 0.8  # of the lines that must look alike


def source_units(text: str, *, language: str = "en") -> list[Range]:
    """Return the character ranges of the units of a source text, in order.

    Parameters
    ----------
    text:
        The text.
    language:
        Its language, for sentence boundaries (ISO 639-1).
    """
    if elements := _json_elements(text, 0, len(text)):
        return elements
    found: list[Range] = []
    for start, end, code in _fenced(text):
        if code is not None:
            found += _json_elements(text, start, end) or _statements(text, start, end)
            continue
        for first, last, row in _html_rows(text, start, end):
            if row:
                found.append((first, last))
            else:
                found += _paragraphs(text, first, last, language)
    return [_stripped(text, a, b) for a, b in found if text[a:b].strip()]


def _stripped(text: str, start: int, end: int) -> Range:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _fenced(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Yield stretches with the language of the code in them, None for no code."""
    at = 0
    marks = list(_FENCE.finditer(text))
    for opening, closing in zip(marks[::2], marks[1::2], strict=False):
        yield at, opening.start(), None
        yield opening.end(), closing.start(), opening[2]
        at = closing.end()
    yield at, len(text), None


def _html_rows(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the rows of HTML tables, and what stands between them if it is more than tags."""
    at, opened = start, -1
    for tag in _TR.finditer(text, start, end):
        if not tag[1]:
            opened = tag.start() if opened < 0 else opened
        elif opened >= 0:
            if not _only_tags(text, at, opened):
                yield at, opened, False
            yield opened, tag.end(), True
            at, opened = tag.end(), -1
    if at == start or not _only_tags(text, at, end):
        yield at, end, False


def _only_tags(text: str, start: int, end: int) -> bool:
    match = _TAGS.match(text, start, end)
    return match is not None and match.end() == end


def _paragraphs(text: str, start: int, end: int, language: str) -> Iterator[Range]:
    """Yield the lines of paragraphs of lines, and the sentences of all prose between them."""
    edges = [start, *(m.end() for m in _BLANK.finditer(text, start, end)), end]
    prose = start
    for first, last in itertools.pairwise(edges):
        lines = _lines(text, first, last)
        kept = _line_units(text, lines)
        if kept is None:
            continue
        yield from _sentences(text, prose, first, language)
        yield from kept
        prose = last
    yield from _sentences(text, prose, end, language)


def _sentences(text: str, start: int, end: int, language: str) -> Iterator[Range]:
    for a, b in segment(text[start:end], language=language):
        yield start + a, start + b


def _lines(text: str, start: int, end: int) -> list[Range]:
    lines = []
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        if text[start:stop].strip():
            lines.append((start, stop))
        start = stop + 1
    return lines


def _line_units(text: str, lines: list[Range]) -> list[Range] | None:
    """Return the units of a paragraph whose lines stand for themselves, None for prose."""
    if len(lines) < 2:
        return None
    said = [text[a:b] for a, b in lines]
    rules = [bool(_RULE.match(line)) for line in said]
    if any(rules[1:2]) or sum(map(bool, map(_ROW.match, said))) >= _SHARE * len(said):
        return [line for line, rule in zip(lines, rules, strict=True) if not rule]
    if _is_delimited(said) or all(map(_is_json, said)):
        return lines
    options = [match[1].upper() for line in said if (match := _OPTION.match(line))]
    letters = [chr(ord("A") + i) for i in range(len(options))]
    if len(options) > 1 and options == letters:
        return _joined(lines, [bool(_OPTION.match(line)) for line in said])
    for begins in (_TIMED, _LEVEL, _SPEAKER):
        begun = [bool(begins.match(line)) for line in said]
        if begun[0] and sum(begun) > 1 and (sum(begun) >= _SHARE * len(begun) or begins is _TIMED):
            return _joined(lines, begun)
    return None


def _joined(lines: list[Range], begun: list[bool]) -> list[Range]:
    """Join lines that go on with the one before; those before the first stand alone."""
    units: list[Range] = []
    seen = False
    for (start, end), begins in zip(lines, begun, strict=True):
        if begins or not seen:
            units.append((start, end))
        else:
            units[-1] = units[-1][0], end
        seen |= begins
    return units


def _is_delimited(lines: list[str]) -> bool:
    """Whether all lines have as many fields: tabs, semicolons, bars or commas without a space."""
    if len(lines) < 3:
        return False
    lines = [_FIELD.sub("x", line) for line in lines]
    for mark in "\t;|,":
        counts = Counter(line.count(mark) for line in lines)
        usual, times = counts.most_common(1)[0]
        if not usual or times < _SHARE * len(lines) or counts[0]:
            continue
        if mark == "\t" or not any(re.search(rf"\S{re.escape(mark)} ", line) for line in lines):
            return True
        sentences = sum(line.rstrip()[-1:] in ".!?" for line in lines)
        if usual > 1 and times == len(lines) and not sentences:
            return True
    return False


def _is_json(line: str) -> bool:
    line = line.strip()
    if line[:1] not in ("{", "["):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _json_elements(text: str, start: int, end: int) -> list[Range]:
    """Return the elements of a JSON array or object, nothing if it is neither.

    A container in a container alone is opened: the rows of ``{"rows": […]}`` are its elements.
    """
    start, end = _stripped(text, start, end)
    if end - start > _MOST_JSON or not _is_json(text[start:end]):
        return []
    while True:
        elements = _members(text, start + 1, end - 1)
        if len(elements) != 1:
            return elements or [(start, end)]
        first, last = elements[0]
        opened = [text.find("{", first, last), text.find("[", first, last)]
        inner = min((at for at in opened if at >= 0), default=-1)
        if inner < 0 or text[last - 1] not in "}]" or not _is_json(text[inner:last]):
            return elements
        start, end = inner, last


def _members(text: str, start: int, end: int) -> list[Range]:
    """Cut at the commas of the outermost level."""
    members: list[Range] = []
    depth, at, quoted, escaped = 0, start, False, False
    for i in range(start, end):
        char = text[i]
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in _OPEN:
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and not depth:
            members.append((at, i + 1))
            at = i + 1
    members.append((at, end))
    return [_stripped(text, a, b) for a, b in members if text[a:b].strip()]


def _statements(text: str, start: int, end: int) -> list[Range]:
    """Cut code into statements: lines, and what goes on until its brackets close."""
    units: list[Range] = []
    depth = 0
    for first, last in _lines(text, start, end):
        line = text[first:last]
        if units and (depth > 0 or _CODE_END.match(line)):
            units[-1] = units[-1][0], last
        else:
            units.append((first, last))
        bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', "", line)
        depth = max(0, depth + sum(map(bare.count, "([")) - sum(map(bare.count, ")]")))
        depth += line.endswith("\\") and not depth
    return units

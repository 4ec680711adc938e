"""Find the documents that one string holds, and the question that stands beside them.

Prompts are often glued together: ``[1] …``, ``Document 2: …``, XML tags, Markdown headings, lines
of dashes, triple quotes. The first of these forms that fits is taken. A document begins with its
own mark, so that its number never belongs to its neighbour.
"""

from __future__ import annotations

import itertools
import re
from typing import Final, TypeAlias

from omnitrace.segmentation.blocks import source_units

__all__ = ["find_documents", "without_questions"]

Range: TypeAlias = tuple[int, int]

_NAMES: Final = (
    "doc|docs|document|source|passage|context|article|chunk|snippet|excerpt|reference|result|"
    "search[ _-]result|page|file|text|note|evidence|quelle|dokument|fuente|documento|texte"
)
# Elements of a page, not of a prompt.
_HTML: Final = re.compile(
    "[abipu]|em|li|[uod]l|d[dt]|t[dhr]|table|thead|tbody|h|br|hr|div|span|strong|code|pre|su[bp]|"
    "think|html|body|head|title"
)
_TAG: Final = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z_-]*)(?P<number>\d*)(?:\s[^<>]*)?>"
)
_ONE_ELEMENT: Final = re.compile(rf"(?:{_NAMES})\Z", re.I)
# "[1]", "[Doc 1]", "[1]:" at the beginning of a line.
_BRACKET: Final = re.compile(rf"^[^\S\n]*\[(?:(?:{_NAMES})[ #_:-]*)?(?P<number>\d+)\]", re.I | re.M)
# The same within a line.
_INLINE: Final = re.compile(r"(?:^|(?<=\s))\[(?P<number>\d+)\](?=:?\s+\S)", re.M)
# "Document 2:", "**Source 3**", "--- Passage #1 ---", "Document [1](Title: …)".
_NAMED: Final = re.compile(
    rf"^[^\S\n]*(?:[#*_=~<(-]+[^\S\n]*)?(?:{_NAMES})[^\S\n]*"
    r"(?:\[(?P<a>\d+)\]|(?:#|no\.?[^\S\n]*|nr\.?[^\S\n]*)?(?P<b>\d+|[A-Z]\b))"
    r"(?=[^\S\n]*(?:[:.)(\]>*_=~,|-]|$))",
    re.I | re.M,
)
_HEADING: Final = re.compile(r"^(?P<level>#{1,6})[^\S\n]+(?P<title>\S.*)$", re.M)
_RULE: Final = re.compile(r"^[^\S\n]*(?:-{3,}|={3,}|\*{3,}|_{3,}|~{3,}|#{3,})[^\S\n]*$", re.M)
_QUOTED: Final = re.compile(r'("""|\'\'\'|```)[^\n]*\n(?P<body>.+?)\n?\1', re.S)
_ASKING: Final = (
    r"(?:questions?|query|queries|q|instructions?|tasks?|prompt|answers?|your task|user|frage|"
    r"aufgabe|pregunta|问题|問題|質問)"
)
# A line that begins the question: "Question: …", "### Question".
_QUESTION_LINE: Final = re.compile(
    rf"^[^\S\n]*(?:[#*_<]+[^\S\n]*)?{_ASKING}[^\S\n]*[*_>]*[^\S\n]*(?:[:：]|$)",  # noqa: RUF001
    re.I | re.M,
)
_BLANK: Final = re.compile(r"\n[^\S\n]*\n\s*")
_ASKS: Final = re.compile(r"[?？؟]['\"”’»)\]*_]*\Z")  # noqa: RUF001


def find_documents(text: str) -> list[Range]:
    """Return the character ranges of the documents in ``text``, in order, without white space.

    What stands outside of them (an instruction before, a question behind) is none. The list is
    empty where nothing marks a document; numbered and named documents, headings and lines of
    dashes need two of them, an XML element with the name of a document and triple quotes one.
    """
    for found in (
        _elements(text),
        _numbered(text, _BRACKET),
        _numbered(text, _NAMED),
        _inline(text),
        _quoted(text),
        _headed(text),
        _ruled(text),
    ):
        if found:
            return [_stripped(text, start, end) for start, end in found if text[start:end].strip()]
    return []


def without_questions(text: str, *, language: str = "en") -> list[Range]:
    """Return the sentences of ``text`` without the questions that it begins or ends with."""
    limit = len(text)
    for match in _QUESTION_LINE.finditer(text):
        if text[: match.start()].strip():
            limit = match.start()
            break
    sentences = source_units(text[:limit], language=language)
    while sentences and _ASKS.search(text[slice(*sentences[-1])]):
        sentences.pop()
    while sentences and _ASKS.search(text[slice(*sentences[0])]):
        sentences.pop(0)
    return sentences


def _stripped(text: str, start: int, end: int) -> Range:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _elements(text: str) -> list[Range]:
    """XML elements of one name: repeated, or one alone that is called a document."""
    found = {
        name: spans
        for name, spans in _by_name(text).items()
        if not _HTML.fullmatch(name) and not re.fullmatch(_ASKING, name)
    }
    named = {name: spans for name, spans in found.items() if _ONE_ELEMENT.match(name)}
    several = {name: spans for name, spans in (named or found).items() if len(spans) > 1}
    # Of elements within each other the outer: <doc><text>…</text></doc>.
    candidates = list((several or named).values())
    return max(candidates, key=lambda spans: sum(b - a for a, b in spans), default=[])


def _by_name(text: str) -> dict[str, list[Range]]:
    """Return the outermost elements of each name; ``doc1`` and ``doc2`` have one name."""
    opened: dict[str, list[int]] = {}
    found: dict[str, list[Range]] = {}
    for tag in _TAG.finditer(text):
        starts = opened.setdefault((tag["name"] + tag["number"]).lower(), [])
        if not tag["close"]:
            starts.append(tag.start())
        elif starts:
            spans = found.setdefault(tag["name"].lower().rstrip("_-"), [])
            start = starts.pop()
            while spans and spans[-1][0] > start:
                spans.pop()
            spans.append((start, tag.end()))
    return found


def _numbered(text: str, mark: re.Pattern[str]) -> list[Range]:
    """From each mark to the next; marks repeat no number."""
    marks = list(mark.finditer(text))
    numbers = [next(filter(None, match.groups())) for match in marks]
    if len(marks) < 2 or len(set(numbers)) < len(numbers):
        return []
    return _until_the_next(text, [_line_start(text, match.start()) for match in marks])


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _inline(text: str) -> list[Range]:
    """``[1] One. [2] Two.``: numbers that count up from the first of a line; no citations.

    A citation stands behind what it is about, so a text with citations does not begin with one.
    """
    marks = list(_INLINE.finditer(text))
    numbers = [int(match["number"]) for match in marks]
    if len(marks) < 2 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return []
    if text[_line_start(text, marks[0].start()) : marks[0].start()].strip(" \t:"):
        before = text[: marks[0].start()].rstrip()
        if not before.endswith(":"):
            return []
    return _until_the_next(text, [match.start() for match in marks])


def _until_the_next(text: str, starts: list[int]) -> list[Range]:
    """End each document where the next begins, and the last where the question does."""
    ranges = list(itertools.pairwise([*starts, len(text)]))
    start, end = ranges[-1]
    question = _QUESTION_LINE.search(text, start + 1)
    if question is not None:
        end = question.start()
    # Paragraphs beyond those that the others have belong to the question.
    most = max(len(_BLANK.findall(text[a:b].rstrip())) for a, b in ranges[:-1])
    blanks = list(_BLANK.finditer(text, start, start + len(text[start:end].rstrip())))
    if len(blanks) > most:
        end = blanks[most].start()
    ranges[-1] = start, _before_questions(text, start, end)
    return ranges


def _before_questions(text: str, start: int, end: int) -> int:
    """Leave out lines at the end that ask something."""
    while True:
        piece = text[start:end].rstrip()
        last = piece.rfind("\n")
        if last < 0 or not _ASKS.search(piece):
            return start + len(piece)
        end = start + last


def _quoted(text: str) -> list[Range]:
    return [match.span("body") for match in _QUOTED.finditer(text) if match[1] != "```"]


def _headed(text: str) -> list[Range]:
    """Sections under the headings of the highest level that comes twice."""
    headings = list(_HEADING.finditer(text))
    for level in range(1, 7):
        marks = [match for match in headings if len(match["level"]) == level]
        if len(marks) < 2:
            continue
        outer = [match.start() for match in headings if len(match["level"]) < level]
        ranges = []
        starts = [match.start() for match in marks]
        for mark, end in zip(marks, [*starts[1:], len(text)], strict=True):
            stop = min([end, *(at for at in outer if at > mark.start())])
            if not re.match(rf"{_ASKING}\b", mark["title"].strip(" *_:"), re.I):
                ranges.append((mark.start(), stop))
        if len(ranges) > 1 or (ranges and len(ranges) < len(marks)):
            start, end = ranges[-1]
            question = _QUESTION_LINE.search(text, start + 1, end)
            end = end if question is None else question.start()
            return [*ranges[:-1], (start, _before_questions(text, start, end))]
    return []


def _ruled(text: str) -> list[Range]:
    """Pieces between lines of dashes; with two such lines, the last piece may be the question."""
    rules = list(_RULE.finditer(text))
    if len(rules) < 2:
        return []
    edges = [0, *itertools.chain.from_iterable(match.span() for match in rules), len(text)]
    pieces = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if text[a:b].strip()]
    last = text[slice(*pieces[-1])].strip() if pieces else ""
    if pieces and (_ASKS.search(last) or _QUESTION_LINE.match(last)):
        pieces.pop()
    return pieces

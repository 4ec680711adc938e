"""From a response to its spans, while it grows.

Sentence boundaries are those of ``sentencex``, with the block structure of Markdown added: a blank
line ends a span, and so does the line break before or after a list item, a heading or a table row.
A piece without a letter or digit (an emoji, a rule, a code fence) is never a span of its own as
long as it has a neighbour to join.

Prefix stability comes from *when* a boundary is decided. The segmenter reads one character after
the other; at points that the text alone determines (the end of the first word after some
punctuation, the end of a line) it evaluates the tail that belongs to no span yet, and what it then
decides stands. How the text was cut into pushes cannot matter, and the one-shot form is the same
machine. ``sentencex`` keeps quotations and brackets whole, which the end of a quotation decides in
retrospect; so a decision inside one waits until it closes, for at most ``QUOTE_LIMIT`` characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, TypeAlias, get_args

import sentencex

from omnitrace.errors import InputError

__all__ = ["QUOTE_LIMIT", "TAIL_LIMIT", "Segmenter", "Unit", "segment"]

Unit: TypeAlias = Literal["sentence", "clause"]

#: Characters after which an unclosed quotation or bracket no longer holds a decision back.
QUOTE_LIMIT: Final = 400
#: Longest span: text without any boundary is cut at the last white space before.
TAIL_LIMIT: Final = 2000

# What sentencex cannot take: it panics on white space beyond ASCII after a quotation, and Rust
# strings hold no surrogates. Replaced one for one, so that offsets stay.
_WHITESPACE_BEYOND_ASCII: Final = {code: " " for code in range(0x80, 0x3001) if chr(code).isspace()}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_BULLETS: Final = "•‣◦▪▫●○■□◆◇►▸▶➤➢➔✓✔✗✘❖·∙⁃★☆※→–—"  # noqa: RUF001
_MARKER: Final = re.compile(
    rf"[^\S\n]*(?:[-*+{_BULLETS}]|\(?\d{{1,3}}[.)]|\(?[A-Za-z]\))[^\S\n]+(?=\S)"
)
# A line that is a block of its own: a list item, a heading, a table row, bold text, a rule.
_BLOCK: Final = re.compile(
    _MARKER.pattern
    + r"|[^\S\n]*(?:#{1,6}[^\S\n]+\S|\||(?:\*\*[^*\n]+\*\*:?|-{3,}|\*{3,}|_{3,}|={3,})[^\S\n]*\n)"
)
# Full stops that sentencex does not know: Khmer, Tibetan.
_OTHER_STOPS: Final = re.compile("[។៕།༎]\\s*")
# Thai and Lao have none; a space ends a sentence or a clause.
_THAI_SPACE: Final = re.compile(r"(?<=[\u0e00-\u0eff])[^\S\n]+(?=[\u0e00-\u0eff])")
_THAI_LENGTH: Final = 15  # characters without a space that may be a name or a number of things
# What a number or bracket follows: "Eq. (2)", "Fig. 3" stay whole.
_NUMBERED: Final = re.compile(
    r"\b(?:Eqs?|Figs?|Secs?|Refs?|Tabs?|Nos?|Nr|Chs?|Vols?|pp?|cf|Abb|Gl|Thm|Lem|Def)\.\s+\Z", re.I
)
_NUMBER: Final = re.compile(r"[(\[]?\d|\([a-z]\)", re.I)
_BLANK_LINE: Final = re.compile(r"\n\s*\n")
# What closes a sentence after its full stop, with the white space behind it.
_CLOSING: Final = re.compile(r"[*_~`\"'”’»)\]]+(?:\s+|$)")  # noqa: RUF001
_WORD: Final = re.compile(r"[^\W_]")

_CLOSERS: Final = {"“": "”", "«": "»", "„": "“", "‹": "›", "「": "」", "『": "』", "《": "》"} | {  # noqa: RUF001
    '"': '"',
    "(": ")",
    "[": "]",
    "（": "）",  # noqa: RUF001
}

# Punctuation that is never the last of a sentence; it wakes no evaluation.
_INNER: Final = frozenset(",'’-–—/%$&*_#+=<>|~^\\@;:")  # noqa: RUF001
_CLAUSE_MARKS: Final = frozenset(",;:")

# Coordinating conjunctions before which a comma ends a clause. English "for" and its like are left
# out: they are prepositions more often.
_CONJUNCTIONS: Final = {
    "en": "and|but|or|nor|so|yet",
    "de": "und|aber|oder|sondern|doch|denn",
    "fr": "et|mais|ou|donc|ni|car",
    "es": "y|e|pero|o|u|ni|sino",
}


class Segmenter:
    """Segment a growing text; see the module's text for the rules.

    Parameters
    ----------
    unit:
        ``"sentence"``, or ``"clause"``: that also ends a span after ``;`` and ``:`` before white
        space (or in their full-width form), and after a comma before a coordinating conjunction
        (English, German, French, Spanish).
    language:
        ISO 639 code for ``sentencex``, which falls back to a related language or to English.
    """

    def __init__(self, *, unit: Unit = "sentence", language: str = "en") -> None:
        if unit not in get_args(Unit):
            raise InputError(f"unknown span unit {unit!r}", legal=" or ".join(get_args(Unit)))
        self._language = language
        self._clause: re.Pattern[str] | None = None
        self._inner = _INNER
        if unit == "clause":
            words = _CONJUNCTIONS.get(re.split("[-_]", language)[0].lower())
            conjunction = rf"|,\s+(?=(?:{words})\b)" if words else ""
            self._clause = re.compile(rf"[;:]\s+|[；：]\s*{conjunction}", re.I)  # noqa: RUF001
            self._inner = _INNER - _CLAUSE_MARKS
        self._tail = ""  # read, but in no span yet
        self._offset = 0  # of the tail in the whole text
        self._line = 0  # where the tail's last line begins, in the tail
        self._pending = False  # punctuation was read whose meaning the next word decides
        self._word = False  # ... and a letter or digit of that word
        self._again = False  # ... and further punctuation after it

    @property
    def start(self) -> int:
        """Where the text begins that is in no span yet, as an index into the whole text."""
        return self._offset

    def push(self, text: str) -> list[tuple[int, int]]:
        """Read on, and return the character ranges of the spans that have ended."""
        spans: list[tuple[int, int]] = []
        start = len(self._tail)  # of what is new in the buffer
        buffer = self._tail + text
        begin = 0  # of the tail in the buffer
        for i in range(start, len(buffer)):
            if i == begin and buffer[i].isspace():
                begin += 1
                self._offset += 1
                continue
            cuts = self._read(buffer, begin, i)
            if not cuts and i + 1 - begin >= TAIL_LIMIT:
                cuts = self._force(buffer[begin : i + 1])
            for cut in cuts:
                spans.append(self._range(buffer, begin, begin + cut))
                self._offset += cut
                self._line = max(0, self._line - cut)
                begin += cut
        self._tail = buffer[begin:]
        return spans

    def finish(self) -> list[tuple[int, int]]:
        """Return the ranges of what is left: the text has ended."""
        tail, self._tail = self._tail, ""
        spans: list[tuple[int, int]] = []
        begin = 0
        # The line break ends the last line; no boundary comes after it.
        for cut in [*self._boundaries(tail + "\n"), len(tail)] if tail.strip() else []:
            spans.append(self._range(tail, begin, cut))
            self._offset += cut - begin
            begin = cut
        self._offset += len(tail) - begin
        self._line = 0
        self._pending = self._word = self._again = False
        return spans

    def _range(self, buffer: str, start: int, end: int) -> tuple[int, int]:
        """Range in the whole text of ``buffer[start:end]`` without white space around it."""
        piece = buffer[start:end]
        lead = len(piece) - len(piece.lstrip())
        return self._offset + lead, self._offset + len(piece.rstrip())

    def _read(self, buffer: str, begin: int, i: int) -> list[int]:
        """Read ``buffer[i]``; return the lengths of the spans that end, from the tail's start."""
        char = buffer[i]
        if char == "\n":
            return self._end_line(buffer[begin : i + 1])
        if char.isspace():
            if self._pending and self._word:
                self._pending, self._word, self._again = self._again, False, False
                return self._decide(buffer[begin : i + 1])
        elif char.isalnum():
            self._word = True
            if self._pending and unicodedata.east_asian_width(char) in "WF":
                # Chinese, Japanese: no white space will mark the end of the word.
                self._pending = self._word = self._again = False
                return self._decide(buffer[begin : i + 1])
        elif char not in self._inner:
            if self._pending and self._word:
                self._again = True
            else:
                self._pending, self._word = True, False
        return []

    def _end_line(self, tail: str) -> list[int]:
        line = tail[self._line :]
        self._line = len(tail)
        self._pending, self._word, self._again = True, False, False
        ends = not line.strip() or _BLOCK.match(line) is not None
        if not ends or not _has_word(tail):
            return []
        return _lengths([*self._boundaries(tail), len(tail)])

    def _decide(self, tail: str) -> list[int]:
        """Boundaries of a tail that ends with a whole word, as far as they can be decided."""
        cuts = self._boundaries(tail)
        if cuts:
            opened = _open_quote(tail)
            if opened is not None and len(tail) - opened <= QUOTE_LIMIT:
                cuts = [cut for cut in cuts if cut <= opened]
        return _lengths(cuts)

    def _force(self, tail: str) -> list[int]:
        """Cut a tail that has grown too long, if need be in the middle of a sentence."""
        cuts = self._boundaries(tail)
        if not cuts:
            body = tail.rstrip()
            last = max((m.end() for m in re.finditer(r"\s+", body)), default=0)
            cuts = [last if tail[:last].strip() else len(tail)]
        return _lengths(cuts)

    def _boundaries(self, tail: str) -> list[int]:
        """Inner boundaries of ``tail``, each with a letter or digit on both of its sides."""
        cuts: list[int] = []
        start = 0
        for end in [*_line_cuts(tail), len(tail)]:
            block = tail[start:end]
            cuts += [start + cut for cut in self._sentences(block)]
            cuts.append(end)
            start = end
        kept: list[int] = []
        last = 0
        for cut in cuts:
            if _has_word(tail[last:cut]) and _has_word(tail[cut:]):
                kept.append(cut)
                last = cut
        return kept

    def _sentences(self, block: str) -> list[int]:
        """Boundaries inside a block: those of sentencex, and of clauses."""
        marker = _MARKER.match(block)
        first = marker.end() if marker else 0
        plain = _SURROGATE.sub("\ufffd", block.translate(_WHITESPACE_BEYOND_ASCII))
        cuts = set()
        cursor = 0
        for piece in sentencex.segment(self._language, plain):
            cursor += len(piece)
            closing = _CLOSING.match(plain, cursor) if piece[-1] > " " else None
            cuts.add(closing.end() if closing else cursor)
        if self._clause is not None:
            cuts.update(match.end() for match in self._clause.finditer(block))
        cuts.update(match.end() for match in _OTHER_STOPS.finditer(block))
        cuts.update(_thai_cuts(block))
        return sorted(
            cut
            for cut in cuts
            if first < cut < len(block)
            and not (_NUMBER.match(block, cut) and _NUMBERED.search(block, max(0, cut - 12), cut))
        )


def segment(text: str, *, unit: Unit = "sentence", language: str = "en") -> list[tuple[int, int]]:
    """Return the character ranges of the spans of a whole text."""
    segmenter = Segmenter(unit=unit, language=language)
    return segmenter.push(text) + segmenter.finish()


def _thai_cuts(block: str) -> list[int]:
    """Find the ends of Thai and Lao sentences: spaces, where neither side is short."""
    cuts = [match.end() for match in _THAI_SPACE.finditer(block)]
    kept: list[int] = []
    for cut, after in zip(cuts, [*cuts[1:], len(block)], strict=False):
        last = kept[-1] if kept else 0
        if cut - last > _THAI_LENGTH and after - cut > _THAI_LENGTH:
            kept.append(cut)
    return kept


def _lengths(cuts: list[int]) -> list[int]:
    return [cut - before for before, cut in zip([0, *cuts], cuts, strict=False)]


def _has_word(text: str) -> bool:
    return _WORD.search(text) is not None


def _line_cuts(tail: str) -> list[int]:
    """Find the ends of blank lines, and of lines before or after a block line."""
    cuts = {match.end() for match in _BLANK_LINE.finditer(tail)}
    start = 0
    while (end := tail.find("\n", start)) >= 0:
        end += 1
        if _BLOCK.match(tail, start) or _BLOCK.match(tail, end):
            cuts.add(end)
        start = end
    return sorted(cut for cut in cuts if cut < len(tail))


def _open_quote(tail: str) -> int | None:
    """Position of the quotation mark or bracket that is still open at the end, if any."""
    opened: int | None = None
    closer = ""
    for i, char in enumerate(tail):
        if opened is not None:
            if char == closer:
                opened = None
        elif char in _CLOSERS and (char != '"' or i == 0 or not tail[i - 1].isalnum()):
            opened, closer = i, _CLOSERS[char]
    return opened

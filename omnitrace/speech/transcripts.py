"""Transcripts that users have: SRT, WebVTT, what recognisers write as JSON, CTM, Python lists."""

from __future__ import annotations

import html
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from omnitrace._utils.documents import check_size
from omnitrace.errors import InputError
from omnitrace.media.limits import MediaLimits
from omnitrace.media.source import resolve_source
from omnitrace.speech.utterances import Utterance, Word
from omnitrace.speech.words import sentences_of

__all__ = ["read_transcript"]

_LEGAL: Final = (
    "an SRT, WebVTT or CTM file, JSON of Whisper or the like, or a list of "
    '{"start": seconds, "end": seconds, "text": "…", "speaker": "…"}'
)
_MAX_BYTES: Final = 64 * 2**20
_TAGS: Final = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_SPEAKER: Final = re.compile(r"^\[?(SPEAKER_\d+)\]?:\s*")
_CLOCK: Final = re.compile(r"^(?:(\d{1,10}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,9})?)$")
_SEGMENTS: Final = ("segments", "chunks", "utterances", "transcript", "results", "words")


def read_transcript(
    value: object, where: str, media_root: str | os.PathLike[str] | None = None
) -> list[Utterance]:
    """Read a transcript as it stands, with whatever is wrong with its seconds.

    Parameters
    ----------
    value:
        A path, bytes, a data URL, a file URL; or what JSON of a recogniser holds: a list of
        mappings with ``start``, ``end`` and ``text``, or a mapping with ``segments`` or ``chunks``.
        The format of a file is found in its content.
    where:
        What has the transcript, for errors.
    media_root:
        The folder against which relative paths are resolved.

    Returns
    -------
    list[Utterance]
        In the transcript's order. Words that stand alone (CTM, or JSON with a time for each word
        only) are joined into sentences.

    Raises
    ------
    InputError
        If it cannot be read, or holds nothing that is said at a time.
    """
    if isinstance(value, Mapping | list | tuple):
        found = _of_json(value, where)
    else:
        if not isinstance(value, str | os.PathLike | bytes | bytearray | memoryview):
            raise InputError(
                f"{where} has a transcript of type {type(value).__name__}", legal=_LEGAL
            )
        limits = MediaLimits(max_bytes=_MAX_BYTES)
        source = resolve_source(value, limits=limits, media_root=media_root, legal=_LEGAL)
        found = _of_text(_decoded(source.read()), f"{where}: the transcript {source.label}")
    if not found:
        raise InputError(f"{where}: the transcript says nothing at any time", legal=_LEGAL)
    return found


def _decoded(data: bytes) -> str:
    """Return the text of a file in UTF-8, in UTF-16 with a mark, or else in Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _of_text(text: str, where: str) -> list[Utterance]:
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped.startswith("WEBVTT"):
        return _of_captions(stripped, "vtt", where)
    if stripped.startswith(("{", "[")):
        # Not the bounded reader of our own files: recognisers write NaN where a score is missing.
        try:
            check_size(stripped)
        except ValueError as error:
            raise InputError(f"{where} cannot be read: {error}", legal=_LEGAL) from None
        try:
            return _of_json(json.loads(stripped), where)
        except RecursionError:
            raise InputError(f"{where} is nested too deeply", legal=_LEGAL) from None
        except ValueError as error:
            lines = _of_json_lines(stripped, where)
            if lines is None:
                raise InputError(f"{where} is no JSON ({error})", legal=_LEGAL) from None
            return lines
    if "-->" in stripped:
        return _of_captions(stripped, "srt", where)
    return sentences_of(sorted(_of_ctm(stripped, where), key=lambda word: word.start))


def _of_captions(text: str, kind: str, where: str) -> list[Utterance]:
    try:
        captions = webvtt.from_buffer(io.StringIO(text), format=kind)
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise InputError(f"{where} is no {kind.upper()} file ({error})", legal=_LEGAL) from None
    return [
        _utterance(
            each.start_time.in_milliseconds() / 1000,
            each.end_time.in_milliseconds() / 1000,
            each.raw_text,
            each.voice,
        )
        for each in captions.captions
    ]


def _utterance(start: float, end: float, text: str, speaker: object = None) -> Utterance:
    """Clean the text of a cue: no tags, no entities, no name of a diarised speaker."""
    words = " ".join(html.unescape(_TAGS.sub("", text)).split())
    named = _SPEAKER.match(words)
    if named:
        words = words[named.end() :]
    who = speaker if isinstance(speaker, str | int) and not isinstance(speaker, bool) else None
    name = " ".join(str(who).split()) if who not in (None, "") else named and named[1]
    return Utterance(start, end, words, name or None)


def _of_json_lines(text: str, where: str) -> list[Utterance] | None:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    return _of_json(rows, where)


def _of_json(value: Any, where: str) -> list[Utterance]:
    """Read segments, chunks or words, wherever a recogniser keeps them."""
    if isinstance(value, Mapping):
        named = next((value[key] for key in _SEGMENTS if isinstance(value.get(key), list)), None)
        if named is None:
            raise InputError(
                f"{where}: the transcript has none of {', '.join(map(repr, _SEGMENTS))}",
                legal=_LEGAL,
            )
        value = named
    entries = [entry for entry in value if isinstance(entry, Mapping)]
    found = [each for entry in entries for each in _of_entry(entry)]
    if _are_words(entries):
        return sentences_of(sorted(found, key=lambda word: word.start))
    return found


def _are_words(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a recogniser gives a time to each word, and says nothing of sentences."""
    if any("word" in entry for entry in entries):
        return True
    texts = [str(entry.get("text", "")).split() for entry in entries if "timestamp" in entry]
    return bool(texts) and all(len(text) < 2 for text in texts)


def _of_entry(entry: Mapping[str, Any]) -> Iterator[Utterance]:
    times = entry.get("timestamp")
    if isinstance(times, Sequence) and not isinstance(times, str) and len(times) == 2:
        start, end = _seconds(times[0]), _seconds(times[1])
    else:
        start, end = _seconds(entry.get("start")), _seconds(entry.get("end"))
    text = next((entry[key] for key in ("text", "word") if isinstance(entry.get(key), str)), None)
    if start is None or text is None:
        return
    # The transformers pipeline leaves the last end open: it is the recording's.
    yield _utterance(start, math.inf if end is None else end, text, entry.get("speaker"))


def _seconds(value: object) -> float | None:
    """Return seconds from a number, or from text as ``12.5`` or ``01:02:03,5``."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    if not isinstance(value, str):
        return None
    clock = _CLOCK.match(value.strip())
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    try:
        return float(value)
    except ValueError:
        return None


def _of_ctm(text: str, where: str) -> Iterator[Word]:
    """Read lines of ``recording channel start duration word [confidence]``."""
    read = False
    for line in text.splitlines():
        columns = line.split()
        if not columns or line.startswith(";;"):
            continue
        start, lasting = (
            (_seconds(columns[2]), _seconds(columns[3])) if len(columns) >= 5 else (None, None)
        )
        if start is None or lasting is None:
            continue
        read = True
        if columns[4] not in ("<eps>", "<sil>", "SIL", "[noise]"):
            yield Word(start, start + lasting, html.unescape(columns[4]))
    if not read:
        raise InputError(f"{where} is of no format that is known", legal=_LEGAL)

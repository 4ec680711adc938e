"""Import labels in the form of the OmniTrace paper (appendix: the annotation prompts).

The paper's labels were never published; what is known of them is that they give, for each generated
sentence, ``text_source`` (numbers of text chunks), ``image_source`` (numbers of images) and
``audio_source``, ``video_source`` or ``audio/video_source`` (times). Here they are read from
entries of the paper's question and result files, ``{"id", "prompt", "question": [...],
"response", "input_text_chunks": [...]}``, of which one field (whatever its name) is the list of
labelled sentences. A chunk is found again by its words, over the joined texts of prompt and
question, as the paper's code joins them; one that reaches over several parts becomes several
sources. What cannot be mapped is refused with the reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from pydantic import ValidationError

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import LabelError, LabelProblem, label_mistakes
from omnitrace.evaluation.labels.schema import VERSION, Label
from omnitrace.sources.request_files import RequestEntry, read_requests

__all__ = ["read_paper_labels", "seconds_of"]

_TIMES: Final = ("audio/video_source", "audio_source", "video_source")
_FIELDS: Final = ("text_source", "image_source", *_TIMES)
_SENTENCE: Final = ("sentence", "chunk_text", "text")
_NUMBER: Final = ("sentence_index", "sentence_id", "chunk_id", "index")
_CLOCK: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)\s*s?")


class _UnmappedError(Exception):
    """A field of an entry that cannot be mapped, and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of an entry in the paper's order (prompt first), joined without anything between.

    ``starts`` has the place in ``joined`` and the part of each.
    """

    joined: str
    starts: tuple[tuple[int, int, int], ...]  # start, end, part

    def sources(self, start: int, end: int) -> list[dict[str, Any]]:
        return [
            {
                "type": "text",
                "message": 0,
                "part": part,
                "start": max(start, a) - a,
                "end": min(end, b) - a,
            }
            for a, b, part in self.starts
            if max(start, a) < min(end, b)
        ]


def read_paper_labels(
    path: str | Path, *, image_base: int = 0, skip_invalid: bool = False
) -> list[Label]:
    """Read labels in the paper's form; ids and parts are those that ``read_requests`` gives.

    Parameters
    ----------
    path:
        A ``.json`` or ``.jsonl`` file of entries.
    image_base:
        The number of the first image: 0, as in the paper's released output, or 1.
    skip_invalid:
        Leave entries that cannot be mapped out, instead of refusing the file.

    Raises
    ------
    LabelError
        If entries cannot be mapped and ``skip_invalid`` is not set; it lists one reason for each.
    InputError
        If the file cannot be read, or holds nothing.
    """
    path = Path(path)
    labels: list[Label] = []
    problems: list[LabelProblem] = []
    for number, request in enumerate(read_requests(path)):
        try:
            if not isinstance(request, RequestEntry):
                raise _UnmappedError("", str(request.error))
            if not isinstance(request.raw, Mapping):
                raise InputError(f"{str(path)!r} holds messages", legal="entries with 'question'")
            labels.append(_label(request, request.raw, image_base))
        except _UnmappedError as error:
            field = f"[{number}]" + (f".{error.field}" if error.field else "")
            problems.append(LabelProblem(str(path), 0, field, str(error)))
        except ValidationError as error:
            problems += [
                LabelProblem(str(path), 0, f"[{number}].{field}", message)
                for field, message in label_mistakes(error)
            ]
    if problems and not skip_invalid:
        raise LabelError(problems)
    return labels


def _label(request: RequestEntry, entry: Mapping[str, Any], image_base: int) -> Label:
    if "question" not in entry:
        raise _UnmappedError("question", "there is no such field; the paper's form has it")
    name, sentences = _sentences(entry)
    chunks = _strings(entry, "gen_chunks") or _strings(entry.get("attribution"), "gen_chunks")
    texts = [_said(each, chunks, f"{name}[{i}]") for i, each in enumerate(sentences)]
    response = entry.get("response")
    if not isinstance(response, str):
        response = " ".join(chunks or texts)
    joined = _texts(request, entry)
    numbered = _chunk_ranges(entry, joined)
    spans = []
    reached = 0
    for index, (sentence, text) in enumerate(zip(sentences, texts, strict=True)):
        place = f"{name}[{index}]"
        start = response.find(text, reached)
        if start < 0:
            raise _UnmappedError(
                place, f"the response does not say {text!r} after character {reached}"
            )
        reached = start + len(text)
        sources = [
            *_text_sources(sentence, joined, numbered, place),
            *_image_sources(sentence, request, image_base, place),
            *_time_sources(sentence, request, place),
        ]
        spans.append({"start": start, "end": reached, "text": text, "sources": sources})
    document = {"version": VERSION, "id": request.id, "response": response, "spans": spans}
    return Label.model_validate_json(json.dumps(document))


def _sentences(entry: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """Find the list of labelled sentences: the name of its field is not known."""
    found = [
        (name, value)
        for name, value in entry.items()
        if isinstance(value, list)
        and value
        and all(isinstance(each, Mapping) and set(_FIELDS) & each.keys() for each in value)
    ]
    if len(found) != 1:
        names = ", ".join(repr(name) for name, _ in found) or "none"
        wanted = ", ".join(map(repr, _FIELDS))
        raise _UnmappedError(
            "", f"one list of sentences with any of {wanted} is needed; there is {names}"
        )
    return found[0]


def _strings(value: Any, name: str) -> list[str]:
    listed = value.get(name) if isinstance(value, Mapping) else None
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def _said(sentence: Mapping[str, Any], chunks: Sequence[str], place: str) -> str:
    for name in _SENTENCE:
        text = sentence.get(name)
        if isinstance(text, str) and text.strip():
            return text.strip()
    for name in _NUMBER:
        index = sentence.get(name)
        if _is_number(index):
            if 0 <= index < len(chunks) and chunks[index].strip():
                return chunks[index].strip()
            raise _UnmappedError(
                f"{place}.{name}", f"{index} is none of the {len(chunks)} 'gen_chunks'"
            )
    raise _UnmappedError(place, f"it has neither its words ({', '.join(_SENTENCE)}) nor its number")


def _texts(request: RequestEntry, entry: Mapping[str, Any]) -> _Texts:
    content = request.messages[0]["content"]
    parts = [(i, part["text"]) for i, part in enumerate(content) if part["type"] == "text"]
    if isinstance(entry.get("prompt"), str) and entry["prompt"].strip():
        parts = [parts[-1], *parts[:-1]]  # a request has its instruction last
    starts = []
    reached = 0
    for part, text in parts:
        starts.append((reached, reached + len(text), part))
        reached += len(text)
    return _Texts("".join(text for _, text in parts), tuple(starts))


def _chunk_ranges(entry: Mapping[str, Any], texts: _Texts) -> dict[int, tuple[int, int] | str]:
    """Find every numbered chunk in the joined texts, one after the other; or its words, if not."""
    found: dict[int, tuple[int, int] | str] = {}
    reached = 0
    chunks = entry.get("input_text_chunks")
    for chunk in chunks if isinstance(chunks, list) else []:
        if not isinstance(chunk, Mapping):
            continue
        number, text = chunk.get("chunk_id"), chunk.get("text")
        if _is_number(number) and isinstance(text, str) and text.strip():
            place = _find(text, texts.joined, reached)
            found[number] = place or text
            reached = place[1] if place else reached
    return found


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _find(words: str, text: str, start: int) -> tuple[int, int] | None:
    """Find words, whatever the white space between them."""
    pattern = r"\s*".join(map(re.escape, words.split()))
    match = re.compile(pattern).search(text, start)
    return match.span() if match and match.end() > match.start() else None


def _listed(sentence: Mapping[str, Any], name: str, place: str) -> Iterator[tuple[str, Any]]:
    value = sentence.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        raise _UnmappedError(f"{place}.{name}", f"{value!r} is no list")
    for index, item in enumerate(value):
        number = item.get("source_chunk_id") if isinstance(item, Mapping) else None
        yield f"{place}.{name}[{index}]", item if number is None else number


def _text_sources(
    sentence: Mapping[str, Any],
    texts: _Texts,
    numbered: Mapping[int, tuple[int, int] | str],
    place: str,
) -> Iterator[dict[str, Any]]:
    for field, item in _listed(sentence, "text_source", place):
        found: tuple[int, int] | str | None
        if isinstance(item, str):
            found = _find(item, texts.joined, 0) or item
        else:
            found = numbered.get(item) if _is_number(item) else None
        if found is None:
            known = f"{min(numbered)} to {max(numbered)}" if numbered else "there are none"
            raise _UnmappedError(
                field, f"{item!r} is no 'chunk_id' of 'input_text_chunks' ({known})"
            )
        if isinstance(found, str):
            raise _UnmappedError(field, f"the chunk {found!r} is not in the texts of the question")
        yield from texts.sources(*found)


def _image_sources(
    sentence: Mapping[str, Any], request: RequestEntry, base: int, place: str
) -> Iterator[dict[str, Any]]:
    content = request.messages[0]["content"]
    images = [i for i, part in enumerate(content) if part["type"] == "image"]
    for field, item in _listed(sentence, "image_source", place):
        if not _is_number(item) or not base <= item < base + len(images):
            last = base + len(images) - 1
            known = f"{base} to {last}" if images else "there are none"
            raise _UnmappedError(field, f"{item!r} is no number of an image ({known})")
        yield {"type": "image", "message": 0, "part": images[item - base]}


def _time_sources(
    sentence: Mapping[str, Any], request: RequestEntry, place: str
) -> Iterator[dict[str, Any]]:
    content = request.messages[0]["content"]
    for name in _TIMES:
        kinds = tuple(kind for kind in ("audio", "video") if kind in name)
        media = [i for i, part in enumerate(content) if part["type"] in kinds]
        for field, item in _listed(sentence, name, place):
            if len(media) != 1:
                raise _UnmappedError(
                    field,
                    f"the question has {len(media)} {' or '.join(kinds)} parts; a time needs "
                    "exactly one to be of",
                )
            start, end = _interval(item, field)
            yield {"type": "time", "message": 0, "part": media[0], "start": start, "end": end}


def _interval(item: Any, field: str) -> tuple[float, float]:
    """Read a time as an interval; a single point stands for the second that it lies in."""
    ends: list[Any]
    if isinstance(item, Mapping):
        ends = [item.get("start"), item.get("end")]
    elif isinstance(item, str):
        ends = re.split(r"\s*[-–—~]\s*", item.strip())  # noqa: RUF001
    else:
        ends = item if isinstance(item, list) else [item]
    seconds = [seconds_of(end) for end in ends]
    if len(seconds) in (1, 2) and all(each is not None for each in seconds):
        known = [each for each in seconds if each is not None]
        if len(known) == 1:
            return float(math.floor(known[0])), float(math.floor(known[0]) + 1)
        if 0 <= known[0] < known[1]:
            return known[0], known[1]
    raise _UnmappedError(
        field, f"{item!r} is no time: seconds, 'm:ss', or a start and an end of these"
    )


def seconds_of(value: Any) -> float | None:
    """Read seconds from a number or from "m:ss"; None where it is no time."""
    if isinstance(value, str):
        match = _CLOCK.fullmatch(value.strip())
        if match is None:
            return None
        hours, minutes, rest = match.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(rest)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)

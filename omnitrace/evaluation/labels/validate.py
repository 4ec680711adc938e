"""Check labels against the request that they are of: its parts, texts, sizes and durations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import LabelProblem, LabelScan
from omnitrace.evaluation.labels.matching import part_of, quoted_range
from omnitrace.evaluation.labels.schema import ImageSource, Label, Source, TextSource, TimeSource
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord

__all__ = ["check_label", "check_labels"]

# Seconds by which a label may end after the medium: durations are rounded when written down.
_SLACK: Final = 1e-3


def check_labels(
    labels: LabelScan, traces: Iterable[tuple[str, Trace]]
) -> tuple[LabelProblem, ...]:
    """Return every mistake of a label file against its traces, in the order of its lines.

    Parameters
    ----------
    labels:
        What :func:`~omnitrace.evaluation.labels.io.scan_labels` returns.
    traces:
        Pairs of a label's id and a trace; those without a label are ignored. A label without a
        trace is a mistake.
    """
    problems = list(labels.problems)
    entries = {entry.label.id: entry for entry in labels.entries}
    for name, trace in traces:
        entry = entries.pop(name, None)
        if entry is not None:
            mistakes = check_label(entry.label, trace)
            problems += [LabelProblem(labels.file, entry.line, *each) for each in mistakes]
    for entry in entries.values():
        message = f"there is no trace of {entry.label.id!r} to check it against"
        problems.append(LabelProblem(labels.file, entry.line, "id", message))
    return tuple(sorted(problems, key=lambda problem: problem.line))


def check_label(label: Label, trace: Trace) -> list[tuple[str, str]]:
    """Return (field, mistake) for every source that the trace's request does not have.

    The response need not be the trace's: labels also evaluate another response to the same request.
    """
    media = {(record.message, record.part): record for record in trace.media}
    found = []
    for name, source in _sources(label):
        part = part_of(trace.messages, source.message, source.part)
        record = media.get((source.message, source.part))
        mistake = _mistake(source, part, record, trace)
        if mistake is not None:
            field, reason = mistake
            found.append((f"{name}.{field}", reason))
    return found


def _sources(label: Label) -> Iterator[tuple[str, Source]]:
    """Yield the sources of all spans, words and options, with their fields."""
    for number, span in enumerate(label.spans):
        for index, source in enumerate(span.sources):
            yield f"spans[{number}].sources[{index}]", source
        for place, word in enumerate(span.words):
            for index, source in enumerate(word.sources):
                yield f"spans[{number}].words[{place}].sources[{index}]", source
        for place, option in enumerate(span.options):
            for index, source in enumerate(option.sources):
                yield f"spans[{number}].options[{place}].sources[{index}]", source


def _mistake(
    source: Source, part: dict[str, Any] | None, record: MediaRecord | None, trace: Trace
) -> tuple[str, str] | None:
    if part is None:
        return _no_such_part(source, trace)
    kind = part["type"]
    legal = {"text": ("text",), "image": ("image",), "time": ("audio", "video")}[source.type]
    if kind not in legal:
        place = f"part {source.part} of message {source.message}"
        return "type", f"{place} is {_named(kind)}, not {' or '.join(map(_named, legal))}"
    if isinstance(source, TextSource):
        return _text_mistake(source, part["text"])
    if isinstance(source, ImageSource):
        return _box_mistake(source, record)
    return _time_mistake(source, record, trace)


def _named(kind: str) -> str:
    return {"text": "a text", "image": "an image", "audio": "an audio", "video": "a video"}[kind]


def _no_such_part(source: Source, trace: Trace) -> tuple[str, str]:
    count = len(trace.messages)
    if source.message >= count:
        return "message", f"there is no message {source.message}; the request has {count}"
    content = trace.messages[source.message]["content"]
    parts = 1 if isinstance(content, str) else len(content)
    return "part", f"there is no part {source.part}; message {source.message} has {parts}"


def _text_mistake(source: TextSource, text: str) -> tuple[str, str] | None:
    if source.quote is not None:
        try:
            quoted_range(source.quote, text)
        except InputError as error:
            return "quote", error.found
    elif source.end is not None and source.end > len(text):
        return "end", f"{source.end} is beyond the text, which has {len(text)} characters"
    return None


def _box_mistake(source: ImageSource, record: MediaRecord | None) -> tuple[str, str] | None:
    if record is None or record.size is None:
        return None
    width, height = record.size
    boxes = [("box", source.box)] if source.box else []
    boxes += [(f"shows[{index}]", box) for index, box in enumerate(source.shows or ())]
    for name, box in boxes:
        if box[2] > width or box[3] > height:
            written = ", ".join(f"{value:g}" for value in box)
            return name, f"[{written}] is outside the image, which has {width} by {height} pixels"
    return None


def _time_mistake(
    source: TimeSource, record: MediaRecord | None, trace: Trace
) -> tuple[str, str] | None:
    if record is None:
        return None
    ends = [("end", source.end)]
    ends += [(f"shows[{index}]", end) for index, (_, end) in enumerate(source.shows or ())]
    for name, end in ends:
        if record.duration is not None and end > record.duration + _SLACK:
            lasts = f"the {record.modality}, which lasts {record.duration:g} s"
            return name, f"{end:g} s is beyond the end of {lasts}"
    if source.stream == "video" and record.modality == "audio":
        return "stream", "an audio has no pictures (legal: 'audio', or no stream)"
    if source.stream == "audio" and record.modality == "video" and not _sounds(record, trace):
        return "stream", "the video has no sound that the model was given"
    return None


def _sounds(record: MediaRecord, trace: Trace) -> bool:
    here = (record.message, record.part)
    return bool(record.waveform) or any(
        unit.modality == "audio" and (unit.locator.message, unit.locator.part) == here
        for unit in trace.units
    )

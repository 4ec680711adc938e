"""What a response used of audio and video, and when, as subtitles: WebVTT and SRT.

A cue is a stretch of time that the response cites; it shows the statements that rest on it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import Final

from omnitrace._utils.file_names import safe_name
from omnitrace._utils.plain_text import plain
from omnitrace.export.base import ExportedFile, NamedTrace
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord

__all__ = ["SubRip", "WebVTT"]

_TIMED: Final = ("audio", "video")
_MILLISECOND: Final = 0.001  # the shortest cue
_LONGEST: Final = 100 * 3600 - _MILLISECOND  # what fits two digits of hours


class WebVTT:
    """WebVTT: a file for each audio or video."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield a file for each audio or video of each trace."""
        for name, trace, record in _timed(traces):
            about = f"{record.name or record.modality} (sha256 {record.sha256})"
            blocks = ["WEBVTT", f"NOTE\nWhat a response used of {_one_line(about)}"]
            for number, (start, end, lines) in enumerate(_cues(trace, record), 1):
                text = "\n".join(html.escape(line, quote=False) for line in lines)
                times = f"{_clock(start, '.')} --> {_clock(end, '.')}"
                blocks.append(f"{number}\n{times}\n{text}")
            text = "\n\n".join(blocks) + "\n"
            yield ExportedFile(f"{name}.vtt", text.encode("utf-8", "replace"))


class SubRip:
    """SubRip (SRT): a file for each audio or video."""

    def files(self, traces: Iterable[NamedTrace]) -> Iterator[ExportedFile]:
        """Yield a file for each audio or video of each trace."""
        for name, trace, record in _timed(traces):
            blocks = [
                f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n" + "\n".join(lines)
                for number, (start, end, lines) in enumerate(_cues(trace, record), 1)
            ]
            text = "".join(f"{block}\n\n" for block in blocks)
            yield ExportedFile(f"{name}.srt", text.encode("utf-8", "replace"))


def _timed(traces: Iterable[NamedTrace]) -> Iterator[tuple[str, Trace, MediaRecord]]:
    """Yield each audio and video with the name of its file: numbered where there are several."""
    for name, trace in traces:
        records = [record for record in trace.media if record.modality in _TIMED]
        for number, record in enumerate(records, 1):
            several = f"-{number}" if len(records) > 1 else ""
            yield f"{safe_name(name)}{several}", trace, record


def _cues(trace: Trace, record: MediaRecord) -> list[tuple[float, float, list[str]]]:
    """Return start, end and lines of each stretch that is cited, in the order of time."""
    cues: dict[tuple[float, float], list[str]] = {}
    for span in trace.citations():
        for each in span.citations:
            if each.seconds and (each.message, each.part) == (record.message, record.part):
                lines = cues.setdefault(each.seconds, [])
                if (line := _one_line(f"[{each.number}] {span.text}")) not in lines:
                    lines.append(line)
    return [
        (start, max(end, start + _MILLISECOND), lines)
        for (start, end), lines in sorted(cues.items())
    ]


def _one_line(text: str) -> str:
    # An arrow would be taken for the times of a cue.
    return plain(text).replace("-->", "→")


def _clock(seconds: float, point: str) -> str:
    whole = round(min(max(0.0, seconds), _LONGEST) * 1000)
    minutes, milliseconds = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"

"""Labels by an LLM judge: a model behind an OpenAI-compatible endpoint that is shown the sources.

Nothing is sent anywhere unless the user names an endpoint. What is sent of a trace: its texts, the
response, its images (the originals where the trace holds them, else its small previews), its
audio where the trace holds it, and of a video the preview frames with their times.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pydantic import ValidationError

from omnitrace._utils.files import what_is
from omnitrace.errors import InputError, TraceFileError
from omnitrace.evaluation.labels.io import label_mistakes, read_labels, write_labels
from omnitrace.evaluation.labels.prompt import Questions, questions_of
from omnitrace.evaluation.labels.schema import Label
from omnitrace.evaluation.labels.template import template_line
from omnitrace.evaluation.labels.validate import check_label
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.trace.request_record import request_name
from omnitrace.trace.trace import Trace
from omnitrace.types import MediaRecord

__all__ = ["Chat", "Endpoint", "JudgeError", "JudgeRun", "label_trace", "label_traces"]

_PATH: Final = "/chat/completions"
_LONGEST: Final = 4 << 20  # bytes of a reply
_REFUSED: Final = (401, 403, 404)
_IMAGES: Final = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif"}


class JudgeError(Exception):
    """A trace that the judge could not label, and why; others may go on."""


class Chat(Protocol):
    """Sends chat messages to a model and returns its reply."""

    def __call__(self, messages: Sequence[Mapping[str, Any]], /) -> str:
        """Return the reply as text; raises JudgeError if there is none."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, so that neither key nor media go to another host than the named one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible service; calling it sends chat messages.

    Parameters
    ----------
    url:
        Where the service is, up to and without ``/chat/completions``: ``http`` or ``https``.
    model:
        Name of a model there.
    key:
        Sent as a bearer token; empty for none.
    timeout:
        Seconds to wait for a reply.

    Raises
    ------
    InputError
        If the URL is none; when called, if the service refuses the key, the model or the path.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 120.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"the judge's URL {self.url!r} is none",
                legal="a URL of http or https, such as https://host/v1",
            )
        if not (self.key.isascii() and (self.key.isprintable() or not self.key)):
            raise InputError("the judge's key cannot be sent", legal="printable ASCII characters")

    def __call__(self, messages: Sequence[Mapping[str, Any]], /) -> str:
        """Return the reply of the model; raises JudgeError if there is none."""
        base = self.url.rstrip("/").removesuffix(_PATH)
        body = {"model": self.model, "messages": list(messages), "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(base + _PATH, json.dumps(body).encode("utf-8"), headers)
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=self.timeout) as response:
                data = response.read(_LONGEST + 1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _REFUSED:
                    raise InputError(
                        f"the judge at {base} refuses with {error.code} {error.reason}",
                        fix="check OMNITRACE_JUDGE_URL, OMNITRACE_JUDGE_KEY and --model",
                    ) from error
                raise JudgeError(f"the judge responds {error.code} {error.reason}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise JudgeError(f"the judge at {base} cannot be reached: {reason}") from error
        return _content(data)


def _content(data: bytes) -> str:
    try:
        if len(data) > _LONGEST:
            raise ValueError
        content = json.loads(data)["choices"][0]["message"]["content"]
        if not isinstance(content, str):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise JudgeError("the judge's response is no chat completion") from error
    return content


@dataclass(frozen=True, slots=True)
class JudgeRun:
    """What a run over traces did.

    ``labelled`` are the names of traces that got a label, ``kept`` is how many labels were there
    before, ``failed`` says of the other traces why they have none.
    """

    labelled: tuple[str, ...]
    kept: int
    failed: Mapping[str, str]


def label_traces(
    traces: Sequence[Path],
    out: Path,
    chat: Chat,
    *,
    progress: ProgressCallback = no_progress,
    failed: Callable[[str, str], None] | None = None,
) -> JudgeRun:
    """Label the traces that a label file does not have yet; it is written after each one.

    Parameters
    ----------
    traces:
        Trace files; a label gets the name of its file as its id.
    out:
        The label file; labels that it holds already are kept.
    chat:
        The judge, such as an :class:`Endpoint`.
    progress, failed:
        Called with what is being done; and with the name of a trace that gets no label, and why.

    Raises
    ------
    InputError
        If the label file cannot be read or written, or the service refuses.
    """
    labels = {label.id: label for label in read_labels(out)} if what_is(out) else {}
    kept = len(labels)
    labelled: list[str] = []
    reasons: dict[str, str] = {}
    for number, path in enumerate(traces, start=1):
        name = request_name(path)
        if name in labels:
            continue
        progress(f"{name} ({number} of {len(traces)})")
        try:
            labels[name] = label_trace(name, Trace.load(path), chat)
        except (TraceFileError, JudgeError) as error:
            reasons[name] = str(error)
            if failed is not None:
                failed(name, str(error))
            continue
        labelled.append(name)
        write_labels(out, labels.values())
    return JudgeRun(tuple(labelled), kept, reasons)


def label_trace(name: str, trace: Trace, chat: Chat) -> Label:
    """Ask a judge for the sources of every sentence of a trace, and make a label of its reply.

    A reply that cannot be read whole is sent back once with what is wrong in it.

    Parameters
    ----------
    name:
        Id of the label.
    trace:
        A trace, not redacted.
    chat:
        The judge.

    Raises
    ------
    JudgeError
        If there is nothing to ask about, the judge cannot be shown the sources, or does not reply
        as asked the second time.
    InputError
        If the service refuses: it would refuse every other trace too.
    """
    try:
        questions = questions_of(trace)
    except InputError as error:
        raise JudgeError(str(error)) from error
    messages: list[Mapping[str, Any]] = [
        {"role": "user", "content": [*_shown(questions), _text(questions.prompt())]}
    ]
    mistakes: list[str] = []
    for again in (True, False):
        try:
            reply = chat(messages)
        except JudgeError:
            if again:
                continue
            raise
        label, mistakes = _label(name, trace, questions, reply)
        if label is not None:
            return label
        listed = "\n".join(mistakes)
        messages += [
            {"role": "assistant", "content": reply},
            {
                "role": "user",
                "content": f"This cannot be used:\n{listed}\nReply again, with the whole JSON "
                "and nothing else.",
            },
        ]
    raise JudgeError(f"the reply cannot be used: {mistakes[0]}")


def _label(
    name: str, trace: Trace, questions: Questions, reply: str
) -> tuple[Label | None, list[str]]:
    """Return the label that a reply gives, or None and what is wrong with it."""
    answers = questions.read(reply)
    mistakes = list(dict.fromkeys(answer.problem for answer in answers if answer.problem))
    if mistakes:
        return None, mistakes
    document = json.loads(template_line(name, trace))
    for span, answer in zip(document["spans"], answers, strict=True):
        sources = answer.sources or ()
        span["sources"] = [each.model_dump(mode="json", exclude_none=True) for each in sources]
    try:
        label = Label.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return None, [f"{field}: {message}" for field, message in label_mistakes(error)]
    wrong = [f"{field}: {message}" for field, message in check_label(label, trace)]
    return (None, wrong) if wrong else (label, [])


def _shown(questions: Questions) -> list[dict[str, Any]]:
    """Return the media as parts of a chat message, each after its name."""
    parts: list[dict[str, Any]] = []
    for number, image in enumerate(questions.images, start=1):
        data = image.read() if image.read else next(iter(image.previews), None)
        kind = _image_kind(data or b"")
        if kind is None and image.previews:  # a format that services do not take
            data, kind = image.previews[0], _image_kind(image.previews[0])
        if data is None or kind is None:
            raise JudgeError(f"the image {image.name!r} is not in the trace")
        parts += [_text(f"I{number}:"), _picture(data, kind)]
    for number, record in enumerate(questions.timed_media, start=1):
        parts += _timed_medium(number, record)
    return parts


def _timed_medium(number: int, record: MediaRecord) -> list[dict[str, Any]]:
    if record.modality == "video":
        if not record.previews:
            raise JudgeError(f"there are no frames of the video {record.name!r} in the trace")
        parts = []
        for at, frame in zip(record.preview_times, record.previews, strict=True):
            parts += [_text(f"R{number} at {at:g} s:"), _picture(frame, "jpeg")]
        return parts
    data = record.read() if record.read else b""
    kind = "wav" if data[:4] == b"RIFF" else "mp3" if data[:3] == b"ID3" or _is_mp3(data) else None
    if kind is None:
        raise JudgeError(
            f"the audio {record.name!r} is not in the trace as WAV or MP3; trace with --media"
        )
    sound = {"data": base64.b64encode(data).decode("ascii"), "format": kind}
    return [_text(f"R{number}:"), {"type": "input_audio", "input_audio": sound}]


def _is_mp3(data: bytes) -> bool:
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2


def _image_kind(data: bytes) -> str | None:
    return next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _picture(data: bytes, kind: str) -> dict[str, Any]:
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}

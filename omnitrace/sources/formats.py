"""Messages in the formats that people have, made into turns of texts and media.

Read are the formats of ``transformers``, of OpenAI (chat and Responses), Anthropic and Qwen. A
block that is a message of its own elsewhere (a tool's result inside a user message, a call beside
the messages) becomes one here, so ``messages`` and ``content`` of a locator are those of the trace.
Keys that mean nothing are refused, with the nearest of those that do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from omnitrace._utils.checks import check_text
from omnitrace.errors import InputError, did_you_mean

__all__ = [
    *("LABELS", "MARKS", "TEMPLATE_FIELDS", "Turn"),
    *("check_keys", "checked_name", "turns_of"),
]

#: What says whether a part is a source, and how it is cut.
MARKS: Final = ("source", "source_id", "units")
#: What a citation of a part says of its document; the model is not told.
LABELS: Final = ("title", "metadata")
#: Fields of a message, beside its content, that chat templates read.
TEMPLATE_FIELDS: Final = (
    *("name", "tool_calls", "tool_call_id", "tool_responses", "function_call"),
    *("reasoning_content", "reasoning", "thinking"),
)
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
# What a message may carry along without a meaning for the model.
_CARRIED: Final = (
    *(*LABELS, "id", "status", "annotations", "refusal", "audio", "cache_control"),
    *("is_error", "model", "stop_reason", "stop_sequence", "usage", "phase"),
)
_CAPITAL: Final = re.compile(r"(?<=[a-z])[A-Z]")
#: Of an id that a user gives: it is shown beside every statement.
LONGEST_NAME: Final = 10_000
_ITEMS: Final = ("function_call", "function_call_output")


@dataclass(slots=True)
class Turn:
    """A message: its role, its parts and where the user wrote them, and what templates read.

    ``single`` says that the content was one string.
    """

    role: str
    where: str
    parts: list[Mapping[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def add(self, part: Mapping[str, Any], place: str) -> None:
        """Add a part."""
        self.parts.append(part)
        self.places.append(place)


def turns_of(messages: Sequence[Any]) -> list[Turn]:
    """Read messages of any of the formats.

    Raises
    ------
    InputError
        If a message or block is none of them, or has unknown keys.
    """
    turns: list[Turn] = []
    for number, raw in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(raw, Mapping):
            raise InputError(f"{where} is {type(raw).__name__}", legal='{"role": …, "content": …}')
        if raw.get("type") in _ITEMS:
            _add_item(turns, raw, where)
        else:
            turns += _turns(raw, where)
    return turns


def check_keys(raw: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that mean nothing; a key without a value asks for nothing.

    Raises
    ------
    InputError
        That names the key, and the nearest of those that are known.
    """
    names = tuple(dict.fromkeys(known))
    for key, value in raw.items():
        if key not in names and value is not None:
            raise InputError(
                f"{where} has the unknown key {str(key)[:80]!r}",
                legal=", ".join(names),
                fix=did_you_mean(_CAPITAL.sub(r"_\g<0>", str(key)[:80]).lower(), names)
                or "leave it out, or put it under 'metadata'",
            )


def checked_name(value: Any, what: str) -> str | None:
    """Return the name that a user gave, such as a ``source_id``; None where there is none.

    Raises
    ------
    InputError
        If it is something else than a text or a whole number, empty, or cannot be written.
    """
    if value is None:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if not whole and not (isinstance(value, str) and value.strip()):
        shown = repr(value) if isinstance(value, str | float | bool) else type(value).__name__
        raise InputError(f"{what} {shown}", legal="a text that is not empty, or a whole number")
    name = str(value)
    if len(name) > LONGEST_NAME:
        raise InputError(
            f"{what} of {len(name)} characters", legal=f"at most {LONGEST_NAME} characters"
        )
    check_text(name, what)
    return name


def _add_item(turns: list[Turn], raw: Mapping[str, Any], where: str) -> None:
    """Add an item of the Responses format that is no message: a call, or what it gave."""
    if raw["type"] == "function_call":
        check_keys(raw, ("type", "id", "status", "call_id", "name", "arguments"), where)
        if not (turns and turns[-1].role == "assistant"):
            turns.append(Turn("assistant", where))
        _add_call(turns[-1], raw.get("call_id"), raw.get("name"), raw.get("arguments"))
        return
    check_keys(raw, ("type", "id", "status", "call_id", "output", *MARKS), where)
    turn = Turn("tool", where, more=_given(tool_call_id=raw.get("call_id")))
    _add_content(turn, raw.get("output"), raw, f'{where}["output"]')
    turns.append(turn)


def _add_call(turn: Turn, call_id: Any, name: Any, arguments: Any) -> None:
    function = {"name": name, "arguments": _object(arguments)}
    call = {**_given(id=call_id), "type": "function", "function": function}
    turn.more["tool_calls"] = [*turn.more.get("tool_calls", ()), call]


def _object(arguments: Any) -> Any:
    """Return what templates expect, where a call has its arguments as a string of JSON."""
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments  # a template shows what the model wrote
    return found if isinstance(found, dict) else arguments


def _calls(calls: Any, where: str) -> list[Any]:
    if not isinstance(calls, Sequence) or not all(isinstance(call, Mapping) for call in calls):
        raise InputError(f"{where} has 'tool_calls' that are no list of objects")
    result: list[Any] = []
    for call in calls:
        function = call.get("function")
        if isinstance(function, Mapping) and "arguments" in function:
            function = {**function, "arguments": _object(function["arguments"])}
            call = {**call, "function": function}
        result.append(dict(call))
    return result


def _named(block: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: block[name] for name in names if name in block}


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _turns(raw: Mapping[str, Any], where: str) -> Iterator[Turn]:
    """Return the turns of one message: of an Anthropic user message also those of tools."""
    role = _role(raw, where)
    check_keys(raw, ("role", "content", "type", *MARKS, *TEMPLATE_FIELDS, *_CARRIED), where)
    turn = Turn(role, where, more=_given(**{name: raw.get(name) for name in TEMPLATE_FIELDS}))
    if "tool_calls" in turn.more:
        turn.more["tool_calls"] = _calls(turn.more["tool_calls"], where)
    content = raw.get("content")
    if content is None and role == "assistant" and turn.more:
        yield turn
        return
    results: list[Turn] = []
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        content = list(content)
        for i, block in enumerate(content):
            if isinstance(block, Mapping) and block.get("type") == "tool_result":
                results.append(_tool_result(block, f'{where}["content"][{i}]'))
                content[i] = None
    _add_content(turn, content, raw, where)
    yield from results
    if turn.parts or not results:
        yield turn


def _role(raw: Mapping[str, Any], where: str) -> str:
    role = raw.get("role")
    if role is None:
        raise InputError(
            f"{where} has no 'role'", legal=", ".join(_ROLES), fix='add e.g. "role": "user"'
        )
    if role not in _ROLES:
        raise InputError(f"{where} has the role {role!r}", legal=", ".join(_ROLES))
    return str(role)


def _tool_result(block: Mapping[str, Any], where: str) -> Turn:
    known = ("type", "tool_use_id", "content", "is_error", "cache_control", *MARKS)
    check_keys(block, known, where)
    turn = Turn("tool", where, more=_given(tool_call_id=block.get("tool_use_id")))
    _add_content(turn, block.get("content", ""), block, where)
    return turn


def _add_content(turn: Turn, content: Any, raw: Mapping[str, Any], where: str) -> None:
    if isinstance(content, str):
        marks = _named(raw, *MARKS, *LABELS)
        turn.add({"type": "text", "text": content, **marks}, f'{where}["content"][0]')
        return
    marked = [name for name in MARKS if raw.get(name) is not None]
    if marked:
        raise InputError(
            f"{where} has {marked[0]!r} beside a list of parts", fix="put it into the parts"
        )
    if not isinstance(content, Sequence) or not all(
        part is None or isinstance(part, Mapping) for part in content
    ):
        raise InputError(
            f"{where} has content of type {type(content).__name__}",
            legal="a string, or a list of parts such as {'type': 'text', 'text': '…'}",
        )
    for i, part in enumerate(content):
        if part is not None:
            _add_block(turn, part, f'{where}["content"][{i}]')


def _add_block(turn: Turn, block: Mapping[str, Any], place: str) -> None:
    """Add a part, or what an Anthropic or OpenAI block stands for."""
    kind = block.get("type")
    if kind == "tool_use":
        check_keys(block, ("type", "id", "name", "input", "cache_control"), place)
        _add_call(turn, block.get("id"), block.get("name"), block.get("input"))
    elif kind == "thinking":
        check_keys(block, ("type", "thinking", "signature"), place)
        before = turn.more.get("reasoning_content", "")
        turn.more["reasoning_content"] = before + str(block.get("thinking", ""))
    elif kind == "document":
        _add_document(turn, block, place)
    elif kind == "search_result":
        _add_search_result(turn, block, place)
    elif kind in ("file", "input_file"):
        _add_file(turn, block, place)
    elif kind == "image" and isinstance(block.get("image"), list):
        if not block["image"]:
            raise InputError(f"{place} has an empty list of images", legal="at least one")
        for image in block["image"]:
            turn.add({**block, "image": image}, place)
    else:
        turn.add(block, place)


def _blocks(content: Any, place: str) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(each, Mapping) for each in content):
        raise InputError(f"{place} has no content", legal="a string, or a list of parts")
    return content


def _add_search_result(turn: Turn, block: Mapping[str, Any], place: str) -> None:
    """Anthropic's ``search_result``: parts of one document, whose ``source`` is its address."""
    known = ("type", "source", "content", "citations", "cache_control", *MARKS, *LABELS)
    check_keys(block, known, place)
    address = block.get("source")
    marks = _named(block, "source_id", *LABELS)
    if isinstance(address, str) and address:
        marks.setdefault("source_id", address)
    for part in _blocks(block.get("content"), place):
        turn.add({"source": True, **marks, **part}, place)


def _add_document(turn: Turn, block: Mapping[str, Any], place: str) -> None:
    """Anthropic's ``document``: a text or parts; files that only they can read are refused."""
    known = ("type", "context", "citations", "cache_control", *MARKS, *LABELS)
    check_keys(block, known, place)
    source = block.get("source")
    source = source if isinstance(source, Mapping) else {}
    marks = {"source": True, **_named(block, "source_id", *LABELS)}
    if source.get("type") == "text":
        marks |= _named(block, "units")
        turn.add({"type": "text", "text": source.get("data"), **marks}, place)
    elif source.get("type") == "content":
        for part in _blocks(source.get("content"), place):
            turn.add({**marks, **part}, place)
    else:
        raise InputError(
            f"{place} is a document of type {source.get('media_type') or source.get('type')!r}",
            legal="documents whose source is of type 'text' or 'content'",
            fix="extract the text, or pass each page as an image",
        )


def _add_file(turn: Turn, block: Mapping[str, Any], place: str) -> None:
    """OpenAI's ``file`` and ``input_file``: a data URL of a text or of a medium."""
    known = ("type", "file", "filename", "file_data", "file_id", "file_url", *MARKS, *LABELS)
    check_keys(block, known, place)
    file = block["file"] if isinstance(block.get("file"), Mapping) else block
    data = file.get("file_data")
    header = data[: data.find(",") + 1] if isinstance(data, str) else ""
    kind = header[5:].split("/")[0] if header.startswith("data:") else ""
    marks = _named(block, *MARKS, *LABELS)
    if isinstance(name := file.get("filename"), str):
        marks.setdefault("title", name)
    if kind in ("image", "audio", "video"):
        turn.add({"type": kind, kind: data, **marks}, place)
    elif kind == "text":
        from omnitrace.media import resolve_source

        text = resolve_source(data).read().decode("utf-8", "replace")
        turn.add({"type": "text", "text": text, "source": True, **marks}, place)
    else:
        what = header.rstrip(",") or (
            "a file on a server" if file.get("file_id") else "no data URL"
        )
        raise InputError(
            f"{place} is a file of another kind: {what[:80]}",
            legal="'file_data' with a data URL of text, image, audio or video",
            fix="extract the text, or pass each page as an image",
        )

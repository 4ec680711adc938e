"""Files of responses, one a line, matched with their requests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Final

from omnitrace._utils.documents import parse_json
from omnitrace._utils.files import open_regular, unreadable
from omnitrace._utils.lines import TOO_LONG, iter_lines
from omnitrace.errors import InputError
from omnitrace.sources.request_files import FileEntry, RequestProblem
from omnitrace.sources.responses.given import GivenResponse
from omnitrace.sources.responses.reading import read_response

__all__ = ["ResponseFile"]

_API: Final = ("choices", "output", "outputs")
_READABLE: Final = "a readable .jsonl file"
_LEGAL: Final = (
    'lines such as {"id": …, "response": …}, a text, token ids or an object of an API; lines of '
    "OpenAI's Batch API"
)


class ResponseFile:
    """The responses of a file, found by their requests.

    A line belongs to the request whose id is its ``custom_id`` (as in the Batch API) or its ``id``.
    Where no line has one, lines belong to the requests in their order: texts, lists of ids, and the
    objects of an API, whose ``id`` the server made. Only ids are kept; responses are read from the
    file when their requests come.

    Parameters
    ----------
    path:
        A ``.jsonl`` file.
    choice:
        Of responses with several choices, which is meant, by its ``index``.

    Attributes
    ----------
    unused:
        Ids of the responses whose requests have not come (yet); empty where lines have no ids.

    Raises
    ------
    InputError
        If the file cannot be read or holds nothing, a line is no JSON, an id occurs again, or only
        some of the lines have one.
    """

    def __init__(self, path: str | Path, choice: int = 0) -> None:
        self._path = Path(path)
        self._choice = choice
        if self._path.suffix.lower() != ".jsonl":
            raise InputError(f"{str(path)!r} is no file of responses", legal="a .jsonl file")
        self._places: list[tuple[int, int]] = []  # of each line: its number, where it begins
        self._by_id: dict[str, int] = {}
        nameless: int | None = None
        for number, start, line in self._lines():
            name = _id_of(self._parsed(line, number), self._where(number))
            if name in self._by_id:
                first = self._places[self._by_id[name]][0]
                raise InputError(
                    f"{self._where(number)} has the id {name!r} again, of line {first}",
                    legal="one response a request",
                    fix="keep one of them, or make a file of each",
                )
            if name is None:
                nameless = nameless or number
            else:
                self._by_id[name] = len(self._places)
            self._places.append((number, start))
        if not self._places:
            raise InputError(f"{str(path)!r} holds no response", legal=_LEGAL)
        if self._by_id and nameless is not None:
            raise InputError(
                f"{self._where(nameless)} has no id, and other lines have one",
                legal="an id or a custom_id in every line, or in none",
            )
        self.unused = dict.fromkeys(self._by_id)

    def matched(self, entries: Iterable[FileEntry]) -> Iterator[FileEntry]:
        """Return the requests with their responses, in place of those that they may have.

        A request without a response, or whose response cannot be read, becomes a problem. Responses
        are read as the requests are iterated over.

        Raises
        ------
        InputError
            If lines have no ids, and there are not as many as requests.
        """
        if not self._by_id:
            entries = entries if isinstance(entries, Sized) else list(entries)
            if len(entries) != len(self._places):
                raise InputError(
                    f"{str(self._path)!r} has {len(self._places)} responses without ids, and there "
                    f"are {len(entries)} requests",
                    legal="as many of them, or responses with ids",
                    fix='write lines such as {"id": …, "response": …}',
                )
        return (self._with_response(entry, index) for index, entry in enumerate(entries))

    def _with_response(self, entry: FileEntry, index: int) -> FileEntry:
        if self._by_id:
            self.unused.pop(entry.id, None)
        if isinstance(entry, RequestProblem):
            return entry
        if self._by_id and entry.id not in self._by_id:
            error = InputError(
                f"{str(self._path)!r} has no response with the id {entry.id!r}",
                legal="the id of the request as 'id' or 'custom_id'",
            )
            return RequestProblem(entry.id, error)
        try:
            found = self._read(self._by_id.get(entry.id, index))
        except InputError as error:
            return RequestProblem(entry.id, error)
        return dataclasses.replace(entry, response=found)

    def _read(self, index: int) -> GivenResponse:
        number, start = self._places[index]
        try:
            with open_regular(self._path) as file:
                file.seek(start)
                line = file.readline()
        except (OSError, ValueError) as error:
            raise unreadable(self._path, error, legal=_READABLE) from error
        return read_response(self._parsed(line, number), self._choice, self._where(number))

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the lines that hold something: their numbers, where they begin, their bytes."""
        try:
            for line in iter_lines(self._path):
                if line.data is None:
                    raise InputError(f"{self._where(line.number)} {TOO_LONG}")
                yield line.number, line.start, line.data
        except (OSError, ValueError) as error:
            raise unreadable(self._path, error, legal=_READABLE) from error

    def _where(self, number: int) -> str:
        return f"{str(self._path)!r}, line {number}"

    def _parsed(self, line: bytes, number: int) -> Any:
        try:
            return parse_json(line.decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at column {error.colno}"
        except ValueError as error:  # also of bytes that are no UTF-8
            reason = str(error)
        raise InputError(f"{self._where(number)} is not JSON: {reason}", legal=_LEGAL)


def _id_of(value: Any, where: str) -> str | None:
    """Return the id of the request that a line belongs to; None where it does not say."""
    if not isinstance(value, Mapping):
        if isinstance(value, str | Sequence):
            return None
        raise InputError(f"{where} is {value!r}", legal=_LEGAL)
    name = value.get("custom_id")
    if name is None and not any(key in value for key in _API):
        name = value.get("id")
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise InputError(f"{where} has the id {name!r}", legal="a text or a whole number")
    return str(name)

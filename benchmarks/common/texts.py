"""The documents that faithfulness on text is measured with, and their frozen split.

They stand in ``texts/train.jsonl``, ``validation.jsonl`` and ``test.jsonl``, one document a line.
Which document is in which file was drawn once, evenly over the tasks, before anything was tuned: a
method may be fitted on the first, chosen on the second, and is judged on the third.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.report import BenchmarkError

__all__ = ["SENTENCES", "SPLITS", "Split", "Text", "digest", "read_split"]

Split: TypeAlias = Literal["train", "validation", "test"]
Task: TypeAlias = Literal["question", "summary", "extraction"]

SPLITS: Final[tuple[Split, ...]] = get_args(Split)
SENTENCES: Final = range(12, 21)

_FOLDER: Final = Path(__file__).parents[1] / "texts"


class Text(BaseModel):
    """One document of 12 to 20 sentences and what the model is asked to do with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    register_: str = Field(alias="register", pattern=r"^[a-z]+$")
    task: Task
    instruction: str = Field(min_length=10)
    text: str = Field(min_length=200)

    @property
    def parts(self) -> tuple[str, ...]:
        """The document, as the one text that it is."""
        return (self.text,)

    @property
    def system(self) -> None:
        """No system message."""
        return

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request: the document is the source, what follows it the instruction."""
        content = [{"type": "text", "text": part} for part in (self.text, self.instruction)]
        return [{"role": "user", "content": content}]


def read_split(split: Split, folder: Path = _FOLDER) -> list[Text]:
    """Read the documents of a split, in the order of the file.

    Raises
    ------
    BenchmarkError
        If a line is no document, or an id stands there twice.
    """
    path = folder / f"{split}.jsonl"
    found: dict[str, Text] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            text = Text.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise BenchmarkError(f"{path}:{number}: {where}: {first['msg']}") from error
        if text.id in found:
            raise BenchmarkError(f"{path}:{number}: id: {text.id!r} stands there twice")
        found[text.id] = text
    return list(found.values())


def digest(texts: Sequence[Text]) -> str:
    """Return a SHA-256 of the documents, in their order."""
    said = [text.model_dump(by_alias=True) for text in texts]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

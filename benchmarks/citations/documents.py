"""The documents that citations are judged with, and what may be said about them.

They stand in ``documents/dev.toml`` and ``documents/test.toml``. Which family of documents is in
which file was settled before anything was measured: choices are made on the first, and the second
is for figures. Documents of a family share a subject and many words, so that each distracts from
the others; a statement is written such that no document but those it names supports it.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.report import BenchmarkError

__all__ = [
    "SPLITS",
    "Document",
    "Family",
    "Split",
    "TwoSources",
    "Unsupported",
    "digest",
    "read_families",
]

Split: TypeAlias = Literal["dev", "test"]

SPLITS: Final[tuple[Split, ...]] = get_args(Split)
_FOLDER: Final = Path(__file__).parent / "documents"
_NAME: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Document(_Read):
    """A text of one to four sentences, one of them, and a fact of it in other words."""

    id: str = Field(pattern=_NAME)
    text: str = Field(min_length=20)
    verbatim: str
    asked: str = Field(pattern=r"\?$")
    paraphrased: str
    asked_otherwise: str = Field(pattern=r"\?$")


class TwoSources(_Read):
    """A statement that needs both documents."""

    documents: tuple[str, str]
    statement: str
    asked: str = Field(pattern=r"\?$")


class Unsupported(_Read):
    """A statement about the same subject that is in no document; one of them may contradict it."""

    statement: str
    asked: str = Field(pattern=r"\?$")
    contradicts: str | None = None


class Family(_Read):
    """Documents about one subject; ``known`` if a language model knows what they say."""

    name: str = Field(pattern=_NAME)
    known: bool = False
    document: tuple[Document, ...] = Field(min_length=2)
    two: tuple[TwoSources, ...]
    invented: tuple[Unsupported, ...]
    refusal: tuple[Unsupported, ...]


class _File(_Read):
    family: tuple[Family, ...]


def read_families(split: Split, folder: Path = _FOLDER) -> tuple[Family, ...]:
    """Read the documents of a split, in the order of the file.

    Raises
    ------
    BenchmarkError
        If the file is not of the form, a document stands there twice, a statement names one that
        its family lacks, or what is called verbatim is not in the text.
    """
    path = folder / f"{split}.toml"
    try:
        families = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).family
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BenchmarkError(f"{path}: {error}") from error
    seen: set[str] = set()
    for family in families:
        own = {document.id for document in family.document}
        named = {name for pair in family.two for name in pair.documents}
        named |= {said.contradicts for said in family.invented if said.contradicts}
        if len(own) < len(family.document) or own & seen:
            raise BenchmarkError(f"{path}: {family.name}: a document stands there twice")
        if named - own:
            raise BenchmarkError(f"{path}: {family.name}: no document {sorted(named - own)[0]!r}")
        for document in family.document:
            if document.verbatim not in document.text:
                raise BenchmarkError(f"{path}: {document.id}: the verbatim sentence is elsewhere")
        seen |= own
    return families


def digest(families: tuple[Family, ...]) -> str:
    """Return a SHA-256 of the documents and statements, in their order."""
    said = [family.model_dump() for family in families]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

"""Read back what ``omnitrace evaluate --json`` wrote, as far as a comparison needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, JsonValue, ValidationError

from omnitrace._utils.documents import Count, parse_json
from omnitrace._utils.files import read_text
from omnitrace.errors import InputError
from omnitrace.evaluation.evaluation import Evaluation
from omnitrace.evaluation.labels.io import label_mistakes
from omnitrace.evaluation.report.export import FORMAT, VERSION
from omnitrace.evaluation.rows import ScoreRow

__all__ = ["EvaluationFile", "file_of", "read_evaluation"]

_LEGAL = "a JSON file that `omnitrace evaluate --json` wrote"


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """The rows of an evaluation, and of which labels they are.

    ``labels`` has the digest of each label that was used, by its id, and ``effects`` how effects
    were measured, as in :class:`~omnitrace.evaluation.evaluation.Evaluation`.
    """

    path: str
    signals: tuple[str, ...]
    labels: Mapping[str, str]
    rows: tuple[ScoreRow, ...]
    effects: Mapping[str, Any] = field(default_factory=dict)


class _Row(BaseModel):
    """A row as it is written: every further field is a metric."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | None]

    example: str
    span: Count
    word: Count | None
    method: str
    category: str | None
    modality: str
    sources: Count
    length: Count
    said: bool
    abstained: bool
    grounding: float | None
    common_units: Count
    chosen_units: Count
    true_units: Count

    def row(self) -> ScoreRow:
        flat = self.model_dump()
        values = {name: flat.pop(name) for name in self.__pydantic_extra__}
        counts = (flat.pop("common_units"), flat.pop("chosen_units"), flat.pop("true_units"))
        return ScoreRow(**flat, counts=counts, values=values)


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    signals: list[str]
    labels: dict[str, str]
    rows: Annotated[list[_Row], FailFast()]
    effects: dict[str, JsonValue] = {}


def file_of(evaluation: Evaluation, path: str) -> EvaluationFile:
    """Return what :func:`read_evaluation` reads of an evaluation that is written to ``path``."""
    return EvaluationFile(
        path, evaluation.signals, evaluation.labels, evaluation.rows, evaluation.effects
    )


def read_evaluation(path: str | Path) -> EvaluationFile:
    """Read an evaluation that was written as JSON.

    Raises
    ------
    InputError
        If the file cannot be read, is something else, or is of another version of the format.
    """
    path = Path(path)
    text = read_text(path, legal=_LEGAL)
    try:
        document = parse_json(text)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}", legal=_LEGAL) from error
    _check_format(path, document)
    try:
        # From the text, not the values: strict numbers of JSON may be written 1 for 1.0.
        found = _Document.model_validate_json(text)
    except ValidationError as error:
        field, message = label_mistakes(error)[0]
        raise InputError(f"{str(path)!r}, {field}: {message}", legal=_LEGAL) from error
    rows = tuple(each.row() for each in found.rows)
    return EvaluationFile(str(path), tuple(found.signals), found.labels, rows, found.effects)


def _check_format(path: Path, document: Any) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is no evaluation", legal=_LEGAL)
    if document.get("version") != VERSION:
        raise InputError(
            f"{str(path)!r} is of version {document.get('version')!r} of its format",
            legal=f"version {VERSION}",
            fix="evaluate the traces again with this version of omnitrace",
        )

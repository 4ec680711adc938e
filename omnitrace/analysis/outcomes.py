"""Which responses are right and which are wrong, as files say it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from omnitrace._utils.documents import parse_json
from omnitrace._utils.files import read_text
from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import label_mistakes
from omnitrace.evaluation.report.export import FORMAT
from omnitrace.evaluation.report.results_file import read_evaluation
from omnitrace.evaluation.rows import TRACED

__all__ = ["read_outcomes"]

_LEGAL = (
    'a .jsonl file with {"id": "…", "right": true} or false a line, or a JSON file that '
    "`omnitrace evaluate --json` wrote"
)


class _Outcome(BaseModel):
    """A line: other members are the user's own."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id: str
    right: bool


def read_outcomes(path: str | Path) -> dict[str, bool]:
    """Read which responses are right, by the id of their request.

    Of an evaluation a response counts as right if it says every labelled span: then the labels must
    be of correct responses, not of what the model wrote.

    Raises
    ------
    InputError
        If the file cannot be read, a line is no outcome, or two of them have the same id.
    """
    path = Path(path)
    text = read_text(path, legal=_LEGAL)
    if _is_evaluation(text):
        said: dict[str, bool] = {}
        for row in read_evaluation(path).rows:
            if row.method == TRACED and row.level == "span":
                said[row.example] = said.get(row.example, True) and row.said
        return said
    found: dict[str, bool] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        try:
            outcome = _Outcome.model_validate_json(line)
        except ValidationError as error:
            field, message = label_mistakes(error)[0]
            raise InputError(f"{where}: {field}: {message}", legal=_LEGAL) from error
        if outcome.id in found:
            raise InputError(f"{where}: {outcome.id!r} is there twice", legal="one line an id")
        found[outcome.id] = outcome.right
    if not found:
        raise InputError(f"{str(path)!r} holds no outcome", legal=_LEGAL)
    return found


def _is_evaluation(text: str) -> bool:
    try:
        document = parse_json(text)
    except ValueError:  # a .jsonl file of several lines
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT

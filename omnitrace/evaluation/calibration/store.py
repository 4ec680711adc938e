"""A fitted threshold as a JSON file that says which model it is for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omnitrace._utils.documents import Count
from omnitrace._utils.files import read_text, write_text
from omnitrace.attribution.selection import SelectionConfig
from omnitrace.errors import InputError
from omnitrace.evaluation.labels.io import label_mistakes

__all__ = ["VerdictCalibration", "read_calibration"]

_LEGAL: Final = "a JSON file that `omnitrace calibrate` wrote"

_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class StatementEffect(_Document):
    """A statement of a request: whether it has a source, and the strongest effect, in nats."""

    request: str
    supported: bool
    effect: float


class VerdictCalibration(_Document):
    """The threshold between "supported" and "no source", fitted to a model.

    Attributes
    ----------
    model, fingerprint:
        What the model is called, and the digest of its family and weights.
    threshold:
        In nats: a statement whose strongest effect is below has no source.
    f1, left_out_f1:
        F1 of "no source" at the threshold; and with the threshold for each request fitted to the
        other requests, None where that cannot be.
    examples:
        Whether examples are sentences copied from the requests' documents, or labelled statements.
    requests, supported, no_source:
        How many requests, and statements of either kind.
    seed:
        Of the choice of sentences.
    verify:
        The options of verification under which effects were measured.
    statements:
        What the threshold was fitted to.
    versions, created:
        Of packages, and when.
    """

    format: Literal["omnitrace-calibration"] = "omnitrace-calibration"
    version: Literal[1] = 1
    model: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    threshold: Annotated[float, Field(gt=0, le=100)]
    f1: _Share
    left_out_f1: _Share | None
    examples: Literal["copied", "labelled"]
    requests: Count
    supported: Count
    no_source: Count
    seed: Count
    verify: dict[str, Any]
    statements: tuple[StatementEffect, ...]
    versions: dict[str, str]
    created: str

    def selection(self, config: SelectionConfig | None = None) -> SelectionConfig:
        """Return a selection with this threshold, which tracers of other models refuse.

        Parameters
        ----------
        config:
            All other options; by default those of ``SelectionConfig()``.
        """
        return dataclasses.replace(
            config or SelectionConfig(), verdict_min=self.threshold, fitted_to=self.fingerprint
        )

    def save(self, path: str | Path) -> Path:
        """Write the file; it is replaced whole or not at all.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        return write_text(path, self.model_dump_json(indent=1) + "\n")


def read_calibration(path: str | Path) -> VerdictCalibration:
    """Read what :meth:`VerdictCalibration.save` wrote.

    Raises
    ------
    InputError
        If the file cannot be read, or is something else.
    """
    text = read_text(Path(path), legal=_LEGAL)
    try:
        return VerdictCalibration.model_validate_json(text)
    except ValidationError as error:
        field, message = label_mistakes(error)[0]
        where = f"{str(path)!r}, {field}" if field else repr(str(path))
        raise InputError(f"{where}: {message}", legal=_LEGAL) from error

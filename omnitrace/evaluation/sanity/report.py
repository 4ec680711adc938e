"""All checks at once, as a value and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnitrace._utils.paths import base_of_path
from omnitrace.errors import InputError, unknown_name
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.agreement import OperatorAgreement, operator_agreement
from omnitrace.evaluation.sanity.cases import Case, Draws
from omnitrace.evaluation.sanity.evidence import Shuffled, shuffled_evidence
from omnitrace.evaluation.sanity.randomisation import (
    THRESHOLD,
    Randomisation,
    parameter_randomisation,
)
from omnitrace.evaluation.sanity.regeneration import Regenerated, Regeneration, regeneration
from omnitrace.evaluation.sanity.stability import Change, Stability, StabilityOptions, stability
from omnitrace.tracer import Tracer

__all__ = ["CHECKS", "Sanity", "SanityDocument", "SanityOptions", "check_all", "checked_names"]

CHECKS: Final = ("randomisation", "evidence", "operators", "regeneration")
"""The checks by name, in the order in which they run; stability, which costs most, is asked for."""


@dataclass(frozen=True, slots=True)
class SanityOptions:
    """What is checked, and how.

    Parameters
    ----------
    checks:
        Names out of :data:`CHECKS`.
    threshold:
        Randomisation is passed below this rank correlation.
    top:
        Regeneration ablates only so many units of largest effect; see
        :func:`~omnitrace.evaluation.sanity.regeneration.regeneration`.
    max_new_tokens:
        Longest response to a request, in tokens.
    seed:
        Of all that is drawn at random.
    stability:
        How stability is measured; None leaves it out.

    Raises
    ------
    PluginError
        If there is no such check.
    InputError
        If nothing is checked.
    """

    checks: Sequence[str] = CHECKS
    threshold: float = THRESHOLD
    top: int | None = None
    max_new_tokens: int = 256
    seed: int = 0
    stability: StabilityOptions | None = None

    def __post_init__(self) -> None:
        if not checked_names(self.checks) and self.stability is None:
            raise InputError("no check is named", legal="at least one")


@dataclass(frozen=True, slots=True)
class Sanity:
    """What the checks found; None for one that was not asked for.

    ``model`` is where it was loaded from, ``signals`` are those that were checked, ``examples`` the
    names of the responses, ``skipped`` says of others why they were not checked.
    """

    model: str
    signals: tuple[str, ...]
    examples: tuple[str, ...]
    seed: int
    randomisation: Randomisation | None = None
    evidence: tuple[Shuffled, ...] | None = None
    operators: OperatorAgreement | None = None
    regeneration: Regeneration | None = None
    stability: Stability | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return JSON-ready values that are valid by :class:`SanityDocument`; NaN is null."""
        return SanityDocument.model_validate(self, from_attributes=True).model_dump(mode="json")


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of checks in the order in which they run.

    Raises
    ------
    PluginError
        If one is unknown.
    """
    given = list(names)
    for name in given:
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS)
    return tuple(name for name in CHECKS if name in given)


def check_all(
    tracers: Mapping[str, Tracer],
    cases: Sequence[Case],
    *,
    options: SanityOptions | None = None,
    second: Mapping[str, Tracer] | None = None,
    skipped: Mapping[str, str] | None = None,
    progress: ProgressCallback = no_progress,
) -> Sanity:
    """Run the checks that are asked for.

    Parameters
    ----------
    tracers, cases:
        By signal, from ``tracers_of``; the responses, from ``case_of``.
    options:
        What is checked, and how.
    second:
        Tracers of another model, by signal, for stability.
    skipped:
        Responses that are not among the cases, and why.
    progress:
        Called with what is being done.
    """
    options = options or SanityOptions()
    asked = checked_names(options.checks)
    tracer = next(iter(tracers.values()))
    seed = options.seed
    interval = Draws(seed=seed)
    found: dict[str, Any] = {}
    if "randomisation" in asked:
        found["randomisation"] = parameter_randomisation(
            tracers,
            cases,
            threshold=options.threshold,
            interval=interval,
            seed=seed,
            progress=progress,
        )
    if "evidence" in asked:
        found["evidence"] = shuffled_evidence(
            tracer, cases, interval=interval, seed=seed, progress=progress
        )
    if "operators" in asked:
        found["operators"] = operator_agreement(tracer, cases, interval=interval, progress=progress)
    if "regeneration" in asked:
        found["regeneration"] = regeneration(
            tracer, cases, top=options.top, interval=interval, seed=seed, progress=progress
        )
    if options.stability is not None:
        found["stability"] = stability(
            tracers,
            cases,
            options=options.stability,
            second=second,
            interval=interval,
            seed=seed,
            progress=progress,
        )
    return Sanity(
        model=base_of_path(str(tracer.adapter.source)),
        signals=tuple(tracers),
        examples=tuple(case.name for case in cases),
        seed=seed,
        skipped=dict(skipped or {}),
        **found,
    )


class _Model(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, from_attributes=True
    )


class _Figure(_Model):
    """An estimate with its interval; what is undefined is null."""

    value: float | None
    low: float | None
    high: float | None
    count: Annotated[int, Field(ge=0)]
    undefined: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _of_estimate(cls, value: Any) -> Any:
        return value.figures() if isinstance(value, Estimate) else value


class _Stage(_Model):
    signal: str
    randomised: int
    correlation: _Figure
    beyond_size: _Figure
    same_top: _Figure


class _Randomisation(_Model):
    layers: int
    threshold: float
    passed: dict[str, bool | None]
    length: dict[str, _Figure]
    stages: tuple[_Stage, ...]


class _Shuffled(_Model):
    signal: str
    k: int
    real: _Figure
    shuffled: _Figure
    difference: _Figure


class _Agreement(_Model):
    first: str
    second: str
    group: str
    correlation: _Figure
    same_top: _Figure


class _OperatorAgreement(_Model):
    pairs: tuple[_Agreement, ...]
    refused: dict[str, tuple[int, str]]


_Matrix: TypeAlias = list[list[float | None]]


class _Regenerated(_Model):
    name: str
    units: list[int]
    drops: _Matrix
    changed: _Matrix
    edited: _Matrix
    unablated: list[float | None]

    @model_validator(mode="before")
    @classmethod
    def _of_arrays(cls, value: Any) -> Any:
        if not isinstance(value, Regenerated):
            return value
        names = ("drops", "changed", "edited", "unablated")
        arrays = {name: _listed(getattr(value, name)) for name in names}
        return {"name": value.name, "units": list(value.units), **arrays}


class _Regeneration(_Model):
    unablated: _Figure
    changed: _Figure
    edited: _Figure
    with_changed: _Figure
    with_edited: _Figure
    drop_if_changed: _Figure
    drop_if_same: _Figure
    named: dict[str, _Figure]
    examples: tuple[_Regenerated, ...]
    refused: dict[str, str]


class _Overlap(_Model):
    signal: str
    against: str
    jaccard: _Figure
    correlation: _Figure
    same_first: _Figure
    neither: _Figure


class _Unchanged(_Model):
    example: str
    change: Change
    signal: str | None
    reason: str


class _Stability(_Model):
    rows: tuple[_Overlap, ...]
    pairs: tuple[_Overlap, ...]
    done: dict[str, dict[str, tuple[str, ...]]]
    model: str | None
    unchanged: tuple[_Unchanged, ...]


class SanityDocument(_Model):
    """The JSON document of a run of ``omnitrace sanity``, version 1."""

    format: Literal["omnitrace-sanity"] = "omnitrace-sanity"
    version: Literal[1] = 1
    model: str
    signals: tuple[str, ...]
    examples: tuple[str, ...]
    seed: int
    skipped: dict[str, str]
    randomisation: _Randomisation | None
    evidence: tuple[_Shuffled, ...] | None
    operators: _OperatorAgreement | None
    regeneration: _Regeneration | None
    stability: _Stability | None = None


def _listed(values: np.ndarray) -> list[Any]:
    """Return an array as lists in which NaN is None."""
    found = values.astype(object)
    found[np.isnan(values)] = None
    return list(found.tolist())

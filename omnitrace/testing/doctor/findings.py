"""What a diagnosis consists of: lines with a status and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

__all__ = [
    "Diagnosis",
    "Finding",
    "Line",
    "Status",
    "judged",
    "not_applicable",
    "worst",
    "wrong",
]

Status: TypeAlias = Literal["supported", "degraded", "wrong", "not applicable"]
_GRAVITY: Final[tuple[Status, ...]] = ("wrong", "degraded", "supported", "not applicable")


class Finding(NamedTuple):
    """What a check has found: a status, and the evidence in one sentence with its figures."""

    status: Status
    evidence: str


def wrong(evidence: str) -> Finding:
    """Return a finding that something is wrong."""
    return Finding("wrong", evidence)


def not_applicable(why: str) -> Finding:
    """Return the finding of a check that cannot apply."""
    return Finding("not applicable", why)


def judged(evidence: str, difference: float, tolerance: float, *, slack: float = 10) -> Finding:
    """Return a finding by a difference: degraded above the tolerance, wrong above a few times it.

    A difference that is not a number is wrong.
    """
    said = f"{evidence} (tolerance {tolerance:.0e})"
    if difference <= tolerance:
        return Finding("supported", said)
    return Finding("degraded" if difference <= slack * tolerance else "wrong", said)


def worst(findings: Iterable[Finding]) -> Finding:
    """Join findings of several requests: the gravest status, and the evidence of all in it."""
    found = list(findings)
    status = next(each for each in _GRAVITY if any(one.status == each for one in found))
    said = dict.fromkeys(one.evidence for one in found if one.status == status)
    return Finding(status, "; ".join(said))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diagnosis.

    Attributes
    ----------
    name:
        Of the check.
    status:
        "supported", "degraded" (it works, with a limit that the evidence names), "wrong", or "not
        applicable".
    evidence:
        What was measured, in a sentence with its figures; or why nothing could be.
    seconds:
        How long the check took.
    """

    name: str
    status: Status
    evidence: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All lines of a model.

    Attributes
    ----------
    model, model_class, family:
        The model's name, the name of its class, and its family; None where it is of no family with
        a processor.
    modalities:
        What it was given.
    level:
        "quick" or "full".
    versions:
        Of omnitrace, torch, transformers and Python.
    hardware:
        Where it ran, and in which precision.
    lines:
        What was checked.
    seconds, peak_memory:
        How long all of it took; the largest memory of the process or the accelerator meanwhile, in
        bytes, None where the system does not say.
    """

    model: str
    model_class: str
    family: str | None
    modalities: tuple[str, ...]
    level: str
    versions: Mapping[str, str]
    hardware: str
    lines: tuple[Line, ...]
    seconds: float
    peak_memory: int | None

    def of(self, status: Status) -> tuple[Line, ...]:
        """Return the lines of one status."""
        return tuple(line for line in self.lines if line.status == status)

    def line(self, name: str) -> Line:
        """Return the line of a check."""
        return next(line for line in self.lines if line.name == name)

    @property
    def counts(self) -> str:
        """How many lines have which status, in words."""
        counted = ((status, len(self.of(status))) for status in get_args(Status))
        return ", ".join(f"{count} {status}" for status, count in counted if count)

    @property
    def title(self) -> str:
        """The model, its class and its family."""
        family = f", family {self.family}" if self.family else ""
        return f"{self.model} ({self.model_class}{family})"

    @property
    def setting(self) -> str:
        """Versions, hardware, level, time and memory, in one line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        memory = "" if self.peak_memory is None else f", at most {self.peak_memory / 1e6:,.0f} MB"
        return f"{versions}; {self.hardware}; {self.level} check in {self.seconds:.1f} s{memory}"

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {
            "modalities": list(self.modalities),
            "lines": [asdict(line) for line in self.lines],
        }

    def to_markdown(self) -> str:
        """Return it as a table that can be pasted into an issue."""
        rows = [f"| {line.name} | {line.status} | {_cell(line.evidence)} |" for line in self.lines]
        return "\n".join(
            [
                f"### {self.title}: {self.counts}",
                "",
                "| check | status | evidence |",
                "|---|---|---|",
                *rows,
                "",
                self.setting,
                "",
            ]
        )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

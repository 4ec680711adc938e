"""The selection rule: from the tokens of a span to the source units that support it.

OmniTrace, Algorithm 1 and Appendix A.1, with a gate that the paper lacks. A token votes for the
unit of highest mass, ``ŝ(t)``, with the weight ``v_t = w_pos(t) · c_t^γ``. A unit's share ``p`` of
the votes and the share ``r`` of its longest run give its score ``α·p + (1−α)·r``; units are taken
in that order until they cover enough of the votes, and weak ones are skipped. In detail:

- *Who votes.* A token votes unless it is gated, its weight is 0, or no unit has any mass. It is
  gated where the instruction's or the generated text's mass is larger than every unit's (a tie
  leaves it its vote), whatever its modality.
- *Runs.* Only voting tokens count: a run is broken by a vote for another unit, neither broken nor
  lengthened by a token without a vote. ``r`` is its length over the number of voting tokens.
- *Nothing to select.* ``min_grounding`` decides whether a span is grounded; the selection must not
  be empty by accident, nor rest on what is no evidence. So where the gate would drop more than
  half of the votes by weight, the tokens vote without it, and where every unit is skipped because
  the votes are spread over many units, the unit with most votes is selected. ``fallback`` switches
  both on. Only a span of words without weight stays without votes. (The gate is for single tokens
  that repeat the question or continue a sentence. In models that attend much to what they have
  just written, every token but the first few of a response is gated: these few would decide.)
- *Per modality.* Each modality's units compete among themselves, shares and runs are of that
  modality's votes, and the selections are merged by score.

Votes enter as shares only, so multiplying all scores by a positive number changes nothing. Ties go
to the lower unit index; shares are compared after rounding to 12 digits, so that they stay ties.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np

from omnitrace.attribution.masses import Assign, Masses
from omnitrace.errors import InputError, did_you_mean

__all__ = ["CurationConfig", "Selected", "Selection", "SelectionConfig", "select_supports"]

_DIGITS: Final = 12
_SLACK: Final = 1e-9
_MAJORITY: Final = 0.5

# Legal range of each number: lowest, highest, whether the lowest itself is legal.
_NUMBERS: Final[Mapping[str, tuple[float, float, bool]]] = {
    "alpha": (0.0, 1.0, True),
    "gamma": (0.0, 100.0, True),
    "coverage": (0.0, 1.0, False),
    "p_min": (0.0, 1.0, True),
    "run_min": (0.0, 1.0, True),
    "min_grounding": (0.0, 1.0, True),
    "effect_min": (0.0, 1.0, True),
    "verdict_min": (0.0, 100.0, False),
}
_SWITCHES: Final = ("rollout", "gate", "position_weights", "confidence_weight", "runs", "fallback")


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """Every rule of the selection, with its switch.

    Parameters
    ----------
    assign:
        How a unit's scores become its mass; see :func:`omnitrace.attribution.masses.unit_masses`.
    rollout:
        Whether a token's mass on earlier generated tokens is carried on to what those rest on; see
        :class:`omnitrace.attribution.rollout.Rollout`.
    gate:
        Whether instruction and generated text compete for a token's vote.
    compete:
        Whether all units compete for a vote, or each modality's among themselves.
    position_weights:
        Whether a word's salience weighs its vote.
    confidence_weight:
        Whether ``c_t^gamma`` weighs the vote.
    runs:
        Whether runs count, in the score and against skipping.
    alpha:
        Part of the vote share in the score; the rest is the run's.
    gamma:
        Exponent of the confidence. The paper takes 2; on the reference world's validation samples
        4 names the evidence better in every modality, and 8 is worse where there are two sources.
    coverage:
        Share of the votes at which the selection stops; the unit that crosses it is in.
    p_min, run_min:
        A unit below both is skipped (below ``p_min`` alone, without ``runs``).
    min_grounding:
        A span with a smaller share of mass on sources is ungrounded.
    fallback:
        Whether the unit with most votes supports the span when all were skipped, and whether the
        gate is left out where it would drop more than half of the votes.
    effect_min:
        With a span signal: a unit with a smaller share of the largest effect does not support the
        span. Found on the reference world's validation samples, where the estimator's supports
        agree best with the evidence from 0.5 to 0.7; 0 is without this rule.
    verdict_min:
        With verified supports: a span has no source where the strongest effect is of fewer nats;
        it is against the sources where it is also likelier by as many without them.
    fitted_to:
        The fingerprint of the model that ``verdict_min`` was fitted to, if it was; a tracer of
        another model refuses it. See :class:`omnitrace.evaluation.VerdictCalibration`.
    max_supports:
        At most so many supports for a span; None for no limit.
    """

    assign: Assign = "unit-sum"
    rollout: bool = False
    gate: bool = True
    compete: Literal["joint", "per-modality"] = "joint"
    position_weights: bool = True
    confidence_weight: bool = True
    runs: bool = True
    alpha: float = 0.8
    gamma: float = 4.0
    coverage: float = 0.85
    p_min: float = 0.07
    run_min: float = 0.10
    min_grounding: float = 0.0
    fallback: bool = True
    effect_min: float = 0.5
    verdict_min: float = 1.0
    fitted_to: str | None = None
    max_supports: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("assign", get_args(Assign)),
            ("compete", ("joint", "per-modality")),
        ):
            if getattr(self, name) not in choices:
                raise _illegal(name, getattr(self, name), " or ".join(map(repr, choices)))
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise _illegal(name, getattr(self, name), "True or False")
        for name, (low, high, closed) in _NUMBERS.items():
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high or (value == low and not closed):
                bounds = f"{'at least' if closed else 'more than'} {low:g} and at most {high:g}"
                raise _illegal(name, value, f"a number, {bounds}")
            object.__setattr__(self, name, float(value))
        if self.fitted_to is not None and not isinstance(self.fitted_to, str):
            raise _illegal("fitted_to", self.fitted_to, "None or the fingerprint of a model")
        limit = self.max_supports
        if limit is not None and (
            not isinstance(limit, int) or isinstance(limit, bool) or limit < 1
        ):
            raise _illegal("max_supports", limit, "None or a whole number of 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SelectionConfig:
        """Build from plain values; missing fields take their defaults."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(
                    f"unknown selection option {name!r}",
                    legal=", ".join(known),
                    fix=did_you_mean(str(name), known, most=3, cutoff=0.5) or "remove it",
                )
        return cls(**values)


CurationConfig = SelectionConfig
"""An earlier name of :class:`SelectionConfig`, for code that uses it."""


@dataclass(frozen=True, slots=True)
class Selected:
    """One selected unit; the numbers are those of :class:`omnitrace.types.Support`."""

    unit_index: int
    mass: float
    share: float
    run: float
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What supports a span; ``ungrounded`` is true exactly where ``supports`` is empty."""

    supports: tuple[Selected, ...]
    grounding: float
    ungrounded: bool


def select_supports(
    masses: Masses,
    weights: np.ndarray,
    span: tuple[int, int],
    config: SelectionConfig,
    modalities: Sequence[str],
) -> Selection:
    """Select the supports of one span.

    Parameters
    ----------
    masses:
        Of all tokens, as :func:`omnitrace.attribution.masses.unit_masses` returns them.
    weights:
        ``w_pos`` of every token, in [0, 1].
    span:
        Half-open token range.
    config:
        The rules.
    modalities:
        The modality of each unit.
    """
    start, end = span
    if not 0 <= start <= end <= len(masses):
        raise InputError(f"token range {span}", legal=f"within 0 and {len(masses)}, start first")
    if len(weights) != len(masses) or len(modalities) != masses.units.shape[1]:
        raise InputError(
            f"{len(weights)} weights and {len(modalities)} modalities",
            legal=f"{len(masses)} weights, {masses.units.shape[1]} modalities",
        )
    rows = slice(start, end)
    total = float(masses.total[rows].sum())
    grounding = min(1.0, float(masses.source[rows].sum()) / total) if total > 0 else 0.0
    ungrounded = Selection(supports=(), grounding=grounding, ungrounded=True)
    assigned = masses.assigned_units[rows]
    if assigned.size == 0 or grounding < config.min_grounding:
        return ungrounded

    peak = assigned.max(axis=1)
    eligible = np.ones(end - start)
    if config.position_weights:
        eligible = np.asarray(weights[rows], dtype=np.float64).copy()
    if config.gate:
        rivals = np.maximum(masses.assigned_instruction[rows], masses.assigned_generated[rows])
        eligible = _gated(eligible, peak, rivals, config)
    # One scale for the whole span: it cancels in the shares, and keeps c^γ from under- or overflow.
    scale = _scale(eligible, peak)
    found: list[_Candidate] = []
    voted_for: list[tuple[float, _Candidate]] = []
    for units in _competitions(modalities, config):
        columns = assigned[:, units]
        votes = _votes(eligible, columns.max(axis=1), scale, config)
        voting = votes > 0
        if not voting.any():
            continue
        choice = units[columns.argmax(axis=1)[voting]]
        ballot = np.bincount(choice, weights=votes[voting], minlength=len(modalities))
        candidates = []
        for unit, longest in sorted(_longest_runs(choice).items()):
            share = round(float(ballot[unit] / ballot.sum()), _DIGITS)
            run = longest / len(choice)
            score = config.alpha * share + (1 - config.alpha) * run if config.runs else share
            candidates.append(_Candidate(round(score, _DIGITS), unit, share, run))
            voted_for.append((float(ballot[unit]), candidates[-1]))
        found += _select(candidates, config)
    if not found and voted_for and config.fallback:
        most = max(ballot for ballot, _ in voted_for) * (1 - _SLACK)
        found = [min((c for ballot, c in voted_for if ballot >= most), key=lambda c: c.unit)]
    found.sort(key=_Candidate.order)
    supports = tuple(
        Selected(
            unit_index=chosen.unit,
            mass=float(masses.units[rows, chosen.unit].sum()) / total if total > 0 else 0.0,
            share=chosen.share,
            run=chosen.run,
            score=chosen.score,
            rank=rank,
        )
        for rank, chosen in enumerate(found[: config.max_supports], start=1)
    )
    return Selection(supports, grounding, ungrounded=False) if supports else ungrounded


def _gated(
    eligible: np.ndarray, peak: np.ndarray, rivals: np.ndarray, config: SelectionConfig
) -> np.ndarray:
    """Return the weights ``[tokens]`` with which tokens may vote where rivals compete."""
    ungated = np.where(rivals > peak, 0.0, eligible)
    if not config.fallback:
        return ungated
    votes = _votes(eligible, peak, _scale(eligible, peak), config)
    left = votes[ungated > 0].sum()
    return ungated if left > _MAJORITY * votes.sum() * (1 - _SLACK) else eligible


def _scale(eligible: np.ndarray, peak: np.ndarray) -> float:
    return float(peak.max(initial=0.0, where=eligible > 0)) or 1.0


def _votes(
    eligible: np.ndarray, confidence: np.ndarray, scale: float, config: SelectionConfig
) -> np.ndarray:
    """Return the vote of each token: its weight, times its confidence as the rules have it."""
    confidence = np.where(eligible > 0, confidence, 0.0) / scale
    votes = np.where(confidence > 0, eligible, 0.0)
    return votes * confidence**config.gamma if config.confidence_weight else votes


class _Candidate(NamedTuple):
    """A unit that was voted for."""

    score: float
    unit: int
    share: float
    run: float

    def order(self) -> tuple[float, int]:
        return -self.score, self.unit


def _competitions(modalities: Sequence[str], config: SelectionConfig) -> list[np.ndarray]:
    """Return the unit indices that compete with each other, one array a competition."""
    if config.compete == "joint":
        return [np.arange(len(modalities))]
    return [
        np.array([u for u, modality in enumerate(modalities) if modality == wanted])
        for wanted in dict.fromkeys(modalities)
    ]


def _longest_runs(choice: np.ndarray) -> dict[int, int]:
    """Length of each unit's longest run in the sequence of votes."""
    edges = np.flatnonzero(np.diff(choice)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [len(choice)])))
    longest: dict[int, int] = {}
    for unit, length in zip(choice[starts].tolist(), lengths.tolist(), strict=True):
        longest[unit] = max(length, longest.get(unit, 0))
    return longest


def _select(candidates: Sequence[_Candidate], config: SelectionConfig) -> list[_Candidate]:
    """Take the best candidates, skip the weak, stop when enough of the votes is covered."""
    taken: list[_Candidate] = []
    for candidate in sorted(candidates, key=_Candidate.order):
        steady = config.runs and candidate.run >= config.run_min - _SLACK
        if candidate.share < config.p_min - _SLACK and not steady:
            continue
        taken.append(candidate)
        if sum(c.share for c in taken) >= config.coverage - _SLACK:
            break
    return taken


def _illegal(name: str, value: object, legal: str) -> InputError:
    return InputError(f"selection option {name} is {value!r}", legal=legal)

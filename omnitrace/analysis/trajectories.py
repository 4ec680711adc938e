"""How the support of a response moves from unit to unit while it is written.

After the "Analysis" section of vSTREAM's project page (Kang et al. 2026, arXiv 2604.16587): at each
step the vector of the units' effects, of which the 32 largest entries are kept; PCA to three
dimensions; the length of the path there, and its tortuosity, "path length divided by net
displacement"; and two ways to fail, *fixation* ("high attribution concentration on a single …
object") and *wandering* ("low, unstable concentration with repeated region switching").

Where the public text is silent, this is what we do:

- A step is a span. Windows of so many tokens are the option, since a response of few spans has
  hardly a path: two steps always have a tortuosity of 1.
- A step's vector holds the span's *effects* where a span signal gave them, else the *masses*: each
  unit's share of the signal mass of the step's tokens. Windows have masses only.
- Of each vector the 32 largest entries are kept (signed: a negative effect is no support),
  the others set to 0. It is then scaled to shares: divided by the sum of its positive entries, so
  that the path tells where support lies and not how much the step says. ``scale="raw"`` leaves nats
  (effects) and shares of all mass (masses).
- PCA is fitted to the steps of one trace, as units mean nothing in another, and only to the steps
  that are looked at, so that no earlier step uses a later one. It preserves distances up to
  four steps.
- The *concentration* of a step is the share of its largest entry in its positive ones; that of a
  trace is the mean over its steps. The *switching rate* is the share of consecutive steps with
  another strongest unit. Steps that rest on nothing count in neither.
- *Fixation* is concentration x (1 - switching rate), *wandering* (1 - concentration) x switching
  rate. Both are in [0, 1], and their sum is at most 1; a trace is called by the one that exceeds
  one half. Whether the object that a trace is fixed on is the wrong one, no trajectory can say.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np

from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace
from omnitrace.types import Section, Span

__all__ = ["FIGURES", "Steps", "Trajectory", "TrajectoryConfig", "steps_of", "trajectory"]

_DIMENSIONS: Final = 3
# Distances below are rounding: vectors are shares or nats.
_NOTHING: Final = 1e-12

#: The figures of a trajectory that may predict a failure, each larger where failure is expected.
FIGURES: Final = ("tortuosity", "path_length", "switching", "wandering", "fixation")


@dataclass(frozen=True, slots=True)
class TrajectoryConfig:
    """What a step is, and what its vector holds.

    Parameters
    ----------
    by:
        Whether a step is a span or a window of tokens.
    window:
        Tokens of a window, the last one of a trace may have fewer.
    section:
        Only the thoughts, or only the answer; None for both.
    scale:
        Whether a vector is divided by the sum of its positive entries.
    top:
        How many of the largest entries of each vector are kept.

    Raises
    ------
    InputError
        If a value is not legal.
    """

    by: Literal["span", "tokens"] = "span"
    window: int = 16
    section: Section | None = None
    scale: Literal["share", "raw"] = "share"
    top: int = 32

    def __post_init__(self) -> None:
        for name, choices in (
            ("by", ("span", "tokens")),
            ("section", (None, *get_args(Section))),
            ("scale", ("share", "raw")),
        ):
            if getattr(self, name) not in choices:
                legal = " or ".join(map(repr, choices))
                raise InputError(f"{name} is {getattr(self, name)!r}", legal=legal)
        for name in ("window", "top"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {value!r}", legal="a whole number of 1 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What each step of a response rests on.

    Attributes
    ----------
    source:
        "effects" of a span signal, or "masses" of the token signal.
    units:
        Ids of the units, in prompt order.
    vectors:
        float64 ``[steps, units]``; see the module's text for their entries.
    elapsed:
        float64 ``[steps]``, ascending in (0, 1]: the share of the tokens that are written when the
        step ends.
    """

    source: Literal["effects", "masses"]
    units: tuple[str, ...]
    vectors: np.ndarray
    elapsed: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def until(self, share: float) -> Steps:
        """Return the steps that have ended when this share of the tokens is written."""
        count = int(np.searchsorted(self.elapsed, share + _NOTHING, side="right"))
        return dataclasses.replace(self, vectors=self.vectors[:count], elapsed=self.elapsed[:count])


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """A path through what a response rests on, and its figures; None where one is undefined.

    Attributes
    ----------
    steps:
        What it is made of.
    path:
        float64 ``[steps, at most 3]``: the steps' vectors in the space of their principal
        components, in the vectors' unit.
    path_length:
        Sum of the distances between consecutive steps; of 2 steps or more.
    displacement:
        Distance between the first and the last step.
    tortuosity:
        Path length over displacement, 1 or more; infinite where the path comes back to its
        beginning, undefined where it never leaves it.
    concentration, unsteadiness:
        Mean over the steps of the share of the strongest unit, in [0, 1], and its standard
        deviation.
    switching:
        Share of consecutive steps whose strongest units differ, in [0, 1].
    dominant, dominance:
        The unit that is the strongest most often (the first in the prompt of several), and in
        which share of the steps.
    """

    steps: Steps
    path: np.ndarray
    path_length: float | None
    displacement: float | None
    tortuosity: float | None
    concentration: float | None
    unsteadiness: float | None
    switching: float | None
    dominant: str | None
    dominance: float | None

    @property
    def fixation(self) -> float | None:
        """Concentration x (1 - switching rate): the same single unit, step for step."""
        if self.concentration is None or self.switching is None:
            return None
        return self.concentration * (1 - self.switching)

    @property
    def wandering(self) -> float | None:
        """(1 - concentration) x switching rate: many units, and others each step."""
        if self.concentration is None or self.switching is None:
            return None
        return (1 - self.concentration) * self.switching

    @property
    def mode(self) -> Literal["fixation", "wandering", "neither"] | None:
        """The kind of trajectory; None where there are too few steps."""
        if self.fixation is None or self.wandering is None:
            return None
        if self.fixation > 0.5:
            return "fixation"
        return "wandering" if self.wandering > 0.5 else "neither"

    def figures(self) -> dict[str, Any]:
        """Return all figures as JSON-ready values; what is undefined or infinite is null."""
        numbers = {
            "path_length": self.path_length,
            "displacement": self.displacement,
            "tortuosity": self.tortuosity,
            "concentration": self.concentration,
            "unsteadiness": self.unsteadiness,
            "switching": self.switching,
            "dominance": self.dominance,
            "fixation": self.fixation,
            "wandering": self.wandering,
        }
        finite = {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
        return {
            "source": self.steps.source,
            "steps": len(self.steps),
            **finite,
            "returns": self.tortuosity == math.inf,
            "dominant": self.dominant,
            "mode": self.mode,
        }


def steps_of(trace: Trace, config: TrajectoryConfig | None = None) -> Steps:
    """Say what each step of a trace rests on; spans without tokens are no steps."""
    config = config or TrajectoryConfig()
    spans = trace.spans if config.section is None else trace.spans_of(config.section)
    spans = tuple(span for span in spans if span.token_start < span.token_end)
    tokens = sorted({t for span in spans for t in range(span.token_start, span.token_end)})
    units = tuple(unit.id for unit in trace.units)
    effects = config.by == "span" and bool(spans) and all(s.effects is not None for s in spans)
    if config.by == "span":
        groups = [np.arange(span.token_start, span.token_end) for span in spans]
    else:
        groups = [np.array(window) for window in _windows(tokens, config.window)]
    found = _effects(spans, units) if effects else _masses(trace, groups)
    place = {token: number for number, token in enumerate(tokens, start=1)}
    return Steps(
        source="effects" if effects else "masses",
        units=units,
        vectors=_scaled(_largest(found, config.top), config.scale),
        elapsed=np.array([place[int(group[-1])] / len(tokens) for group in groups]),
    )


def trajectory(steps: Steps | Trace, config: TrajectoryConfig | None = None) -> Trajectory:
    """Measure the path of a trace, or of the steps that are given.

    Parameters
    ----------
    steps:
        A trace, or what :func:`steps_of` or :meth:`Steps.until` returned.
    config:
        For a trace: what a step is.
    """
    if isinstance(steps, Trace):
        steps = steps_of(steps, config)
    path = _path(steps.vectors)
    length = displacement = tortuosity = None
    if len(path) > 1:
        length = _rounded(float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()))
        displacement = _rounded(float(np.linalg.norm(path[-1] - path[0])))
        if displacement > 0:
            tortuosity = max(1.0, length / displacement)
        elif length > 0:
            tortuosity = math.inf
    positive = np.maximum(steps.vectors, 0.0)
    resting = positive[positive.sum(axis=1) > 0]
    strongest = resting.argmax(axis=1) if len(resting) else np.zeros(0, dtype=np.int64)
    shares = resting.max(axis=1) / resting.sum(axis=1) if len(resting) else np.zeros(0)
    counts = Counter(strongest.tolist())
    most = max(counts, key=lambda unit: (counts[unit], -unit), default=None)
    return Trajectory(
        steps=steps,
        path=path,
        path_length=length,
        displacement=displacement,
        tortuosity=tortuosity,
        concentration=float(shares.mean()) if len(shares) else None,
        unsteadiness=float(shares.std()) if len(shares) else None,
        switching=float((np.diff(strongest) != 0).mean()) if len(strongest) > 1 else None,
        dominant=None if most is None else steps.units[most],
        dominance=None if most is None else counts[most] / len(strongest),
    )


def _windows(tokens: list[int], size: int) -> list[list[int]]:
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def _effects(spans: tuple[Span, ...], units: tuple[str, ...]) -> np.ndarray:
    """Return float64 ``[spans, units]`` in the signal's unit; 0 for a unit without an effect."""
    found = np.zeros((len(spans), len(units)))
    for row, span in enumerate(spans):
        effects = span.effects or {}
        for column, unit in enumerate(units):
            if unit in effects:
                found[row, column] = effects[unit].value
    return found


def _masses(trace: Trace, groups: list[np.ndarray]) -> np.ndarray:
    """Return float64 ``[steps, units]``: shares of all mass of each step's tokens."""
    found = np.zeros((len(groups), len(trace.units)))
    if not groups:
        return found
    masses = trace.masses()
    for row, group in enumerate(groups):
        total = float(masses.total[group].sum())
        if total > 0:
            found[row] = masses.units[group].sum(axis=0) / total
    return found


def _largest(vectors: np.ndarray, top: int) -> np.ndarray:
    """Keep the largest entries of each row (of equal ones the first), and set the others to 0."""
    if vectors.shape[1] <= top:
        return vectors
    order = np.argsort(-vectors, axis=1, kind="stable")[:, :top]
    kept = np.zeros_like(vectors)
    np.put_along_axis(kept, order, np.take_along_axis(vectors, order, axis=1), axis=1)
    return kept


def _scaled(vectors: np.ndarray, scale: str) -> np.ndarray:
    """Divide each row by the sum of its positive entries; one without any rests on nothing."""
    if scale == "raw":
        return vectors
    sums = np.maximum(vectors, 0.0).sum(axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(vectors, sums, out=np.zeros_like(vectors), where=sums > 0)
    return scaled


def _path(vectors: np.ndarray) -> np.ndarray:
    """Return the rows in the space of their first principal components."""
    dimensions = min(_DIMENSIONS, *vectors.shape)
    if not len(vectors) or np.ptp(vectors, axis=0).max(initial=0.0) <= _NOTHING:
        return np.zeros((len(vectors), dimensions))
    from sklearn.decomposition import PCA

    pca = PCA(n_components=dimensions, svd_solver="full")
    path: np.ndarray = pca.fit_transform(vectors)
    return path


def _rounded(distance: float) -> float:
    return distance if distance > _NOTHING else 0.0

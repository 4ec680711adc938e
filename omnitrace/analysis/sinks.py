"""Sinks: positions that draw mass whatever is written.

Attention that carries no information falls on a few positions, above all the first token (Xiao et
al. 2024, arXiv 2309.17453). On the template that does no harm, since only sources compete. A sink
inside a source makes that source look like the support of everything. Handling sinks is a step of
its own, on a finished trace: find them, see how much mass they draw, remove them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnitrace.errors import InputError
from omnitrace.trace.trace import Trace

__all__ = ["Sinks", "baseline", "find_sinks", "without_sinks"]


@dataclass(frozen=True, slots=True, eq=False)
class Sinks:
    """What positions draw whatever is written.

    Attributes
    ----------
    positions:
        int64, ascending prompt positions.
    shares:
        float64, the share of a row that each of them draws whatever is written.
    mass:
        Share of the trace's whole score mass that lies on them, in [0, 1].
    unit_mass:
        The same for each source unit that has one of them, by unit id.
    """

    positions: np.ndarray
    shares: np.ndarray
    mass: float
    unit_mass: dict[str, float]


def find_sinks(trace: Trace, *, quantile: float = 0.1, factor: float = 10.0) -> Sinks:
    """Find the prompt positions that draw mass for nearly every token of the response.

    A position is a sink if at least ``1 - quantile`` of the tokens give it ``factor`` times the
    share that it would have if mass were spread evenly over the prompt. A source that supports only
    a part of the response is not.

    Parameters
    ----------
    trace:
        A trace of at least 5 tokens; fewer say nothing about "whatever is written".
    quantile:
        In [0, 1).
    factor:
        At least 1.
    """
    if not 0 <= quantile < 1:
        raise InputError(f"quantile is {quantile}", legal="0 or more, and less than 1")
    if not factor >= 1:
        raise InputError(f"factor is {factor}", legal="1 or more")
    shares = _shares(trace)
    if len(shares) < 5:
        raise InputError(
            f"the trace has {len(shares)} tokens with scores",
            legal="at least 5",
            fix="find sinks on a longer response, or measure a baseline on a null question",
        )
    drawn = np.quantile(shares, quantile, axis=0)
    positions = np.flatnonzero(drawn >= factor / shares.shape[1])
    return _sinks(trace, positions, drawn[positions])


def baseline(null: Trace, trace: Trace, *, factor: float = 0.0) -> Sinks:
    """Take as sinks what every source position draws in a run that asks nothing.

    This is the calibration on null inputs: trace the same sources with a question without content
    ("N/A"), and pass that trace as ``null``. Each source position's mean share there is what it
    draws whatever is asked.

    Parameters
    ----------
    null:
        The trace of the null question.
    trace:
        The trace that is to be relieved.
    factor:
        Only positions that draw this many times the share that they would have if mass were spread
        evenly over the prompt are sinks. 0 takes every position that draws anything, which is right
        for subtracting; excluding needs a factor.

    Raises
    ------
    InputError
        If the two traces do not have the same source units with the same numbers of tokens, or if
        their scores are not of the same signal.
    """
    if not factor >= 0:
        raise InputError(f"factor is {factor}", legal="0 or more")
    signals = [
        {name: each.provenance.signal.get(name) for name in ("name", "token_signal", "parameters")}
        for each in (null, trace)
    ]
    if signals[0] != signals[1]:
        raise InputError(
            f"the null run has the signal {signals[0]}, and the trace {signals[1]}",
            legal="two traces of one signal",
        )
    ours = {unit.id: unit.positions for unit in trace.units}
    theirs = {unit.id: unit.positions for unit in null.units}
    if {name: len(each) for name, each in ours.items()} != {
        name: len(each) for name, each in theirs.items()
    }:
        raise InputError(
            "the null run has other sources than the trace",
            legal="the same messages with another question",
        )
    shares = _shares(null)
    if not len(shares):
        raise InputError("the null run has no scores", legal="a null run of at least one token")
    mean = shares.mean(axis=0)
    mean[mean < factor / shares.shape[1]] = 0.0
    drawn = np.zeros(trace.layout.prompt_length)
    for name, positions in ours.items():
        drawn[list(positions)] = mean[list(theirs[name])]
    found = np.flatnonzero(drawn)
    return _sinks(trace, found, drawn[found])


def without_sinks(
    trace: Trace, sinks: Sinks, how: Literal["exclude", "subtract"] = "exclude"
) -> Trace:
    """Return the trace with its supports selected again, without the mass of the sinks.

    ``"exclude"`` drops the positions; ``"subtract"`` removes the share that each draws whatever
    is written and keeps what exceeds it. The provenance of the result records this, under
    ``signal["sinks"]``.

    Raises
    ------
    InputError
        If nothing of any source would be left.
    """
    if how not in ("exclude", "subtract"):
        raise InputError(f"how is {how!r}", legal="'exclude' or 'subtract'")
    sources = {position for unit in trace.units for position in unit.positions}
    if how == "exclude" and sources and sources <= set(sinks.positions.tolist()):
        raise InputError(
            "every position of every source is a sink: nothing would be left",
            legal="sinks that leave some of the sources",
            fix='subtract them (how="subtract"), or find fewer with a larger factor',
        )
    scores = trace.scores.copy()
    if how == "exclude":
        scores[:, sinks.positions] = 0.0
    else:
        totals = scores.sum(axis=1, keepdims=True)
        left = scores[:, sinks.positions] - totals * sinks.shares
        scores[:, sinks.positions] = np.maximum(left, 0.0)
    record = {"how": how, "positions": len(sinks.positions), "mass": round(sinks.mass, 6)}
    signal = {**trace.provenance.signal, "sinks": record}
    provenance = dataclasses.replace(trace.provenance, signal=signal)
    return dataclasses.replace(trace, scores=scores, provenance=provenance).reselect(trace.config)


def _shares(trace: Trace) -> np.ndarray:
    """Shares of each row over the prompt positions, for the rows that have any mass."""
    totals = trace.scores.sum(axis=1, keepdims=True, dtype=np.float64)
    with_mass = totals[:, 0] > 0
    prompt = trace.layout.prompt_length
    shares: np.ndarray = trace.scores[with_mass, :prompt] / totals[with_mass]
    return shares


def _sinks(trace: Trace, positions: np.ndarray, shares: np.ndarray) -> Sinks:
    total = float(trace.scores.sum(dtype=np.float64)) or 1.0
    drawn = trace.scores.sum(axis=0, dtype=np.float64) / total
    unit_mass = {
        unit.id: float(drawn[list(inside)].sum())
        for unit in trace.units
        if (inside := sorted({*positions.tolist()} & {*unit.positions}))
    }
    return Sinks(positions, shares, float(drawn[positions].sum()), unit_mass)

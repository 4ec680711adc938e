"""The contract of signals that work while a model writes, and the checks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from omnitrace.errors import ConformanceError, OmnitraceError
from omnitrace.signals.base import LiveSpanSignal, raising_only_ours

if TYPE_CHECKING:
    from omnitrace.capture.layer_rows import LayerRows
    from omnitrace.signals.base import TokenSignal

__all__ = [
    "CAUSAL",
    "FINITE",
    "LAYERS",
    "NON_NEGATIVE",
    "REDUCED_FINITE",
    "REDUCED_SHAPE",
    "REDUCED_TENSOR",
    "REDUCES",
    "RETURNS",
    "SHAPE",
    "TENSOR",
    "Violation",
    "checked_scores",
    "chosen_layers",
    "reduced",
    "scored",
    "violation_of_reduction",
    "violation_of_scores",
]

LAYERS: Final = "layers() chooses at least one of the available layers, ascending and none twice"
RETURNS: Final = "score() returns without raising"
TENSOR: Final = "scores are a tensor of floating-point numbers"
SHAPE: Final = "scores have the shape [rows, context]"
FINITE: Final = "scores are finite"
NON_NEGATIVE: Final = "scores are not negative"
CAUSAL: Final = "the scores of a token are zero from its own position on"
REDUCES: Final = "reduce() returns without raising"
REDUCED_TENSOR: Final = "reductions are a tensor of floating-point numbers"
REDUCED_SHAPE: Final = (
    "reductions have the shape [rows, features, units], with as many features for every block"
)
REDUCED_FINITE: Final = "reductions are finite"


class Violation(NamedTuple):
    """A violation of the contract: the broken requirement, and what was found instead."""

    contract: str
    found: str


def violation_of_scores(
    scores: Any, rows: int, context: int, *, first: int = 0
) -> Violation | None:
    """Say what is wrong with a block of scores; None if nothing is.

    Parameters
    ----------
    scores:
        What ``score`` returned for ``rows`` consecutive tokens. The last of them sees ``context``
        positions, each one before it one less.
    first:
        Index of the generated token in the first row.
    """
    if not isinstance(scores, torch.Tensor) or not scores.is_floating_point():
        dtype = f" of {scores.dtype}" if isinstance(scores, torch.Tensor) else ""
        return Violation(TENSOR, f"returned a {type(scores).__name__}{dtype}")
    if tuple(scores.shape) != (rows, context):
        expected = f"{[rows, context]} was asked for"
        return Violation(SHAPE, f"returned scores of shape {list(scores.shape)}; {expected}")
    ahead = torch.ones(rows, context, dtype=torch.bool, device=scores.device)
    ahead = ahead.triu(context - rows + 1)
    for contract, wrong in (
        (FINITE, ~torch.isfinite(scores)),
        (NON_NEGATIVE, scores < 0),
        (CAUSAL, ahead & (scores != 0)),
    ):
        if wrong.any():
            row, position = wrong.nonzero()[0].tolist()
            value = float(scores[row, position])
            return Violation(
                contract,
                f"returned the score {value:g} for generated token {first + row} at context "
                f"position {position}",
            )
    return None


def scored(
    signal: TokenSignal,
    rows: Iterable[LayerRows],
    shape: tuple[int, int],
    *,
    first: int,
    subject: str,
) -> torch.Tensor:
    """Let ``signal`` score ``rows``; return float32 ``shape`` = [rows, context], on the CPU.

    Raises
    ------
    ConformanceError
        If the signal raises, or returns an invalid value.
    NotSupportedError
        If the rows cannot be read, which is not the signal's doing.
    """
    unreadable: list[OmnitraceError] = []
    try:
        scores = signal.score(_read(rows, unreadable))
    except Exception as error:  # a plugin may raise anything
        if error in unreadable:
            raise
        raise ConformanceError(
            subject, RETURNS, f"raised {type(error).__name__}: {error}"
        ) from error
    return checked_scores(scores, shape, first=first, subject=subject)


def checked_scores(
    scores: Any, shape: tuple[int, int], *, first: int, subject: str
) -> torch.Tensor:
    """Return what a signal scored as float32 ``shape`` = [rows, context], on the CPU.

    Raises
    ------
    ConformanceError
        If it is no valid return value of a signal.
    """
    if isinstance(scores, torch.Tensor):
        scores = scores.detach().cpu()
    violation = violation_of_scores(scores, *shape, first=first)
    if violation is not None:
        raise ConformanceError(subject, *violation)
    found: torch.Tensor = scores.float()
    return found


def violation_of_reduction(
    found: Any, rows: int, units: int, *, first: int = 0, features: int | None = None
) -> Violation | None:
    """Say what is wrong with the reductions of a block; None if nothing is.

    Parameters
    ----------
    found:
        What ``reduce`` returned for ``rows`` consecutive tokens.
    units:
        Number of units of the request.
    first:
        Index of the generated token in the first row.
    features:
        Number of features of the blocks before; None for the first block.
    """
    if not isinstance(found, torch.Tensor) or not found.is_floating_point():
        dtype = f" of {found.dtype}" if isinstance(found, torch.Tensor) else ""
        return Violation(REDUCED_TENSOR, f"returned a {type(found).__name__}{dtype}")
    shape = list(found.shape)
    same = len(shape) == 3 and shape[1] > 0 and shape[1] == (features or shape[1])
    if not same or (shape[0], shape[2]) != (rows, units):
        expected = f"[{rows}, {features or 'features'}, {units}] was asked for"
        return Violation(REDUCED_SHAPE, f"returned reductions of shape {shape}; {expected}")
    wrong = ~torch.isfinite(found)
    if wrong.any():
        row, feature, unit = wrong.nonzero()[0].tolist()
        value = float(found[row, feature, unit])
        return Violation(
            REDUCED_FINITE,
            f"returned {value:g} for generated token {first + row}, feature {feature}, unit {unit}",
        )
    return None


def reduced(
    reduce: Callable[[Iterable[LayerRows]], torch.Tensor],
    rows: Iterable[LayerRows],
    count: int,
    units: int,
    *,
    first: int,
    features: int | None,
    subject: str,
) -> torch.Tensor:
    """Let a live span signal reduce the rows of ``count`` tokens; return float32, on the CPU.

    Raises
    ------
    ConformanceError
        If the signal raises, or returns an invalid value.
    OmnitraceError
        As the signal raised it, and if the rows cannot be read.
    """
    with raising_only_ours(subject, REDUCES):
        found = reduce(rows)
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu()
    violation = violation_of_reduction(found, count, units, first=first, features=features)
    if violation is not None:
        raise ConformanceError(subject, *violation)
    # Not a view: the reductions outlive what they may be a part of.
    return found.float().clone()


def _read(rows: Iterable[LayerRows], unreadable: list[OmnitraceError]) -> Iterator[LayerRows]:
    """Yield ``rows``, and keep the error if they cannot be read."""
    try:
        yield from rows
    except OmnitraceError as error:
        unreadable.append(error)
        raise


def chosen_layers(
    signal: TokenSignal | LiveSpanSignal, available: Sequence[int], *, subject: str
) -> list[int]:
    """Return the decoder layers that ``signal`` reads, out of the ``available`` indices.

    Raises
    ------
    ConformanceError
        If it raises, or chooses none, an unavailable one, or another order.
    OmnitraceError
        Raised by a live span signal, such as one that was made for another model.
    """
    try:
        chosen = list(signal.layers(list(available)))
    except Exception as error:  # a plugin may raise anything
        if isinstance(error, OmnitraceError) and isinstance(signal, LiveSpanSignal):
            raise
        raise ConformanceError(
            subject, LAYERS, f"raised {type(error).__name__}: {error}"
        ) from error
    if not chosen or chosen != [layer for layer in available if layer in chosen]:
        raise ConformanceError(subject, LAYERS, f"chose {chosen} out of {list(available)}")
    return chosen

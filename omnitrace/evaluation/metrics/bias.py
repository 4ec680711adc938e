"""How choices lie in the request: which modality gets the mass, and where chosen units stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from omnitrace.evaluation.examples import LabelledItem
from omnitrace.evaluation.metrics.agreement import (
    CalibrationBin,
    PositionBias,
    calibration_bins,
    calibration_error,
    modality_shares,
    position_bias,
)
from omnitrace.types import SourceUnit

__all__ = ["Bias", "measure_bias", "positions_of"]


@dataclass(frozen=True, slots=True)
class Bias:
    """Calibration of the modality mass, and position bias.

    ``calibration`` compares, over spans with evidence and the modalities of their request, the
    share of the source mass on a modality with the share of the true units that are of it;
    ``calibration_error`` is their mean distance. ``chosen`` says where the chosen units stand,
    ``labelled`` where the true ones do: a choice may only be called biased against the second.
    """

    calibration: tuple[CalibrationBin, ...]
    calibration_error: float | None
    chosen: PositionBias | None
    labelled: PositionBias | None


def positions_of(units: Sequence[SourceUnit], names: AbstractSet[str]) -> list[float]:
    """Return where units stand among all ``K`` of their request: ``(i + ½)/K``, in (0, 1)."""
    return [(i + 0.5) / len(units) for i, unit in enumerate(units) if unit.id in names]


def measure_bias(items: Iterable[LabelledItem]) -> Bias:
    """Measure the bias of what traces say of labelled spans; spans that they do not say are out."""
    predicted: list[float] = []
    labelled: list[float] = []
    chosen: list[float] = []
    true: list[float] = []
    for item in items:
        if item.prediction is None:
            continue
        chosen += positions_of(item.units, item.prediction.chosen)
        true += positions_of(item.units, item.truth)
        shares = _shares(item)
        predicted += [share for share, _ in shares]
        labelled += [share for _, share in shares]
    bins = calibration_bins(predicted, labelled)
    return Bias(tuple(bins), calibration_error(bins), position_bias(chosen), position_bias(true))


def _shares(item: LabelledItem) -> list[tuple[float, float]]:
    """Return (predicted, labelled) share for each modality; nothing where either is undefined."""
    kinds = [unit.modality for unit in item.units]
    mass = modality_shares([float(each) for each in item.masses], kinds)
    truth = modality_shares([float(unit.id in item.truth) for unit in item.units], kinds)
    if mass is None or truth is None:
        return []
    return [(mass[kind], truth[kind]) for kind in mass]

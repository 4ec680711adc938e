"""The faithfulness of several attributions of one example, measured on the same masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from omnitrace.ablation.masks import leave_one_out
from omnitrace.errors import InputError
from omnitrace.evaluation.faithfulness import (
    Array,
    Defined,
    area,
    calibration,
    check_finite,
    control_scores,
    curve_masks,
    defined,
    is_size_controlled,
    lds,
    only_top_masks,
    oracle_lds,
    r_squared,
    without_top_masks,
)

if TYPE_CHECKING:
    from omnitrace.ablation.masks import MaskDealer

__all__ = ["Faithfulness", "Measure", "faithfulness"]

Measure: TypeAlias = Callable[[Array], Array]

_KINDS: Final[tuple[Literal["deletion", "insertion"], ...]] = ("deletion", "insertion")


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """The metrics of one example.

    Attributes
    ----------
    values:
        By signal, then by metric: float64 ``[S]``, NaN where undefined. The metrics are "lds",
        "size-controlled-lds", and for each k "top-k-drop" (in nats, which is comprehensiveness@k),
        "top-k-drop-per-token" and "sufficiency-k", such as "top-1-drop". With masks to fit on also
        "r-squared"; with curves "deletion-auc" and "insertion-auc" (of log-probabilities, in nats)
        and both with "-normalised".
    oracle:
        "lds" and "size-controlled-lds" of the oracle, ``[S]``; empty without one.
    masks:
        How many different masks were measured.
    """

    values: Mapping[str, Mapping[str, Array]]
    oracle: Mapping[str, Array]
    masks: int

    def summary(self) -> dict[str, dict[str, Defined]]:
        """Average over spans, undefined cases counted."""
        return {
            name: {metric: defined(values) for metric, values in found.items()}
            for name, found in self.values.items()
        }


def faithfulness(
    measure: Measure,
    scores: Mapping[str, Array],
    dealer: MaskDealer,
    *,
    span_tokens: Array,
    masks: int = 64,
    sized: int = 64,
    oracle: int = 0,
    ks: Sequence[int] = (1, 3, 5),
    curves: bool = False,
    controls: bool = True,
    seed: int = 0,
) -> Faithfulness:
    """Measure the faithfulness of several attributions of one example on the same masks.

    A mask that an attribution was fitted on does not judge it: where top-k drop, sufficiency, R² or
    a curve would need one, they are undefined; so is the size-controlled LDS where the units allow
    of no masks of one size.

    Parameters
    ----------
    measure:
        From bool ``[m, K]`` to ``f`` of every span, ``[m, S]`` in nats, such as
        ``lambda v: measure(scorer, spans, v).span_logprobs``. It is called once, no mask twice.
    scores:
        By signal: float ``[S, K]``.
    dealer:
        Deals the example's masks, and knows what the signals were fitted on: tell it before with
        ``dealer.fitted(masks, by=name)``, the name being that in ``scores``.
    span_tokens:
        ``|S|`` of each span, at least 1.
    masks, sized, oracle:
        How many masks for LDS, for its size-controlled form, and to fit the oracle and the
        calibration of R² on (256 or more for a figure; with 0 there is neither).
    ks, curves:
        The k of top-k drop and sufficiency; whether to measure the curves, of ``K + 1`` masks for
        each signal and span.
    controls, seed:
        Whether to add :func:`control_scores`, and the seed of the random ones.

    Raises
    ------
    InputError
        If scores have the wrong shape or are not finite, or the masks run out.
    """
    tokens = np.asarray(span_tokens, dtype=np.float64)
    every = _checked_scores(scores, len(tokens), dealer.units)
    if controls:
        every |= control_scores(dealer.sizes, len(tokens), seed=seed)
    plain, same = dealer.evaluation(masks), dealer.sized_evaluation(sized)
    fit = dealer.fit(oracle)
    bench = _Bench(dealer, tokens, tuple(ks), curves)
    needed = [mask for each in every.values() for mask in bench.needs(each)]
    if oracle:
        needed.append(leave_one_out(dealer.units))  # for R²
    bench.run(measure, np.concatenate([plain, same, fit, *needed]))
    f_plain, f_same, f_fit = bench.all_of(plain), bench.all_of(same), bench.all_of(fit)
    # Few units of very different sizes allow of no masks of one size.
    unsized = 0.0 if is_size_controlled(same, dealer.sizes) else float("nan")
    values: dict[str, dict[str, Array]] = {}
    for name, each in every.items():
        values[name] = {
            "lds": lds(each, plain, f_plain),
            "size-controlled-lds": lds(each, same, f_same) + unsized,
            **bench.ranked(name, each),
        }
        if oracle:
            predicted = calibration(each, fit, f_fit)[:, None] * each
            values[name]["r-squared"] = r_squared(predicted, bench.single(name))
    best: dict[str, Array] = {}
    if oracle:
        best["lds"] = oracle_lds(fit, f_fit, plain, f_plain)
        best["size-controlled-lds"] = oracle_lds(fit, f_fit, same, f_same) + unsized
    return Faithfulness(values, best, bench.measured)


def _checked_scores(scores: Mapping[str, Array], spans: int, units: int) -> dict[str, Array]:
    found = {name: np.asarray(each, dtype=np.float64) for name, each in scores.items()}
    for name, each in found.items():
        if each.shape != (spans, units):
            raise InputError(
                f"the scores {name!r} have the shape {each.shape}",
                legal=f"[{spans} spans, {units} units]",
            )
        check_finite(f"the scores {name!r}", each)
    return found


class _Bench:
    """Measures all masks at once, and computes from them what depends on a ranking."""

    def __init__(
        self, dealer: MaskDealer, tokens: Array, ks: tuple[int, ...], curves: bool
    ) -> None:
        self._dealer = dealer
        self._tokens = tokens
        self._ks = ks
        self._curves = curves
        self._known: dict[bytes, Array] = {}
        self._full = np.ones((1, dealer.units), dtype=bool)

    @property
    def measured(self) -> int:
        """How many different masks."""
        return len(self._known)

    def needs(self, scores: Array) -> Iterator[Array]:
        """Yield the masks, bool ``[m, K]`` each, that :meth:`ranked` needs."""
        yield self._full
        for k in self._ks:
            yield without_top_masks(scores, k)
            yield only_top_masks(scores, k)
        if self._curves:
            for row in scores:
                yield from (curve_masks(row, kind) for kind in _KINDS)

    def run(self, measure: Measure, masks: Array) -> None:
        """Measure every different mask once."""
        different = np.unique(masks, axis=0)
        found = np.asarray(measure(different), dtype=np.float64)
        if found.shape != (len(different), len(self._tokens)):
            raise InputError(
                f"measure() returned values of shape {found.shape}",
                legal=f"[{len(different)} masks, {len(self._tokens)} spans]",
            )
        self._known = {mask.tobytes(): row for mask, row in zip(different, found, strict=True)}

    def all_of(self, masks: Array) -> Array:
        """Return ``[m, S]``, whatever the masks are for."""
        rows = [self._known[mask.tobytes()] for mask in masks]
        return np.stack(rows) if rows else np.zeros((0, len(self._tokens)))

    def single(self, name: str) -> Array:
        """Return each single unit's effect, ``[S, K]``, NaN where ``name`` was fitted on it."""
        alone = leave_one_out(self._dealer.units)
        effects: Array = (self.all_of(self._full) - self._judging(name, alone)).T
        return effects

    def ranked(self, name: str, scores: Array) -> dict[str, Array]:
        """Return what depends on the ranking of the units by ``scores``, ``[S]`` each."""
        full = self.all_of(self._full)[0]
        found: dict[str, Array] = {}
        for k in self._ks:
            drop = full - self._judging(name, without_top_masks(scores, k)).diagonal()
            found[f"top-{k}-drop"] = drop
            found[f"top-{k}-drop-per-token"] = drop / self._tokens
            only = self._judging(name, only_top_masks(scores, k)).diagonal()
            found[f"sufficiency-{k}"] = full - only
        for kind in _KINDS if self._curves else ():
            lines = [
                self._judging(name, curve_masks(row, kind))[:, span]
                for span, row in enumerate(scores)
            ]
            found[f"{kind}-auc"] = np.array([area(line, kind) for line in lines])
            found[f"{kind}-auc-normalised"] = np.array(
                [area(line, kind, normalised=True) for line in lines]
            )
        return found

    def _judging(self, name: str, masks: Array) -> Array:
        """Return ``[m, S]``, NaN for masks that the attribution ``name`` was fitted on."""
        values = self.all_of(masks)
        values[self._dealer.was_fitted(masks, by=name)] = np.nan
        return values

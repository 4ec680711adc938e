"""Agreement between ablation operators: how far the truth depends on how a unit is ablated.

Every operator takes each unit away alone, and ranks the units by what that costs each span. Where
two operators rank them alike, an effect is a fact about the unit; where they do not, it is one
about the operator too, and a faithfulness figure holds for that operator alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from omnitrace.ablation.masks import leave_one_out
from omnitrace.ablation.measurement import measure
from omnitrace.ablation.operators import Operator
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import Case, Draws, alike, scorer_of_case
from omnitrace.plugins.registry import registry
from omnitrace.tracer import Tracer
from omnitrace.types import Modality, Span

__all__ = ["ALL", "Agreement", "OperatorAgreement", "alike_by_group", "operator_agreement"]

#: The group of all units that both operators act on.
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two operators agree on the units of one group: "all", or a modality.

    ``correlation`` is Spearman's over the effects of the units, in [-1, 1], ``same_top`` the share
    of spans on which one unit has the largest effect by both; means over spans with intervals over
    examples. A span is undefined with fewer than two such units, or all of one effect.
    """

    first: str
    second: str
    group: str
    correlation: Estimate
    same_top: Estimate


@dataclass(frozen=True, slots=True)
class OperatorAgreement:
    """How operators agree, pair by pair.

    ``refused`` says of operators why they could not act, for how many responses, by name: such as
    "silence" on the sound of a video that is one unit with its pictures.
    """

    pairs: tuple[Agreement, ...]
    refused: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def of(self, first: str, second: str, group: str = ALL) -> Agreement:
        """Return how two operators agree, in either order.

        Raises
        ------
        InputError
            If they have no unit in common there.
        """
        for each in self.pairs:
            if {each.first, each.second} == {first, second} and each.group == group:
                return each
        raise InputError(
            f"{first!r} and {second!r} have no unit in common in {group!r}",
            legal=", ".join(f"{p.first} and {p.second} in {p.group!r}" for p in self.pairs),
        )


def operator_agreement(
    tracer: Tracer,
    cases: Sequence[Case],
    *,
    operators: Sequence[str | Operator] | None = None,
    interval: Draws | None = None,
    progress: ProgressCallback = no_progress,
) -> OperatorAgreement:
    """Take every unit away by every operator that acts on it, and compare the effects.

    Parameters
    ----------
    tracer, cases:
        The model and the responses.
    operators:
        Names or operators; all that are registered by default.
    interval:
        Of the estimates.
    progress:
        Called before each response and operator.

    Raises
    ------
    PluginError
        If an operator is unknown.
    InputError
        If there are fewer than two operators, or two of one name.
    """
    entries = registry().operators if operators is None else operators
    made = [registry().operator(e).make() if isinstance(e, str) else e for e in entries]
    names = [each.name for each in made]
    if len(set(names)) < max(2, len(names)):
        raise InputError(f"the operators are {names}", legal="two or more, each once")
    found: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    refused: dict[str, tuple[int, str]] = {}
    for case in cases:
        scorer = scorer_of_case(tracer, case)
        effects: dict[str, np.ndarray] = {}
        for operator in made:
            progress(f"{case.name}: {operator.name}")
            try:
                effects[operator.name] = _single_effects(scorer, case.trace.spans, operator)
            except NotSupportedError as error:
                count, _ = refused.get(operator.name, (0, ""))
                refused[operator.name] = count + 1, error.found
        for key, pair in alike_by_group(effects, scorer.modalities):
            found.setdefault(key, []).append(pair)
    interval = interval or Draws()
    pairs = []
    for key, values in found.items():
        correlations, tops = zip(*values, strict=True)
        pairs.append(Agreement(*key, interval.mean(correlations), interval.mean(tops)))
    return OperatorAgreement(tuple(pairs), refused)


def _single_effects(
    scorer: ResponseScorer, spans: Sequence[Span], operator: Operator
) -> np.ndarray:
    """Return float64 ``[S, K]`` in nats, NaN for units that the operator does not act on."""
    acted = np.array([each in operator.modalities for each in scorer.modalities], dtype=bool)
    effects = np.full((len(spans), len(acted)), np.nan)
    if acted.any():
        masks = leave_one_out(len(acted))[acted]
        effects[:, acted] = measure(scorer, spans, masks, operator=operator).drops.T
    return effects


def alike_by_group(
    effects: Mapping[str, np.ndarray], modalities: Sequence[Modality]
) -> Iterator[tuple[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]]:
    """Compare every two operators of one example, on all units of both and on each modality.

    Parameters
    ----------
    effects:
        By operator: float ``[S, K]``, NaN for units that it does not act on.
    modalities:
        Of the units.

    Yields
    ------
    tuple
        The two operators and the group; correlation and same top unit, ``[S]`` each, as ``alike``
        returns them. Groups without a unit in common are left out.
    """
    kinds = np.array(modalities)
    for (first, one), (second, other) in itertools.combinations(effects.items(), 2):
        common = ~(np.isnan(one) | np.isnan(other)).any(axis=0)
        for group in (ALL, *dict.fromkeys(modalities)):
            units = common & ((kinds == group) | (group == ALL))
            if units.any():
                yield (first, second, group), alike(one[:, units], other[:, units])

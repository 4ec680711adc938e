"""Operators: the ways in which a source unit can be ablated.

There are two kinds. A *decoder operator* acts on what the decoder is fed: it gives what stands at
the positions of an ablated unit, or hides these positions. An *input operator* changes a part of
the request itself, which is then encoded again. Both register through ``register_operators``.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import numpy as np
import torch

from omnitrace.errors import InputError, NotSupportedError, PluginError
from omnitrace.plugins.registry import registry
from omnitrace.types import Modality, SourceUnit

if TYPE_CHECKING:
    from omnitrace.ablation.lazy_scorer import LazyScorer
    from omnitrace.ablation.scorer import ResponseScorer
    from omnitrace.sources.parts import Part

__all__ = [
    "Attention",
    "DecoderOperator",
    "InputOperator",
    "Mean",
    "Operator",
    "OperatorsByModality",
    "choose_operators",
]

_ALL: Final[frozenset[Modality]] = frozenset({"text", "image", "audio", "video"})


class DecoderOperator(abc.ABC):
    """Ablates units in what the decoder is fed.

    Attributes
    ----------
    name:
        The name it is registered under.
    modalities:
        Modalities of the units that it can ablate.
    parameters:
        JSON-ready settings, part of what measured effects are kept by.
    """

    name: ClassVar[str]
    modalities: ClassVar[frozenset[Modality]] = _ALL
    parameters: Mapping[str, Any] = {}

    @abc.abstractmethod
    def substitutes(self, scorer: ResponseScorer) -> torch.Tensor | None:
        """Return ``[N, d]``: what stands at each position if its unit is ablated.

        It takes the place of the scorer's ``embeddings``, side inputs included.
        None hides the positions of ablated units from every other position, in all layers.
        """


class InputOperator(abc.ABC):
    """Ablates units in the request, which is then encoded again.

    Attributes
    ----------
    name, modalities, parameters:
        As for :class:`DecoderOperator`.
    """

    name: ClassVar[str]
    modalities: ClassVar[frozenset[Modality]]
    parameters: Mapping[str, Any] = {}

    @abc.abstractmethod
    def edit(self, part: Part, gone: Sequence[SourceUnit]) -> Part:
        """Return ``part`` without the units ``gone``, all of them units of this part.

        Parameters
        ----------
        part:
            A text or a loaded medium; it must not be changed itself.
        gone:
            At least one unit, of this operator's modalities.
        """


Operator: TypeAlias = DecoderOperator | InputOperator
"""What ablates units: in what the decoder is fed, or in the input."""


class Attention(DecoderOperator):
    """The unit's positions are masked for every later query in all layers; positions are kept.

    Where every layer with softmax attention attends to everything, the tokens are left out
    physically, which is the same and faster; layers that carry a state then never read them.
    """

    name = "attention"

    def substitutes(self, scorer: ResponseScorer) -> torch.Tensor | None:
        """Hide the positions."""
        return None


class Mean(DecoderOperator):
    """The unit's embeddings are replaced by the mean of all units of its modality."""

    name = "mean"

    def substitutes(self, scorer: ResponseScorer) -> torch.Tensor | None:
        """Return the modality's mean at every position of a unit."""
        nothing = torch.zeros((1, len(scorer.units)), dtype=torch.bool)
        return scorer.masked(nothing)[0]


OperatorsByModality: TypeAlias = Mapping[Modality, Operator]


def choose_operators(
    scorer: ResponseScorer | LazyScorer,
    operator: str | Operator | Mapping[Modality, str | Operator],
    keep: np.ndarray,
) -> OperatorsByModality:
    """Return the operator of each modality of which a unit is ablated.

    Parameters
    ----------
    scorer:
        Holds the units.
    operator:
        A registered name or an operator for all modalities, or one for each.
    keep:
        The masks, bool ``[m, units]``.

    Raises
    ------
    PluginError
        If a name is unknown, or what is given is no operator.
    InputError
        If a unit is of a modality that the operator does not act on, or that none is given for.
    NotSupportedError
        If a decoder operator and an input operator are to act on one request.
    """
    chosen: dict[Modality, Operator] = {}
    for unit, kept in zip(scorer.source_units, keep.T, strict=True):
        if kept.all() or unit.modality in chosen:
            continue
        given = operator
        if isinstance(operator, Mapping):
            if unit.modality not in operator:
                raise InputError(
                    f"no operator is given for {unit.modality}, and the masks ablate the "
                    f"{unit.modality} unit {unit.id!r}",
                    legal=_fitting(unit.modality),
                    fix=f"add {unit.modality!r} to the operators, or keep its units in every mask",
                )
            given = operator[unit.modality]
        chosen[unit.modality] = _fit(_made(given), unit)
    kinds = {isinstance(each, DecoderOperator) for each in chosen.values()}
    if len(kinds) > 1:
        raise NotSupportedError(
            "operators on the decoder and on the input are given together: "
            + ", ".join(f"{each.name!r} for {modality}" for modality, each in chosen.items()),
            legal="'attention' or 'mean' for some modalities, or input operators for all",
        )
    return chosen


def _made(given: Any) -> Operator:
    made = registry().operator(given).make() if isinstance(given, str) else given
    if not isinstance(made, DecoderOperator | InputOperator):
        raise PluginError(
            f"{given!r} is no operator",
            legal="a registered name, a DecoderOperator or an InputOperator",
        )
    return made


def _fit(operator: Operator, unit: SourceUnit) -> Operator:
    if unit.modality not in operator.modalities:
        raise InputError(
            f"the operator {operator.name!r} acts on {_listing(sorted(operator.modalities))}, and "
            f"the masks ablate the {unit.modality} unit {unit.id!r}",
            legal=_fitting(unit.modality),
            fix="choose one of these, or an operator for each modality, such as "
            "{'text': 'drop', 'image': 'grey'}",
        )
    return operator


def _fitting(modality: Modality) -> str:
    """Name the registered operators that act on ``modality``."""
    entries = registry().operators.values()
    names = [entry.name for entry in entries if modality in entry.make().modalities]
    return f"for {modality}: {', '.join(map(repr, names))}"


def _listing(names: Sequence[str]) -> str:
    return " and ".join(names)

"""From keep-masks to the token sequences that run through the decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from omnitrace.ablation.operators import DecoderOperator, InputOperator, OperatorsByModality
from omnitrace.ablation.prefix_sharing import SequenceBuilder, TokenSequences, TokenTable
from omnitrace.capture.attention_hooks import attention_modules
from omnitrace.errors import NotSupportedError
from omnitrace.sources.token_map import TimeTokens
from omnitrace.types import SourceUnit

if TYPE_CHECKING:
    from omnitrace.ablation.scorer import ResponseScorer, Rewriting
    from omnitrace.models.encoded_request import EncodedRequest
    from omnitrace.sources.parts import Part

__all__ = ["changed_request", "sequences_of"]


def sequences_of(
    scorer: ResponseScorer, masks: np.ndarray, chosen: OperatorsByModality
) -> Iterator[tuple[list[int], TokenSequences]]:
    """Yield indices of masks and their token sequences, in portions that fit the memory.

    Parameters
    ----------
    scorer:
        Holds the request.
    masks:
        bool ``[m, units]``; False ablates a unit.
    chosen:
        The operator for each modality of which a unit is ablated.
    """
    if all(isinstance(each, DecoderOperator) for each in chosen.values()):
        yield list(range(len(masks))), _decoder_rows(scorer, masks, chosen)
        return
    yield from _input_rows(scorer, _rewriting_of(scorer, chosen), masks, chosen)


def changed_request(
    scorer: ResponseScorer, keep: np.ndarray, chosen: OperatorsByModality
) -> EncodedRequest:
    """Return the request with units ablated at the input, encoded again.

    Parameters
    ----------
    scorer:
        Holds the request.
    keep:
        bool ``[units]``; False ablates a unit.
    chosen:
        The input operator for each modality of which a unit is ablated.

    Raises
    ------
    NotSupportedError
        If an operator acts on the decoder, the scorer was made without the request, or a unit
        carries pictures and sound at once.
    """
    inside = [each.name for each in chosen.values() if isinstance(each, DecoderOperator)]
    if inside:
        raise NotSupportedError(
            f"{inside[0]!r} acts on what the decoder is fed, and leaves the request as it is",
            legal="operators on the input: 'drop', 'grey', 'blur', 'silence', 'freeze'",
        )
    rewriting = _rewriting_of(scorer, chosen)
    _check_streams(scorer, rewriting.request, chosen)
    return _without(scorer, rewriting, keep, chosen)


def _rewriting_of(scorer: ResponseScorer, chosen: OperatorsByModality) -> Rewriting:
    if scorer.rewriting is None:
        names = ", ".join(repr(each.name) for each in chosen.values())
        raise NotSupportedError(
            f"{names} changes the request, and the scorer was made without it",
            legal="'attention' and 'mean'",
            fix="get the scorer from Tracer.scorer()",
        )
    return scorer.rewriting


def _decoder_rows(
    scorer: ResponseScorer, masks: np.ndarray, chosen: OperatorsByModality
) -> TokenSequences:
    """Write each mask in three kinds of codes: own (p), substituted (N + p), hidden (2N + p)."""
    own = scorer.embeddings[0]
    length = len(own)
    none_hidden = torch.zeros(length, dtype=torch.bool, device=own.device)
    table = TokenTable(own, scorer.positions, none_hidden, scorer.extras)
    instead = own.clone()
    unit_of = scorer.unit_of.cpu().numpy()
    hides = np.zeros(len(scorer.units) + 1, dtype=bool)  # the last is for positions without a unit
    for modality, operator in chosen.items():
        assert isinstance(operator, DecoderOperator)
        units = np.array([each == modality for each in scorer.modalities])
        found = operator.substitutes(scorer)
        if found is None:
            hides[:-1] |= units
            continue
        there = torch.from_numpy(np.append(units, False)[unit_of]).to(own.device)
        instead = torch.where(there[:, None], found.to(own), instead)
    if hides.any():
        _check_hiding(scorer)
    table = TokenTable(
        torch.cat([own, instead, own]),
        torch.cat([table.positions] * 3, dim=-1),
        torch.cat([none_hidden, none_hidden, ~none_hidden]),
        {name: torch.cat([value] * 3) for name, value in table.extras.items()},
    )
    gone = np.pad(~masks, ((0, 0), (0, 1)))[:, unit_of]
    hidden = gone & hides[unit_of]
    place = np.arange(length)
    codes = place + length * (gone & ~hidden) + 2 * length * hidden
    rows = list(codes)
    if scorer.reach.full:  # leaving them out is the same as hiding them
        rows = [row[~unseen] for row, unseen in zip(codes, hidden, strict=True)]
    return TokenSequences(table, rows, unablated=place)


def _check_hiding(scorer: ResponseScorer) -> None:
    if scorer.reach.full:
        return  # left out, and so hidden from layers of every kind
    name = type(scorer.model).__name__
    if scorer.recurrent:
        raise NotSupportedError(
            f"{name} has layers that look at a part of the sequence, from which tokens are hidden "
            "in their places, and layers that carry what they have read in a state, from which "
            "nothing can be hidden so",
            legal="the operator 'attention' where layers are of one of these kinds only",
            fix="use the operator 'mean', or for text 'drop'",
        )
    module = attention_modules(scorer.adapter.decoder)[0]
    attention = str(module.config._attn_implementation)  # type: ignore[union-attr]
    if "flash" in attention:
        raise NotSupportedError(
            f"{attention} leaves hidden tokens out of the sliding windows of {name}",
            fix="load the model with attn_implementation='sdpa', or use the operator 'mean'",
        )


def _input_rows(
    scorer: ResponseScorer, rewriting: Rewriting, masks: np.ndarray, chosen: OperatorsByModality
) -> Iterator[tuple[list[int], TokenSequences]]:
    """Encode every changed request; masks that begin alike are encoded, and run, together."""
    _check_streams(scorer, rewriting.request, chosen)
    _, length, width = scorer.embeddings.shape
    portion = max(1, scorer.memory // (8 * length * width))
    order = np.lexsort(masks.T[::-1]).tolist()
    for start in range(0, len(order), portion):
        indices = order[start : start + portion]
        builder = SequenceBuilder()
        for index in indices:
            _add_changed(builder, scorer, rewriting, masks[index], chosen)
        yield indices, builder.sequences()


def _add_changed(
    builder: SequenceBuilder,
    scorer: ResponseScorer,
    rewriting: Rewriting,
    keep: np.ndarray,
    chosen: OperatorsByModality,
) -> None:
    request = _without(scorer, rewriting, keep, chosen)
    inputs = request.inputs_with(scorer.response, scorer.embeddings.device)
    fed = scorer.refed(inputs, request.encoded.generate_options)
    positions = fed.positions
    length = fed.tokens.shape[1]
    where = torch.arange(length) if positions is None else positions[..., 0, :]
    extras = {name: inputs[name][0] for name in scorer.extras}
    builder.add(fed.tokens[0], where.to(fed.tokens.device), extras)


def _without(
    scorer: ResponseScorer, rewriting: Rewriting, keep: np.ndarray, chosen: OperatorsByModality
) -> EncodedRequest:
    gone = [unit for unit, kept in zip(scorer.source_units, keep, strict=True) if not kept]
    return _changed(rewriting, gone, chosen) if gone else rewriting.request


def _changed(
    rewriting: Rewriting, gone: list[SourceUnit], chosen: OperatorsByModality
) -> EncodedRequest:
    conversation = rewriting.request.conversation
    parts: list[Part] = []
    for part in conversation.parts:
        here = [
            unit
            for unit in gone
            if (unit.locator.message, unit.locator.part) == (part.message, part.part)
        ]
        for modality in sorted({unit.modality for unit in here}):
            operator = chosen[modality]
            assert isinstance(operator, InputOperator)
            part = operator.edit(part, [unit for unit in here if unit.modality == modality])
        parts.append(part)
    conversation = dataclasses.replace(conversation, parts=tuple(parts))
    encoded = rewriting.encode(conversation)
    return dataclasses.replace(rewriting.request, conversation=conversation, encoded=encoded)


def _check_streams(
    scorer: ResponseScorer, request: EncodedRequest, chosen: OperatorsByModality
) -> None:
    """Refuse a unit that holds pictures and sound: an operator changes only one of them."""
    streams = [
        (tokens.modality, set(tokens.positions))
        for tokens in request.encoded.geometry
        if isinstance(tokens, TimeTokens)
    ]
    for unit in scorer.source_units:
        if unit.modality not in chosen:
            continue
        others = [
            kind
            for kind, places in streams
            if kind != unit.modality and not places.isdisjoint(unit.positions)
        ]
        if others:
            raise NotSupportedError(
                f"the unit {unit.id!r} carries {unit.modality} and {others[0]} at once, and "
                f"{chosen[unit.modality].name!r} changes one of them only",
                fix="set SourceOptions.audio_in_video to 'separate', or use 'attention' or 'mean'",
            )

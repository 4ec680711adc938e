"""Total effect by regeneration: what the model writes when a unit is not there.

Teacher forcing keeps the old words: the effect it measures is the *direct* one, given everything
that was said before. The *total* effect also goes through the words themselves. So each unit is
ablated at the input, the model answers again, greedily, and each span of the old response either
stands in the new one or it does not; beside that stands the teacher-forced drop of the same units,
ablated in the same way. Units are ablated at the input and not in the decoder, because
``generate`` then runs as ever on a request like any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnitrace.ablation.input_operators import AT_THE_INPUT
from omnitrace.ablation.mask_sequences import changed_request
from omnitrace.ablation.masks import generator, leave_one_out
from omnitrace.ablation.measurement import measure
from omnitrace.ablation.operators import Operator, choose_operators
from omnitrace.ablation.scorer import ResponseScorer
from omnitrace.errors import InputError, NotSupportedError
from omnitrace.evaluation.metrics.bootstrap import Estimate
from omnitrace.evaluation.metrics.faithfulness import spearman
from omnitrace.evaluation.progress import ProgressCallback, no_progress
from omnitrace.evaluation.sanity.cases import Case, Draws, same_everywhere, scorer_of_case
from omnitrace.models.generation import greedy_ids
from omnitrace.trace.trace import Trace
from omnitrace.tracer import Tracer
from omnitrace.types import Modality

__all__ = ["Regenerated", "Regeneration", "regenerated", "regeneration"]


@dataclass(frozen=True, slots=True, eq=False)
class Regenerated:
    """Both effects of some units of one response.

    Attributes
    ----------
    name:
        Of the example.
    units:
        Indices ``[U]`` of the units that were ablated, one at a time.
    drops:
        float64 ``[U, S]``: the teacher-forced effect on each span, in nats.
    changed, edited:
        float64 ``[U, S]``: whether the text of the span is not in the new response (0 or 1), and
        the share of its tokens that the new response does not have in the same order, in [0, 1].
        NaN for a span that the model does not write again even with every unit there.
    unablated:
        float64 ``[S]`` of 0 and 1: these spans.
    """

    name: str
    units: tuple[int, ...]
    drops: np.ndarray
    changed: np.ndarray
    edited: np.ndarray
    unablated: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Regeneration:
    """How the total effect goes with the teacher-forced one; pairs are of a unit and a span.

    Attributes
    ----------
    unablated:
        Share of the spans that change though nothing is ablated: they are in no other figure.
        0 where the model wrote the responses greedily.
    changed, edited:
        Mean over pairs of ``Regenerated.changed`` and ``edited``.
    with_changed, with_edited:
        Spearman's rank correlation, over the units, of the teacher-forced drop with both; mean over
        spans, undefined for a span that every unit changes alike, or none.
    drop_if_changed, drop_if_same:
        Mean teacher-forced drop, in nats, of the pairs whose span changes, and of the others.
    named:
        By signal, and the control "unit-size": share of the spans that change without the unit of
        highest score.
    examples:
        What was measured; ``refused`` says of the others why they could not be, by name.
    """

    unablated: Estimate
    changed: Estimate
    edited: Estimate
    with_changed: Estimate
    with_edited: Estimate
    drop_if_changed: Estimate
    drop_if_same: Estimate
    named: Mapping[str, Estimate]
    examples: tuple[Regenerated, ...]
    refused: Mapping[str, str] = field(default_factory=dict)


def regeneration(
    tracer: Tracer,
    cases: Sequence[Case],
    *,
    operators: Mapping[Modality, str | Operator] = AT_THE_INPUT,
    top: int | None = None,
    others: int = 8,
    max_new_tokens: int | None = None,
    interval: Draws | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> Regeneration:
    """Let the model answer again without each unit, and compare with the teacher-forced effects.

    Parameters
    ----------
    tracer, cases:
        The model, and the responses with the scores of every signal.
    operators:
        The input operator of each modality.
    top, others:
        With a number, only so many units of largest teacher-forced drop on any span are ablated,
        beside the units that a signal names first and ``others`` random ones; None takes all. The
        choice favours large drops: the share of changed pairs is then no average of all units.
    max_new_tokens:
        Longest new response; None allows twice the old one, and 16 tokens more.
    interval, seed:
        Of the estimates; of the random units.
    progress:
        Called before each new response.

    Raises
    ------
    InputError
        If there is no case, or an operator does not fit.
    NotSupportedError
        If none of the responses allows for it.
    """
    if not cases or (top is not None and top < 1) or others < 0:
        raise InputError(
            f"{len(cases)} responses, the top {top} units and {others} others",
            legal="at least 1 response, a top of 1 or more, others of 0 or more",
        )
    found: list[tuple[Case, Regenerated]] = []
    refused: dict[str, str] = {}
    for case in cases:
        try:
            scorer = scorer_of_case(tracer, case)
            masks = leave_one_out(len(scorer.units))
            progress(f"{case.name}: teacher-forced effects")
            drops = measure(scorer, case.trace.spans, masks, operator=operators).drops
            units = _chosen(case, drops, top, others, seed)
            each = regenerated(
                scorer,
                case.trace,
                units,
                drops[units],
                operators,
                max_new_tokens,
                progress,
                case.name,
            )
            found.append((case, each))
        except NotSupportedError as error:
            refused[case.name] = error.found
    if not found:
        name, reason = next(iter(refused.items()))
        raise NotSupportedError(f"no response can be written again: {name}: {reason}")
    return _summed_up(found, refused, interval or Draws(seed=seed))


def regenerated(
    scorer: ResponseScorer,
    trace: Trace,
    units: Sequence[int],
    drops: np.ndarray,
    operators: Mapping[Modality, str | Operator] = AT_THE_INPUT,
    max_new_tokens: int | None = None,
    progress: ProgressCallback = no_progress,
    name: str = "",
) -> Regenerated:
    """Write one response again without each of some units.

    Parameters
    ----------
    scorer, trace:
        Of the response.
    units:
        Indices of the units, ``[U]``.
    drops:
        float ``[U, S]``: their teacher-forced effects.
    operators, max_new_tokens, progress:
        As for :func:`regeneration`.
    name:
        Of the example.
    """
    limit = max_new_tokens or 2 * len(trace.token_ids) + 16
    everything = np.ones(len(scorer.units), dtype=bool)
    responses = []
    for number, mask in enumerate([everything, *leave_one_out(len(scorer.units))[list(units)]]):
        progress(f"{name}: writing again, {number} of {len(units)}")
        chosen = choose_operators(scorer, operators, mask[None])
        request = changed_request(scorer, mask, chosen)
        responses.append(greedy_ids(scorer.adapter, request.encoded, limit))
    changed, edited = (
        np.array([compare(trace, ids, scorer.adapter.tokenizer) for ids in responses])
        for compare in (_changed, _edited)
    )
    gone = np.where(changed[0] > 0, np.nan, 0.0)
    return Regenerated(name, tuple(units), drops, changed[1:] + gone, edited[1:] + gone, changed[0])


def _changed(trace: Trace, ids: Sequence[int], tokenizer: Any) -> list[float]:
    new = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [float(_squeezed(span.text) not in _squeezed(new)) for span in trace.spans]


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _edited(trace: Trace, ids: Sequence[int], _: Any) -> list[float]:
    stays = np.zeros(len(trace.token_ids))
    matcher = difflib.SequenceMatcher(None, trace.token_ids, ids, autojunk=False)
    for block in matcher.get_matching_blocks():
        stays[block.a : block.a + block.size] = 1.0
    return [1 - float(stays[span.token_start : span.token_end].mean()) for span in trace.spans]


def _chosen(case: Case, drops: np.ndarray, top: int | None, others: int, seed: int) -> list[int]:
    """Return the indices of the units to ablate, ascending."""
    count = len(drops)
    if top is None:
        return list(range(count))
    chosen = {int(unit) for scores in case.scores.values() for unit in scores.argmax(axis=1)}
    chosen |= set(np.argsort(-drops.max(axis=1), kind="stable")[:top].tolist())
    left = [unit for unit in range(count) if unit not in chosen]
    draws = generator(seed, case.name, "others")
    picked = draws.permutation(len(left))[:others]
    return sorted(chosen | {left[i] for i in picked})


def _summed_up(
    found: Sequence[tuple[Case, Regenerated]], refused: Mapping[str, str], interval: Draws
) -> Regeneration:
    each = [one for _, one in found]
    named = {
        signal: interval.mean([_named(case, one, signal) for case, one in found])
        for signal in found[0][0].scores
    }
    return Regeneration(
        unablated=interval.mean([one.unablated for one in each]),
        changed=interval.mean([one.changed.ravel() for one in each]),
        edited=interval.mean([one.edited.ravel() for one in each]),
        with_changed=interval.mean([_correlated(one.drops, one.changed) for one in each]),
        with_edited=interval.mean([_correlated(one.drops, one.edited) for one in each]),
        drop_if_changed=interval.mean([one.drops[one.changed == 1] for one in each]),
        drop_if_same=interval.mean([one.drops[one.changed == 0] for one in each]),
        named=named,
        examples=tuple(each),
        refused=refused,
    )


def _correlated(drops: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation over the units, float ``[S]``; NaN where it is undefined."""
    return np.array(
        [
            np.nan if np.isnan(b).any() else spearman(a, b)
            for a, b in zip(drops.T, outcome.T, strict=True)
        ]
    )


def _named(case: Case, one: Regenerated, signal: str) -> np.ndarray:
    """Return, float ``[S]``, whether each span changes without the unit of highest score."""
    scores = case.scores[signal]
    rows = [one.units.index(int(unit)) for unit in scores.argmax(axis=1)]
    values = one.changed[rows, np.arange(len(rows))]
    return np.where(same_everywhere(scores), np.nan, values)

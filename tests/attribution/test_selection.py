"""The selection rule, against a slow one and against examples made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.attribution.masses import Masses
from omnitrace.attribution.selection import CurationConfig, Selection, curate_span
from omnitrace.errors import InputError

# Loose enough that a hand-made example sees only the rule that it is about.
PLAIN = CurationConfig(
    gate=False,
    position_weights=False,
    confidence_weight=False,
    runs=False,
    coverage=1.0,
    p_min=0.0,
    run_min=0.0,
    fallback=False,
)


def make_masses(
    units: Any, instruction: Any = 0.0, generated: Any = 0.0, rest: Any = 0.0
) -> Masses:
    units = np.asarray(units, dtype=float)
    n = len(units)
    instruction, generated, rest = (
        np.broadcast_to(np.asarray(x, dtype=float), (n,)) for x in (instruction, generated, rest)
    )
    return Masses(
        units=units,
        instruction=instruction,
        template=np.zeros(n),
        generated=generated,
        source_rest=rest,
        total=units.sum(axis=1) + instruction + generated + rest,
        assigned_units=units,
        assigned_instruction=instruction,
        assigned_generated=generated,
    )


def votes_for(*choices: int | None, n_units: int = 3) -> Masses:
    """One token a choice, all its mass on that unit; None: on the instruction."""
    units = np.zeros((len(choices), n_units))
    for t, unit in enumerate(choices):
        if unit is not None:
            units[t, unit] = 1.0
    return make_masses(units, instruction=[1.0 if unit is None else 0.0 for unit in choices])


def select(
    masses: Masses, config: CurationConfig, weights: Any = None, modalities: Any = None
) -> Selection:
    n, n_units = masses.units.shape
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    return curate_span(masses, weights, (0, n), config, modalities or ["text"] * n_units)


def indices(selection: Selection) -> list[int]:
    return [selected.unit_index for selected in selection.supports]


def slow(
    masses: Masses, weights: np.ndarray, span: tuple[int, int], cfg: CurationConfig, mods: list[str]
) -> tuple[list[tuple[int, float, float, float, float]], float]:
    """Design 5.3 in loops: ``(unit, mass, share, run, score)`` in order, and the grounding."""
    tokens = range(*span)
    n_units = len(mods)
    total = sum(masses.total[t] for t in tokens)
    source = sum(masses.units[t].sum() + masses.source_rest[t] for t in tokens)
    grounding = source / total if total else 0.0
    if n_units == 0 or grounding < cfg.min_grounding:
        return [], grounding
    competitions = [list(range(n_units))]
    if cfg.compete == "per-modality":
        competitions = [[u for u in range(n_units) if mods[u] == m] for m in sorted(set(mods))]
    chosen = []
    everyone: list[tuple[float, int, float, float, float]] = []

    def gated(t: int) -> bool:
        rival = max(masses.assigned_instruction[t], masses.assigned_generated[t])
        return bool(cfg.gate and rival > max(masses.assigned_units[t]))

    def vote(t: int) -> float:
        weight = float(weights[t]) if cfg.position_weights else 1.0
        best = float(max(masses.assigned_units[t]))
        return weight * (best**cfg.gamma if cfg.confidence_weight else best > 0)

    left = sum(vote(t) for t in tokens if not gated(t))
    lost = sum(vote(t) for t in tokens if gated(t))
    gate = not cfg.fallback or left > 0.5 * (left + lost) * (1 - 1e-9)
    for units in competitions:
        cast: list[tuple[int, float]] = []
        for t in tokens:
            mass = [float(masses.assigned_units[t, u]) for u in range(n_units)]
            if gate and gated(t):
                continue
            best = max(units, key=lambda u: (mass[u], -u))
            weight = float(weights[t]) if cfg.position_weights else 1.0
            weight *= mass[best] ** cfg.gamma if cfg.confidence_weight else mass[best] > 0
            if weight > 0 and mass[best] > 0:
                cast.append((best, weight))
        all_votes = sum(weight for _, weight in cast)
        ranked = []
        for u in {unit for unit, _ in cast}:
            votes = sum(weight for unit, weight in cast if unit == u)
            longest = current = 0
            for unit, _ in cast:
                current = current + 1 if unit == u else 0
                longest = max(longest, current)
            p, r = votes / all_votes, longest / len(cast)
            score = cfg.alpha * p + (1 - cfg.alpha) * r if cfg.runs else p
            ranked.append((-round(score, 12), u, p, r, score))
            everyone.append((-votes, u, p, r, score))
        covered = 0.0
        for _, u, p, r, score in sorted(ranked):
            if p < cfg.p_min and (not cfg.runs or r < cfg.run_min):
                continue
            chosen.append((-round(score, 12), u, p, r, score))
            covered += p
            # A share below the slack is none: 1 - 1e-15 of the votes are all of them.
            if covered >= cfg.coverage - 1e-9:
                break
    if not chosen and everyone and cfg.fallback:
        chosen = [min(everyone)]
    out = [
        (u, sum(masses.units[t, u] for t in tokens) / total, p, r, score)
        for _, u, p, r, score in sorted(chosen)
    ]
    return out[: cfg.max_supports], grounding


@st.composite
def random_masses(draw: st.DrawFn) -> tuple[Masses, np.ndarray, list[str], tuple[int, int]]:
    tokens, n_units = draw(st.integers(0, 12)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sharp = draw(st.sampled_from([1, 4, 12]))
    units = rng.random((tokens, n_units)) ** sharp
    units[rng.random(units.shape) < draw(st.sampled_from([0.0, 0.5]))] = 0
    size = draw(st.sampled_from([0.0, 0.3, 1.0]))
    masses = make_masses(units, *(size * rng.random((3, tokens)) ** 2))
    # Other rules than unit-sum: what competes is not what is summed.
    masses = dataclasses.replace(masses, assigned_units=units * rng.random(n_units))
    weights = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=tokens)
    modalities = rng.choice(["text", "image", "audio"], size=n_units).tolist()
    start = draw(st.integers(0, tokens))
    return masses, weights, modalities, (start, draw(st.integers(start, tokens)))


switch = st.booleans()
configs = st.builds(
    CurationConfig,
    gate=switch,
    compete=st.sampled_from(["joint", "per-modality"]),
    position_weights=switch,
    confidence_weight=switch,
    runs=switch,
    alpha=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    gamma=st.sampled_from([0.0, 1.0, 2.0, 3.5]),
    # Odd thresholds: no share of a few equal votes lies on them.
    coverage=st.sampled_from([0.3141, 0.8512, 1.0]),
    p_min=st.sampled_from([0.0, 0.0712, 0.4123, 0.9]),
    run_min=st.sampled_from([0.0, 0.1013, 0.6123, 1.0]),
    min_grounding=st.sampled_from([0.0, 0.6131]),
    fallback=switch,
    max_supports=st.sampled_from([None, 1, 2]),
)


@given(case=random_masses(), config=configs)
@settings(max_examples=600)
def test_curation_agrees_with_the_slow_one(
    case: tuple[Masses, np.ndarray, list[str], tuple[int, int]], config: CurationConfig
) -> None:
    masses, weights, modalities, span = case
    got = curate_span(masses, weights, span, config, modalities)
    expected, grounding = slow(masses, weights, span, config, modalities)
    assert indices(got) == [row[0] for row in expected]
    values = [(s.unit_index, s.mass, s.share, s.run, s.score) for s in got.supports]
    np.testing.assert_allclose(
        np.array(values).reshape(-1, 5), np.array(expected).reshape(-1, 5), rtol=1e-9, atol=1e-11
    )
    assert got.grounding == pytest.approx(grounding)
    assert got.ungrounded == (not got.supports)
    assert [s.rank for s in got.supports] == list(range(1, len(got.supports) + 1))


@given(
    case=random_masses(), config=configs, scale=st.sampled_from([2.0**-400, 1e-3, 0.3, 7.0, 1e150])
)
@settings(max_examples=200)
def test_rescaling_all_scores_changes_nothing(
    case: tuple[Masses, np.ndarray, list[str], tuple[int, int]],
    config: CurationConfig,
    scale: float,
) -> None:
    masses, weights, modalities, span = case
    fields = [field.name for field in dataclasses.fields(Masses)]
    scaled = Masses(**{name: getattr(masses, name) * scale for name in fields})
    before = curate_span(masses, weights, span, config, modalities)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        after = curate_span(scaled, weights, span, config, modalities)
    assert indices(after) == indices(before)
    for one, other in zip(before.supports, after.supports, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(other))
    assert after.grounding == pytest.approx(before.grounding)


@given(case=random_masses(), config=configs, seed=st.integers(0, 2**32))
@settings(max_examples=200)
def test_permuting_units_permutes_the_supports(
    case: tuple[Masses, np.ndarray, list[str], tuple[int, int]], config: CurationConfig, seed: int
) -> None:
    masses, weights, modalities, span = case
    order = np.random.default_rng(seed).permutation(len(modalities))
    # Where a cut could fall between units that tie, their order would decide.
    config = dataclasses.replace(config, coverage=1.0, max_supports=None, fallback=False)
    permuted = dataclasses.replace(
        masses, units=masses.units[:, order], assigned_units=masses.assigned_units[:, order]
    )
    before = curate_span(masses, weights, span, config, modalities)
    after = curate_span(permuted, weights, span, config, [modalities[u] for u in order])
    scores = [s.score for s in before.supports]
    if len(set(scores)) == len(scores):
        assert [int(order[u]) for u in indices(after)] == indices(before)
    assert sorted(int(order[u]) for u in indices(after)) == sorted(indices(before))
    assert after.grounding == pytest.approx(before.grounding)
    assert after.ungrounded == before.ungrounded


def with_(**changes: Any) -> CurationConfig:
    return dataclasses.replace(PLAIN, **changes)


def test_shares_runs_and_scores() -> None:
    selection = select(votes_for(0, 0, 1, 0), with_(runs=True, alpha=0.8))
    first, second = selection.supports
    assert dataclasses.astuple(first) == pytest.approx((0, 0.75, 0.75, 0.5, 0.7, 1))
    assert dataclasses.astuple(second) == pytest.approx((1, 0.25, 0.25, 0.25, 0.25, 2))
    assert (selection.grounding, selection.ungrounded) == (1.0, False)


def test_gate() -> None:
    masses = make_masses([[0.3, 0.0], [0.0, 0.4], [0.3, 0.1]], [0.5, 0, 0.3], [0, 0.3, 0])
    assert indices(select(masses, PLAIN)) == [0, 1]
    gated = select(masses, with_(gate=True))
    assert indices(gated) == [0, 1]
    assert [s.share for s in gated.supports] == [0.5, 0.5]  # a tie leaves the token its vote
    masses = make_masses([[0.3, 0.0], [0.0, 0.4]], 0.0, [0.35, 0.35])
    assert indices(select(masses, with_(gate=True))) == [1]


def test_the_gate_never_takes_most_of_the_votes() -> None:
    """At the beginning of an answer there is no generated text that could gate a token."""
    units = [[0.0, 0.1], *[[0.2, 0.0]] * 4]
    masses = make_masses(units, generated=[0.0, *[0.5] * 4])
    assert indices(select(masses, with_(gate=True, fallback=True))) == [0, 1]
    trusting = with_(gate=True, fallback=True, confidence_weight=True, coverage=0.85)
    assert indices(select(masses, trusting)) == [0]
    assert indices(select(masses, dataclasses.replace(trusting, fallback=False))) == [1]
    # One vote of two equal ones is not most of them.
    even = make_masses([[0.3, 0.0], [0.0, 0.3]], generated=[0.5, 0.0])
    assert indices(select(even, with_(gate=True, fallback=True))) == [1]


def test_a_span_all_of_whose_tokens_are_gated() -> None:
    masses = make_masses([[0.3, 0.1]] * 3, instruction=0.6)
    assert indices(select(masses, with_(gate=True, fallback=True))) == [0]
    selection = select(masses, with_(gate=True, fallback=False))
    assert (selection.supports, selection.ungrounded) == ((), True)
    assert selection.grounding == pytest.approx(0.4)
    selection = select(masses, with_(gate=True, fallback=True, min_grounding=0.5))
    assert (selection.supports, selection.ungrounded) == ((), True)


def test_a_span_of_punctuation_is_ungrounded() -> None:
    selection = select(votes_for(0, 1), with_(position_weights=True, fallback=True), [0.0, 0.0])
    assert (indices(selection), selection.ungrounded) == ([], True)


def test_position_weights() -> None:
    masses, weights = votes_for(0, 0, 1), [0.1, 0.1, 1.0]
    assert indices(select(masses, PLAIN, weights)) == [0, 1]
    assert indices(select(masses, with_(position_weights=True), weights)) == [1, 0]


def test_confidence_weight_and_gamma() -> None:
    masses = make_masses([[0.3, 0.0], [0.3, 0.0], [0.0, 0.5]])
    assert indices(select(masses, PLAIN)) == [0, 1]
    assert indices(select(masses, with_(confidence_weight=True, gamma=1.0))) == [0, 1]
    assert indices(select(masses, with_(confidence_weight=True, gamma=2.0))) == [1, 0]
    assert indices(select(masses, with_(confidence_weight=True, gamma=0.0))) == [0, 1]


def test_runs_and_alpha() -> None:
    masses = votes_for(0, 1, 1, 0, 2, 0)
    config = with_(runs=True, alpha=0.2)
    assert indices(select(masses, PLAIN)) == [0, 1, 2]
    assert indices(select(masses, config)) == [1, 0, 2]
    assert indices(select(masses, with_(runs=True, alpha=1.0))) == [0, 1, 2]
    # The run saves a unit that has too few votes.
    assert indices(select(masses, with_(p_min=0.4))) == [0]
    assert indices(select(masses, with_(p_min=0.4, run_min=0.3, runs=True))) == [0, 1]


def test_tokens_without_a_vote_neither_break_nor_lengthen_a_run() -> None:
    selection = select(votes_for(0, None, 0, None, 1, n_units=2), with_(gate=True))
    assert [s.run for s in selection.supports] == pytest.approx([2 / 3, 1 / 3])
    silent = with_(position_weights=True)
    selection = select(votes_for(0, 1, 0, 1), silent, [1, 0, 1, 1])
    assert [s.run for s in selection.supports] == pytest.approx([2 / 3, 1 / 3])


def test_coverage_includes_the_unit_that_crosses_it() -> None:
    masses = votes_for(0, 0, 0, 1, 2)
    assert indices(select(masses, with_(coverage=0.6))) == [0]
    assert indices(select(masses, with_(coverage=0.61))) == [0, 1]
    assert indices(select(masses, with_(coverage=0.9))) == [0, 1, 2]
    # Skipped units cover nothing.
    assert indices(select(masses, with_(coverage=0.9, p_min=0.3))) == [0]


def test_fallback_takes_the_unit_with_most_votes() -> None:
    masses = votes_for(0, 1, 2, 1, 3, n_units=4)
    assert select(masses, with_(p_min=0.5)).ungrounded
    selection = select(masses, with_(p_min=0.5, fallback=True))
    assert (indices(selection), selection.ungrounded) == ([1], False)
    assert selection.supports[0].share == 0.4


def test_min_grounding() -> None:
    masses = make_masses([[0.4]], instruction=0.3, rest=0.2)
    assert select(masses, PLAIN).grounding == pytest.approx(0.6 / 0.9)
    assert not select(masses, with_(min_grounding=0.6)).ungrounded
    assert not select(votes_for(0, None), with_(min_grounding=0.5)).ungrounded
    low = select(masses, with_(min_grounding=0.7, fallback=True))
    assert (low.ungrounded, low.supports) == (True, ())


def test_max_supports() -> None:
    assert indices(select(votes_for(0, 1, 1, 2), with_(max_supports=2))) == [1, 0]


def test_ties_go_to_the_lower_index() -> None:
    assert indices(select(votes_for(2, 0, 1), PLAIN)) == [0, 1, 2]
    assert indices(select(make_masses([[0.5, 0.5]]), PLAIN)) == [0]
    thirds = make_masses([[0.0, 0.7], [0.1, 0.0], [0.2, 0.0], [0.4, 0.0]])
    assert indices(select(thirds, with_(confidence_weight=True, gamma=1.0))) == [0, 1]


def test_per_modality() -> None:
    masses = make_masses([[0.5, 0.1, 0.2], [0.6, 0.3, 0.0], [0.5, 0.0, 0.0]])
    modalities = ["text", "image", "image"]
    assert indices(select(masses, PLAIN, modalities=modalities)) == [0]
    split = select(masses, with_(compete="per-modality"), modalities=modalities)
    assert indices(split) == [0, 1, 2]
    assert [s.share for s in split.supports] == [1.0, 0.5, 0.5]


def test_edges() -> None:
    config = CurationConfig()
    none = Selection((), 0.0, ungrounded=True)
    assert (
        curate_span(make_masses(np.zeros((0, 2))), np.zeros(0), (0, 0), config, ["a"] * 2) == none
    )
    assert curate_span(make_masses(np.ones((2, 2))), np.ones(2), (1, 1), config, ["a"] * 2) == none
    assert select(make_masses(np.zeros((2, 2))), config) == none
    no_units = select(make_masses(np.zeros((2, 0)), rest=1.0), config)
    assert no_units == Selection((), 1.0, ungrounded=True)
    single = select(votes_for(1), config)
    assert dataclasses.astuple(single.supports[0]) == (1, 1.0, 1.0, 1.0, 1.0, 1)


def test_illegal_arguments() -> None:
    masses = make_masses(np.ones((2, 1)))
    for span in ((0, 3), (-1, 1), (2, 1)):
        with pytest.raises(InputError, match="token range"):
            curate_span(masses, np.ones(2), span, PLAIN, ["text"])
    with pytest.raises(InputError, match="1 weights and 2 modalities"):
        curate_span(masses, np.ones(1), (0, 1), PLAIN, ["text"] * 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("assign", "sum"), ("compete", "apart"), ("gate", 1), ("fallback", None)),
        *(("alpha", 1.1), ("alpha", "0.8"), ("alpha", float("nan")), ("alpha", True)),
        *(("gamma", -1), ("gamma", float("inf")), ("coverage", 0), ("coverage", 2)),
        *(("p_min", -0.1), ("run_min", 1.5), ("min_grounding", None)),
        *(("max_supports", 0), ("max_supports", 1.5), ("max_supports", True)),
    ],
)
def test_illegal_options_are_named(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} is .*Legal: "):
        CurationConfig(**{name: value})  # type: ignore[arg-type]


def test_config_to_and_from_dict() -> None:
    config = CurationConfig(alpha=1, max_supports=3, compete="per-modality")
    assert CurationConfig.from_dict(config.to_dict()) == config
    assert CurationConfig.from_dict({}) == CurationConfig()
    assert CurationConfig().to_dict()["coverage"] == 0.85
    with pytest.raises(InputError, match=r"'pmin'.*did you mean 'p_min'"):
        CurationConfig.from_dict({"pmin": 0.1})
    with pytest.raises(InputError, match="remove it"):
        CurationConfig.from_dict({"zzz": 0.1})

"""The selection rule on random masses: against a slow one, and what must not change it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.attribution.masses import Masses
from omnitrace.attribution.selection import SelectionConfig, select_supports
from tests.helpers.masses import indices, make_masses


def slow(
    masses: Masses,
    weights: np.ndarray,
    span: tuple[int, int],
    cfg: SelectionConfig,
    mods: list[str],
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
    SelectionConfig,
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
def test_selection_agrees_with_the_slow_one(
    case: tuple[Masses, np.ndarray, list[str], tuple[int, int]], config: SelectionConfig
) -> None:
    masses, weights, modalities, span = case
    got = select_supports(masses, weights, span, config, modalities)
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
    config: SelectionConfig,
    scale: float,
) -> None:
    masses, weights, modalities, span = case
    fields = [field.name for field in dataclasses.fields(Masses)]
    scaled = Masses(**{name: getattr(masses, name) * scale for name in fields})
    before = select_supports(masses, weights, span, config, modalities)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        after = select_supports(scaled, weights, span, config, modalities)
    assert indices(after) == indices(before)
    for one, other in zip(before.supports, after.supports, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(other))
    assert after.grounding == pytest.approx(before.grounding)


@given(case=random_masses(), config=configs, seed=st.integers(0, 2**32))
@settings(max_examples=200)
def test_permuting_units_permutes_the_supports(
    case: tuple[Masses, np.ndarray, list[str], tuple[int, int]], config: SelectionConfig, seed: int
) -> None:
    masses, weights, modalities, span = case
    order = np.random.default_rng(seed).permutation(len(modalities))
    # Where a cut could fall between units that tie, their order would decide.
    config = dataclasses.replace(config, coverage=1.0, max_supports=None, fallback=False)
    permuted = dataclasses.replace(
        masses, units=masses.units[:, order], assigned_units=masses.assigned_units[:, order]
    )
    before = select_supports(masses, weights, span, config, modalities)
    after = select_supports(permuted, weights, span, config, [modalities[u] for u in order])
    scores = [s.score for s in before.supports]
    if len(set(scores)) == len(scores):
        assert [int(order[u]) for u in indices(after)] == indices(before)
    assert sorted(int(order[u]) for u in indices(after)) == sorted(indices(before))
    assert after.grounding == pytest.approx(before.grounding)
    assert after.ungrounded == before.ungrounded

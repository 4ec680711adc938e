"""Keep-masks: seeded, of the wanted rates and sizes, and never both fitted on and judged by."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace import InputError
from omnitrace.ablation import MaskDealer, leave_one_out, random_masks, sized_masks

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=18)


def keys(masks: np.ndarray) -> set[bytes]:
    return {mask.tobytes() for mask in masks}


def test_leaving_one_out() -> None:
    assert (leave_one_out(3) == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]).all()
    with pytest.raises(InputError, match="units is 0"):
        leave_one_out(0)


def test_random_masks_have_their_rates_seeds_and_complements() -> None:
    masks = random_masks(40, 400, seed="a")
    assert masks.shape == (400, 40)
    assert masks.dtype == np.bool_
    assert (masks[1::2] == ~masks[::2]).all()
    assert (random_masks(40, 400, seed="a") == masks).all()
    assert (random_masks(40, 400, seed="b") != masks).any()
    assert (random_masks(40, 399, seed="a") == masks[:399]).all()
    plain = random_masks(40, 400, seed=0, rates=(0.2, 0.9), antithetic=False)
    assert plain[::2].mean() == pytest.approx(0.2, abs=0.03)
    assert plain[1::2].mean() == pytest.approx(0.9, abs=0.03)
    # Pairs take turns too: of the first two, one keeps 0.2 and the other its complement.
    pairs = random_masks(40, 400, seed=0, rates=(0.2, 0.9))
    assert pairs[::4].mean() == pytest.approx(0.2, abs=0.03)
    assert pairs[2::4].mean() == pytest.approx(0.9, abs=0.03)
    assert random_masks(4, 0, seed=0).shape == (0, 4)


@pytest.mark.parametrize("rates", [0.0, 1.0, (0.5, 2.0), (), float("nan")])
def test_bad_rates_are_refused(rates: Any) -> None:
    with pytest.raises(InputError, match="the rate is"):
        random_masks(4, 4, seed=0, rates=rates)


def test_sized_masks_keep_nearly_the_same_number_of_tokens() -> None:
    sizes = np.random.default_rng(0).integers(8, 40, size=20)
    masks = sized_masks(sizes, 128, seed="x")
    assert len(keys(masks)) == 128
    kept = masks @ sizes
    assert np.abs(kept - sizes.sum() / 2).max() <= 2
    loose = random_masks(20, 128, seed="x") @ sizes
    assert kept.std() < loose.std() / 20
    assert masks.mean(axis=0) == pytest.approx(0.5, abs=0.2)
    assert (sized_masks(sizes, 128, seed="x") == masks).all()
    third = sized_masks(sizes, 64, seed=1, rate=1 / 3)
    assert np.abs(third @ sizes - sizes.sum() / 3).max() <= 2


@given(SIZES, st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_mask_is_nearer_to_the_size_than_those_that_were_likely(
    sizes: list[int], count: int, seed: int
) -> None:
    count = min(count, 2 ** len(sizes) // 2)
    masks = sized_masks(sizes, count, seed=seed)
    assert len(keys(masks)) == count
    units = np.array(sizes)
    if len(sizes) <= 10:
        every = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) % 2 == 1
        off = np.sort(np.abs(every @ units - units.sum() / 2))
        allowed = off[min(len(off), 4 * count) - 1]
        assert np.abs(masks @ units - units.sum() / 2).max() <= allowed + 1e-9


def test_more_sized_masks_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="5 masks of one size are wanted, and 4 were found"):
        sized_masks([3, 4], 5, seed=0)
    with pytest.raises(InputError, match="sizes is"):
        sized_masks([3, 0], 1, seed=0)


@given(
    SIZES,
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["fit", "evaluation", "sized"]), st.integers(0, 9))),
)
@settings(max_examples=120, deadline=None)
def test_no_mask_is_dealt_for_both(
    sizes: list[int], seed: int, hands: list[tuple[str, int]]
) -> None:
    dealer, other = (MaskDealer(sizes, seed=seed, example="e") for _ in range(2))
    dealt: dict[str, list[np.ndarray]] = {"fit": [], "evaluation": [], "sized": []}
    for kind, count in hands:
        deal = getattr(dealer, "sized_evaluation" if kind == "sized" else kind)
        with contextlib.suppress(InputError):  # they run out
            dealt[kind].append(deal(count))
    fitted = [mask for masks in dealt["fit"] for mask in masks]
    judged = [mask for masks in dealt["evaluation"] + dealt["sized"] for mask in masks]
    everything = keys(np.array(fitted + judged))
    assert len(everything) == len(fitted) + len(judged)
    for mask in fitted:
        assert not other.is_for_evaluation(mask)  # and so in any other process
        assert not other.is_for_evaluation(~mask)
        with pytest.raises(InputError, match="mask 0 was used for fitting"):
            dealer.check(mask[None])
    for mask in judged:
        assert other.is_for_evaluation(mask)
        assert mask.any()
        assert not mask.all()
        with pytest.raises(InputError, match="mask 0 was dealt for evaluation"):
            dealer.fitted(mask[None])
    if judged:
        dealer.check(np.array(judged))


def test_what_a_method_was_fitted_on_elsewhere_is_never_dealt_for_evaluation() -> None:
    sizes = [5] * 6
    dealer, twin = MaskDealer(sizes, example="e"), MaskDealer(sizes, example="e")
    wanted = twin.evaluation(8)
    dealer.fitted(wanted[:4])
    assert not keys(dealer.evaluation(8)) & keys(wanted[:4])
    alone = leave_one_out(6)
    dealer.check(alone)
    dealer.fitted(alone[~np.array([dealer.is_for_evaluation(mask) for mask in alone])][:1])
    with pytest.raises(InputError, match="was used for fitting"):
        dealer.check(alone)


def test_dealing_is_seeded_and_says_when_masks_run_out() -> None:
    one, two = MaskDealer([4] * 20, seed=1, example="a"), MaskDealer([4] * 20, seed=1, example="a")
    assert (one.fit(16) == two.fit(16)).all()
    assert (one.evaluation(16) == two.evaluation(16)).all()
    assert (MaskDealer([4] * 20, seed=1, example="b").fit(16) != two.fit(16)).any()
    kept = one.sized_evaluation(32)
    assert (kept.sum(axis=1) == 10).all()
    small = MaskDealer([1, 2, 3])
    dealt = len(small.evaluation(2)) + len(small.fit(4))
    assert dealt == 6
    with pytest.raises(InputError, match=r"1 masks of 3 units are wanted for fitting, and 0 were"):
        small.fit(1)
    with pytest.raises(InputError, match="count is -1"):
        small.evaluation(-1)
    with pytest.raises(InputError, match=r"3 units\], True where"):
        small.check(np.ones((1, 4), dtype=bool))


def test_a_mask_that_one_method_was_fitted_on_is_dealt_to_nobody_but_judges_the_others() -> None:
    dealer = MaskDealer(range(4, 16), example="by")
    own = leave_one_out(12)
    dealer.fitted(own, by="leave one out")
    assert dealer.was_fitted(own).all()
    assert dealer.was_fitted(own, by="leave one out").all()
    assert not dealer.was_fitted(own, by="another").any()
    dealt = dealer.fit(8)
    assert dealer.was_fitted(dealt, by="another").all()  # whoever asked for them
    named = dealer.fit(8, by="oracle")
    assert dealer.was_fitted(named, by="oracle").all()
    assert not dealer.was_fitted(named, by="another").any()
    assert not keys(dealer.evaluation(40)) & keys(np.concatenate([own, dealt, named]))

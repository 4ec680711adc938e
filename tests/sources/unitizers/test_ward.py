"""Ward regions: scikit-learn's clustering, connected, each token in one, as the image says."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.metrics import adjusted_rand_score

from omnitrace.errors import InputError
from omnitrace.sources.regions import hull, pixel_mask
from omnitrace.sources.token_map import GridTokens
from omnitrace.sources.unitizers.image import image_units
from omnitrace.sources.unitizers.ward import Ward, count_for, ward_tree
from omnitrace.types import ImageRegion
from tests.helpers.random_geometries import grid_tokens, media_part

QUICK = settings(max_examples=40, deadline=None)


def noise(count: int, dimensions: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def within(features: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the groups, the slow way."""
    features = features.astype(np.float64)
    return math.fsum(
        float(((features[labels == k] - features[labels == k].mean(axis=0)) ** 2).sum())
        for k in np.unique(labels)
    )


def photo(rows: int, columns: int, edge: int = 8) -> np.ndarray:
    """Return mean and spread of the colours in each cell of a real photo: [tokens, 6]."""
    picture = load_sample_image("china.jpg")[140:, 160:][: rows * edge, : columns * edge] / 255.0
    cells = picture.reshape(rows, edge, columns, edge, 3).swapaxes(1, 2).reshape(-1, edge**2, 3)
    return np.hstack([cells.mean(axis=1), cells.std(axis=1)])


@QUICK
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 50), st.integers(0, 9))
def test_the_cut_is_that_of_scikit_learn(rows: int, columns: int, count: int, seed: int):
    if rows * columns < 2:
        return
    count = min(count, rows * columns)
    features = noise(rows * columns, seed=seed)
    expected = AgglomerativeClustering(
        n_clusters=count, linkage="ward", connectivity=grid_to_graph(rows, columns)
    ).fit(features)
    found = ward_tree(features, rows, columns).cut(count)
    assert len(np.unique(found)) == count
    assert adjusted_rand_score(expected.labels_, found) == 1


@QUICK
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 9))
def test_the_costs_are_what_is_added_to_the_sum_of_squares(rows: int, columns: int, seed: int):
    features = noise(rows * columns, seed=seed)
    tree = ward_tree(features, rows, columns)
    for count in range(1, rows * columns + 1):
        expected = within(features, tree.cut(count))
        assert tree.costs[: rows * columns - count].sum() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("explained", [0.2, 0.5, 0.9, 0.99, 1.0])
def test_the_number_of_regions_is_the_smallest_that_explains_enough(explained: float):
    features = photo(10, 12)
    tree = ward_tree(features, 10, 12)
    total = within(features, np.zeros(120))
    enough = [
        count
        for count in range(1, 121)
        if 1 - within(features, tree.cut(count)) / total >= explained - 1e-9
    ]
    assert abs(count_for(tree, explained, 1, 120) - enough[0]) <= (explained == 1.0)
    assert count_for(tree, explained, 16, 40) == min(max(enough[0], 16), 40)


def test_a_plain_image_has_the_fewest_regions_and_a_busy_one_the_most():
    tokens = GridTokens(media_part("image"), range(900), 30, 30, 840, 840)
    plain = Ward().cut(tokens, lambda _: np.ones((900, 4), dtype=np.float32))
    busy = Ward().cut(tokens, lambda _: noise(900))
    real = Ward().cut(tokens, lambda _: photo(30, 30))
    assert len(np.unique(plain)) == 16
    assert len(np.unique(busy)) == 128
    assert 16 < len(np.unique(real)) < 128


@QUICK
@given(grid_tokens(), st.integers(0, 5), st.sampled_from([None, 1, 5, 40]))
def test_regions_tile_the_image_and_are_connected(
    tokens: GridTokens, seed: int, regions: int | None
):
    count = tokens.rows * tokens.columns
    features = noise(count, seed=seed)
    drafts = image_units(tokens, Ward(regions=regions), lambda _: features)
    owned = sorted(position for draft in drafts for position in draft.positions)
    assert owned == list(tokens.positions)
    if regions is not None:
        assert len(drafts) == min(regions, count)
    else:
        assert min(16, count) <= len(drafts) <= min(128, count)
    size = (min(tokens.width, 300), min(tokens.height, 300))
    covered = np.zeros(size[::-1], dtype=int)
    firsts = []
    for draft in drafts:
        found = draft.locator
        assert isinstance(found, ImageRegion)
        mask = np.zeros((tokens.rows, tokens.columns), dtype=bool)
        mask.flat[list(found.cells)] = True
        assert label(mask)[1] == 1
        assert found.box == hull(found.cells, found.grid, tokens.size)
        assert [tokens.positions[cell] for cell in found.cells] == list(draft.positions)
        covered += pixel_mask(found.cells, found.grid, size)
        firsts.append(found.cells[0])
    assert (covered == 1).all()
    assert firsts == sorted(firsts)


def test_fewer_tokens_than_16_are_regions_each_and_cost_no_pass():
    def never(_: object) -> np.ndarray:
        raise AssertionError("the tower ran")

    for rows, columns in ((1, 1), (3, 5), (4, 4)):
        tokens = GridTokens(media_part("image"), range(rows * columns), rows, columns, 100, 100)
        assert Ward().cut(tokens, never).tolist() == list(range(rows * columns))
    tokens = GridTokens(media_part("image"), range(20), 4, 5, 100, 100)
    assert Ward(regions=20).cut(tokens, never).tolist() == list(range(20))


def test_ward_follows_objects_and_is_deterministic():
    """Three flat objects on a noisy ground come out whole, and the same twice."""
    truth = np.zeros((12, 12), dtype=int)
    truth[1:4, 1:5], truth[6:11, 2:4], truth[5:9, 7:11] = 1, 2, 3
    truth[8, 7] = 0  # not a rectangle
    features = np.eye(4)[truth.ravel()] + 0.01 * noise(144, 4)
    tokens = GridTokens(media_part("image"), range(144), 12, 12, 336, 336)
    found = Ward(regions=4).cut(tokens, lambda _: features)
    assert adjusted_rand_score(truth.ravel(), found) == 1
    again = Ward(regions=4).cut(tokens, lambda _: features.copy())
    assert found.tolist() == again.tolist()


def test_scale_and_origin_of_the_features_do_not_matter():
    features = photo(12, 12)
    tokens = GridTokens(media_part("image"), range(144), 12, 12, 336, 336)
    found = Ward().cut(tokens, lambda _: features)
    moved = Ward().cut(tokens, lambda _: 50 * features + 7)
    assert adjusted_rand_score(found, moved) == 1


def test_many_dimensions_are_reduced_without_changing_distances():
    """With up to 128 tokens the principal components hold everything."""
    features = noise(100, 500)
    wide = ward_tree(features, 10, 10)
    expected = AgglomerativeClustering(
        n_clusters=20, linkage="ward", connectivity=grid_to_graph(10, 10)
    ).fit(features.astype(np.float64))
    assert adjusted_rand_score(expected.labels_, wide.cut(20)) == 1
    assert wide.costs.sum() == pytest.approx(within(features, np.zeros(100)), rel=1e-4)


def test_the_real_size_of_an_image_is_clustered():
    """1,024 tokens of 1,000 dimensions: the largest image of a 12-megapixel photo has 16 times."""
    features = np.repeat(photo(32, 32), 170, axis=1) + 0.01 * noise(1024, 1020)
    tokens = GridTokens(media_part("image"), range(1024), 32, 32, 896, 896)
    found = Ward().cut(tokens, lambda _: features.astype(np.float32))
    assert 16 <= len(np.unique(found)) <= 128


@pytest.mark.parametrize(
    "parameters",
    [{"regions": 0}, {"regions": 2.5}, {"regions": True}, {"explained": 0.0}, {"explained": 1.5}],
)
def test_parameters_are_checked(parameters: dict[str, float]):
    with pytest.raises(InputError, match="of the unitizer 'ward' is") as caught:
        Ward(**parameters)  # type: ignore[arg-type]
    assert caught.value.legal


def test_parameters_are_json_values():
    assert Ward(regions=3).parameters == {"regions": 3, "explained": 0.9}
    assert dataclasses.replace(Ward(), regions=3) == Ward(regions=3)

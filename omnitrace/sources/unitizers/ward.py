"""Ward clustering of tokens by their features, with neighbourhood: alike neighbours are one unit.

Ward's method begins with every token on its own and joins, again and again, the two neighbouring
groups whose union adds least to the sum of squared distances to the groups' means (Ward 1963).
The clustering is scikit-learn's; vSTREAM (arXiv 2604.16587) cuts images so, into K in [16, 128]
regions. How K follows from the image is our own choice: see :func:`count_for`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from omnitrace.sources.unitizers.base import FeatureSource, ImageUnitizer, check_count, check_share

if TYPE_CHECKING:
    from omnitrace.sources.token_map import GridTokens

__all__ = ["Ward", "WardTree", "count_for", "ward_tree"]

# Ward needs memory and time for every dimension of every group; what lies beyond these principal
# components hardly moves a distance.
_COMPONENTS: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class WardTree:
    """The merges from every token on its own to one group.

    ``children`` is int ``[tokens - 1, 2]``: the groups that each merge joins, a token by its
    number, the result of merge i by ``tokens + i``. ``costs`` is float64 ``[tokens - 1]``: what
    each merge adds to the sum of squared distances to the groups' means.
    """

    children: np.ndarray
    costs: np.ndarray

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.costs) + 1

    def cut(self, count: int) -> np.ndarray:
        """Return int ``[tokens]``: the group of each token where there are ``count`` groups."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        merges = self.children[: self.size - count]
        nodes = self.size + len(merges)
        above = np.repeat(np.arange(self.size, nodes), 2)
        links = coo_matrix((np.ones(len(above)), (above, merges.ravel())), (nodes, nodes))
        labels: np.ndarray = connected_components(links, directed=False)[1][: self.size]
        return labels


def ward_tree(features: np.ndarray, rows: int, columns: int = 1) -> WardTree:
    """Cluster the tokens of a ``rows × columns`` grid; only neighbours side by side are joined.

    Parameters
    ----------
    features:
        float ``[rows · columns, dimensions]``, row-major. Beyond 128 dimensions their first 128
        principal components are clustered (with up to 128 tokens that changes no distance).
    rows, columns:
        The grid; with one column, tokens in a row.
    """
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.feature_extraction.image import grid_to_graph

    if len(features) == 1:
        return WardTree(np.zeros((0, 2), dtype=np.int64), np.zeros(0))
    clustering = AgglomerativeClustering(
        n_clusters=1,
        linkage="ward",
        connectivity=grid_to_graph(rows, columns),
        compute_full_tree=True,
        compute_distances=True,
    ).fit(_compact(features))
    # scikit-learn's distance of two groups is √(2·|A|·|B| / (|A|+|B|))·‖mean A − mean B‖.
    return WardTree(clustering.children_, clustering.distances_**2 / 2)


def _compact(features: np.ndarray) -> np.ndarray:
    if features.shape[1] > _COMPONENTS:
        from sklearn.decomposition import PCA

        count = min(_COMPONENTS, len(features))
        features = PCA(count, random_state=0).fit_transform(features)
    return np.asarray(features, dtype=np.float64)


def count_for(tree: WardTree, explained: float, smallest: int, largest: int) -> int:
    """Return the smallest number of groups that explain a share of the features' variance.

    The variance within the groups is the sum of the costs of the merges that made them; the share
    explained by K groups is 1 − within(K) / within(1). The number is then kept within
    ``[smallest, largest]`` and the number of tokens.
    """
    within = np.concatenate([[0.0], np.cumsum(tree.costs)])
    merges = int(np.searchsorted(within, (1 - explained) * within[-1], side="right")) - 1
    return min(max(tree.size - merges, smallest), largest, tree.size)


@dataclass(frozen=True)
class Ward(ImageUnitizer):
    """Regions whose tokens look alike to the model's own vision tower, by Ward clustering.

    One more pass of the tower over the image gives the feature of each merged vision token.
    Regions are connected; every token belongs to one. An image of up to 16 tokens has each as its
    own region.

    Parameters
    ----------
    regions:
        Number of regions, at most as many as tokens. None chooses K in [16, 128] by the image: the
        smallest K whose regions explain the share ``explained`` of the variance of the features.
    explained:
        That share, in (0, 1].
    """

    regions: int | None = None
    explained: float = 0.9

    name: ClassVar[str] = "ward"
    smallest: ClassVar[int] = 16
    largest: ClassVar[int] = 128

    def __post_init__(self) -> None:
        check_count(self.name, self.regions, "regions")
        check_share(self.name, self.explained)

    def cut(self, tokens: GridTokens, features: FeatureSource) -> np.ndarray:
        """Return int ``[tokens]``: the region of each merged vision token."""
        count = tokens.rows * tokens.columns
        if (self.regions or self.smallest) >= count:
            return np.arange(count)
        tree = ward_tree(features(tokens), tokens.rows, tokens.columns)
        return tree.cut(
            self.regions or count_for(tree, self.explained, self.smallest, self.largest)
        )

"""Where the points lie: the embedding of the well-known items that `alsx.plot` draws, and the others beside them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from alsx._models.side import FittedSide
from alsx.explorer._items import Items

Floats = NDArray[np.float64]

# A little-known item lies beside one of so many most similar well-known ones: that which is nearest to their median, since
# their mean may lie in the void between two regions.
N_ANCHORS = 5
# How far it lies from that one, in distances of the latter to its neighbours on the map.
SCATTER_SHARE, SCATTER_NEIGHBOURS = 0.6, 3
CHUNK_COSINES = 2**24


def place_items(
    side: FittedSide,
    items: Items,
    listed_from: int,
    max_embedded: int,
    random_state: int | np.random.RandomState | None,
) -> Floats:
    """Return positions of the items on a plane, shape (n, 2).

    Items with at least `listed_from` ratings, the most rated ones if they are more than `max_embedded`, are placed by
    `alsx.plot.embed`, as `alsx.plot.embedding_map` places them. Every other one lies beside the well-known item that it is most
    similar to: t-SNE of vectors that are mostly noise would blur the map of the others, and takes minutes for many.
    """
    from alsx.plot import embed

    vectors = side.table[items.codes, : side.k]
    enough = np.flatnonzero(items.counts >= listed_from)
    embedded = enough[np.argsort(-items.counts[enough], kind="stable")][:max_embedded]
    place = np.zeros((len(items), 2))
    place[embedded] = embed(vectors[embedded], random_state=random_state)
    others = np.setdiff1d(np.arange(len(items)), embedded)
    if len(others):
        unit = side.unit_vectors[items.codes, : side.k].astype(np.float32)
        place[others] = beside(place[embedded], unit[embedded], unit[others])
    return place


def beside(place: Floats, unit: npt.NDArray[np.float32], unit_of_others: npt.NDArray[np.float32]) -> Floats:
    """Return positions of other items beside those that are placed, by cosines of unit vectors.

    Parameters
    ----------
    place : ndarray of shape (m, 2)
    unit : ndarray of shape (m, k)
    unit_of_others : ndarray of shape (n, k)
    """
    from scipy.spatial import cKDTree
    from threadpoolctl import threadpool_limits

    m, n = len(place), len(unit_of_others)
    width = min(N_ANCHORS, m)
    nearest = np.empty((n, width), np.int64)
    step = max(1, CHUNK_COSINES // m)
    with threadpool_limits(limits=1):  # sums in one order: the same page for any number of threads
        for start in range(0, n, step):
            cosines = unit_of_others[start : start + step] @ unit.T
            nearest[start : start + step] = np.argpartition(-cosines, width - 1, axis=1)[:, :width]
    around = place[nearest]
    median = np.median(around, axis=1)
    chosen = np.argmin(((around - median[:, None]) ** 2).sum(axis=2), axis=1)
    anchor = nearest[np.arange(n), chosen]
    reach = cKDTree(place).query(place, k=[min(SCATTER_NEIGHBOURS + 1, m)])[0][:, 0]
    scatter = np.random.default_rng(0).normal(scale=SCATTER_SHARE, size=(n, 2))
    return np.asarray(place[anchor] + scatter * reach[anchor][:, None])

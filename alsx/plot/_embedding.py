"""Where the points lie: positions on a plane, and how well genres keep together there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.datasets.titles import NO_GENRES
from alsx.plot._style import Floats

Method: TypeAlias = Literal["tsne", "pca"]
Genres: TypeAlias = Sequence[Sequence[str] | str | None]

METHODS = ("tsne", "pca")
FORMATS = frozenset({"IMAX"})  # listed among the genres of MovieLens, but nothing to colour a film by
MIN_TSNE_VECTORS = 5  # t-SNE has no neighbourhoods to keep among fewer
MIN_TSNE_ITERATIONS = 250  # the early exaggeration of scikit-learn's t-SNE takes as many
# t-SNE's start: small, as its authors ask for, so that points can pass one another (Kobak and Berens, 2019).
START_STD = 1e-4
START_NOISE_STD = 1e-6  # parts items whose vectors are equal, which no gradient can


def embed(
    vectors: npt.ArrayLike,
    method: Method = "tsne",
    *,
    perplexity: float = 30.0,
    max_iter: int = 500,
    random_state: int | np.random.RandomState | None = 0,
) -> Floats:
    """Place vectors on a plane so that those pointing the same way lie together.

    Each vector is scaled to unit length: the direction of an item's factors says whose taste it meets, the length
    mostly how many ratings it has. Squared distances are then 2 (1 - cosine), so that what the map tries to keep are
    the neighbours of ``similar_items``.

    Parameters
    ----------
    vectors : array-like of shape (n, k)
        Finite numbers, e.g. ``model.item_factors_``. A row of zeros has no direction and lies amid the others.
    method : {"tsne", "pca"}, default="tsne"
        ``"tsne"`` keeps neighbours together and gives up on large distances: axes, directions and the space between
        groups mean nothing. ``"pca"`` shows the two directions of largest variance: faithful as far as it goes, but
        two of some twenty equally important dimensions hold few of the neighbours.
        Fewer than five vectors are always placed by ``"pca"``; t-SNE has no neighbourhoods to keep there.
    perplexity : float, default=30.0
        t-SNE's effective number of neighbours, lowered to a third of ``n - 1`` for few vectors. Between 10 and 50 the
        genre ratio changes by less than 0.04.
    max_iter : int, default=500
        t-SNE's gradient steps, at least 250. Twice as many take twice the time and change the genre ratio by
        less than 0.01.
    random_state : int, RandomState or None, default=0
        Seeds the noise of a hundredth of the start that parts equal vectors; other seeds give other maps of the same
        neighbourhoods.

    Returns
    -------
    positions : ndarray of shape (n, 2), float64
        Centred, the longer extent along the first axis. The same on every call and for every number of threads:
        t-SNE runs on one thread, because several threads add up in no fixed order.

    Raises
    ------
    TypeError
        If `perplexity` is not a number or `max_iter` not an integer.
    ValueError
        For vectors that are not a finite (n, k) array with n, k >= 1, or a parameter out of its range.

    References
    ----------
    L. van der Maaten, Accelerating t-SNE using tree-based algorithms, JMLR 15 (2014).
    D. Kobak, P. Berens, The art of using t-SNE for single-cell transcriptomics, Nature Communications 10 (2019): the
    start from PCA.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be 'tsne' or 'pca'")
    perplexity = _check.real("perplexity", perplexity, 1.0)
    max_iter = _check.integer("max_iter", max_iter, MIN_TSNE_ITERATIONS)
    points = check_vectors(vectors)

    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # sums in one order: the same map on every machine's number of threads
        unit = unit_rows(points)
        plane = principal_plane(unit)
        if method == "pca" or len(plane) < MIN_TSNE_VECTORS:
            return plane
        positions = tsne_positions(unit, plane, perplexity, max_iter, random_state)
        return principal_plane(positions)  # a rotation: the longer extent lies across the picture


def tsne_positions(
    unit: Floats, plane: Floats, perplexity: float, max_iter: int, random_state: int | np.random.RandomState | None
) -> Floats:
    """Return t-SNE's positions (n, 2) of `unit` (n, k), started from `plane` (n, 2)."""
    from sklearn.manifold import TSNE
    from sklearn.utils import check_random_state

    n = len(plane)
    random = check_random_state(random_state)
    start = plane / (plane[:, 0].std() or 1.0) * START_STD + random.normal(scale=START_NOISE_STD, size=(n, 2))
    tsne = TSNE(
        n_components=2,
        perplexity=min(perplexity, (n - 1) / 3),
        max_iter=max_iter,
        init=start.astype(np.float32),
        random_state=random,
        n_jobs=1,
    )
    return np.asarray(tsne.fit_transform(unit.astype(np.float32)), dtype=np.float64)


def neighbour_jaccard(
    vectors: npt.ArrayLike,
    genres: Genres,
    *,
    n_neighbours: int = 10,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> tuple[float, float]:
    """Measure how much more alike in genre neighbours are than any two items.

    The Jaccard index of two items is the number of genres they share over the number of genres that either has. Items
    without a genre take no part. The ratio ``near / random`` is the figure of merit of a map or of factors.

    Parameters
    ----------
    vectors : array-like of shape (n, k)
        Factors, or positions on a map.
    genres : sequence of n lists of str, or of str
        The genres of each item, as lists or separated by ``|``.
    n_neighbours : int, default=10
        Number of nearest other items of each item.
    metric : {"cosine", "euclidean"}, default="cosine"
        ``"cosine"`` for factors, ``"euclidean"`` for positions.

    Returns
    -------
    near : float
        Mean Jaccard index of an item and its nearest.
    random : float
        Mean over all pairs of different items (computed, not sampled).

    Raises
    ------
    TypeError
        If `n_neighbours` is not an integer.
    ValueError
        If lengths differ, the vectors are not finite, or not more than ``n_neighbours`` items have a genre.
    """
    points = check_vectors(vectors)
    lists = genre_lists(genres, len(points))
    _check.integer("n_neighbours", n_neighbours, 1)
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric is {metric!r}; it must be 'cosine' or 'euclidean'")
    have = np.array([bool(g) for g in lists])
    if have.sum() <= n_neighbours:
        raise ValueError(
            f"n_neighbours is {n_neighbours}; it must be less than the number of items with a genre, {have.sum()}"
        )
    points = points[have]
    if metric == "cosine":
        points = unit_rows(points)
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=n_neighbours, algorithm="auto", n_jobs=1).fit(points)
    neighbours = nearest.kneighbors(return_distance=False)  # without a query no item is its own neighbour
    combination, jaccard = combination_jaccard([frozenset(g) for g in lists if g])
    counts = np.bincount(combination).astype(np.float64)
    n = len(combination)
    near = float(jaccard[combination[:, None], combination[neighbours]].mean())
    # The n pairs of an item and itself, each of index 1, do not count.
    return near, float((counts @ jaccard @ counts - n) / (n * (n - 1)))


def combination_jaccard(sets: list[frozenset[str]]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the number of each item's combination of genres, and the Jaccard index of all pairs of combinations.

    Items share few combinations, so that pairs of combinations are far fewer than pairs of items.
    """
    number: dict[frozenset[str], int] = {}
    combination = np.array([number.setdefault(genres, len(number)) for genres in sets])
    columns = {name: j for j, name in enumerate(sorted(frozenset().union(*number)))}
    has = np.zeros((len(number), len(columns)))
    for genres, row in number.items():
        has[row, [columns[name] for name in genres]] = 1
    shared = has @ has.T
    size = has.sum(axis=1)
    return combination, shared / (size[:, None] + size[None, :] - shared)


def main_genres(genres: Genres, n_genres: int = 8) -> list[str]:
    """Choose one genre for each item: of its genres the rarest among the ``n_genres`` that then cover most items.

    The rarest of a list says most about an item ("Animation" more than "Comedy"), but the rarest genres of all would
    leave most items without one. So all genres begin as candidates, every item takes its rarest, and the genre that
    the fewest items took is dropped, until ``n_genres`` remain.

    Parameters
    ----------
    genres : sequence of n lists of str, or of str
        As lists or separated by ``|``; ``IMAX``, which MovieLens lists among genres, is a format and is skipped.
    n_genres : int, default=8
        How many genres remain; 8 is what colours can tell apart.

    Returns
    -------
    main : list of n str
        ``"other"`` where none of the remaining genres fits.

    Raises
    ------
    TypeError, ValueError
        If `n_genres` is not an integer of at least 1.
    """
    _check.integer("n_genres", n_genres, 1)
    lists = [sorted(set(g) - FORMATS) for g in genre_lists(genres, None)]
    frequency = Counter(name for names in lists for name in names)
    kept = set(frequency)
    while True:
        main = [
            min((g for g in names if g in kept), key=lambda g: (frequency[g], g), default="other") for names in lists
        ]
        if len(kept) <= n_genres:
            return main
        taken = Counter(main)
        kept.discard(min(kept, key=lambda g: (taken[g], g)))


# ---------------------------------------------------------------------------------------------------------------------
# Input validation


def check_length(name: str, values: Any, n: int) -> Any:
    """Return `values` if there is one for each of n items."""
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} entries for {n} items; give one for each row, in the same order")
    return values


def check_vectors(values: Any, name: str = "vectors", width: int | None = None) -> Floats:
    """Return finite numbers as float64 of shape (n, k), or (n, width)."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is of dtype {array.dtype}; it must be numbers")
    if array.ndim != 2 or array.size == 0 or (width is not None and array.shape[1] != width):
        raise ValueError(f"{name} has the shape {array.shape}; it must be (n, {width or 'k'}) with n, k >= 1")
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(wrong):
        column = int(np.flatnonzero(~np.isfinite(array[wrong[0]]))[0])
        raise ValueError(
            f"{name} is {array[wrong[0], column]} in row {wrong[0]}, column {column} ({len(wrong)} such rows); "
            "leave these rows out, or fit again with a larger reg"
        )
    return array


def genre_lists(genres: Genres, n: int | None) -> list[list[str]]:
    """Return the genres of each item as a list, empty where none is known; n is the number of items, if it is known."""
    if n is not None:
        check_length("genres", genres, n)
    lists = [() if g is None else g.split("|") if isinstance(g, str) else g for g in genres]
    return [[str(name) for name in names if str(name) not in NO_GENRES] for names in lists]


# ---------------------------------------------------------------------------------------------------------------------
# Linear algebra


def unit_rows(vectors: Floats) -> Floats:
    """Return the rows scaled to unit length; rows of zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return unit


def principal_plane(points: Floats) -> Floats:
    """Return the first two principal components (n, 2); the far end of each axis is on its positive side.

    Not by scikit-learn's PCA class, whose signs changed between versions and which refuses a single point or column.
    """
    from sklearn.utils.extmath import svd_flip

    u, s, vt = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)  # (n, r), (r,), (r, k); r = min(n, k)
    u, _ = svd_flip(u, vt)
    plane = np.zeros((len(points), 2))
    plane[:, : len(s)] = (u * s)[:, :2]
    return plane

"""How likely users rate items at all, from the factors of what they have rated: what orders a list besides predicted ratings.

A rating model knows how an item would be rated, if it were. Whether it is rated (its propensity) is another matter:

    log P(user rates item) = log(1 + n_item) + log of the density ratio,

n_item being the number of its ratings and the ratio how much more of the user's ratings than of all ratings are of items like this
one. The ratio is estimated by least squares in the span of the factors q (Kanamori, Hido, Sugiyama 2009): with C the second moment
of q over all ratings and m_u the mean of q over the user's ratings,

    ratio(u, i) = q_i' (C + l I)^-1 m_u,        log of it is ratio - 1 to first order.

So it is an inner product with the factors of the item, as a predicted rating is, and costs a list nothing: it is added to the
user's vector.

References
----------
T. Kanamori, S. Hido, M. Sugiyama, "A least-squares approach to direct importance estimation", Journal of Machine Learning
Research 10, 2009, pages 1391-1445. T. Schnabel, A. Swaminathan, A. Singh, N. Chandak, T. Joachims, "Recommendations as treatments:
debiasing learning and evaluation", ICML 2016, pages 1670-1679 (propensities of ratings).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]

# The ridge l, in mean eigenvalues of C, and of how many ratings the mean of all ratings is a part of each user's mean, so that
# three ratings do not make a list odd. Chosen on validation parts of MovieLens 100k and latest-small, where lists hardly differ
# from 0.4 to 0.8 and from 3 to 10; with 3 the lists of newcomers of few ratings are the most theirs.
RIDGE, PRIOR_RATINGS = 0.8, 3.0

# Entries that are summed at a time, and how many users are summed one by one.
CHUNK_ENTRIES, FEW_USERS = 2**21, 8


class Directions(NamedTuple):
    """What a user's ratings add to the vector whose product with the factors of an item is the density ratio.

    Parameters
    ----------
    of_items : ndarray, shape (n_items, k)
        (C + l I)^-1 q of each item that the user has rated, whose mean is the vector; for factors divided by `length`.
    of_all : ndarray of float64, shape (k,)
        The mean over all ratings.
    length : float
        The root mean square of the factors over all ratings, in whose units the two above are, so that they are numbers about 1
        whatever the unit of the ratings; 0 where all factors are.
    """

    of_items: Array
    of_all: Floats
    length: float


def directions(factors: Array, counts: NDArray[np.int64]) -> Directions:
    """Return the directions of items with these factors (n, k) and so many ratings; zeros where all factors are."""
    q, k = factors.astype(np.float64), factors.shape[1]
    largest = float(np.abs(q).max(initial=0.0))
    if not largest > 0:
        return Directions(np.zeros_like(factors), np.zeros(k), 0.0)
    q /= largest  # so that no square leaves the range of numbers
    shares = counts / max(int(counts.sum()), 1)
    # C (k,k) = sum_i share_i q_i (k,1) q_i' (1,k)
    second = (q * shares[:, None]).T @ q
    level = np.trace(second) / max(k, 1)
    if not level > 0:
        return Directions(np.zeros_like(factors), np.zeros(k), 0.0)
    length = np.sqrt(level)
    each = np.linalg.solve(second / level + RIDGE * np.eye(k), q.T / length).T
    return Directions(np.ascontiguousarray(each, factors.dtype), shares @ each, largest * float(length))


def density_directions(found: Directions, seen: CSR, users: NDArray[np.int32]) -> Floats:
    """Return for each user the vector whose product with the factors of an item, over their length, is the density ratio.

    Parameters
    ----------
    found : Directions
        Of the items.
    seen : CSR
        The ratings seen, by user.
    users : ndarray of int32, shape (m,)
        Codes; -1, who has no ratings, gets the direction of all.

    Returns
    -------
    vectors : ndarray of float64, shape (m, k)
    """
    known = users >= 0
    begin = np.where(known, seen.indptr[users], 0)
    counts = np.where(known, seen.indptr[users + 1] - begin, 0)
    sums = np.zeros((len(users), len(found.of_all)))
    # Parts of some million entries each; one user at least.
    parts = np.cumsum(counts) // CHUNK_ENTRIES
    for part in np.split(np.arange(len(users)), np.flatnonzero(np.diff(parts)) + 1):
        sums[part] = _sums(found.of_items, seen, begin[part], counts[part])
    return np.asarray((sums + PRIOR_RATINGS * found.of_all) / (counts + PRIOR_RATINGS)[:, None])


def _sums(rows: Array, seen: CSR, begin: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats:
    """Return the sums of the rows of what some users have rated, shape (m, k); each user's in the order of his ratings."""
    if len(counts) <= FEW_USERS:
        # The same sums in the same order, without the making of a matrix.
        each = [
            rows[seen.indices[start : start + n]].astype(np.float64) for start, n in zip(begin, counts, strict=True)
        ]
        return np.array([np.add.reduce(own, axis=0) for own in each]).reshape(len(counts), rows.shape[1])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    rated = seen.indices[np.arange(indptr[-1]) + np.repeat(begin - indptr[:-1], counts)]
    if len(rated) < len(rows):
        # Of few ratings only the rows that they need are converted.
        used, rated = np.unique(rated, return_inverse=True)
        rows = rows[used]
    which = scipy.sparse.csr_array((np.ones(len(rated)), rated, indptr), shape=(len(counts), len(rows)))
    return np.asarray(which @ rows.astype(np.float64))

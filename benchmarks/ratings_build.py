"""Seconds from triples to `alsx.Ratings`, and to the same two matrices with SciPy, in turn.

    python benchmarks/ratings_build.py [--ratings=FILE.npz] [--threads=2] [--repeats=5] [--scale=0.1]

SciPy's side is ``R = csr_matrix((r, (u, i)))`` and ``R.T.tocsr()``: one thread, no ids, no checks of values. FILE.npz holds u,
i (int32), r (float32) and, where a part is held out, test (bool); without it ratings are simulated at --scale times the size of
MovieLens 32M. They come in three orders: as they are in the file, sorted by user and item, as MovieLens' own files are, and
shuffled. Figures are medians, the ratio is the median of the rounds' own ratios.
"""

import statistics
import time

import fire
import numpy as np
import scipy.sparse

import alsx
from alsx.datasets import make_ratings


def read(ratings, scale):
    """Users, items and ratings; simulated ones by user, with items in any order."""
    if ratings is None:
        root = scale**0.5
        u, i, r = make_ratings(int(200_948 * root), int(87_585 * root), int(32_000_204 * scale), k=24).triples()
        order = np.lexsort((np.random.default_rng(0).random(len(u)), u))
        return u[order], i[order], r[order]
    with np.load(ratings) as stored:
        keep = ~stored["test"] if "test" in stored.files else slice(None)
        return stored["u"][keep], stored["i"][keep], stored["r"][keep]


def with_scipy(u, i, r):
    """By user and by item with SciPy."""
    matrix = scipy.sparse.csr_matrix((r, (u, i)))
    return matrix, matrix.T.tocsr()


def seconds(call):
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main(ratings=None, threads=2, repeats=5, scale=0.1):
    """Print a line for each order."""
    u, i, r = read(ratings, scale)
    orders = {
        "as given": lambda: slice(None),
        "sorted": lambda: np.lexsort((i, u)),
        "shuffled": lambda: np.random.default_rng(1).permutation(len(u)),
    }
    print(f"{len(u):,} ratings, {threads} threads, median of {repeats} rounds")
    print(f"{'order':10} {'alsx s':>8} {'scipy s':>8} {'ratio':>6}")
    for name, order in orders.items():
        chosen = order()
        triples = u[chosen], i[chosen], r[chosen]
        own, other = [], []
        for _ in range(repeats):
            took, built = seconds(lambda: alsx.Ratings.from_arrays(*triples, n_jobs=threads))  # noqa: B023
            own.append(took)
            took, (by_user, by_item) = seconds(lambda: with_scipy(*triples))  # noqa: B023
            other.append(took)
        # The same work, or the figures mean nothing. (SciPy keeps empty rows, which are no users.)
        for found, wanted in ((built.by_user, by_user), (built.by_item, by_item)):
            counts = np.diff(wanted.indptr)
            np.testing.assert_array_equal(found.values, wanted.data)
            np.testing.assert_array_equal(np.diff(found.indptr), counts[counts > 0])
        ratio = statistics.median(x / y for x, y in zip(own, other, strict=True))
        print(f"{name:10} {statistics.median(own):8.2f} {statistics.median(other):8.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)

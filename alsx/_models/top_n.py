"""The best items for users: candidates, scores, selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _scores
from alsx._models.side import Packed
from alsx._solver.posterior import CHUNK_PAIRS
from alsx._solver.tables import factor_table, workspace
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


# Multiply-adds of a call of the kernel, some tenths of a second, and the fewest users that it takes at a time: enough that
# threads end together.
CHUNK_WORK, MIN_CHUNK_ROWS = 8 * 10**9, 1024


class Excluded(NamedTuple):
    """Codes that each row's list leaves out, ascending within a row, by CSR offsets; no offsets: none.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n+1,) or (0,)
    indices : ndarray of int32
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    @classmethod
    def nothing(cls) -> Excluded:
        """Return what leaves out nothing."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int32))

    @classmethod
    def itself(cls, n: int) -> Excluded:
        """Return what leaves every row out of its own list."""
        return cls(np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int32))

    def of(self, row: int) -> Array:
        """Return the codes that a row's list leaves out; -1 leaves out nothing."""
        if row < 0 or not len(self.indptr):
            return self.indices[:0]
        return self.indices[self.indptr[row] : self.indptr[row + 1]]

    def of_rows(self, rows: Array) -> Excluded:
        """Return what the lists of some rows leave out."""
        if not len(self.indptr):
            return self
        parts = [self.of(row) for row in rows]
        indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return Excluded(indptr, np.concatenate([*parts, self.indices[:0]]))


class Lists(NamedTuple):
    """Lists of codes, best first, and their scores; -1 and NaN where fewer than n are left.

    Parameters
    ----------
    codes : ndarray of int32, shape (m, n)
    scores : ndarray of float64, shape (m, n)
    """

    codes: NDArray[np.int32]
    scores: Floats


def by_product(
    rows: Array, table: Array, k: int, packed: Packed, excluded: Excluded, n: int, allowed: Mask | None, n_threads: int
) -> Lists:
    """Return the n allowed items with the highest p . q + bias of the item.

    Parameters
    ----------
    rows : ndarray of int32, shape (m,)
        Rows of `table`.
    table : ndarray, shape (n_users, ld)
    k : int
    packed : Packed
        The items.
    excluded : Excluded
        By row of `table`.
    n : int
    allowed : ndarray of bool, shape (n_items,), or None
        Candidates; None for all.
    n_threads : int
    """
    dtype, biases = table.dtype, packed.biases
    if allowed is not None:
        padding = np.zeros(len(biases) - len(allowed), bool)
        biases = np.where(np.append(allowed, padding), biases, dtype.type(-np.inf))
    width = min(n, packed.n)
    lists = Lists(np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), np.nan))
    # A part of the users at a time, so that an interruption is heard in between.
    step = max(MIN_CHUNK_ROWS, CHUNK_WORK // (packed.n * (k + 8) + 1) // MIN_CHUNK_ROWS * MIN_CHUNK_ROWS)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        m = len(rows[part])
        # Fewer users than threads: each thread takes a slice of the items, and the best of every slice are merged.
        n_slices = max(1, min(n_threads // m, len(packed.factors)))
        codes, scores = np.empty((n_slices * m, width), np.int32), np.empty((n_slices * m, width), dtype)
        work = workspace(min(n_threads, n_slices * m), _scores.top_n_workspace(k), dtype)
        _scores.top_n(rows[part], table, packed.factors, biases, *excluded, n_slices, work, codes, scores)
        if n_slices > 1:
            codes, scores = merge_slices(codes, scores, n_slices)
        lists.codes[part, :width] = codes
        lists.scores[part, :width] = np.where(codes >= 0, scores, np.nan)
    return lists


def merge_slices(codes: Array, scores: Array, n_slices: int) -> tuple[Array, Array]:
    """Return the best of lists, one per slice of the items and user: shapes (n_slices * m, n) to (m, n)."""
    m, n = len(codes) // n_slices, codes.shape[1]
    codes = codes.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    scores = scores.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    best = np.lexsort((codes, -scores), axis=1)[:, :n]
    return np.take_along_axis(codes, best, 1), np.take_along_axis(scores, best, 1)


def by_score(
    rows: Array,
    n_items: int,
    score: Callable[[Array, Array], Floats],
    excluded: Excluded,
    n: int,
    allowed: Mask | None,
) -> Lists:
    """Return the n allowed items with the highest score, where scores are computed pair by pair.

    Parameters
    ----------
    rows : ndarray, shape (m,)
        Codes of users; -1 for unknown ones.
    n_items : int
    score : callable
        ``score(users, items)`` returns the scores of every user with every item, shape (len(users), len(items)).
    excluded : Excluded
        By code.
    n, allowed
        As of `by_product`.
    """
    items = np.arange(n_items) if allowed is None else np.flatnonzero(allowed)
    width = min(n, len(items))
    lists = Lists(np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), np.nan))
    step = max(1, CHUNK_PAIRS // max(1, len(items)))
    for start in range(0, len(rows) if width else 0, step):
        users = rows[start : start + step]
        scores = score(users, items)
        for place, user in enumerate(users):
            scores[place, np.isin(items, excluded.of(user))] = -np.inf
        # Equal scores in ascending order of ids.
        best = np.argsort(-scores, axis=1, kind="stable")[:, :width]
        top = np.take_along_axis(scores, best, 1)
        left = top > -np.inf
        lists.codes[start : start + step, :width] = np.where(left, items[best], -1)
        lists.scores[start : start + step, :width] = np.where(left, top, np.nan)
    return lists


def recommend_by_product(
    rows: Array,
    user_table: Array,
    cold_start_vector: Floats,
    k: int,
    packed: Packed,
    mean: float,
    excluded: Excluded,
    n: int,
    allowed: Mask | None,
    n_threads: int,
) -> Lists:
    """Return the items with the highest predictions; scores are in rating units.

    Parameters
    ----------
    rows : ndarray of int32, shape (m,)
        Codes of users; -1 for unknown ones.
    user_table : ndarray, shape (n_users, ld)
        Their vectors, or draws of them.
    cold_start_vector : ndarray of float64, shape (k+1,)
        The vector of unknown users, or a draw of it.
    k : int
    packed, mean, excluded, n, allowed, n_threads
        The items, the mean of the ratings, and what `by_product` takes.
    """
    base = np.where(rows >= 0, user_table[rows, k], cold_start_vector[k]).astype(np.float64) + mean
    if (rows < 0).any():
        # A small table of those who are known, and at its end the cold-start vector, whom nothing is excluded for.
        known, inverse = np.unique(rows[rows >= 0], return_inverse=True)
        small = factor_table(len(known) + 1, k, user_table.dtype)
        small[:-1] = user_table[known]
        small[-1, : k + 1] = cold_start_vector
        places = np.full(len(rows), len(known), np.int32)
        places[rows >= 0] = inverse
        rows, user_table, excluded = places, small, excluded.of_rows(np.append(known, -1))
    lists = by_product(rows.astype(np.int32), user_table, k, packed, excluded, n, allowed, n_threads)
    return Lists(lists.codes, lists.scores + base[:, None])


def rated_by(seen: CSR) -> Excluded:
    """Return what leaves out the items that each user has rated."""
    return Excluded(seen.indptr, seen.indices)

"""The best rows of one side for vectors of the other: what may appear, scores, selection; arrays only.

A strategy says how rows are scored, by a product with a packed table (`Product`) or pair by pair (`Pairwise`). Which rows may
appear (`Limits`) and which of them are best (`best`) is decided here, once for all strategies, and by one kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _pool, _scores
from alsx._models.seen import entries_of_rows
from alsx._models.side import Packed
from alsx._solver.posterior import CHUNK_PAIRS
from alsx._solver.rows import packed_entries
from alsx._solver.tables import factor_table, workspace
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


# Multiply-adds of a call of the kernel, some tenths of a second, and the fewest lists that it makes at a time: enough that
# threads end together.
CHUNK_WORK, MIN_CHUNK_ROWS = 8 * 10**9, 1024

# Scores that are held at a time where whole lists are looked at.
CHUNK_SCORES = 2**22

# Codes that are left out of the lists of a call of the kernel, at most: what lists have candidates of their own is turned into
# what they leave out, which is next to everything.
CHUNK_LEFT_OUT = 2**24


class CodeSets(NamedTuple):
    """A set of codes for each row, ascending, by CSR offsets.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n+1,)
    indices : ndarray of int32
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    @classmethod
    def of(cls, sets: list[Array]) -> CodeSets:
        """Return the sets of some arrays of codes, in any order and perhaps with repeats."""
        ascending = [np.unique(codes) for codes in sets]
        indptr = np.concatenate([[0], np.cumsum([len(codes) for codes in ascending])]).astype(np.int64)
        return cls(indptr, np.concatenate([*ascending, np.empty(0, np.int32)]).astype(np.int32))

    @classmethod
    def singles(cls, codes: Array) -> CodeSets:
        """Return a set of one code for each row; of -1 an empty one."""
        if codes.min(initial=0) >= 0:
            return cls(np.arange(len(codes) + 1, dtype=np.int64), codes.astype(np.int32, copy=False))
        return cls(
            np.concatenate([[0], np.cumsum(codes >= 0)]).astype(np.int64),
            codes[codes >= 0].astype(np.int32, copy=False),
        )

    @property
    def n(self) -> int:
        """How many sets there are."""
        return len(self.indptr) - 1

    def of_rows(self, rows: Array) -> CodeSets:
        """Return the sets of some rows; of -1 an empty one."""
        indptr, places = entries_of_rows(self.indptr, rows)
        return CodeSets(indptr, self.indices[places])

    def joined(self, other: CodeSets) -> CodeSets:
        """Return the union with the sets of another one, row by row."""
        n = self.n
        rows = np.concatenate([np.repeat(np.arange(n), np.diff(x.indptr)) for x in (self, other)])
        codes = np.concatenate([self.indices, other.indices])
        order = np.lexsort((codes, rows))
        # A code that is there twice is hidden twice, which is no matter to the kernel.
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
        return CodeSets(indptr, codes[order])

    def complement(self, n_codes: int, others: list[CodeSets]) -> CodeSets:
        """Return all codes below `n_codes` that are not in the sets, and those of other sets besides."""
        left = np.ones((self.n, n_codes), bool)
        for sets, value in ((self, False), *((other, True) for other in others)):
            left[np.repeat(np.arange(self.n), np.diff(sets.indptr)), sets.indices] = value
        indptr = np.concatenate([[0], np.cumsum(left.sum(axis=1))]).astype(np.int64)
        return CodeSets(indptr, np.concatenate([np.flatnonzero(row).astype(np.int32) for row in left]))


class Limits(NamedTuple):
    """What may appear in m lists, among n codes.

    Parameters
    ----------
    allowed : ndarray of bool, shape (n,), or None
        What may appear in any list; None for all.
    rated : CodeSets or None
        What lists leave out, by row of `rows`: usually what users have rated. None: nothing.
    rows : ndarray of int32, shape (m,)
        The row of `rated` of each list; -1 leaves out nothing.
    excluded, candidates : CodeSets of m sets, or None
        What each list leaves out besides, and the only codes that it may have.
    """

    allowed: Mask | None
    rated: CodeSets | None
    rows: Array
    excluded: CodeSets | None = None
    candidates: CodeSets | None = None

    def left_out(self, n_codes: int) -> CodeSets | None:
        """Return all that each list leaves out; None where that is nothing."""
        sets = [] if self.rated is None else [self.rated.of_rows(self.rows)]
        if self.excluded is not None:
            sets.append(self.excluded)
        if self.candidates is not None:
            return self.candidates.complement(n_codes, sets)
        return functools.reduce(CodeSets.joined, sets) if sets else None

    def of(self, part: slice) -> Limits:
        """Return the limits of some of the lists."""
        places = np.arange(len(self.rows))[part]
        return self._replace(
            rows=self.rows[part],
            excluded=None if self.excluded is None else self.excluded.of_rows(places),
            candidates=None if self.candidates is None else self.candidates.of_rows(places),
        )


class Lists(NamedTuple):
    """Lists of codes, best first, and their scores; -1 and NaN where fewer than n are left.

    Parameters
    ----------
    codes : ndarray of int32, shape (m, n)
    scores : ndarray of float64, shape (m, n)
    """

    codes: NDArray[np.int32]
    scores: Floats


class Product(NamedTuple):
    """Scores that are products: of list r with code i, base[r] + v_r . q_i + bias_i.

    Parameters
    ----------
    vectors : ndarray, shape (m, ld)
        v, as a table.
    k : int
    base : ndarray of float64, shape (m,)
        What all scores of a list have in common.
    packed : Packed
        q and the biases. What a strategy adds to an item's score is added to its bias, see `Packed.plus`.
    """

    vectors: Array
    k: int
    base: Floats
    packed: Packed

    def batches(self, limits: Limits) -> Iterator[tuple[slice, Product, Limits]]:
        """Yield parts of the lists that one call of the kernel makes, so that an interruption is heard in between."""
        n = self.packed.n
        step = max(MIN_CHUNK_ROWS, CHUNK_WORK // (n * (self.k + 8) + 1) // MIN_CHUNK_ROWS * MIN_CHUNK_ROWS)
        if limits.candidates is not None:
            step = max(1, min(step, CHUNK_LEFT_OUT // max(n, 1)))
        packed = self.packed if limits.allowed is None else self.packed.only(limits.allowed)
        if len(self.vectors) <= step:
            yield slice(None), self._replace(packed=packed), limits
            return
        for start in range(0, len(self.vectors), step):
            part = slice(start, start + step)
            yield part, Product(self.vectors[part], self.k, self.base[part], packed), limits.of(part)


class Pairwise(NamedTuple):
    """Scores that are computed pair by pair.

    Parameters
    ----------
    n : int
        How many codes there are.
    score : callable
        ``score(part, codes)`` returns the scores of some lists, a slice of them, with every code: (len(part), len(codes)).
    """

    n: int
    score: Callable[[slice, Array], Floats]

    def batches(self, limits: Limits) -> Iterator[tuple[slice, Product, Limits]]:
        """Yield each list by itself: its scores are biases, and there are no factors."""
        codes = np.arange(self.n) if limits.allowed is None else np.flatnonzero(limits.allowed)
        step, dtype = max(1, CHUNK_PAIRS // max(1, len(codes))), np.dtype(np.float64)
        for start in range(0, len(limits.rows) if len(codes) else 0, step):
            for place, scores in enumerate(self.score(slice(start, start + step), codes), start):
                table = factor_table(self.n, 0, dtype)
                table[:, 0] = -np.inf
                table[codes, 0] = scores
                alone = slice(place, place + 1)
                packed = Packed.of(table, 0, 1)
                yield alone, Product(factor_table(1, 0, dtype), 0, np.zeros(1), packed), limits.of(alone)


class Bounds(NamedTuple):
    """What the kernel adds to predictions: `n_std` standard deviations of what is not known of them.

    Parameters
    ----------
    users, items : ndarray, shapes (m, ld) and (n_items, ld)
        Packed covariances over sigma^2, see `RowSystems.covariances`.
    rows, columns : ndarray of int32
        See `packed_entries`.
    n_std, sigma2 : float
    """

    users: Array
    items: Array
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    n_std: float
    sigma2: float


class Bounded(NamedTuple):
    """Scores that are predictions plus `n_std` standard deviations of what is not known of them.

    Parameters
    ----------
    product : Product
        The predictions.
    pairwise : Pairwise
        The scores pair by pair.
    uncertainty : Uncertainty
    users : ndarray of int32, shape (m,)
        The user of each list; -1 for unknown ones.
    n_std, sigma2 : float
    n_threads : int
    """

    product: Product
    pairwise: Pairwise
    uncertainty: Uncertainty
    users: Array
    n_std: float
    sigma2: float
    n_threads: int

    def batches(self, limits: Limits) -> Iterator[tuple[slice, Product, Limits]]:
        """Yield each list by itself."""
        return self.pairwise.batches(limits)

    def best(self, limits: Limits, width: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield parts of the lists, their codes and scores without what all of a list have in common, (m, width)."""
        k, packed, block = self.product.k, self.product.packed, _scores.top_n_block()
        rows, columns = packed_entries(k)
        if limits.allowed is not None:
            packed = packed.only(limits.allowed)
        own, others = self.uncertainty.users, self.uncertainty.items
        step = max(1, CHUNK_WORK // (max(packed.n, 1) * (2 * len(rows) + 2 * k)))
        if limits.candidates is not None:
            step = max(1, min(step, CHUNK_LEFT_OUT // max(packed.n, 1)))
        step = max(1, min(step, own.rows_at_a_time(1)))
        items_at_a_time = packed.n if others.are_kept else others.rows_at_a_time(block)
        for start in range(0, len(self.users), step):
            part = slice(start, start + step)
            of_users = own.covariances_of(self.users[part], self.n_threads)
            product = self.product._replace(vectors=self.product.vectors[part])
            left_out = limits.of(part).left_out(packed.n)
            found = []
            for first in range(0, packed.n, items_at_a_time):
                items = slice(first, min(first + items_at_a_time, packed.n))
                of_items = others.covariances_of(items, self.n_threads)
                bounds = Bounds(of_users, of_items, rows, columns, self.n_std, self.sigma2)
                hidden = None if left_out is None else CodeSets(left_out.indptr, left_out.indices - np.int32(first))
                some = product._replace(packed=packed.part(items, block))
                codes, scores = _best_products(some, hidden, width, self.n_threads, bounds)
                found.append((np.where(codes >= 0, codes + np.int32(first), codes), scores))
            codes, scores = (np.concatenate(x) for x in zip(*found, strict=True))
            yield part, *(merge_slices(codes, scores, len(found)) if len(found) > 1 else (codes, scores))


Scores = Product | Bounded


def best(scores: Scores, limits: Limits, n: int, n_threads: int) -> Lists:
    """Return the n codes with the highest scores among those that each list may have; equal scores in ascending order.

    Parameters
    ----------
    scores : Product or Bounded
        Of m lists with all codes.
    limits : Limits
        Of the m lists.
    n : int
    n_threads : int
    """
    m = len(limits.rows)
    if not m:
        return Lists(np.empty((0, n), np.int32), np.empty((0, n)))
    lists = Lists(np.full((m, n), -1, np.int32), np.full((m, n), np.nan))
    if isinstance(scores, Bounded):
        width, base = min(n, scores.product.packed.n), scores.product.base
        for part, codes, found in scores.best(limits, width):
            lists.codes[part, :width] = codes
            np.add(found, base[part, None], out=lists.scores[part, :width], where=codes >= 0)
        return lists
    for part, products, own in scores.batches(limits):
        packed = products.packed
        width = min(n, packed.n)
        codes, found = _best_products(products, own.left_out(packed.n), width, n_threads)
        lists.codes[part, :width] = codes
        np.add(found, products.base[:, None], out=lists.scores[part, :width], where=codes >= 0)
    return lists


def ranks(scores: Scores, limits: Limits, wanted: CodeSets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ranks, from 1, of some codes in the whole lists that `best` would make, and the lengths of these lists.

    Parameters
    ----------
    scores : Product or Bounded
        Of m lists with all codes.
    limits : Limits
        Of the m lists.
    wanted : CodeSets of m sets
        Codes, in any order; -1, and what may not appear, has rank 0.
    """
    found = np.zeros(len(wanted.indices), np.int64)
    lengths = np.zeros(len(limits.rows), np.int64)
    for part, products, own in scores.batches(limits):
        n, k, first = products.packed.n, products.k, part.indices(len(lengths))[0]
        # Factors as columns: (k,n)
        columns = products.packed.factors.swapaxes(0, 1).reshape(k, len(products.packed.biases))[:, :n]
        step = max(1, CHUNK_SCORES // max(n, 1))
        for start in range(0, len(products.vectors), step):
            rows = slice(start, min(start + step, len(products.vectors)))
            each = products.vectors[rows, :k] @ columns + products.packed.biases[:n]
            hidden = own.of(rows).left_out(n)
            if hidden is not None:
                each[np.repeat(np.arange(len(each)), np.diff(hidden.indptr)), hidden.indices] = -np.inf
            for place, of_list in enumerate(each, first + start):
                codes = wanted.indices[wanted.indptr[place] : wanted.indptr[place + 1]]
                entries = slice(wanted.indptr[place], wanted.indptr[place + 1])
                found[entries], lengths[place] = _ranks_of(of_list, codes)
    return found, lengths


def _ranks_of(scores: Array, codes: Array) -> tuple[NDArray[np.int64], int]:
    """Return the ranks of codes by descending scores (n,), equal ones in ascending order of codes; and how many are not -inf."""
    ascending = np.sort(scores)
    own = np.where(codes >= 0, scores[codes], -np.inf)
    above = len(scores) - np.searchsorted(ascending, own, side="right")
    equal = len(scores) - above - np.searchsorted(ascending, own, side="left")
    out = above + 1
    for place in np.flatnonzero((equal > 1) & (own > -np.inf)):
        out[place] += np.count_nonzero(scores[: codes[place]] == own[place])
    out[own == -np.inf] = 0
    return out, len(scores) - int(np.searchsorted(ascending, -np.inf, side="right"))


def _best_products(
    products: Product, left_out: CodeSets | None, width: int, n_threads: int, bounds: Bounds | None = None
) -> tuple[Array, Array]:
    """Return codes and scores of the best of a few products, by one call of the kernel: shapes (m, width)."""
    vectors, k, _, packed = products
    m, dtype = len(vectors), vectors.dtype
    terms = k if bounds is None else 2 * k + 2 * len(bounds.rows)
    n_threads = _pool.threads_worth(_scores.top_n_nanoseconds(m, len(packed.biases), terms), n_threads)
    # Fewer lists than threads: each thread takes a slice of the codes, and the best of every slice are merged.
    n_slices = max(1, min(n_threads // m, len(packed.factors)))
    codes, scores = np.empty((n_slices * m, width), np.int32), np.empty((n_slices * m, width), dtype)
    work = workspace(min(n_threads, n_slices * m), _scores.top_n_workspace(k, bounds is not None), dtype)
    hidden = CodeSets(np.empty(0, np.int64), np.empty(0, np.int32)) if left_out is None else left_out
    _scores.top_n(
        np.arange(m, dtype=np.int32), vectors, packed.factors, packed.biases, *hidden, n_slices, work, codes, scores,
        bounds,
    )  # fmt: skip
    return merge_slices(codes, scores, n_slices) if n_slices > 1 else (codes, scores)


def merge_slices(codes: Array, scores: Array, n_slices: int) -> tuple[Array, Array]:
    """Return the best of lists, one per slice of the codes and list: shapes (n_slices * m, n) to (m, n)."""
    m, n = len(codes) // n_slices, codes.shape[1]
    codes = codes.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    scores = scores.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    best_first = np.lexsort((codes, -scores), axis=1)[:, :n]
    return np.take_along_axis(codes, best_first, 1), np.take_along_axis(scores, best_first, 1)


def rated_by(seen: CSR) -> CodeSets:
    """Return the items that each user has rated."""
    return CodeSets(seen.indptr, seen.indices)

"""The ratings that a model has seen, by user: what lists leave out, and what explanations and updates need."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx import _sort
from alsx._models.side import Merge
from alsx.ratings import CSR
from alsx.ratings.sorting import transpose

Array = NDArray[Any]


def count_items(seen: CSR, n_items: int) -> NDArray[np.int64]:
    """Return how many of the ratings seen each item has, shape (n_items,)."""
    counts = np.zeros((1, n_items), np.int64)
    _sort.count_codes(seen.indices, counts)
    return np.asarray(counts[0])


def entries_of_rows(indptr: Array, rows: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets of some rows by themselves, and the places of their entries among all; row -1 has none."""
    begin = np.where(rows >= 0, indptr[rows], 0)
    counts = np.where(rows >= 0, indptr[rows + 1] - begin, 0)
    own = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # Where a row begins here and there tells how far its entries move.
    return own, np.arange(own[-1]) + np.repeat(begin - own[:-1], counts)


def rows_of(seen: CSR, rows: Array) -> CSR:
    """Return some rows by themselves."""
    indptr, places = entries_of_rows(seen.indptr, rows)
    weights = None if seen.weights is None else seen.weights[places]
    return CSR(indptr, seen.indices[places], seen.values[places], weights)


def columns_of(seen: CSR, columns: Array, n_columns: int, n_threads: int) -> CSR:
    """Return the ratings of some items by item, users ascending; `columns` ascend."""
    wanted = np.zeros(n_columns, bool)
    wanted[columns] = True
    places = np.flatnonzero(wanted[seen.indices])
    number = np.zeros(n_columns, np.int32)
    number[columns] = np.arange(len(columns))
    weights = None if seen.weights is None else seen.weights[places]
    indptr = np.searchsorted(places, seen.indptr).astype(np.int64)
    return transpose(CSR(indptr, number[seen.indices[places]], seen.values[places], weights), len(columns), n_threads)


def has_values(seen: CSR) -> bool:
    """Return whether the values of the ratings seen are known; files may leave them out."""
    return len(seen.values) == len(seen.indices)


class Change(NamedTuple):
    """The ratings seen after some came, and which of these are new or differ.

    Parameters
    ----------
    seen : CSR
        By user.
    is_change : ndarray of bool, shape (n,)
        Of the ratings that came.
    """

    seen: CSR
    is_change: NDArray[np.bool_]


def add_ratings(seen: CSR, users: Array, items: Array, values: Array, weights: Array | None) -> Change:
    """Return the ratings seen with others, which stand instead of those of the same pairs.

    Parameters
    ----------
    seen : CSR
        By user; it has a row for each user.
    users, items : ndarray, shape (n,)
        Codes, ascending by user and then by item.
    values, weights : ndarray, shape (n,)
        Weights are None where all are 1.
    """
    # A search for all pairs at once: the first place of the row whose item is not below the one asked for.
    low, high = seen.indptr[users].copy(), seen.indptr[users + 1].copy()
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        below = seen.indices[middle] < items[open_]
        low[open_] = np.where(below, middle + 1, low[open_])
        high[open_] = np.where(below, high[open_], middle)
    inside = low < seen.indptr[users + 1]
    known = np.zeros(len(users), bool)
    known[inside] = seen.indices[low[inside]] == items[inside]
    all_weights = seen.weights
    if weights is not None and all_weights is None:
        all_weights = np.ones_like(seen.values)
    new_weights = np.ones(len(values), seen.values.dtype) if weights is None else weights.astype(seen.values.dtype)
    is_change = ~known
    at = low[known]
    is_change[known] = seen.values[at] != values[known]
    if all_weights is not None:
        is_change[known] |= all_weights[at] != new_weights[known]

    def merged(old: Array, own: Array) -> Array:
        out = np.insert(old, low[~known], own[~known])
        # Those inserted before a known pair have moved it.
        out[at + np.searchsorted(low[~known], at, side="right")] = own[known]
        return out

    added = np.bincount(users[~known], minlength=len(seen.indptr) - 1)
    indptr = seen.indptr + np.concatenate([[0], np.cumsum(added)])
    merged_weights = None if all_weights is None else merged(all_weights, new_weights)
    return Change(
        CSR(
            indptr.astype(np.int64),
            merged(seen.indices, items.astype(np.int32)),
            merged(seen.values, values.astype(seen.values.dtype)),
            merged_weights,
        ),
        is_change,
    )


def own_copy(ratings: CSR, matrix: Any) -> CSR:
    """Return ratings that share no memory with a sparse matrix of the caller's, who may change it."""
    theirs = [getattr(matrix, name, None) for name in ("data", "indices", "indptr", "row", "col", "offsets")]

    def own(array: Array) -> Array:
        shared = any(isinstance(x, np.ndarray) and np.may_share_memory(array, x) for x in theirs)
        return array.copy() if shared else array

    weights = None if ratings.weights is None else own(ratings.weights)
    return CSR(own(ratings.indptr), own(ratings.indices), own(ratings.values), weights)


def merge_users(seen: CSR, new: CSR, merge: Merge) -> CSR:
    """Return the ratings seen after users were folded in, whose rows replace those that are there already.

    Where the values of those seen are not known, those of the new ones are not kept.

    Parameters
    ----------
    seen, new : CSR
        By old and by new user, items ascending.
    merge : Merge
        Of the users.
    """
    counts = np.zeros(len(merge), np.int64)
    counts[merge.from_old] = np.diff(seen.indptr)
    counts[merge.from_new] = np.diff(new.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # Old rows lie in long runs between the new ones, so that few pieces are copied.
    pieces: list[tuple[CSR, slice]] = []
    old_of = np.full(len(merge), -1, np.int64)
    old_of[merge.from_old] = np.arange(len(merge.from_old))
    end = 0  # of the old rows taken so far
    for row, place in enumerate(merge.from_new):
        begin = int(np.searchsorted(merge.from_old, place))
        pieces.append((seen, slice(seen.indptr[end], seen.indptr[begin])))
        pieces.append((new, slice(new.indptr[row], new.indptr[row + 1])))
        end = begin + int(old_of[place] >= 0)
    pieces.append((seen, slice(seen.indptr[end], seen.indptr[-1])))
    indices = np.concatenate([ratings.indices[part] for ratings, part in pieces])
    if not has_values(seen):
        return CSR(indptr, indices, seen.values, None)
    values = np.concatenate([ratings.values[part] for ratings, part in pieces])
    return CSR(indptr, indices, values, _joined_weights(seen, new, pieces))


def _joined_weights(seen: CSR, new: CSR, pieces: list[tuple[CSR, slice]]) -> Array | None:
    """Return the weights of the pieces, 1 where only the others have any; None where none has."""
    if seen.weights is None and new.weights is None:
        return None
    return np.concatenate([_weights(ratings)[part] for ratings, part in pieces])


def _weights(ratings: CSR) -> Array:
    """Return weights, 1 where there are none."""
    return np.ones_like(ratings.values) if ratings.weights is None else ratings.weights


def merge_items(seen: CSR, new: CSR, merge: Merge) -> CSR:
    """Return the ratings seen after items were folded in, whose ratings replace those of items that are there already.

    Where the values of those seen are not known, those of the new ones are not kept.

    Parameters
    ----------
    seen : CSR
        By user.
    new : CSR
        By new item; users ascending.
    merge : Merge
        Of the items.
    """
    n_users = len(seen.indptr) - 1
    replaced = np.zeros(len(merge), bool)
    replaced[merge.from_new] = True
    users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(seen.indptr))
    items = merge.from_old[seen.indices]
    kept = np.flatnonzero(~replaced[items])
    rows = np.concatenate([users[kept], new.indices])
    columns = np.concatenate([items[kept], np.repeat(merge.from_new, np.diff(new.indptr))])
    # A matrix of positions sorts everything that belongs to a rating at once; no pair is there twice.
    positions = scipy.sparse.csr_array((np.arange(len(rows)), (rows, columns)), shape=(n_users, len(merge)))
    positions.sort_indices()
    order = positions.data
    indptr, indices = positions.indptr.astype(np.int64), positions.indices.astype(np.int32)
    if not has_values(seen):
        return CSR(indptr, indices, seen.values, None)
    weights = None
    if seen.weights is not None or new.weights is not None:
        weights = np.concatenate([_weights(seen)[kept], _weights(new)])[order]
    return CSR(indptr, indices, np.concatenate([seen.values[kept], new.values])[order], weights)

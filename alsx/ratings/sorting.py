"""From coded entries in any order to rows: the ratings by user and by item, each sorted and compressed once.

Three stable counting sorts, by item, from there by user, from there by item, leave users and items ascending in every
row, in time that is linear in the number of ratings. Threads share the entries, and the result is the same for any
number of them, since equal keys keep the order of the input.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from alsx import _sort
from alsx.ratings._caller import Caller, Place, show
from alsx.ratings.columns import kernel_array, value_range

Array = npt.NDArray[Any]

MAX_CODES = 2**31 - 1  # the most ids that int32 codes can number
MIN_PART_ENTRIES = 2**20  # entries that are worth a thread of their own: some ten milliseconds' work
PAIR = Place("sorted pair")
DUPLICATES = ("raise", "last", "mean", "sum")

# How entries are ordered, see `sorted_state`.
STRICTLY, BY_PAIR = 3, 2


class CSR(NamedTuple):
    """Ratings compressed by row: row ``x`` owns the entries ``indptr[x]`` to ``indptr[x + 1] - 1``.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_rows + 1,)
        Where each row begins.
    indices : ndarray of int32, shape (n_ratings,)
        Codes of the other side, ascending within a row.
    values : ndarray of float32 or float64, shape (n_ratings,)
        Ratings.
    weights : ndarray of the dtype of `values`, shape (n_ratings,), or None
        Weights; None where every rating weighs 1.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: Array
    weights: Array | None


def is_mapped(array: Array) -> bool:
    """Return whether an array is, or is part of, a file that is mapped into memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


class Codes(NamedTuple):
    """Codes of the entries of one side: that of entry p is ``table[raw[p] - low]``.

    Attributes
    ----------
    raw : ndarray of int32 or int64, shape (n,)
        Contiguous.
    low : int
        The lowest that `raw` may hold.
    table : ndarray of int32
        Codes.
    n_codes : int
        How many codes there are.
    """

    raw: Array
    low: int
    table: npt.NDArray[np.int32]
    n_codes: int


class RowCodes(NamedTuple):
    """Codes of entries that come row by row: row ``x`` has those from ``indptr[x]`` to ``indptr[x + 1] - 1``.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_rows + 1,)
        Where each row begins.
    own : bool
        Whether the arrays were made here, so that they may be kept without a copy.
    """

    indptr: npt.NDArray[np.int64]
    own: bool


class Sorted(NamedTuple):
    """What `compress` makes.

    Attributes
    ----------
    by_user, by_item : CSR
        The ratings on both sides.
    timestamps : ndarray of int64, shape (n_ratings,), or None
        In the order of `by_user`.
    merged : bool
        Whether ratings were merged, so that their range may be another one.
    in_order : bool
        Whether entries came by user, and within a user by item, which is the order that they are sorted to.
    """

    by_user: CSR
    by_item: CSR
    timestamps: npt.NDArray[np.int64] | None
    merged: bool
    in_order: bool


class RepeatedPair(Exception):
    """A user rated an item twice.

    Attributes
    ----------
    row, before : int
        The first entry of the input whose pair was there before, and the entry that had it.
    user, item : int
        Codes of the pair.
    """

    def __init__(self, row: int, before: int, user: int, item: int) -> None:
        super().__init__(row, before, user, item)
        self.row, self.before, self.user, self.item = row, before, user, item


def repeated_message(user: Any, item: Any, places: tuple[str, str], source: str, caller: Caller) -> str:
    """Return the message for a pair of ids that is there twice, at two places."""
    remedy = caller.remedy("duplicates", '"last" | "mean" | "sum"')
    return (
        f"duplicate ratings{source and f' in {source}'}: {places[1]} rates user {show(user)}, item {show(item)} again, after "
        f"{places[0]}: {remedy} to merge them, or take them out"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Compression


def compress(
    users: Codes | RowCodes,
    items: Codes | RowCodes,
    values: Array,
    weights: Array | None,
    times: npt.NDArray[np.int64] | None,
    duplicates: str,
    dtype: np.dtype[Any],
    n_threads: int,
    own: bool = False,
) -> Sorted:
    """Sort entries by user and by item, and merge those of one pair.

    Parameters
    ----------
    users, items : Codes or RowCodes
        Codes of the users and the items of the entries.
    values : ndarray, shape (n,)
        Ratings, finite and within the range of `dtype`.
    weights, times : ndarray, shape (n,), or None
        Weights and times, if there are any.
    duplicates : {"raise", "last", "mean", "sum"}
        What to do with pairs that are there more than once.
    dtype : numpy.dtype
        Type of the ratings and weights held.
    n_threads : int
        Threads that sort.
    own : bool, default=False
        Whether nobody else has the arrays, so that they may be kept, and those of ids overwritten. (Weights are copied.)

    Raises
    ------
    RepeatedPair
        Where a pair is there more than once and `duplicates` is "raise".
    ValueError
        Where merged ratings or weights are beyond what `dtype` can hold, or all weights that are left are 0.
    """
    items = _each(items)
    if isinstance(users, RowCodes) and not _sort.count_descents(users.indptr, items.raw, n_threads):
        return _kept(users, items, values, weights, dtype, n_threads)
    users = _each(users)
    state = sorted_state(users, items, n_threads)
    if state != STRICTLY and times is None and weights is None and duplicates == "raise":
        # Nothing but the values is moved, so that they are moved themselves.
        by_user, by_item = sort_entries(users, items, kernel_array(values, dtype), n_threads, state)
        if _sort.count_descents(by_user[0], by_user[1], n_threads):
            del by_user, by_item
            raise repeated_pair(users, items, n_threads)
        other = CSR(*cast("tuple[Array, Array, Array]", by_item), None)
        return Sorted(CSR(*by_user, None), other, None, False, state >= BY_PAIR)
    if state == STRICTLY:
        rows, times, merged = *_rows_in_order(users, items, values, weights, times, dtype, n_threads, own), False
    else:
        rows, times, merged = sort_rows(users, items, values, weights, times, duplicates, dtype, n_threads)
    refuse_no_weight(rows.weights is None or bool(rows.weights.any()))
    # The users' ids are needed no more: where they may be overwritten, their memory is there already.
    room = users.raw if state == STRICTLY and own and users.raw.dtype == np.int32 and _is_free(users.raw) else None
    return Sorted(rows, transpose(rows, items.n_codes, n_threads, room), times, merged, state >= BY_PAIR)


def _rows_in_order(
    users: Codes,
    items: Codes,
    values: Array,
    weights: Array | None,
    times: npt.NDArray[np.int64] | None,
    dtype: np.dtype[Any],
    n_threads: int,
    own: bool,
) -> tuple[CSR, npt.NDArray[np.int64] | None]:
    """Entries that are sorted and without repeats, as those of most files are: nothing is to be moved."""
    n_parts = _n_parts(len(values), users.n_codes, n_threads)
    counts = np.zeros((n_parts, users.n_codes), np.int64)
    _sort.count_ids(kernel_array(users.raw), users.low, users.table, counts)
    raw = kernel_array(items.raw)
    indices = raw if own and raw.dtype == np.int32 and _is_free(raw) else np.empty(len(raw), np.int32)
    _sort.code_ids(raw, items.low, items.table, n_parts, indices)
    kept = kernel_array(values.astype(dtype, copy=not (own and _is_free(values))))
    rows = CSR(offsets(counts.sum(axis=0)), indices, kept, None if weights is None else weights.astype(dtype))
    return rows, times if times is None or (own and _is_free(times)) else times.copy()


def _is_free(array: Array) -> bool:
    """Return whether an array's memory is its own, and may be written to."""
    return array.flags.owndata and array.flags.writeable


def sort_rows(
    users: Codes,
    items: Codes,
    values: Array,
    weights: Array | None,
    times: npt.NDArray[np.int64] | None,
    duplicates: str,
    dtype: np.dtype[Any],
    n_threads: int,
    pair: Place = PAIR,
) -> tuple[CSR, npt.NDArray[np.int64] | None, bool]:
    """Sort entries by user, and merge those of one pair; as `compress`, but for one side alone.

    Parameters
    ----------
    users, items, values, weights, times, duplicates, dtype, n_threads
        As `compress` takes them.
    pair : Place
        How messages say where a pair is among the sorted ones.

    Returns
    -------
    rows : CSR
    times : ndarray of int64, or None
    merged : bool
        Whether ratings were merged.
    """
    if times is None and weights is None and duplicates == "raise":
        (indptr, indices, values), _ = sort_entries(users, items, kernel_array(values, dtype), n_threads, both=False)
        if _sort.count_descents(indptr, indices, n_threads):
            raise repeated_pair(users, items, n_threads)
        return CSR(indptr, indices, values, None), None, False
    # Otherwise the number of the entry is moved, and what belongs to it is fetched once.
    (indptr, indices, order), _ = sort_entries(users, items, _positions(len(values)), n_threads, both=False)
    repeats = _repeats_previous(indptr, indices)
    merged = bool(repeats.any())
    if not merged:
        values = values[order].astype(dtype, copy=False)
        weights = None if weights is None else weights[order].astype(dtype, copy=False)
        times = None if times is None else times[order]
    elif duplicates == "raise":
        raise repeated_pair(users, items, n_threads)
    else:
        starts = np.flatnonzero(~repeats)
        indptr = offsets(np.diff(np.concatenate([[0], np.cumsum(~repeats)])[indptr]))
        indices = indices[starts]
        values, weights, times = _merge(duplicates, starts, order, values, weights, times)
        value_range(values, f'ratings under duplicates="{duplicates}"', dtype, pair)
        values = values.astype(dtype, copy=False)
        if weights is not None:
            value_range(weights, f'weights under duplicates="{duplicates}"', dtype, pair)
            weights = weights.astype(dtype, copy=False)
    return CSR(indptr, indices, values, weights), times, merged


def refuse_no_weight(some: bool) -> None:
    """Refuse ratings whose weights are all 0 after those of pairs that came twice were merged."""
    if not some:
        raise ValueError("all weights that are left are 0: at least one rating must have a weight above 0")


def _raw_pairs(users: Codes, items: Codes) -> tuple[tuple[Array, int, Array], tuple[Array, int, Array]]:
    """Return both sides' codes as the kernels take them, of one type."""
    raw = np.result_type(users.raw, items.raw)
    return (
        (kernel_array(users.raw, raw), users.low, users.table),
        (kernel_array(items.raw, raw), items.low, items.table),
    )


def _each(codes: Codes | RowCodes) -> Codes:
    """Codes entry by entry."""
    if isinstance(codes, Codes):
        return codes
    table = np.arange(len(codes.indptr) - 1, dtype=np.int32)
    return Codes(np.repeat(table, np.diff(codes.indptr)), 0, table, len(table))


def _kept(
    users: RowCodes, items: Codes, values: Array, weights: Array | None, dtype: np.dtype[Any], n_threads: int
) -> Sorted:
    """Rows that are sorted and without repeats, as those of most CSR matrices are: there is nothing to sort."""
    indptr, indices = users.indptr, cast("npt.NDArray[np.int32]", items.raw)
    by_user = CSR(
        indptr if users.own else indptr.copy(),
        indices if users.own else indices.copy(),
        values.astype(dtype, copy=not users.own),
        None if weights is None else weights.astype(dtype),
    )
    return Sorted(by_user, transpose(by_user, items.n_codes, n_threads), None, False, True)


def transpose(by_user: CSR, n_items: int, n_threads: int, room: npt.NDArray[np.int32] | None = None) -> CSR:
    """Return ratings by item that are given by user (CSR to CSC); `room` may be memory for the users of the ratings."""
    indptr, indices = by_user.indptr, by_user.indices
    rows = np.empty_like(indices) if room is None else room
    turned = transpose_entries(
        indptr, indices, by_user.values, n_items, n_threads, (rows, np.empty_like(by_user.values))
    )
    if by_user.weights is None:
        return CSR(*turned, None)
    return CSR(*turned, transpose_entries(indptr, indices, by_user.weights, n_items, n_threads)[2])


def repeated_pair(users: Codes, items: Codes, n_threads: int) -> RepeatedPair:
    """Return the first entry of the input whose pair was there before; there must be one."""
    (indptr, indices, order), _ = sort_entries(users, items, _positions(len(users.raw)), n_threads, both=False)
    repeats = np.flatnonzero(_repeats_previous(indptr, indices))
    at = repeats[np.argmin(order[repeats])]
    user = int(np.searchsorted(indptr, at, side="right")) - 1
    return RepeatedPair(int(order[at]), int(order[at - 1]), user, int(indices[at]))


def _repeats_previous(indptr: Array, indices: Array) -> npt.NDArray[np.bool_]:
    """Which entries have the same row and the same index as the entry before them."""
    repeats = np.zeros(len(indices), bool)
    np.equal(indices[1:], indices[:-1], out=repeats[1:])
    starts = indptr[:-1]
    repeats[starts[starts < len(indices)]] = False
    return repeats


def _positions(n: int) -> Array:
    return np.arange(n, dtype=np.int32 if n <= MAX_CODES else np.int64)


def _merge(
    how: str, starts: Array, order: Array, values: Array, weights: Array | None, times: Array | None
) -> tuple[Array, Array | None, Array | None]:
    """One value, weight and time per pair; `order` holds the entries pair by pair, `starts` where each pair begins."""
    if how == "last":
        last = order[np.append(starts[1:], len(order)) - 1]
        return (
            values[last],
            None if weights is None else weights[last],
            None if times is None else times[last],
        )
    counts = np.diff(np.append(starts, len(order)))
    # Sums in floating point depend on their order: that of the values does not depend on that of the input.
    pairs = np.repeat(np.arange(len(starts)), counts)
    keys = (values[order], pairs) if weights is None else (weights[order], values[order], pairs)
    order = order[np.lexsort(keys)]
    found = values[order].astype(np.float64)
    w = None if weights is None else weights[order].astype(np.float64)
    total = None if w is None else np.add.reduceat(w, starts)
    times = None if times is None else np.maximum.reduceat(times[order], starts)
    if how == "sum":
        return np.add.reduceat(found, starts), None if total is None else total / counts, times
    if w is None or total is None:
        # As many ratings as were merged, so that the mean of all ratings stays what it was.
        return np.add.reduceat(found, starts) / counts, counts.astype(np.float64), times
    # Where all weights of a pair are 0, its mean is the plain one.
    nothing = np.repeat(total == 0, counts)
    shares = np.where(nothing, 1.0, w)
    return np.add.reduceat(found * shares, starts) / np.add.reduceat(shares, starts), total, times


# ---------------------------------------------------------------------------------------------------------------------
# Counting sorts


def is_present(raw: Array, low: int, span: int, n_threads: int) -> npt.NDArray[np.bool_]:
    """Return which of the `span` numbers from `low` on are there."""
    seen = np.zeros((_n_parts(len(raw), span, n_threads), span), np.uint8)
    _sort.mark_ids(raw, low, seen)
    return np.asarray(seen.any(axis=0))


def sorted_state(users: Codes, items: Codes, n_threads: int) -> int:
    """Return `STRICTLY` where entries ascend by user and then by item, `BY_PAIR` with repeats, 1 where by user alone, or 0."""
    u, i = _raw_pairs(users, items)
    return int(_sort.sorted_state(*u, *i, _n_parts(len(users.raw), 1, n_threads)))


def sort_entries(
    users: Codes, items: Codes, payload: Array, n_threads: int, state: int | None = None, both: bool = True
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array] | None]:
    """Return entries by user and by item, each (indptr, indices, payload); equal pairs keep the order of the input.

    There is less to do where the input is sorted already, as files of ratings often are; `state` is what `sorted_state` says of
    it, where that is known. By item is None where not `both` are wanted.
    """
    n, n_users, n_items = len(payload), users.n_codes, items.n_codes
    u, i = _raw_pairs(users, items)
    state = sorted_state(users, items, n_threads) if state is None else state
    first, second, n_rows = (u, i, n_users) if state >= BY_PAIR else (i, u, n_items)
    counts = np.zeros((_n_parts(n, n_rows, n_threads), n_rows), np.int64)
    _sort.count_ids(*first, counts)
    indptr, places = _write_places(counts)
    rows = indptr, np.empty(n, np.int32), np.empty(n, payload.dtype)
    _sort.move_ids(*first, *second, payload, places, *rows[1:])
    if state >= BY_PAIR:
        # The order is there already, and nothing was moved but into one row after the other.
        return rows, transpose_entries(*rows, n_items, n_threads) if both else None
    by_item, by_user = rows, transpose_entries(*rows, n_users, n_threads)
    if not both:
        return by_user, None
    if state == 0:
        # Users came in any order, so that those of an item are not ascending yet: once more, into the same memory.
        by_item = transpose_entries(*by_user, n_items, n_threads, by_item[1:])
    return by_user, by_item


def transpose_entries(
    indptr: Array,
    indices: Array,
    payload: Array,
    n: int,
    n_threads: int,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Return the same entries by the other side, of `n` rows; within a row in ascending order of the rows given.

    `out` is memory for the indices and the payload.
    """
    counts = np.zeros((_n_parts(len(indices), n, n_threads), n), np.int64)
    _sort.count_codes(indices, counts)
    starts, places = _write_places(counts)
    rows, moved = (np.empty_like(indices), np.empty_like(payload)) if out is None else out
    _sort.transpose_rows(indptr, indices, payload, places, rows, moved)
    return starts, rows, moved


def offsets(counts: Array) -> npt.NDArray[np.int64]:
    """Return where each row begins, from the number of entries of each."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _n_parts(n: int, n_codes: int, n_threads: int) -> int:
    """How many parts sort `n` entries: one per thread, but not so many that their counts need more memory than entries."""
    return max(1, min(n_threads, n // max(n_codes, MIN_PART_ENTRIES)))


def _write_places(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each row begins, and where each part writes its entries of each row, from counts (n_parts, n_rows)."""
    indptr = offsets(counts.sum(axis=0))
    places = np.cumsum(counts, axis=0)
    places -= counts
    places += indptr[:-1]
    return indptr, places


# ---------------------------------------------------------------------------------------------------------------------
# Parts of ratings that are larger than memory


def entry_counts(codes: Codes, counts: npt.NDArray[np.int64]) -> None:
    """Add to `counts`, of shape (1, n_codes), how many entries there are of each code."""
    _sort.count_ids(kernel_array(codes.raw), codes.low, codes.table, counts)


def group_entries(
    groups: Codes, sides: dict[str, Codes], columns: dict[str, Array], n_threads: int
) -> tuple[npt.NDArray[np.int64], dict[str, Array]]:
    """Bring entries into the order of their groups; those of a group keep their order.

    Parameters
    ----------
    groups : Codes
        The group of each entry.
    sides : dict of str to Codes
        Codes that go along.
    columns : dict of str to ndarray
        Other columns that go along.
    n_threads : int

    Returns
    -------
    sizes : ndarray of int64, shape (n_groups,)
        Entries of each group.
    grouped : dict of str to ndarray
        The codes of `sides` and the columns.
    """
    n = len(groups.raw)
    counts = np.zeros((_n_parts(n, groups.n_codes, n_threads), groups.n_codes), np.int64)
    _sort.count_ids(kernel_array(groups.raw), groups.low, groups.table, counts)
    _, places = _write_places(counts)
    out: dict[str, Array] = {}
    side_names, column_names = list(sides), list(columns)
    # A call of the kernel moves one side's codes and one column; where there are more of one kind, the last of the other goes
    # along once more.
    for at in range(max(len(side_names), len(column_names))):
        side, column = side_names[min(at, len(side_names) - 1)], column_names[min(at, len(column_names) - 1)]
        keys, other = _raw_pairs(groups, sides[side])
        payload = kernel_array(columns[column])
        bits = payload.view(np.int64 if payload.itemsize == 8 else np.int32)
        indices, moved = np.empty(n, np.int32), np.empty(n, bits.dtype)
        _sort.move_ids(*keys, *other, bits, places.copy(), indices, moved)
        out[side], out[column] = indices, moved.view(payload.dtype)
    return counts.sum(axis=0), out

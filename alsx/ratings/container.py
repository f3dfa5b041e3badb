"""`Ratings`: the ratings by user and by item, checked once and sorted once.

Everything that can be wrong with data is found on the way here, so that the kernels need not check anything. Whatever
the user has takes three steps: an adapter makes one `RawRatings` of it, ids are coded, entries are sorted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx import _threads
from alsx.ratings import files, frames, gathering, pairs
from alsx.ratings._caller import OWN, Caller, show
from alsx.ratings.cache import open_prepared, refuse_no_cache, silent
from alsx.ratings.columns import frozen, value_range, weight_column
from alsx.ratings.external import Report
from alsx.ratings.ids import Ids, encode
from alsx.ratings.moments import weighted_mean
from alsx.ratings.options import Options, check_id_types, check_options, refuse_arguments, refuse_file_options
from alsx.ratings.raw import Column, Missing, RawRatings, check_columns
from alsx.ratings.sorting import (
    CSR,
    MAX_CODES,
    RepeatedPair,
    compress,
    offsets,
    repeated_message,
    transpose,
    transpose_entries,
)
from alsx.ratings.sparse import from_sparse
from alsx.typing import DType, IdArray, RatingsLike

Array = npt.NDArray[Any]


class Ratings:
    """Ratings of items by users, checked once and sorted once.

    Parameters
    ----------
    data : Ratings, sparse matrix, data frame, path, or array-like of shape (n, 2)
        - *Sparse matrix or array* of SciPy, any format and index width, users x items. Row and column numbers are the
          ids, and all rows and columns are known users and items, empty or not. Explicit zeros are ratings of 0, except
          in the formats DIA and BSR, where a stored zero cannot be told from padding.
        - *Data frame*: whatever offers the Arrow C stream (pandas, polars, pyarrow and more), with columns that are
          named below or recognised: letter case, "_", "-" and blanks do not matter, and ``userId``, ``movieId`` or
          ``product_id`` are as good as ``user`` and ``item``.
        - *Path* of a file of text with columns (CSV and the like, also compressed with gzip, bzip2, xz or Zstandard), or of
          a Parquet file; what a file holds counts, not what it is called. What stands between columns, whether the first
          line names them, the encoding and the quotes are found from what the file holds, unless they are given below.
          Columns are found as in a data frame, and only they are read. The path of a *folder* means its Parquet files, also in
          folders within, or its files of text where it has none; all of them must have the same columns.
        - *Pairs* of ids (array, list of pairs, frame of two columns), with `y` their ratings. A user's id may be a
          string and an item's an integer.
        - *Ratings*: the same again, perhaps in another `dtype` or with other weights.
    y : array-like of shape (n,), default=None
        Ratings of the pairs. Only with pairs and with frames that have no column of ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights of the ratings, finite and not negative, in the order of the rows. For a sparse matrix: of a CSR matrix in
        the order in which it stores its entries, of any other format by row and within a row by column, which is the order
        of its ``tocsr()``. A rating of weight 0 counts as rated, but not in means or fits.
        Default: 1.
    user, item, rating : str, default=None
        Column names of a frame. Default: recognised.
    timestamp : str or False, default=None
        Column name of the time of rating, integers (seconds; milli-, micro- and nanoseconds are recognised by their size)
        or datetimes. Default: taken where one is recognised and can be read. True: one must be recognised. False leaves it
        out.
    duplicates : {"raise", "last", "mean", "sum"}, default="raise"
        What to do where a user rated an item more than once. "last" takes the last in the order of the input, with its
        weight and time; "mean" the mean, weighted by `sample_weight`, with the sum of the weights (each is 1 where none are
        given, so that two ratings count as two); "sum" the unweighted sum, with the mean of the weights. "mean" and "sum"
        keep the latest time.
    missing : number, str, or list of them, default=None
        Ratings that mean "not rated", such as -1 or 99, and are left out; in files also texts such as "N/A". "" or NaN
        stands for an empty place.
    separator : str, default=None
        Of a file of text: what stands between columns, such as "," or "::"; " " is any number of blanks and tabs.
        Default: what the first lines show.
    header : bool, default=None
        Of a file of text: whether the first line names the columns. Default: it does; where it looks like a rating, an
        error says so. Without it columns are taken for user, item, rating and timestamp in this order.
    names : list of str, default=None
        Of a file of text: names of all its columns, in order.
    encoding : str, default=None
        Of a file of text, as Python calls it. Default: UTF-8, or UTF-16 where that is recognised.
    quoting : bool, default=None
        Of a file of text: whether double quotes enclose fields (True), or are part of the text (False). Default: they
        enclose fields, unless some are not closed in their row while every line taken by itself has the right number of
        columns.
    id_types : {"integers", "strings"}, pair or dict of them, default=None
        Of a file of text: what ids are, for both sides, or ``(users, items)``, or ``{"item": "strings"}``. Default:
        integers, if every id of a column is written as Python writes an integer, else strings: 00417, +5, 0x1F and 1e5
        are strings, and so are then all others of the column.
    dtype : {"float32", "float64"}, default="float32"
        Type of the ratings and weights held. Half stars are exact in either; float32 takes half the memory.
    n_jobs : int, default=None
        Threads for sorting; the result is the same for any number. None: all that the process may use.
    copy : bool, default=True
        False shares the arrays of a CSR matrix whose rows are sorted, whose indices are int32 and whose values are of
        `dtype`, instead of copying them: half the memory, as long as the matrix is not changed.
    cache : path-like, default=None
        Of a path: a folder for prepared ratings, for data that are larger than memory or are read often. The first time they
        are read in parts, sorted on the disk and written there; they are mapped into memory then, and the next time at once,
        as long as neither the files nor the options have changed. It may serve any number of files and of processes. The
        ratings are the same, to the last bit, as without it.
    memory : int or str, default=None
        With `cache`: bytes that sorting may take, such as ``"2GB"``; ids, and what reading takes, come on top. Default: 1 GB.
        With less there are more, and smaller, steps; the outcome is the same.

    Attributes
    ----------
    user_ids, item_ids : ndarray of int64, uint64 or str, shape (n_users,) and (n_items,)
        Ids in ascending order; an id's place is its code.
    by_user, by_item : CSR
        The ratings by user and by item.
    timestamps : ndarray of int64, shape (n_ratings,), or None
        Seconds, in the order of `by_user`.
    is_reordered : bool
        Whether this was made from a file, a data frame or pairs whose rows came in another order than that of `by_user`.

    Raises
    ------
    TypeError
        Where ids are neither integers nor strings (floats, booleans, dates, bytes, a mix), ratings are no numbers, or
        `data` is nothing of the above.
    ValueError
        Where something is missing, doubled, not finite, out of range, of another length, or nothing at all, or a file
        cannot be read. The message names the first such row, counted from 0 (in a file of text the line, counted from
        1), and what to do.

    Warns
    -----
    UserWarning
        Where a column of times was not asked for and cannot be read, so that it is left out; where a rating looks as if
        it meant "not rated": -1 or 99 far off all others, or 0 for more than half.

    See Also
    --------
    Ratings.from_arrays : From three arrays.

    Notes
    -----
    Prepared ratings take 16 bytes each on the disk, with times 24, and while they are prepared about 40 (50) bytes each. Calls
    that copy ratings, such as `select` and splits, copy mapped ones into memory.

    Files are read by Arrow with several threads. Where the operating system refuses to start one, as it does under a limit of
    address space that leaves a few megabytes, Arrow ends the process; with a little more there is a MemoryError.

    A Ratings never changes: its arrays are read-only, and unless `copy` is False it shares none with its input that could
    change. Any order of the input rows gives the same Ratings, to the last bit, but for ``duplicates="last"``.

    Examples
    --------
    >>> import alsx
    >>> R = alsx.Ratings([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
    >>> R
    Ratings(2 users x 2 items, 3 ratings from 3 to 5, density 75 %)
    >>> R.item_ids
    array([3, 7])
    """

    by_user: CSR
    by_item: CSR
    range: tuple[float, float]
    timestamps: npt.NDArray[np.int64] | None
    is_reordered: bool

    def __init__(
        self,
        data: RatingsLike,
        y: npt.ArrayLike | None = None,
        *,
        sample_weight: npt.ArrayLike | None = None,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        timestamp: str | bool | None = None,
        duplicates: Literal["raise", "last", "mean", "sum"] = "raise",
        missing: float | str | Sequence[float | str] | None = None,
        separator: str | None = None,
        header: bool | None = None,
        names: Sequence[str] | None = None,
        encoding: str | None = None,
        quoting: bool | None = None,
        id_types: Any = None,
        dtype: DType = "float32",
        n_jobs: int | None = None,
        copy: bool = True,
        cache: str | os.PathLike[str] | None = None,
        memory: int | str | None = None,
    ) -> None:
        options = check_options(
            user, item, rating, timestamp, duplicates, missing, separator, header, names, encoding, quoting, id_types, dtype,
            n_jobs, copy,
        )  # fmt: skip
        self._read(data, y, sample_weight, options, OWN, cache, memory)

    @classmethod
    def from_arrays(
        cls,
        users: IdArray,
        items: IdArray,
        ratings: npt.ArrayLike,
        *,
        timestamps: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        duplicates: Literal["raise", "last", "mean", "sum"] = "raise",
        missing: float | Sequence[float] | None = None,
        dtype: DType = "float32",
        n_jobs: int | None = None,
    ) -> Ratings:
        """Return ratings from three arrays of one length.

        Parameters
        ----------
        users, items : array-like of int or str, shape (n,)
            Ids; array, list, pandas or polars Series, Arrow array.
        ratings : array-like of shape (n,)
            Ratings, finite numbers.
        timestamps : array-like of int or datetime, shape (n,), default=None
            Time of each rating, in seconds.
        sample_weight : array-like of shape (n,), default=None
            Weights, finite and not negative. Default: 1.
        duplicates : {"raise", "last", "mean", "sum"}, default="raise"
            See `Ratings`.
        missing : number, or list of them, default=None
            See `Ratings`.
        dtype : {"float32", "float64"}, default="float32"
            Type of the ratings and weights held.
        n_jobs : int, default=None
            Threads for sorting. None: all that the process may use.

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            As for `Ratings`.

        Examples
        --------
        >>> import alsx
        >>> alsx.Ratings.from_arrays([10, 20], ["x", "y"], [1, 5])
        Ratings(2 users x 2 items, 2 ratings from 1 to 5, density 50 %)
        """
        options = check_options(duplicates=duplicates, missing=missing, dtype=dtype, n_jobs=n_jobs)
        times = None if timestamps is None else Column(timestamps, "timestamps")
        raw = check_columns(
            Column(users, "users"), Column(items, "items"), Column(ratings, "ratings"), times,
            Column(sample_weight, "sample_weight"), options.missing, options.dtype, OWN,
        )  # fmt: skip
        new = cls.__new__(cls)
        new._sort(raw, options, OWN)
        return new

    # Constructors

    def _read(
        self,
        data: Any,
        y: Any,
        sample_weight: Any,
        options: Options,
        caller: Caller,
        cache: Any = None,
        memory: Any = None,
        report: Report = silent,
    ) -> None:
        """Read ratings from whatever holds them; the arguments are those of the constructor."""
        columns, missing, dtype = options.columns, options.missing, options.dtype
        is_file = files.is_path(data)
        if cache is not None or memory is not None:
            refuse_no_cache(data, y, cache, caller)
            self._open(data, sample_weight, options, caller, cache, memory, report)
            return
        if not is_file:
            refuse_file_options(options, data, caller)
        if isinstance(data, Ratings):
            refuse_arguments(y, columns, "a Ratings", caller)
            self._copy(data, sample_weight, options, caller)
            return
        if scipy.sparse.issparse(data):
            refuse_arguments(y, columns, "a sparse matrix", caller)
            raw = from_sparse(data, sample_weight, missing, dtype, options.n_threads, options.copy, caller)
        elif is_file:
            read = gathering.from_folder if files.is_folder(data) else files.from_file
            raw = read(data, y, columns, sample_weight, options.layout, options.id_types, missing, dtype, caller)
        elif frames.is_frame(data):
            raw = frames.from_frame(data, y, columns, sample_weight, missing, dtype, caller)
        else:
            frames.refuse_lazy(data, caller.data)
            refuse_arguments(None, columns, "an array of pairs", caller)
            raw = pairs.from_pairs(data, y, sample_weight, missing, dtype, caller)
        self._sort(raw, options, caller, has_rows=not scipy.sparse.issparse(data))

    def _sort(self, raw: RawRatings, options: Options, caller: Caller, *, has_rows: bool = False) -> None:
        """Code the ids and sort the entries; those of a file, a frame or pairs were rows, whose order is lost."""
        users = encode(raw.users, raw.names[0], options.n_threads, raw.place)
        items = encode(raw.items, raw.names[1], options.n_threads, raw.place)
        try:
            by_user, by_item, times, merged, in_order = compress(
                users.codes, items.codes, raw.values, raw.weights, raw.times, options.duplicates, options.dtype,
                options.n_threads, raw.own,
            )  # fmt: skip
        except RepeatedPair as pair:
            user, item = users.ids.values[pair.user], items.ids.values[pair.item]
            places = raw.place(pair.before), raw.place(pair.row)
            raise ValueError(repeated_message(user, item, places, raw.source, caller)) from None
        self._set(users.ids, items.ids, by_user, by_item, times, None if merged else raw.range)
        self.is_reordered = has_rows and (merged or not in_order)

    def _open(
        self, path: Any, sample_weight: Any, options: Options, caller: Caller, cache: Any, memory: Any, report: Report
    ) -> None:
        """Map prepared ratings into memory; they are prepared first where they are not."""
        found = open_prepared(path, cache, memory, sample_weight, options, caller, report)
        self._set(found.users, found.items, found.by_user, found.by_item, found.times, found.range)
        self.is_reordered = found.is_reordered

    def _copy(self, other: Ratings, sample_weight: Any, options: Options, caller: Caller) -> None:
        """Take the ratings of another, perhaps in another type or with other weights."""
        dtype, n_threads = options.dtype, options.n_threads
        if options.missing != Missing():
            kept = options.missing.rows_kept(other.by_user.values)
            other = other if kept is None else other.select(kept)
        value_range(other.by_user.values, "ratings", dtype)
        user, item = other.by_user, other.by_item
        by_user = user._replace(values=user.values.astype(dtype, copy=False))
        by_item = item._replace(values=item.values.astype(dtype, copy=False))
        if sample_weight is not None:
            weights = weight_column(sample_weight, len(user.values), dtype, caller.weights)
            by_user = by_user._replace(weights=weights.astype(dtype))
            turned = transpose_entries(
                user.indptr, user.indices, cast(Array, by_user.weights), other.n_items, n_threads
            )
            by_item = by_item._replace(weights=turned[2])
        elif user.weights is not None and item.weights is not None:
            value_range(user.weights, "weights", dtype)
            by_user = by_user._replace(weights=user.weights.astype(dtype, copy=False))
            by_item = by_item._replace(weights=item.weights.astype(dtype, copy=False))
        self._set(other._users, other._items, by_user, by_item, other.timestamps)

    def _set(
        self,
        users: Ids,
        items: Ids,
        by_user: CSR,
        by_item: CSR,
        timestamps: Array | None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Set all attributes; `limits` are the lowest and the highest rating, None where they must be looked for."""
        self._users, self._items = users, items
        self.by_user = CSR(*(None if x is None else frozen(x) for x in by_user))  # type: ignore[arg-type]
        self.by_item = CSR(*(None if x is None else frozen(x) for x in by_item))  # type: ignore[arg-type]
        self.timestamps = None if timestamps is None else frozen(timestamps)
        values = by_user.values
        # Rounded as the values held are.
        self.range = (
            (float(values.min()), float(values.max()))
            if limits is None
            else (float(values.dtype.type(limits[0])), float(values.dtype.type(limits[1])))
        )
        self._moments: tuple[float, float] | None = None
        self.is_reordered = False

    def __getstate__(self) -> dict[str, Any]:
        return {
            "users": self._users,
            "items": self._items,
            "by_user": tuple(self.by_user),
            "by_item": tuple(self.by_item),
            "timestamps": self.timestamps,
            "is_reordered": self.is_reordered,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        by_user, by_item = CSR(*state["by_user"]), CSR(*state["by_item"])
        self._set(state["users"], state["items"], by_user, by_item, state["timestamps"])
        self.is_reordered = state["is_reordered"]

    # Properties

    @property
    def user_ids(self) -> Array:
        """Ids of the users, ascending; the place of an id is its code."""
        return self._users.values

    @property
    def item_ids(self) -> Array:
        """Ids of the items, ascending; the place of an id is its code."""
        return self._items.values

    def user_codes(self, users: Any) -> Any:
        """Codes of users, -1 where unknown.

        Parameters
        ----------
        users : int, str, or array-like of them, shape (m,)
            Ids.

        Returns
        -------
        int32 scalar, or ndarray of int32 of shape (m,)

        Raises
        ------
        TypeError
            Where these cannot be ids, or not of the kind that `user_ids` are.
        ValueError
            Where an id is missing.
        """
        return self._users.codes(users, "users")

    def item_codes(self, items: Any) -> Any:
        """Codes of items, -1 where unknown.

        Parameters
        ----------
        items : int, str, or array-like of them, shape (m,)
            Ids.

        Returns
        -------
        int32 scalar, or ndarray of int32 of shape (m,)

        Raises
        ------
        TypeError
            Where these cannot be ids, or not of the kind that `item_ids` are.
        ValueError
            Where an id is missing.
        """
        return self._items.codes(items, "items")

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self._users)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self._items)

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return len(self.by_user.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and of items."""
        return self.n_users, self.n_items

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the ratings, float32 or float64."""
        return self.by_user.values.dtype

    @property
    def mean(self) -> float:
        """Weighted mean of the ratings, in double precision."""
        return self._mean_and_std()[0]

    @property
    def std(self) -> float:
        """Weighted standard deviation of the ratings (of the population: divided by the sum of weights)."""
        return self._mean_and_std()[1]

    def _mean_and_std(self) -> tuple[float, float]:
        if self._moments is None:
            values, weights = self.by_user.values, self.by_user.weights
            mean = weighted_mean(values, weights, 0.0, 1)
            self._moments = (mean, math.sqrt(weighted_mean(values, weights, mean, 2)))
        return self._moments

    def __len__(self) -> int:
        return self.n_ratings

    def __repr__(self) -> str:
        low, high = self.range
        n, m = self.shape
        count = self.n_ratings
        return (
            f"Ratings({n:,} user{'s' * (n != 1)} x {m:,} item{'s' * (m != 1)}, {count:,} rating{'s' * (count != 1)} "
            f"from {low:g} to {high:g}, density {_percent(count / (n * m))})"
        )

    # Conversions

    def triples(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Array]:
        """All ratings as three arrays, by user, within a user by item.

        Returns
        -------
        users : ndarray of int32, shape (n_ratings,)
            Codes of users; ``user_ids[users]`` are their ids.
        items : ndarray of int32, shape (n_ratings,)
            Codes of items.
        values : ndarray of `dtype`, shape (n_ratings,)
            Ratings.
        """
        counts = np.diff(self.by_user.indptr)
        users = np.repeat(np.arange(self.n_users, dtype=np.int32), counts)
        return users, self.by_user.indices, self.by_user.values

    def select(self, which: Any) -> Ratings:
        """Some of the ratings, with the same users and items, hence the same codes.

        Parameters
        ----------
        which : array-like of bool, shape (n_ratings,), or of int, shape (m,)
            Mask, or positions, in the order of `by_user`. The order of positions does not matter.

        Returns
        -------
        Ratings

        Raises
        ------
        IndexError
            Where a position is out of range, or the mask has another length.
        TypeError
            Where `which` is neither a mask nor positions.
        ValueError
            Where a position is there twice, or nothing is selected.
        """
        n = self.n_ratings
        chosen = np.asarray(which)
        if chosen.ndim != 1 or (chosen.dtype.kind not in "iub" and len(chosen)):
            raise TypeError(
                f"which is of {chosen.dtype} and shape {chosen.shape}; it must be a mask or positions in one dimension: pass "
                "booleans or integers"
            )
        if chosen.dtype.kind == "b":
            if len(chosen) != n:
                raise IndexError(
                    f"which is a mask of {len(chosen):,} for {n:,} ratings: pass one truth value per rating"
                )
            mask = chosen
        else:
            wrong = np.flatnonzero((chosen < 0) | (chosen >= n))
            if len(wrong):
                at = int(wrong[0])
                raise IndexError(f"which: row {at} is {show(chosen[at])}; positions run from 0 to {n - 1:,}")
            mask = np.zeros(n, bool)
            mask[chosen.astype(np.int64, copy=False)] = True
            if np.count_nonzero(mask) != len(chosen):
                raise ValueError("which holds a position twice: pass np.unique of it")
        if not mask.any():
            raise ValueError("which selects no rating; a Ratings holds at least one")
        if self.by_user.weights is not None and not self.by_user.weights[mask].any():
            raise ValueError("which selects only ratings of weight 0; at least one must have a weight above 0")
        before = np.zeros(n + 1, np.int64)
        np.cumsum(mask, out=before[1:])
        user = self.by_user
        by_user = CSR(
            before[user.indptr],
            user.indices[mask],
            user.values[mask],
            None if user.weights is None else user.weights[mask],
        )
        new = Ratings.__new__(Ratings)
        times = None if self.timestamps is None else self.timestamps[mask]
        n_threads = _threads.resolve()
        new._set(self._users, self._items, by_user, transpose(by_user, self.n_items, n_threads), times)
        return new

    def with_ids(self, users: Ids | None = None, items: Ids | None = None) -> Ratings:
        """The same ratings among more users and items, those without ratings.

        Parameters
        ----------
        users, items : Ids, default=None
            All ids, the old ones included. None: those there are.

        Returns
        -------
        Ratings

        Raises
        ------
        ValueError
            Where an old id is not among them.
        """
        moved = []
        for name, old, new in (("users", self._users, users), ("items", self._items, items)):
            codes = np.arange(len(old), dtype=np.int32) if new is None else np.asarray(new.codes(old.values, name))
            if (codes < 0).any():
                at = int(np.argmax(codes < 0))
                raise ValueError(f"{name} lacks {show(old.values[at])}, which has ratings: pass all ids")
            moved.append(codes)
        user_codes, item_codes = moved
        all_users, all_items = users or self._users, items or self._items

        def spread(rows: CSR, places: Array, n_rows: int, columns: Array) -> CSR:
            counts = np.zeros(n_rows, np.int64)
            counts[places] = np.diff(rows.indptr)
            same = len(columns) == 0 or int(columns[-1]) == len(columns) - 1
            return rows._replace(indptr=offsets(counts), indices=rows.indices if same else columns[rows.indices])

        new_rows = Ratings.__new__(Ratings)
        new_rows._set(
            all_users, all_items, spread(self.by_user, user_codes, len(all_users), item_codes),
            spread(self.by_item, item_codes, len(all_items), user_codes), self.timestamps, self.range,
        )  # fmt: skip
        return new_rows

    def to_csr(self) -> scipy.sparse.csr_array:
        """The ratings as a new SciPy sparse array, users x items; ratings of 0 are explicit zeros.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_users, n_items)
        """
        user = self.by_user
        # SciPy makes the indices as wide as the offsets.
        offsets = user.indptr.astype(np.int32 if self.n_ratings <= MAX_CODES else np.int64)
        return scipy.sparse.csr_array((user.values.copy(), user.indices.copy(), offsets), shape=self.shape)


def ratings_of_rows(users: Ids, items: Ids, by_user: CSR, n_threads: int) -> Ratings:
    """Return `Ratings` of rows that are sorted and checked already, as those of another `Ratings` are."""
    new = Ratings.__new__(Ratings)
    new._set(users, items, by_user, transpose(by_user, len(items), n_threads), None)
    return new


def as_ratings(data: Any, argument: str = "ratings", **options: Any) -> Ratings:
    """Return the ratings that another function was given: a `Ratings` as it is, all else as `Ratings` reads it.

    Parameters
    ----------
    data : Ratings, or whatever `Ratings` takes
        Ratings.
    argument : str
        What the other function calls `data`; messages name it, and their remedies work there.
    **options
        Of `Ratings`, for what is not a `Ratings` yet.
    """
    if isinstance(data, Ratings):
        return data
    return read_ratings(data, caller=Caller(argument, options="Ratings"), **options)


def read_ratings(
    data: Any,
    y: Any = None,
    *,
    caller: Caller,
    sample_weight: Any = None,
    cache: Any = None,
    memory: Any = None,
    report: Report = silent,
    **options: Any,
) -> Ratings:
    """Return `Ratings` of these arguments, with messages for the function that was given them.

    Parameters
    ----------
    data, y, sample_weight, cache, memory
        As `Ratings` takes them.
    caller : Caller
        The function, and what it calls its arguments.
    report : callable
        ``report(step, share)`` is called now and then where ratings are prepared for the cache.
    **options
        Of `Ratings`.
    """
    new = Ratings.__new__(Ratings)
    new._read(data, y, sample_weight, check_options(**options), caller, cache, memory, report)
    return new


def id_pairs(data: Any, caller: Caller = OWN, id_types: Any = None) -> tuple[Any, Any]:
    """Return users and items of what `predict` takes, in the order of its rows.

    Parameters
    ----------
    data : data frame, path, or array-like of shape (n, 2)
        Pairs of ids; other columns of a frame or file are ignored.
    caller : Caller
        Whose argument this is.
    id_types : as for `Ratings`, default=None
        The kinds of ids that a file is read for.

    Raises
    ------
    TypeError
        Where `data` is a `Ratings` or a sparse matrix, which do not have the order of any rows.
    """
    if isinstance(data, Ratings) or scipy.sparse.issparse(data):
        kind = "a Ratings" if isinstance(data, Ratings) else "a sparse matrix"
        raise TypeError(
            f"{caller.data} is {kind}, whose entries are not in the order of your rows: pass the frame or path itself, or "
            "users and items: u, i, _ = R.triples() of a Ratings R, then R.user_ids[u], R.item_ids[i]"
        )
    if files.is_path(data):
        return files.file_pairs(data, check_id_types(id_types), caller)
    if frames.is_frame(data):
        return frames.frame_pairs(data, caller)
    frames.refuse_lazy(data, caller.data)
    pairs.refuse_other_shapes(data, caller.data)
    return pairs.split_pairs(data, caller)


def pair_times(data: Any, caller: Caller = OWN) -> npt.NDArray[np.int64] | None:
    """Return when the ratings of what `predict` takes are given, in seconds, in the order of its rows; None where it does not say.

    Parameters
    ----------
    data : data frame, path, or array-like of shape (n, 2)
    caller : Caller
        Whose argument this is.

    Raises
    ------
    TypeError, ValueError
        Where a column of times cannot be read.
    """
    if files.is_path(data):
        return files.file_times(data, caller)
    return frames.frame_times(data, caller) if frames.is_frame(data) else None


def _percent(share: float) -> str:
    """A share as a percentage of two significant digits, 100 only where it is whole."""
    percent = 100 * share
    text = f"{percent:.2g}" if percent < 99.5 else f"{min(percent, 100):.4g}"
    return ("100" if share == 1 else "under 100" if text == "100" else text) + " %"

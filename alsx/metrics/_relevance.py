"""Which items are relevant to whom, and recommended ids as a table: what users have, made into codes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.ratings import Ids, Ratings, as_ratings
from alsx.ratings.columns import id_column, number_column
from alsx.ratings.ids import encode, entry_codes

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Relevance(NamedTuple):
    """The relevant items of users: user ``x`` owns the entries ``indptr[x]`` to ``indptr[x + 1] - 1``.

    Attributes
    ----------
    ids : Ids or None
        Of the items; None where no user has a relevant one.
    indptr : ndarray of int64, shape (n_users + 1,)
    codes : ndarray of int64, shape (n_entries,)
        Codes of items, ascending and without repeats within a user.
    gains : ndarray of float64, shape (n_entries,), or None
        What finding an item is worth; None where it is not known.
    """

    ids: Ids | None
    indptr: Integers
    codes: Integers
    gains: Floats | None

    @property
    def counts(self) -> Integers:
        """How many relevant items each user has, shape (n_users,)."""
        return np.diff(self.indptr)


def of_ratings(ratings: Ratings, users: Any, min_rating: float | None) -> Relevance:
    """Return the items that users have rated, with their ratings as gains.

    Parameters
    ----------
    ratings : Ratings
        Held-out ratings.
    users : array-like of ids, shape (n_users,)
        Unknown ones have no relevant item.
    min_rating : float or None
        The lowest rating that makes an item relevant; None: all do.
    """
    by_user = ratings.by_user
    rows = np.atleast_1d(ratings.user_codes(users)).astype(np.int64)
    starts, known = by_user.indptr[rows], rows >= 0
    lengths = np.where(known, by_user.indptr[rows + 1] - starts, 0)
    ends = np.cumsum(lengths)
    # Where each entry lies among the ratings: a range for each user, one after the other.
    places = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
    values, owners = by_user.values[places], np.repeat(np.arange(len(rows)), lengths)
    if min_rating is not None:
        # Compared as the ratings are held: 3.3 is not below 3.3 because it was rounded to float32.
        kept = values >= values.dtype.type(_check.real("min_rating", min_rating, -np.inf))
        values, owners, places = values[kept], owners[kept], places[kept]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(rows)))]).astype(np.int64)
    return Relevance(ratings._items, indptr, by_user.indices[places].astype(np.int64), values.astype(np.float64))


def of_collections(relevant: Any, n_users: int) -> Relevance:
    """Return what a collection of ids, or a mapping from ids to gains, for each user holds; an item counts once."""
    lists, gains, lengths = [], [], np.zeros(n_users, np.int64)
    for at, items in enumerate(relevant):
        if isinstance(items, str | bytes) or not isinstance(items, Collection | np.ndarray):
            raise TypeError(f"relevant: row {at} is of type {type(items).__name__}; it must be a collection of ids")
        lengths[at] = len(items)
        if len(items):
            column = list(items) if isinstance(items, set | frozenset | Mapping) else items
            lists.append(plain_ids(id_column(column, f"relevant[{at}]")))
            if isinstance(items, Mapping):
                gains.append(number_column(list(items.values()), f"relevant[{at}]").astype(np.float64))
    if not lists:
        return Relevance(None, np.zeros(n_users + 1, np.int64), np.empty(0, np.int64), None)
    if gains and len(gains) < len(lists):
        raise TypeError("relevant mixes mappings and other collections: pass gains for every user, or for none")
    if len({x.dtype.kind in "iu" for x in lists}) > 1:
        raise TypeError("relevant mixes integers and strings: pass ids of one kind")
    ids, codes = encode(np.concatenate(lists), "relevant", 1)
    owners = np.repeat(np.arange(n_users), lengths)
    keys, first = np.unique(owners * len(ids) + entry_codes(codes), return_index=True)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(keys // len(ids), minlength=n_users))]).astype(np.int64)
    return Relevance(ids, indptr, keys % len(ids), np.concatenate(gains)[first] if gains else None)


def relevant_items(ratings: Any, users: Any, *, min_rating: float | None = None) -> list[Array]:
    """The items that are right for users, from held-out ratings, as the metrics at n take them.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        Held-out ratings.
    users : array-like of ids, shape (n_users,)
        Users, in the order of the recommendations; unknown ones have no relevant item.
    min_rating : float, default=None
        The lowest rating that makes an item relevant. Default: every rated item is.

    Returns
    -------
    list of ndarray
        Item ids, one array per user.

    Raises
    ------
    TypeError, ValueError
        As for `Ratings`; where `users` are not of the kind of its user ids.

    Examples
    --------
    >>> import alsx
    >>> from alsx.metrics import relevant_items
    >>> R = alsx.Ratings.from_arrays(["ann", "ann", "bob"], [1, 2, 2], [5.0, 2.0, 4.0])
    >>> relevant_items(R, ["bob", "ann"], min_rating=4)
    [array([2]), array([1])]
    """
    ratings = as_ratings(ratings)
    found = of_ratings(ratings, users, min_rating)
    return np.split(ratings.item_ids[found.codes], found.indptr[1:-1])


def table_of(recommended: Any) -> Array:
    """Return recommended ids as an array; strings and integers are not turned into one another."""
    if isinstance(recommended, np.ndarray):
        return recommended
    rows = list(recommended)
    if rows and all(hasattr(row, "__len__") and not isinstance(row, str | bytes) for row in rows):
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            at = next(at for at, row in enumerate(rows) if len(row) != len(rows[0]))
            raise ValueError(
                f"recommended: row {at} has {len(rows[at])} items, row 0 has {len(rows[0])}: pad the short ones, "
                'with -1 or ""'
            )
        table = np.empty((len(rows), widths.pop()), object)
        for at, row in enumerate(rows):
            table[at] = list(row)
        return table
    flat = np.empty(len(rows), object)
    flat[:] = rows
    return flat


def plain_ids(ids: Any) -> Array:
    """Return ids as an array of integers or of str objects."""
    array = ids if isinstance(ids, np.ndarray) else np.array(ids.to_pylist(), object)
    return cast(Array, array if array.dtype.kind in "iu" else array.astype(object))

"""How good predictions and recommendations are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.ratings import Ratings, as_ratings
from alsx.ratings.columns import id_column, number_column
from alsx.ratings.ids import Ids, encode, entry_codes

__all__ = ["Score", "mae", "ndcg_at_n", "precision_at_n", "recall_at_n", "relevant_items", "rmse"]

Array = npt.NDArray[Any]


# ---------------------------------------------------------------------------------------------------------------------
# Errors of predictions


def rmse(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Root mean squared error, ``sqrt(sum w (y_true - y_pred)^2 / sum w)``, in double precision.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Ratings.
    y_pred : array-like of shape (n,)
        Predicted ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights w, not negative. Default: 1.

    Returns
    -------
    float
        In units of the ratings; 0 is perfect.

    Raises
    ------
    TypeError
        Where values are not numbers.
    ValueError
        Where lengths differ, nothing is given, a value is not finite, or weights are negative or all 0.

    Examples
    --------
    >>> from alsx.metrics import rmse
    >>> rmse([4, 2], [3, 2])
    0.7071067811865476
    """
    errors, weights = _errors(y_true, y_pred, sample_weight)
    # Scaled by the largest error, so that no square overflows.
    largest = float(np.abs(errors).max())
    if largest == 0:
        return 0.0
    return largest * float(np.sqrt(np.average((errors / largest) ** 2, weights=weights)))


def mae(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Mean absolute error, ``sum w |y_true - y_pred| / sum w``, in double precision.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Ratings.
    y_pred : array-like of shape (n,)
        Predicted ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights w, not negative. Default: 1.

    Returns
    -------
    float
        In units of the ratings; 0 is perfect.

    Raises
    ------
    TypeError
        Where values are not numbers.
    ValueError
        Where lengths differ, nothing is given, a value is not finite, or weights are negative or all 0.

    Examples
    --------
    >>> from alsx.metrics import mae
    >>> mae([4, 2], [3, 2])
    0.5
    """
    errors, weights = _errors(y_true, y_pred, sample_weight)
    return float(np.average(np.abs(errors), weights=weights))


def _errors(y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Array, Array | None]:
    """Errors and weights in double precision."""
    true, predicted = _finite(y_true, "y_true"), _finite(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(
            f"lengths differ: y_true {len(true):,}, y_pred {len(predicted):,}: pass one prediction per rating"
        )
    if not len(true):
        raise ValueError("y_true is empty; an error needs at least one rating")
    if sample_weight is None:
        return true - predicted, None
    weights = _finite(sample_weight, "sample_weight")
    if len(weights) != len(true):
        raise ValueError(
            f"lengths differ: y_true {len(true):,}, sample_weight {len(weights):,}: pass one weight per rating"
        )
    negative = np.flatnonzero(weights < 0)
    if len(negative):
        at = int(negative[0])
        raise ValueError(f"sample_weight: row {at} is {weights[at]}; it must not be negative")
    largest = float(weights.max())
    if largest == 0:
        raise ValueError("sample_weight is 0 in every row: at least one rating must have a weight above 0")
    return true - predicted, weights / largest


def _finite(x: Any, name: str) -> Array:
    values = number_column(x, name).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(f"{name}: row {at} is {values[at]}; it must be a finite number: take such rows out first")
    return values


# ---------------------------------------------------------------------------------------------------------------------
# Ranks of recommendations


class Score(float):
    """A mean over users: a float that says of how many users it is the mean.

    Attributes
    ----------
    by_user : ndarray of float64, shape (n_users,)
        The score of each user, NaN where a user has no relevant item.
    n_users : int
        How many users have relevant items; the score is their mean, NaN where there are none.
    n_skipped : int
        How many have none.
    """

    by_user: npt.NDArray[np.float64]

    def __new__(cls, by_user: Any) -> Score:
        """Take the mean of scores."""
        each = np.array(by_user, dtype=np.float64, ndmin=1)
        counted = ~np.isnan(each)
        new = super().__new__(cls, float(each[counted].mean()) if counted.any() else float("nan"))
        new.by_user = each
        return new

    def __getnewargs__(self) -> tuple[Any]:
        return (self.by_user,)

    @property
    def n_users(self) -> int:
        """How many users have relevant items."""
        return int(np.count_nonzero(~np.isnan(self.by_user)))

    @property
    def n_skipped(self) -> int:
        """How many users have no relevant item."""
        return len(self.by_user) - self.n_users

    def __repr__(self) -> str:
        skipped = f", {self.n_skipped:,} without relevant items skipped" if self.n_skipped else ""
        users = "user" if self.n_users == 1 else "users"
        return f"Score({float(self)!r}, mean of {self.n_users:,} {users}{skipped})"

    def __str__(self) -> str:
        return float.__repr__(self)


def precision_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Precision: relevant items among the first n recommended, divided by n.

    The divisor is n also where a user has fewer than n relevant items, or fewer recommendations.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with -1, or "" where ids are strings).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    Examples
    --------
    >>> from alsx.metrics import precision_at_n
    >>> float(precision_at_n([[10, 20, 30, 40]], [[20, 40, 50]]))
    0.5
    """
    hits, counts = _hits(recommended, relevant, n)
    return _score(hits.sum(axis=1), np.full(len(counts), float(hits.shape[1])), counts)


def recall_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Recall: relevant items among the first n recommended, divided by the number of the user's relevant items.

    With more than n relevant items it cannot reach 1.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with -1, or "" where ids are strings).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    Examples
    --------
    >>> from alsx.metrics import recall_at_n
    >>> round(float(recall_at_n([[10, 20, 30, 40]], [[20, 40, 50]])), 4)
    0.6667
    """
    hits, counts = _hits(recommended, relevant, n)
    return _score(hits.sum(axis=1), counts.astype(np.float64), counts)


def ndcg_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Normalised discounted cumulative gain at n, for items that are relevant or not (Järvelin and Kekäläinen 2002).

    A relevant item at rank p = 1, 2, ... gains 1 / log2(p + 1); the sum is divided by that of the best possible list,
    which has min(n, number of the user's relevant items) relevant items in front.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with -1, or "" where ids are strings).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    References
    ----------
    K. Järvelin, J. Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM Transactions on Information
    Systems 20 (2002) 422-446.

    Examples
    --------
    >>> from alsx.metrics import ndcg_at_n
    >>> round(float(ndcg_at_n([[10, 20, 30, 40]], [[20, 40, 50]])), 4)
    0.4982
    """
    hits, counts = _hits(recommended, relevant, n)
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.cumsum(gains)
    return _score(hits @ gains, ideal[np.clip(counts, 1, hits.shape[1]) - 1], counts)


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
    by_user, ids = ratings.by_user, ratings.item_ids
    keep = np.ones(len(ratings), bool)
    if min_rating is not None:
        # Compared as the ratings are held: 3.3 is not below 3.3 because it was rounded to float32.
        keep = by_user.values >= by_user.values.dtype.type(_check.real("min_rating", min_rating, -np.inf))
    lists = []
    for code in np.atleast_1d(ratings.user_codes(users)):
        own = slice(by_user.indptr[code], by_user.indptr[code + 1]) if code >= 0 else slice(0)
        lists.append(ids[by_user.indices[own][keep[own]]])
    return lists


def _score(gained: Array, possible: Array, counts: Array) -> Score:
    each = np.full(len(counts), np.nan)
    np.divide(gained, possible, out=each, where=counts > 0)
    return Score(each)


def _hits(recommended: Any, relevant: Any, n: int | None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which of the first n recommended are relevant (n_users, n), and how many relevant items each user has."""
    if isinstance(relevant, Ratings):
        raise TypeError(
            "relevant is a Ratings, whose users may be in another order: pass relevant_items(relevant, users)"
        )
    rows = _table(recommended)
    if rows.ndim == 1:
        rows, relevant = rows[None], [relevant]
    if rows.ndim != 2:
        raise ValueError(f"recommended has shape {rows.shape}; it must be (n_users, m), one row of items per user")
    n_users, m = rows.shape
    if m == 0:
        raise ValueError("recommended has no columns: pass at least one item per user")
    n = m if n is None else _check.integer("n", n, 1)
    if n > m:
        raise ValueError(f"n is {n}, but recommended has only {m} items per user: ask recommend for n={n}")
    if isinstance(relevant, str | bytes | dict) or not hasattr(relevant, "__len__"):
        raise TypeError(f"relevant is of type {type(relevant).__name__}; it must hold one collection of ids per user")
    if len(relevant) != n_users:
        raise ValueError(
            f"recommended has {n_users:,} users, relevant {len(relevant):,}: pass one row and one collection per user"
        )

    pool, wanted, counts = _relevant_keys(relevant, n_users)
    if pool is None:
        return np.zeros((n_users, n), bool), counts
    found = pool.codes(_plain(id_column(rows[:, :n].ravel(), "recommended")), "recommended")
    found = found.astype(np.int64).reshape(n_users, n)
    keys = np.arange(n_users)[:, None] * len(pool) + found
    places = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    hits = (wanted[places] == keys) & (found >= 0)
    _refuse_repeated_hits(np.where(hits, found, -1), pool)
    return hits, counts


def _relevant_keys(relevant: Any, n_users: int) -> tuple[Ids | None, Array, npt.NDArray[np.int64]]:
    """The distinct relevant items, ascending keys ``user * len(ids) + code`` of the relevant pairs, and counts by user.

    There are no ids where no user has a relevant item.
    """
    lists, lengths = [], np.zeros(n_users, np.int64)
    for at, items in enumerate(relevant):
        if isinstance(items, str | bytes | dict) or not isinstance(items, Collection | np.ndarray):
            raise TypeError(f"relevant: row {at} is of type {type(items).__name__}; it must be a collection of ids")
        lengths[at] = len(items)
        if len(items):
            column = list(items) if isinstance(items, set | frozenset) else items
            lists.append(_plain(id_column(column, f"relevant[{at}]")))
    if not lists:
        return None, np.empty(0, np.int64), lengths
    if len({x.dtype.kind in "iu" for x in lists}) > 1:
        raise TypeError("relevant mixes integers and strings: pass ids of one kind")
    ids, codes = encode(np.concatenate(lists), "relevant", 1)
    owners = np.repeat(np.arange(n_users), lengths)
    # A relevant item counts once.
    keys = np.unique(owners * len(ids) + entry_codes(codes))
    return ids, keys, np.bincount(keys // len(ids), minlength=n_users)


def _refuse_repeated_hits(codes: Array, pool: Ids) -> None:
    """Refuse an item that is found twice in a user's row; `codes` (n_users, n) are -1 where nothing is found."""
    ordered = np.sort(codes, axis=1)
    repeats = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if len(repeats):
        at, column = repeats[0]
        item = pool.values[ordered[at, column]].item()
        raise ValueError(f"recommended: row {at} recommends {item!r} more than once: pass every item once")


def _table(recommended: Any) -> Array:
    """Recommended ids as an array; strings and integers are not turned into one another."""
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


def _plain(ids: Any) -> Array:
    """Ids as an array of integers or of str objects."""
    array = ids if isinstance(ids, np.ndarray) else np.array(ids.to_pylist(), object)
    return cast(Array, array if array.dtype.kind in "iu" else array.astype(object))

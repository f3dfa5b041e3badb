"""Splits into two or three parts: what is held out, by which rule, and how much."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.model_selection._entries import BY_TIME, Entries, of_ratings, of_samples, read
from alsx.ratings import Ratings, as_ratings
from alsx.ratings.columns import time_column
from alsx.typing import By, RandomState, RatingsLike

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

BY = ("random", "user", "last", "time", "cold_users", "cold_items")
COLD = {"cold_users": "users", "cold_items": "items"}


class RatingSplit:
    """Splits ratings once, or several times anew, into training and test ratings; scikit-learn takes it as ``cv=``.

    Parameters
    ----------
    test_size : float or int, default=0.1
        How much is held out. A float between 0 and 1 is a share, an int a count: of ratings ("random", "time"), of each user's
        ratings ("user", "last"), of users or items ("cold_users", "cold_items").
    by : {"random", "user", "last", "time", "cold_users", "cold_items"}, default="random"
        What is held out; see `train_test_split`.
    n_splits : int, default=1
        How often; each split is drawn anew. Splits by time are always the same, so that there is only one.
    at : int or datetime, default=None
        For "time": the time from which on ratings are test ratings; `test_size` is not used then.
    given : int or float, default=0
        For "cold_users" and "cold_items": how many, or which share, of the ratings of each held-out user (item) stay in training,
        drawn at random.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same splits at each call.

    See Also
    --------
    RatingKFold : Splits whose test parts are all different ratings.
    train_test_split : The same for a `Ratings`.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from alsx import BiasALS
    >>> from alsx.model_selection import RatingSplit
    >>> pairs = [(user, item) for user in ("ann", "bob", "cat") for item in (1, 2, 3)]
    >>> cv = RatingSplit(1, by="user", n_splits=2, random_state=0)
    >>> [test.tolist() for _, test in cv.split(pairs)]
    [[2, 3, 8], [2, 4, 6]]
    >>> scores = cross_val_score(BiasALS(), pairs, [5, 4, 4, 2, 1, 2, 4, 3, 3], cv=cv)
    >>> len(scores)
    2
    """

    def __init__(
        self,
        test_size: float = 0.1,
        *,
        by: By = "random",
        n_splits: int = 1,
        at: Any = None,
        given: float = 0,
        random_state: RandomState = None,
    ) -> None:
        self.test_size = test_size
        self.by = by
        self.n_splits = n_splits
        self.at = at
        self.given = given
        self.random_state = random_state

    def __repr__(self) -> str:
        options = "".join(
            f", {name}={value!r}" for name, value in vars(self).items() if name not in ("test_size", "by")
        )
        return f"RatingSplit({self.test_size!r}, by={self.by!r}{options})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return how many splits there are; the arguments are not used."""
        return self._checked()

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Return the rows of each split.

        Parameters
        ----------
        X : Ratings, data frame, or array-like of shape (n, 2)
            Pairs (user, item) in rows. Of a data frame the column of times is found as `Ratings` finds it.
        y : ignored
        groups : array-like of int or datetime, shape (n,), default=None
            Times of the ratings, for "time" and "last", where X has none.

        Yields
        ------
        train, test : ndarray of int64
            Rows of X (of a Ratings: positions in `by_user`, as `alsx.Ratings.select` takes them).

        Raises
        ------
        TypeError, ValueError
            As for `train_test_split`.
        """
        self._checked()
        entries = of_samples(X, groups if self.by in BY_TIME else None)
        # A generator of its own, so that a wrong argument raises at the call and not at the first split.
        return self._rows(entries, _check.generator(self.random_state))

    def _checked(self) -> int:
        """Check the parameters, and return the number of splits."""
        by = check_by(self.by, BY)
        n_splits = _check.integer("n_splits", self.n_splits, 1)
        if by in BY_TIME and n_splits > 1:
            raise ValueError(f"n_splits is {n_splits}; it must be 1 where by is {by!r}, which gives one split")
        if self.at is None:
            check_size("test_size", self.test_size)
        elif by != "time":
            raise ValueError(f"at is given, but by is {by!r}: leave it out, or pass by='time'")
        if check_given(self.given) and by not in COLD:
            raise ValueError(f"given is {self.given}, but by is {by!r}: leave it out, or pass by='cold_users'")
        return n_splits

    def _rows(self, entries: Entries, generator: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        for _ in range(self.n_splits):
            test = self._mask(entries, generator)
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def _mask(self, entries: Entries, generator: np.random.Generator) -> Mask:
        """Return which ratings are test ratings."""
        if self.at is not None:
            return from_time(entries, self.at)
        amount = amount_of(entries, self.by, "test_size", self.test_size, generator)
        return take(entries, self.by, amount, self.given, generator, f"test_size={self.test_size:g}")


def train_test_split(
    ratings: RatingsLike,
    test_size: float = 0.1,
    *,
    by: By = "random",
    at: Any = None,
    given: float = 0,
    random_state: RandomState = None,
) -> tuple[Ratings, Ratings]:
    """Split ratings into training and test ratings.

    Both parts keep all users and items of the whole, hence the same ids and codes.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    test_size : float or int, default=0.1
        Share of the test ratings, between 0 and 1, or their number as an int: of all ratings, of each user's ("user", "last"), or
        of users or items ("cold_users", "cold_items").
    by : {"random", "user", "last", "time", "cold_users", "cold_items"}, default="random"
        "random" draws from all ratings alike: ``round(test_size * n_ratings)`` of them, at least one, and all but one
        at most. "user" draws the same share from each user: of n ratings ``floor(test_size * n + v)`` with v uniform in
        [0, 1), drawn anew for each user, so that every user's expected share is `test_size` also where n is small, but
        never all n: every user keeps a rating. An int draws so many of each user's ratings, or as many as leave one (leave-n-out).
        "last" takes the last of each user's ratings by time: ``floor(test_size * n)``, or an int of them, never all; of ratings of
        one time those of later items. "time" takes the latest: all ratings later than the time
        T of the last training rating, where the training ratings are at least ``1 - test_size`` of all. Ratings of one
        time stay together, on the side of training, so that the test share may be smaller than asked for. "cold_users" and
        "cold_items" draw users or items whole, ``round(test_size * n)`` of those that have ratings, as if they came later.
    at : int or datetime, default=None
        For "time": ratings from this time on are test ratings, whatever `test_size` is.
    given : int or float, default=0
        For "cold_users" and "cold_items": how many, or which share (``round(given * n)``), of each held-out user's (item's) ratings
        stay in training, drawn at random. Who has no more than that has no test ratings.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same split each time. Not used for "time" and "last".

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    TypeError
        Where `random_state`, `test_size` or the ratings are of a wrong kind.
    ValueError
        Where `test_size` is out of range, there are no timestamps to split by, or a part would have no ratings.

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import train_test_split
    >>> R = alsx.Ratings.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], [5, 4, 3, 2])
    >>> train, test = train_test_split(R, 0.25, random_state=0)
    >>> len(train), len(test), train.shape == test.shape == R.shape
    (3, 1, True)
    """
    splitter = RatingSplit(test_size, by=by, at=at, given=given, random_state=random_state)
    splitter._checked()
    ratings = read(ratings, by)
    test = splitter._mask(of_ratings(ratings), _check.generator(random_state))
    return ratings.select(~test), ratings.select(test)


def train_validation_test_split(
    ratings: RatingsLike,
    validation_size: float = 0.1,
    test_size: float = 0.1,
    *,
    by: By = "random",
    random_state: RandomState = None,
) -> tuple[Ratings, Ratings, Ratings]:
    """Split ratings into three: to fit models, to choose between them, to measure the chosen one.

    First the test ratings are taken out, then, by the same rule, the validation ratings from the rest: with "time" and "last" they
    come before the test ratings. Sizes are of the whole.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    validation_size, test_size : float or int, default=0.1
        Shares of the whole, or counts, as `train_test_split` takes them.
    by : {"random", "user", "last", "time", "cold_users", "cold_items"}, default="random"
        See `train_test_split`.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same split each time.

    Returns
    -------
    train, validation, test : Ratings

    Raises
    ------
    TypeError, ValueError
        As for `train_test_split`; where both sizes leave nothing for training.

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import train_validation_test_split
    >>> R = alsx.Ratings.from_arrays([1] * 5, [1, 2, 3, 4, 5], [5, 4, 3, 2, 1], timestamps=[10, 20, 30, 40, 50])
    >>> [part.timestamps.tolist() for part in train_validation_test_split(R, 2, 1, by="last")]
    [[10, 20], [30, 40], [50]]
    """
    check_by(by, BY)
    sizes = {"test_size": test_size, "validation_size": validation_size}
    for name, size in sizes.items():
        check_size(name, size)
    if all(isinstance(size, float) for size in sizes.values()) and sum(sizes.values()) >= 1:
        raise ValueError(
            f"validation_size is {validation_size:g} and test_size {test_size:g}; together they must be below 1, so that "
            "something is left for training"
        )
    ratings = read(ratings, by)
    entries, generator = of_ratings(ratings), _check.generator(random_state)
    left = np.arange(len(entries))
    parts = []
    amounts = [amount_of(entries, by, name, size, generator) for name, size in sizes.items()]
    for (name, size), amount in zip(sizes.items(), amounts, strict=True):
        kept = np.zeros(len(entries), bool)
        kept[left] = True
        held = take(entries.select(kept), by, amount, 0, generator, f"{name}={size:g}")
        parts.append(left[held])
        left = left[~held]
    return ratings.select(left), ratings.select(parts[1]), ratings.select(parts[0])


def k_core(ratings: RatingsLike, k: int | tuple[int, int] = 5) -> Ratings:
    """Leave out users and items of few ratings, until all that are left have enough among those that are left.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    k : int or pair of int (users, items), default=5
        The fewest ratings of a user and of an item.

    Returns
    -------
    Ratings
        Of the users and items that are left, which alone it knows.

    Raises
    ------
    TypeError
        Where `k` is no integer.
    ValueError
        Where it is below 1, or nothing is left.

    References
    ----------
    S. B. Seidman, "Network structure and minimum degree", Social Networks 5, 1983, pages 269-287 (the k-core of a graph, here of
    users and items).

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import k_core
    >>> R = alsx.Ratings([("ann", 1), ("ann", 2), ("bob", 1), ("bob", 2), ("cat", 2)], [5, 4, 3, 2, 1])
    >>> k_core(R, 2).user_ids.tolist()
    ['ann', 'bob']
    """
    if isinstance(k, tuple | list | np.ndarray):
        if len(k) != 2:
            raise ValueError(f"k has {len(k)} values; give one number, or a pair (users, items)")
        fewest = [_check.integer(f"k[{at}]", x, 1) for at, x in enumerate(k)]
    else:
        fewest = [_check.integer("k", k, 1)] * 2
    ratings = as_ratings(ratings)
    users, items, values = ratings.triples()
    kept = np.arange(len(ratings))
    while True:
        enough = np.ones(len(kept), bool)
        for codes, n, least in ((users, ratings.n_users, fewest[0]), (items, ratings.n_items, fewest[1])):
            enough &= (np.bincount(codes[kept], minlength=n) >= least)[codes[kept]]
        if enough.all():
            break
        kept = kept[enough]
    if not len(kept):
        raise ValueError(
            f"k is {k}, and no group of users and items has so many ratings among itself: pass a smaller k"
        )
    weights, times = ratings.by_user.weights, ratings.timestamps
    return Ratings.from_arrays(
        ratings.user_ids[users[kept]],
        ratings.item_ids[items[kept]],
        values[kept],
        timestamps=None if times is None else times[kept],
        sample_weight=None if weights is None else weights[kept],
        dtype=ratings.dtype,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


def check_by(by: Any, known: tuple[str, ...]) -> str:
    """Return `by`, or say what it must be."""
    if not isinstance(by, str) or by not in known:
        raise ValueError(f"by is {by!r}; it must be one of {', '.join(map(repr, known))}")
    return by


def check_size(name: str, size: Any) -> None:
    """Refuse what is neither a share nor a count."""
    if isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1:
        return
    share = _check.real(name, size, -math.inf)
    if not 0 < share < 1:
        raise ValueError(
            f"{name} is {size}; it must be between 0 and 1, such as 0.1 for a tenth, or a count: an int of at least 1"
        )


def check_given(given: Any) -> bool:
    """Refuse what is no share or count of ratings that are given, and return whether any are."""
    share = _check.real("given", given)
    if share != 0 and not (isinstance(given, int | np.integer) or share < 1):
        raise ValueError(f"given is {given}; it must be a share below 1, such as 0.5 for half, or a count as an int")
    return share > 0


def is_count(size: Any) -> bool:
    """Return whether a size that was checked is a count."""
    return isinstance(size, int | np.integer)


# ---------------------------------------------------------------------------------------------------------------------
# How much, and which


def amount_of(entries: Entries, by: str, name: str, size: Any, generator: np.random.Generator) -> Any:
    """Return how much is held out: a number of ratings, of users or of items, or a number for each user.

    Parameters
    ----------
    entries : Entries
        All ratings.
    by : str
    name : str
        What messages call the size.
    size : float or int
        As `check_size` has it.
    generator : numpy.random.Generator
        For "user" by shares.
    """
    n = len(entries)
    if by in ("user", "last"):
        counts = np.bincount(entries.users, minlength=entries.n_users)
        if is_count(size):
            return np.full(len(counts), size)
        # The slack keeps 0.2 * 15 from being 2 and a bit.
        above = generator.random(len(counts)) if by == "user" else 1e-9 * (counts + 1)
        return np.floor(size * counts + above)
    if by == "time":
        if is_count(size):
            return size
        # The number of training ratings is what is rounded up; the slack keeps 0.9 * 10 from being 9 and a bit.
        return n - min(max(math.ceil((1 - size) * n - 1e-9 * n), 1), n)
    if by == "random":
        what, total = "ratings", n
    else:
        what = COLD[by]
        total = len(np.unique(entries.side(what)[0]))
    if total < 2:
        raise ValueError(f"there is only one {what[:-1]}; a split needs at least two")
    if is_count(size):
        if size >= total:
            raise ValueError(f"{name} is {size:,}, but there are only {total:,} {what}, and training needs some")
        return int(size)
    return min(max(round(size * total), 1), total - 1)


def take(entries: Entries, by: str, amount: Any, given: float, generator: np.random.Generator, size: str) -> Mask:
    """Return which ratings are held out; `size` is how a message says how much was asked for."""
    if by == "random":
        if amount >= len(entries):
            raise ValueError(f"{size} leaves no ratings for training: pass less")
        test = np.zeros(len(entries), bool)
        test[generator.choice(len(entries), amount, replace=False, shuffle=False)] = True
        return test
    if by == "time":
        return _latest(entries, amount)
    if by in COLD:
        return _whole(entries, COLD[by], amount, given, generator)
    if by == "user":
        keys: tuple[Array, ...] = (generator.random(len(entries)),)
    else:
        # Those that come first are held out: the latest, and of one time the later items.
        keys = -entries.items.astype(np.int64), -_times(entries, by)
    return _first_of_each_user(entries, keys, amount, size)


def _first_of_each_user(entries: Entries, keys: tuple[Array, ...], wanted: Array, size: str) -> Mask:
    """Return the first of each user's ratings in the order of the keys, the last of which counts most, but never all of them."""
    users = entries.users
    counts = np.bincount(users, minlength=entries.n_users)
    wanted = np.minimum(wanted, np.maximum(counts - 1, 0))
    order = np.lexsort((*keys, users))
    starts = np.cumsum(counts) - counts
    test = np.zeros(len(users), bool)
    test[order] = np.arange(len(users)) - starts[users[order]] < wanted[users[order]]
    if not test.any():
        raise ValueError(
            f"no user has enough ratings to give any to a test of {size}; pass a larger one, or by='random'"
        )
    return test


def _latest(entries: Entries, amount: int) -> Mask:
    """Return the latest ratings, `amount` of them at most."""
    times = _times(entries, "time")
    n = len(times)
    if amount >= n:
        raise ValueError(f"test_size is {amount:,}, but there are only {n:,} ratings, and training needs some")
    # The place of the last training rating in order of time.
    last = n - amount - 1
    test = times > np.partition(times, last)[last]
    if not test.any():
        raise ValueError(
            f"no rating is later than the first {last + 1:,} of {n:,} in order of time, as the rest were given at the "
            "same time as the last of them; pass a larger test_size, or by='random'"
        )
    return np.asarray(test)


def from_time(entries: Entries, at: Any) -> Mask:
    """Return the ratings from a time on."""
    if isinstance(at, datetime.datetime):
        # Times without a zone are in UTC, as in a column.
        at = np.datetime64(at if at.tzinfo is None else at.astimezone(datetime.UTC).replace(tzinfo=None))
    times, (start,) = _times(entries, "time"), time_column([at], "at")
    test = times >= start
    if test.all() or not test.any():
        raise ValueError(
            f"at is {at!r}, and {'all' if test.all() else 'no'} ratings are from then on, which were given from {times.min()} to "
            f"{times.max()}: pass a time in between"
        )
    return np.asarray(test)


def _times(entries: Entries, by: str) -> npt.NDArray[np.int64]:
    """Return the times of the ratings, or say that there are none."""
    if entries.times is None:
        raise ValueError(
            f"by is {by!r}, but these ratings have no timestamps; give them with from_arrays(timestamps=), or in a "
            "column of a data frame or file (with scikit-learn also as groups)"
        )
    return entries.times


def _whole(entries: Entries, side: str, amount: int, given: float, generator: np.random.Generator) -> Mask:
    """Return the ratings of some users, or items, drawn from those that have any, but for those that are given."""
    codes, n = entries.side(side)
    present = np.unique(codes)
    if amount >= len(present):
        raise ValueError(
            f"there are only {len(present):,} {side} left, of which {amount:,} cannot be held out: pass less"
        )
    return of_rows(codes, n, generator.choice(present, amount, replace=False, shuffle=False), given, generator)


def of_rows(codes: Array, n: int, rows: Array, given: float, generator: np.random.Generator) -> Mask:
    """Return the ratings of some users, or items, but for those that are given.

    Parameters
    ----------
    codes : ndarray of int, shape (n_ratings,)
        Users, or items, of the ratings.
    n : int
        How many of them there are.
    rows : ndarray of int
        Those that are held out.
    given : int or float
        How many, or which share, of the ratings of each stay in training, drawn at random.
    generator : numpy.random.Generator
    """
    held = np.zeros(n, bool)
    held[rows] = True
    test = held[codes]
    if given:
        counts = np.bincount(codes, minlength=n)
        kept = np.full(n, given) if is_count(given) else np.round(given * counts)
        order = np.lexsort((generator.random(len(codes)), codes))
        starts = np.cumsum(counts) - counts
        is_given = np.zeros(len(codes), bool)
        is_given[order] = np.arange(len(codes)) - starts[codes[order]] < kept[codes[order]]
        test &= ~is_given
        if not test.any():
            raise ValueError(f"given is {given}, which leaves no ratings for the test: pass less")
    return np.asarray(test)

"""Splitting ratings into training and test ratings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.ratings import Ratings, as_ratings, is_frame, is_path

__all__ = ["k_fold", "train_test_split"]

BY = ("random", "user", "time")


def train_test_split(
    ratings: Any, test_size: float = 0.1, *, by: str = "random", random_state: Any = None
) -> tuple[Ratings, Ratings]:
    """Split ratings into training and test ratings.

    Both parts keep all users and items of the whole, hence the same ids and codes.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    test_size : float, default=0.1
        Share of the test ratings, between 0 and 1.
    by : {"random", "user", "time"}, default="random"
        "random" draws from all ratings alike: ``round(test_size * n_ratings)`` of them, at least one, and all but one
        at most. "user" draws the same share from each user: of n ratings ``floor(test_size * n + v)`` with v uniform in
        [0, 1), drawn anew for each user, so that every user's expected share is `test_size` also where n is small, but
        never all n: every user keeps a rating. "time" takes the latest: all ratings later than the time
        T of the last training rating, where the training ratings are at least ``1 - test_size`` of all. Ratings of one
        time stay together, on the side of training, so that the test share may be smaller than asked for.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same split each time. Not used where `by` is "time".

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    TypeError
        Where `random_state`, `test_size` or the ratings are of a wrong kind.
    ValueError
        Where `test_size` is not between 0 and 1, there are no timestamps to split by, or a part would have no ratings.

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import train_test_split
    >>> R = alsx.Ratings.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], [5, 4, 3, 2])
    >>> train, test = train_test_split(R, 0.25, random_state=0)
    >>> len(train), len(test), train.shape == test.shape == R.shape
    (3, 1, True)
    """
    share = _check.real("test_size", test_size)
    if not 0 < share < 1:
        raise ValueError(f"test_size is {test_size}; it must be between 0 and 1, such as 0.1 for a tenth")
    if not isinstance(by, str) or by not in BY:
        raise ValueError(f"by is {by!r}; it must be one of {', '.join(map(repr, BY))}")
    # Times that cannot be read are refused where they are needed, and ignored elsewhere.
    needed: dict[str, Any] = {"timestamp": True} if by == "time" and (is_path(ratings) or is_frame(ratings)) else {}
    ratings = as_ratings(ratings, **needed)
    if by == "time":
        test = _latest(ratings, share)
    else:
        generator = _check.generator(random_state)
        test = (_draw if by == "random" else _draw_by_user)(ratings, share, generator)
    return ratings.select(~test), ratings.select(test)


def k_fold(ratings: Any, n_splits: int = 5, *, random_state: Any = None) -> Iterator[tuple[Ratings, Ratings]]:
    """Split ratings at random into folds, each of which is the test ratings once.

    Fold sizes differ by one rating at most. All parts keep all users and items, hence the same ids and codes.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    n_splits : int, default=5
        Number of folds, at least 2.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same folds each time.

    Yields
    ------
    train, test : Ratings

    Raises
    ------
    TypeError
        Where `random_state`, `n_splits` or the ratings are of a wrong kind.
    ValueError
        Where `n_splits` is below 2 or there are fewer ratings than folds.

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import k_fold
    >>> R = alsx.Ratings.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], [5, 4, 3, 2])
    >>> [len(test) for train, test in k_fold(R, 2, random_state=0)]
    [2, 2]
    """
    n_splits = _check.integer("n_splits", n_splits, 2)
    ratings = as_ratings(ratings)
    n = len(ratings)
    if n < n_splits:
        raise ValueError(f"n_splits is {n_splits}, but there are only {n} ratings; every fold needs one")
    order = _check.generator(random_state).permutation(n)
    # A generator of its own, so that a wrong argument raises at the call and not at the first fold.
    return _folds(ratings, order, n_splits)


def _folds(ratings: Ratings, order: npt.NDArray[np.int64], n_splits: int) -> Iterator[tuple[Ratings, Ratings]]:
    """The parts of each fold; `order` is a permutation of the ratings."""
    n = len(order)
    for fold in range(n_splits):
        test = np.zeros(n, bool)
        test[order[n * fold // n_splits : n * (fold + 1) // n_splits]] = True
        yield ratings.select(~test), ratings.select(test)


def _draw(ratings: Ratings, share: float, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Test ratings drawn from all alike, as a mask."""
    n = len(ratings)
    if n < 2:
        raise ValueError("there is only one rating; a split needs at least two")
    test = np.zeros(n, bool)
    test[generator.choice(n, min(max(round(share * n), 1), n - 1), replace=False, shuffle=False)] = True
    return test


def _draw_by_user(ratings: Ratings, share: float, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The same share of each user's ratings, as a mask."""
    indptr = ratings.by_user.indptr
    counts = np.diff(indptr)
    wanted = np.minimum(np.floor(share * counts + generator.random(len(counts))), np.maximum(counts - 1, 0))
    users = np.repeat(np.arange(len(counts)), counts)
    # A random order within each user, whose first places are the test ratings.
    order = np.lexsort((generator.random(len(users)), users))
    test = np.zeros(len(users), bool)
    test[order] = np.arange(len(users)) - indptr[users] < wanted[users]
    if not test.any():
        raise ValueError(
            f"no user has enough ratings to give any to a test of test_size={share:g}; pass a larger one, or "
            "by='random'"
        )
    return test


def _latest(ratings: Ratings, share: float) -> npt.NDArray[np.bool_]:
    """The latest ratings, as a mask."""
    times = ratings.timestamps
    if times is None:
        raise ValueError(
            "by is 'time', but these ratings have no timestamps; give them with from_arrays(timestamps=), or in a "
            "column of a data frame or file"
        )
    n = len(times)
    # The place of the last training rating in order of time; the slack keeps 0.9 * 10 from being 9 and a bit.
    last = min(max(math.ceil((1 - share) * n - 1e-9 * n), 1), n) - 1
    test = times > np.partition(times, last)[last]
    if not test.any():
        raise ValueError(
            f"no rating is later than the first {last + 1:,} of {n:,} in order of time, as the rest were given at the "
            "same time as the last of them; pass a larger test_size, or by='random'"
        )
    return np.asarray(test)

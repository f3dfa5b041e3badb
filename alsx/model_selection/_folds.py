"""Folds: splits in which every rating is a test rating once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _check
from alsx.model_selection._entries import Entries, of_ratings, of_samples, read
from alsx.model_selection._split import COLD, _times, check_by, check_given, of_rows
from alsx.ratings import Ratings
from alsx.typing import By, RandomState, RatingsLike

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

BY = ("random", "user", "time", "cold_users", "cold_items")


class RatingKFold:
    """Splits ratings into folds, each of which is the test ratings once; scikit-learn takes it as ``cv=``.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    by : {"random", "user", "time", "cold_users", "cold_items"}, default="random"
        What is drawn into folds: ratings; each user's ratings, so that every fold has the same share of them, up to one; users or
        items whole. "time" cuts all ratings by time into n_splits + 1 parts of one size and tests each but the first by what came
        before it; ratings of one time stay together, in the earlier part.
    given : int or float, default=0
        For "cold_users" and "cold_items": as for `RatingSplit`. Ratings that are given are in no test.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=None
        Where random numbers come from; an int gives the same folds at each call.

    See Also
    --------
    RatingSplit : Splits of any size.
    k_fold : The same for a `Ratings`.

    Examples
    --------
    >>> from alsx.model_selection import RatingKFold
    >>> pairs = [("ann", 1), ("ann", 2), ("bob", 1), ("bob", 2), ("cat", 3), ("cat", 1)]
    >>> [test.tolist() for _, test in RatingKFold(3, by="cold_users", random_state=0).split(pairs)]
    [[4, 5], [0, 1], [2, 3]]
    """

    def __init__(
        self, n_splits: int = 5, *, by: By = "random", given: float = 0, random_state: RandomState = None
    ) -> None:
        self.n_splits = n_splits
        self.by = by
        self.given = given
        self.random_state = random_state

    def __repr__(self) -> str:
        return (
            f"RatingKFold({self.n_splits!r}, by={self.by!r}, given={self.given!r}, random_state={self.random_state!r})"
        )

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return how many folds there are; the arguments are not used."""
        return self._checked()

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Return the rows of each fold.

        Parameters
        ----------
        X : Ratings, data frame, or array-like of shape (n, 2)
            Pairs (user, item) in rows.
        y : ignored
        groups : array-like of int or datetime, shape (n,), default=None
            Times of the ratings, for "time", where X has none.

        Yields
        ------
        train, test : ndarray of int64
            Rows of X (of a Ratings: positions in `by_user`, as `alsx.Ratings.select` takes them).

        Raises
        ------
        TypeError, ValueError
            As for `k_fold`.
        """
        self._checked()
        entries = of_samples(X, groups if self.by == "time" else None)
        # A generator of its own, so that a wrong argument raises at the call and not at the first fold.
        masks = self._masks(entries, _check.generator(self.random_state))
        return ((np.flatnonzero(train), np.flatnonzero(test)) for train, test in masks)

    def _checked(self) -> int:
        """Check the parameters, and return the number of folds."""
        by = check_by(self.by, BY)
        if check_given(self.given) and by not in COLD:
            raise ValueError(f"given is {self.given}, but by is {by!r}: leave it out, or pass by='cold_users'")
        return _check.integer("n_splits", self.n_splits, 2)

    def _masks(self, entries: Entries, generator: np.random.Generator) -> Iterator[tuple[Mask, Mask]]:
        """Return the training and the test ratings of each fold."""
        n_splits = self.n_splits
        if self.by == "time":
            return self._periods(entries)
        if self.by in COLD:
            codes, n = entries.side(COLD[self.by])
            present = np.unique(codes)
            self._refuse_few(len(present), COLD[self.by])
            order = generator.permutation(present)
            rows = [order[part] for part in _parts(len(order), n_splits)]
            tests = (of_rows(codes, n, part, self.given, generator) for part in rows)
            return ((~test, test) for test in tests)
        n = len(entries)
        self._refuse_few(n, "ratings")
        folds = np.empty(n, np.int64)
        if self.by == "random":
            order = generator.permutation(n)
            for fold, part in enumerate(_parts(n, n_splits)):
                folds[order[part]] = fold
        else:
            # Each user's ratings in a random order go to one fold after the other, beginning anywhere.
            order = np.lexsort((generator.random(n), entries.users))
            counts = np.bincount(entries.users, minlength=entries.n_users)
            place = np.arange(n) - (np.cumsum(counts) - counts)[entries.users[order]]
            folds[order] = (place + generator.integers(n_splits, size=len(counts))[entries.users[order]]) % n_splits
        return ((folds != fold, folds == fold) for fold in range(n_splits))

    def _refuse_few(self, n: int, what: str) -> None:
        if n < self.n_splits:
            raise ValueError(f"n_splits is {self.n_splits}, but there are only {n} {what}; every fold needs one")

    def _periods(self, entries: Entries) -> Iterator[tuple[Mask, Mask]]:
        """Return what came before each period, and the period."""
        times = _times(entries, "time")
        n = len(times)
        self._refuse_few(n - 1, "ratings after the first")
        # The time of the last rating of each part; those of that time belong to it.
        ends = np.sort(times)[[part.stop - 1 for part in _parts(n, self.n_splits + 1)]]
        if (ends[1:] <= ends[:-1]).any():
            raise ValueError(
                f"n_splits is {self.n_splits}, but so many ratings were given at one time that a part by time has none of its own: "
                "pass fewer"
            )
        return (((times <= start), (times > start) & (times <= end)) for start, end in itertools.pairwise(ends))


def _parts(n: int, n_parts: int) -> list[slice]:
    """Return consecutive parts whose sizes differ by one at most."""
    return [slice(n * part // n_parts, n * (part + 1) // n_parts) for part in range(n_parts)]


def k_fold(
    ratings: RatingsLike, n_splits: int = 5, *, by: By = "random", given: float = 0, random_state: RandomState = None
) -> Iterator[tuple[Ratings, Ratings]]:
    """Split ratings into folds, each of which is the test ratings once.

    Fold sizes of ratings differ by one at most. All parts keep all users and items, hence the same ids and codes.

    Parameters
    ----------
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    n_splits : int, default=5
        Number of folds, at least 2.
    by : {"random", "user", "time", "cold_users", "cold_items"}, default="random"
        See `RatingKFold`.
    given : int or float, default=0
        See `RatingKFold`.
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
        Where `n_splits` is below 2, there are fewer ratings (users, items) than folds, or no timestamps to split by.

    Examples
    --------
    >>> import alsx
    >>> from alsx.model_selection import k_fold
    >>> R = alsx.Ratings.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], [5, 4, 3, 2])
    >>> [len(test) for train, test in k_fold(R, 2, random_state=0)]
    [2, 2]
    """
    splitter = RatingKFold(n_splits, by=by, given=given, random_state=random_state)
    splitter._checked()
    ratings = read(ratings, by)
    masks = splitter._masks(of_ratings(ratings), _check.generator(random_state))
    # A generator of its own, so that a wrong argument raises at the call and not at the first fold.
    return ((ratings.select(train), ratings.select(test)) for train, test in masks)

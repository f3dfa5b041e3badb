"""What a split needs to know of ratings, in the order of their rows: users and items as codes, times."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx.ratings import Caller, Ratings, as_ratings, id_pairs, is_frame, is_path
from alsx.ratings.columns import id_column, time_column
from alsx.ratings.frames import Frame
from alsx.ratings.ids import encode, entry_codes
from alsx.ratings.names import choose_columns

Array = npt.NDArray[Any]

# What messages call the pairs that scikit-learn gives.
PAIRS = Caller("X", options="Ratings")

BY_TIME = ("time", "last")


@dataclass(frozen=True, eq=False)
class Entries:
    """Ratings in the order of their rows.

    Attributes
    ----------
    users, items : ndarray of int, shape (n,)
        Codes.
    n_users, n_items : int
    times : ndarray of int64, shape (n,), or None
        Seconds.
    """

    users: Array
    items: Array
    n_users: int
    n_items: int
    times: npt.NDArray[np.int64] | None

    def side(self, name: str) -> tuple[Array, int]:
        """Return the codes of one side, "users" or "items", and how many there are."""
        return (self.users, self.n_users) if name == "users" else (self.items, self.n_items)

    def select(self, kept: npt.NDArray[np.bool_]) -> Entries:
        """Return some of the ratings, with the same codes."""
        times = None if self.times is None else self.times[kept]
        return dataclasses.replace(self, users=self.users[kept], items=self.items[kept], times=times)

    def __len__(self) -> int:
        return len(self.users)


def of_ratings(ratings: Ratings) -> Entries:
    """Return the entries of ratings, in the order of `by_user`."""
    users, items, _ = ratings.triples()
    return Entries(users, items, *ratings.shape, ratings.timestamps)


def of_samples(X: Any, times: Any) -> Entries:
    """Return the entries of what scikit-learn calls X.

    Parameters
    ----------
    X : Ratings, data frame, or array-like of shape (n, 2)
        Pairs (user, item); a frame may have a column of times.
    times : array-like, shape (n,), or None
        Times, where X has none.
    """
    if isinstance(X, Ratings):
        return of_ratings(X)
    seconds = None if times is None else time_column(times, "groups")
    if seconds is None and is_frame(X):
        frame = Frame(X)
        wanted = {"user": None, "item": None, "rating": None, "timestamp": None}
        name = choose_columns(frame.names, wanted, True, PAIRS).get("timestamp")
        seconds = None if name is None else time_column(frame.column(name), f"X[{name!r}]")
    coded = [
        encode(id_column(column, f"X: {name}"), f"X: {name}", 1)
        for column, name in zip(id_pairs(X, PAIRS), ("users", "items"), strict=True)
    ]
    users, items = (entry_codes(side.codes) for side in coded)
    if seconds is not None and len(seconds) != len(users):
        raise ValueError(f"lengths differ: X {len(users):,}, groups {len(seconds):,}: pass the time of each rating")
    return Entries(users, items, len(coded[0].ids), len(coded[1].ids), seconds)


def read(ratings: Any, by: str) -> Ratings:
    """Return ratings as a `Ratings`, with times where the split is by time."""
    # Times that cannot be read are refused where they are needed, and ignored elsewhere.
    timed = by in BY_TIME and (is_path(ratings) or is_frame(ratings))
    options: dict[str, Any] = {"timestamp": True} if timed else {}
    return as_ratings(ratings, **options)

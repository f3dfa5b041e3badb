"""What every kind of input becomes first: one `RawRatings`, whose columns are checked one by one.

Data frames, arrays, sparse matrices and files each have an adapter that returns it. What follows (coding the ids,
sorting) does not know where ratings came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Place
from alsx.ratings.columns import ROW, id_column, number_column, time_column, value_range, weight_column
from alsx.ratings.ids import Coded

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


class Column(NamedTuple):
    """A column as it was given, and how messages speak of it."""

    values: Any
    name: str
    place: Place = ROW


class RawRatings(NamedTuple):
    """Ratings in the order of the input, with their ids.

    Attributes
    ----------
    users, items : ndarray or pyarrow.Array, shape (n,), or Coded
        Ids as `id_column` makes them. A sparse matrix, whose row numbers are ids and codes at once, gives `Coded`.
    values : ndarray of float or int, shape (n,)
        Ratings, finite and within the range of the dtype that will hold them; n is not 0.
    weights : ndarray, shape (n,), or None
        Weights, finite and not negative.
    times : ndarray of int64, shape (n,), or None
        Seconds.
    range : (float, float)
        The lowest and the highest of `values`.
    names : (str, str)
        What messages call users and items.
    place : Place
        How they say where an entry is.
    """

    users: Array | pa.Array | Coded
    items: Array | pa.Array | Coded
    values: Array
    weights: Array | None
    times: npt.NDArray[np.int64] | None
    range: tuple[float, float]
    names: tuple[str, str]
    place: Place


def check_columns(
    users: Column, items: Column, ratings: Column, times: Column | None, weights: Column, dtype: np.dtype[Any]
) -> RawRatings:
    """Check columns one by one, and that they are of one length.

    Raises
    ------
    TypeError
        Where a column holds what it cannot hold.
    ValueError
        Where something is missing or out of range, lengths differ, or nothing is there.
    """
    u, i, values = id_column(*users), id_column(*items), number_column(*ratings)
    seconds = None if times is None else time_column(*times)
    lengths = {users.name: len(u), items.name: len(i), ratings.name: len(values)}
    if times is not None and seconds is not None:
        lengths[times.name] = len(seconds)
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
        raise ValueError(
            f"lengths differ: {each}; row {min(lengths.values())} is the first that is not whole: pass as many of each"
        )
    if not len(values):
        raise ValueError(f"there are no ratings: {ratings.name} is empty: pass at least one rating")
    limits = value_range(values, ratings.name, dtype, ratings.place)
    w = None if weights.values is None else weight_column(weights.values, len(values), dtype, weights.name)
    return RawRatings(u, i, values, w, seconds, limits, (users.name, items.name), users.place)

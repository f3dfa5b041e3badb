"""What every kind of input becomes first: one `RawRatings`, whose columns are checked one by one.

Data frames, arrays, sparse matrices and files each have an adapter that returns it. What follows (coding the ids,
sorting) does not know where ratings came from.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, Place, SelectedPlace, show
from alsx.ratings.columns import ROW, check_weights, id_column, number_column, time_column, value_range
from alsx.ratings.ids import Coded

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


# Numbers that data sets write for "not rated". One of them is suspected where it lies far off all other ratings.
SENTINELS = (-1.0, -9.0, 99.0, -99.0, 999.0, -999.0, 9999.0, -9999.0)
MIN_SUSPECTED_RATINGS = 20  # fewer may well be so
MIN_MANY_RATINGS = 100  # of fewer, more than half may well be 0
MAX_RATING_VALUES = 1000  # ratings of more different values are measurements, among which nothing stands alone


class Column(NamedTuple):
    """A column as it was given, and how messages speak of it.

    Attributes
    ----------
    values : array-like, shape (n,), or None
        As it was given.
    name : str
        What messages call it.
    place : Place
        How they say where an entry is.
    is_optional : bool
        Of times: whether nobody asked for them, so that they are left out where they cannot be read.
    """

    values: Any
    name: str
    place: Place = ROW
    is_optional: bool = False


class Missing(NamedTuple):
    """Ratings that stand for "not rated".

    Attributes
    ----------
    numbers : tuple of float
        Such numbers.
    texts : tuple of str
        Such texts, in files.
    nothing : bool
        Whether an empty place (null, NaN) is one too.
    """

    numbers: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    nothing: bool = False

    @classmethod
    def of(cls, missing: Any) -> Missing:
        """Return what the argument `missing` of `Ratings` says: None, a number or text, or several of them."""
        values = (
            [] if missing is None else missing if isinstance(missing, list | tuple | set | frozenset) else [missing]
        )
        numbers, texts, nothing = [], [], False
        for value in values:
            if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
                nothing = True
            elif isinstance(value, str):
                texts.append(value)
            elif isinstance(value, Real | np.number) and not isinstance(value, bool):
                numbers.append(float(value))
            else:
                raise TypeError(
                    f"missing is {show(value)} ({type(value).__name__}); it must be a number, a text, or a list of them"
                )
        return cls(tuple(numbers), tuple(texts), nothing)

    def takes(self, text: str) -> bool:
        """Return whether a text of a file stands for "not rated", numbers apart."""
        return text in self.texts if text else self.nothing

    def rows_kept(self, values: Array) -> npt.NDArray[np.int64] | None:
        """Return which ratings are some, None where all are."""
        stands = np.zeros(len(values), bool)
        if self.numbers:
            # A number that the file has in float32 is meant as it is there.
            stands |= np.isin(values, np.array(self.numbers).astype(values.dtype if values.dtype.kind == "f" else None))
        if (self.nothing or self.texts) and values.dtype.kind == "f":
            stands |= np.isnan(values)
        return np.flatnonzero(~stands) if stands.any() else None


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
    source : str
        The file that the ratings are from, or nothing.
    own : bool
        Whether nobody else has the arrays that own their memory, weights apart: they may be kept, and overwritten.
    """

    users: Array | pa.Array | Coded
    items: Array | pa.Array | Coded
    values: Array
    weights: Array | None
    times: npt.NDArray[np.int64] | None
    range: tuple[float, float]
    names: tuple[str, str]
    place: Place
    source: str
    own: bool = False


def check_columns(
    users: Column,
    items: Column,
    ratings: Column,
    times: Column | None,
    weights: Column,
    missing: Missing,
    dtype: np.dtype[Any],
    caller: Caller,
    source: str = "",
) -> RawRatings:
    """Check columns one by one, and that they are of one length; take ratings out that stand for none.

    Raises
    ------
    TypeError
        Where a column holds what it cannot hold.
    ValueError
        Where something is missing or out of range, lengths differ, or nothing is there.

    Warns
    -----
    UserWarning
        Where times that nobody asked for cannot be read, and are left out, or a rating seems to stand for "not rated".
    """
    u, i = id_column(*users[:3]), id_column(*items[:3])
    values = number_column(*ratings[:3], nan_for_null=missing.nothing)
    seconds = None if times is None else _checked_times(times, caller)
    w = None if weights.values is None else number_column(*weights[:3])
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
    place = users.place
    w = None if w is None else check_weights(w, len(values), dtype, weights.name, weights.place)
    kept = missing.rows_kept(values)
    if kept is not None:
        if not len(kept):
            raise ValueError(f"there are no ratings: all of {ratings.name} are missing, as missing= says: pass another")
        u, i, values = u.take(kept), i.take(kept), values[kept]
        w = None if w is None else w[kept]
        seconds = None if seconds is None else seconds[kept]
        place = SelectedPlace(place.entry, place, kept)
        ratings = ratings._replace(place=SelectedPlace(ratings.place.entry, ratings.place, kept))
    limits = value_range(values, ratings.name, dtype, ratings.place)
    warn_of_sentinel(lambda: np.unique(values, return_counts=True), ratings.name, limits, caller)
    return RawRatings(u, i, values, w, seconds, limits, (users.name, items.name), place, source)


def _checked_times(times: Column, caller: Caller) -> npt.NDArray[np.int64] | None:
    """Seconds; None where they cannot be read and nobody asked for them."""
    try:
        return time_column(*times[:3])
    except (TypeError, ValueError) as error:
        if not times.is_optional:
            raise
        # Other functions than Ratings say what they miss where they need times.
        if caller.options == "own":
            warnings.warn(
                f"timestamps are left out, since they cannot be read; {str(error).partition(';')[0]}: convert them, or pass "
                "timestamp=False if they are not needed",
                UserWarning,
                stacklevel=6,
            )
        return None


def warn_of_sentinel(
    count: Callable[[], tuple[Array, Array]], name: str, limits: tuple[float, float], caller: Caller
) -> None:
    """Warn where the lowest or the highest rating looks like a code for "not rated" (-1, 99) among others.

    Parameters
    ----------
    count : callable
        Returns the different ratings, ascending, and how often each is there.
    name : str
        What messages call the ratings.
    limits : pair of float
        The lowest and the highest.
    caller : Caller
        Whose remedies messages offer.
    """
    if not caller.warns or (limits[0] not in (0.0, *SENTINELS) and limits[1] not in SENTINELS):
        return
    distinct, counts = count()
    n = int(counts.sum())
    if not 4 <= len(distinct) <= MAX_RATING_VALUES or n < MIN_SUSPECTED_RATINGS:
        return
    distinct = distinct.astype(np.float64)
    if distinct[0] == 0 and 2 * counts[0] > n and n >= MIN_MANY_RATINGS:
        warnings.warn(
            f"{name}: 0 is there {counts[0]:,} times, more often than all other ratings; if it means not rated, "
            + caller.remedy("missing", "0"),
            UserWarning,
            stacklevel=6,
        )
    steps = np.diff(distinct)
    for at, gap, others in ((0, steps[0], steps[1:]), (-1, steps[-1], steps[:-1])):
        # Far off: by more than the steps between all others; -1 also where the others are all above 0.
        if distinct[at] in SENTINELS and gap >= 2 * others.max():
            value = f"{distinct[at]:g}"
            warnings.warn(
                f"{name}: {value} is there {counts[at]:,} times, far off the other ratings, which go from "
                f"{distinct[1 if at == 0 else 0]:g} to {distinct[-1 if at == 0 else -2]:g}; if it means not rated, "
                + caller.remedy("missing", value),
                UserWarning,
                stacklevel=6,
            )

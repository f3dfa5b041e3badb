"""Data frames of any library: which columns are what, ratings, pairs of ids, and rows that describe users or items.

narwhals knows the libraries (pandas, polars, pyarrow, Modin, cuDF); whatever else offers the Arrow C stream is read
through it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx.ratings._caller import OWN, Caller, listed, quoted, show
from alsx.ratings.columns import arrow_column, id_column
from alsx.ratings.ids import encode, entry_codes
from alsx.ratings.pairs import split_pairs
from alsx.ratings.raw import Column, RawRatings, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

# Column names that are recognised, lower case with everything but letters and digits taken out: "User-ID" is "userid".
COLUMN_NAMES = {
    "user": ("user", "userid", "uid", "users", "customer", "customerid", "reviewer", "reviewerid"),
    "item": (
        *("item", "itemid", "iid", "items", "movie", "movieid", "film", "filmid", "product", "productid"),
        *("book", "bookid", "isbn", "asin", "track", "trackid", "song", "songid", "artist", "artistid"),
    ),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "timestamps", "time", "ts", "date", "datetime", "unixreviewtime"),
}


# ---------------------------------------------------------------------------------------------------------------------
# Frames of any library


def is_frame(data: Any) -> bool:
    """Return whether `data` is a table with named columns that can be read at once.

    A single column may have an Arrow stream too, but is no table.
    """
    if isinstance(data, np.ndarray | str | bytes | list | tuple | dict) or scipy.sparse.issparse(data):
        return False
    import narwhals.stable.v2 as nw

    if nw.dependencies.is_into_dataframe(data):
        return True
    return hasattr(data, "__arrow_c_stream__") and not nw.dependencies.is_into_series(data)


class Frame:
    """The columns of a data frame, by name.

    Parameters
    ----------
    data : data frame
        For which `is_frame` is true.

    Attributes
    ----------
    names : list
        Names of all columns, in order; pandas' need not be strings, and may be there twice.
    index_name : object
        The name of pandas' index, or None.
    """

    def __init__(self, data: Any) -> None:
        import narwhals.stable.v2 as nw
        from narwhals.exceptions import DuplicateError

        if not nw.dependencies.is_into_dataframe(data):
            import pyarrow as pa

            data = pa.table(data)
        self.names: list[Any] = list(data.column_names if hasattr(data, "column_names") else data.columns)
        self.index_name = getattr(getattr(data, "index", None), "name", None)
        try:
            self._frame = nw.from_native(data, eager_only=True)
        except DuplicateError:
            # narwhals takes no repeated names; nobody can ask for such a column, and the others are as good as ever.
            keep = [at for at, name in enumerate(self.names) if self.names.count(name) == 1]
            unique = data.select(keep) if hasattr(data, "column_names") else data.iloc[:, keep]
            self._frame = nw.from_native(unique, eager_only=True)

    def column(self, name: Any) -> Any:
        """Return a column as its library has it."""
        return self._frame.get_column(name).to_native()


# ---------------------------------------------------------------------------------------------------------------------
# Ratings, pairs, rows with features


def from_frame(
    data: Any, y: Any, names: dict[str, Any], sample_weight: Any, dtype: np.dtype[Any], caller: Caller
) -> RawRatings:
    """Return the ratings of a data frame; only the columns that are needed are read.

    Parameters
    ----------
    data : data frame
        With columns of users and items, and of ratings where `y` is None.
    y : array-like, shape (n,), or None
        Ratings.
    names : dict of str to str, bool or None
        Names of the columns that are asked for, as `choose_columns` takes them.
    sample_weight : array-like, shape (n,), or None
        Weights.
    dtype : numpy.dtype
        Type of the ratings that will be held.
    caller : Caller
        Whose argument this is.
    """
    frame = Frame(data)
    roles = choose_columns(frame.names, names, y is not None, caller)
    columns = {role: Column(frame.column(name), f"{caller.data}[{name!r}]") for role, name in roles.items()}
    if y is not None:
        columns["rating"] = Column(y, caller.y)
    return check_columns(
        columns["user"], columns["item"], columns["rating"], columns.get("timestamp"),
        Column(sample_weight, caller.weights), dtype,
    )  # fmt: skip


def id_pairs(data: Any, caller: Caller = OWN) -> tuple[Any, Any]:
    """Return users and items of what `predict` takes: a data frame, whose other columns are ignored, or (n, 2) ids."""
    if not is_frame(data):
        return split_pairs(data, caller)
    frame = Frame(data)
    names = dict.fromkeys(("user", "item", "rating"), None) | {"timestamp": False}
    roles = choose_columns(frame.names, names, True, caller)
    return frame.column(roles["user"]), frame.column(roles["item"])


def described_rows(data: Any, side: str, name: str) -> tuple[Array, dict[str, pa.ChunkedArray]]:
    """Return ids and the other columns of a data frame that has a row for each user, or item.

    Parameters
    ----------
    data : data frame
        With one column of ids.
    side : {"user", "item"}
        Whose ids.
    name : str
        What messages call the frame.

    Returns
    -------
    ids : ndarray of int64, uint64 or str, shape (n,)
        In the order of the rows; no id comes twice.
    columns : dict of str to pyarrow.ChunkedArray
        All others, by name.

    Raises
    ------
    TypeError
        Where ids cannot be ids, or a column cannot be read.
    ValueError
        Where the column of ids is not clear, an id comes twice, or there are no rows.
    """
    import pyarrow as pa

    frame = Frame(data)
    _refuse_repeated_names(frame.names, name)
    id_name = _id_name(frame, side, name)
    where = f"{name}[{id_name!r}]"
    column = id_column(frame.column(id_name), where)
    if not len(column):
        raise ValueError(f"{name} has no rows: give at least one, or leave it out")
    distinct, codes = encode(column, where, 1)
    rows = entry_codes(codes)
    ids = distinct.values[rows]
    if len(distinct) < len(rows):
        is_first = np.zeros(len(rows), bool)
        is_first[np.unique(rows, return_index=True)[1]] = True
        at = int(np.argmin(is_first))
        raise ValueError(f"{where}: row {at} is {show(ids[at])} for the second time: give one row for each")
    others = {}
    for x in frame.names:
        if x == id_name:
            continue
        try:
            others[str(x)] = arrow_column(frame.column(x))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as error:
            raise TypeError(
                f"{name}: the column {x!r} cannot be read ({error}): drop it, or make all its values of one kind"
            ) from None
    return ids, others


def _refuse_repeated_names(found: list[Any], name: str) -> None:
    texts = [str(x) for x in found]
    repeated = next((x for at, x in enumerate(texts) if x in texts[:at]), None)
    if repeated is not None:
        raise ValueError(f"{name} has two columns {repeated!r}; the columns are {listed(found)}: rename or drop one")


def _id_name(frame: Frame, side: str, name: str) -> Any:
    """The name of the column of ids of a frame that describes users or items."""
    hits = [x for x in frame.names if is_recognised(side, x)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        problem = f"{len(hits)} columns could be the {side} ids"
        remedy = f"leave one of {listed(hits)} its name, and rename the others"
    else:
        problem = f"no column of {side} ids is recognised"
        remedy = f"call one of them {side!r}, or give a matrix with one row for each {side}"
        if is_recognised(side, frame.index_name):
            remedy = "the ids are the frame's index: pass .reset_index()"
    raise ValueError(f"{name}: {problem}; the columns are {listed(frame.names)}: {remedy}")


# ---------------------------------------------------------------------------------------------------------------------
# Which column is what


def is_recognised(role: str, name: Any) -> bool:
    """Return whether a column of this name is taken for users, items, ratings or timestamps."""
    return isinstance(name, str) and re.sub("[^a-z0-9]", "", name.lower()) in COLUMN_NAMES[role]


def choose_columns(found: list[Any], names: dict[str, Any], has_y: bool, caller: Caller) -> dict[str, Any]:
    """Return which column is what.

    Parameters
    ----------
    found : list
        Names of all columns.
    names : dict
        For each of "user", "item", "rating" and "timestamp" the name that is asked for; None: the one that is recognised
        (there need be none of timestamps); for "timestamp" also True, which must be recognised, and False, which is left
        out.
    has_y : bool
        Whether ratings are given apart, so that no column of them is looked for.
    caller : Caller
        Whose arguments these are.

    Returns
    -------
    dict of str to column name
        Without "rating" where there is `y`, and without "timestamp" where there are none.
    """
    if has_y and names["rating"] is not None:
        raise TypeError(f"both {caller.y} and rating={names['rating']!r} say where the ratings are: pass one of them")
    chosen: dict[str, Any] = {}
    for role in ("user", "item", "rating", "timestamp"):
        if (role == "rating" and has_y) or names[role] is False:
            continue
        optional = role == "timestamp" or (has_y and len(found) == 2)
        chosen[role] = _choose(role, names[role], found, optional, caller)
    if has_y and len(found) == 2 and None in (chosen["user"], chosen["item"]):
        # Two columns and y: pairs, whatever the columns are called, unless a recognised one says otherwise.
        chosen["user"], chosen["item"] = _complete_pair(chosen["user"], chosen["item"], found)
    if chosen.get("timestamp") in (chosen["user"], chosen["item"]):
        chosen["timestamp"] = None
    used: dict[Any, str] = {}
    for role, name in chosen.items():
        if name is not None and used.setdefault(name, role) != role:
            raise ValueError(f"the column {name!r} would be both {used[name]} and {role}: name another column")
    return {role: name for role, name in chosen.items() if name is not None}


def _complete_pair(user: Any, item: Any, found: list[Any]) -> tuple[Any, Any]:
    """Users and items of two columns of which at most one is recognised."""
    if user is None and item is None:
        return found[0], found[1]
    other = found[1] if found[0] in (user, item) else found[0]
    return (other, item) if user is None else (user, other)


def _choose(role: str, name: Any, found: list[Any], optional: bool, caller: Caller) -> Any:
    """The column that is asked for or recognised; None where it is optional and not there."""
    if name is not None and name is not True:
        hits = [x for x in found if x == name]
        if not hits:
            raise ValueError(f"{role}={name!r} is not a column; the columns are {listed(found)}")
    else:
        hits = [x for x in found if is_recognised(role, x)]
        if not hits:
            if optional and name is not True:
                return None
            others = [x for x in found if not any(is_recognised(other, x) for other in COLUMN_NAMES)]
            remedy = caller.remedy(role, quoted(others[0] if others else "NAME"))
            raise ValueError(f"no column of {role}s is recognised; the columns are {listed(found)}: {remedy}")
    if len(hits) > 1:
        if len(set(hits)) > 1:
            remedy = caller.remedy(role, quoted(hits[0]))
        else:
            remedy = "rename all but one"
        raise ValueError(f"the column of {role}s is ambiguous: {listed(hits)} could all be it: {remedy}")
    return hits[0]

"""Data frames of any library: which columns are what, ratings, pairs of ids, and rows that describe users or items.

narwhals knows the libraries (pandas, polars, pyarrow, Modin, cuDF); whatever else offers the Arrow C stream is read
through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx.ratings._caller import OWN, Caller, listed, quoted, show, show_name
from alsx.ratings.columns import arrow_column, id_column, time_column
from alsx.ratings.ids import encode, entry_codes
from alsx.ratings.names import PAIR_COLUMNS, TIMED_PAIR_COLUMNS, choose_columns, is_recognised
from alsx.ratings.raw import Column, Missing, RawRatings, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

# What reads frames that are not read yet, by the libraries that have them.
LAZY_LIBRARIES = {
    "collect": ("polars",),
    "compute": ("dask", "dask_expr"),
    "toPandas": ("pyspark",),
    "arrow": ("duckdb", "_duckdb"),
    "to_pyarrow": ("ibis",),
}
MAX_FRAME_COLUMNS = 50  # more columns, none of users or items, are a table of users x items

# ---------------------------------------------------------------------------------------------------------------------
# Frames of any library


def is_frame(data: Any) -> bool:
    """Return whether `data` is a table with named columns that can be read at once.

    A single column may have an Arrow stream too, but is no table.
    """
    if isinstance(data, np.ndarray | str | bytes | list | tuple | dict) or scipy.sparse.issparse(data):
        return False
    import narwhals.stable.v2 as nw

    if nw.dependencies.is_into_dataframe(data) or _is_dataset(data):
        return True
    return hasattr(data, "__arrow_c_stream__") and not nw.dependencies.is_into_series(data)


def _is_dataset(data: Any) -> bool:
    """Whether `data` is a Dataset of pyarrow, for instance a folder of Parquet files."""
    return hasattr(data, "to_table") and hasattr(data, "schema") and hasattr(data, "scanner")


def refuse_lazy(data: Any, name: str) -> None:
    """Refuse a frame that is not read yet, with what reads it."""
    kind = type(data)
    library = kind.__module__.partition(".")[0]
    for method, libraries in LAZY_LIBRARIES.items():
        if library in libraries and hasattr(data, method):
            raise TypeError(f"{name} is a {kind.__name__} of {library}, which is not read yet: pass {name}.{method}()")


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
    index_names : list
        The names of pandas' index, or nothing.
    """

    def __init__(self, data: Any) -> None:
        import narwhals.stable.v2 as nw
        from narwhals.exceptions import DuplicateError

        if not nw.dependencies.is_into_dataframe(data):
            import pyarrow as pa

            data = data.to_table() if _is_dataset(data) else pa.table(data)
        self.names: list[Any] = list(data.column_names if hasattr(data, "column_names") else data.columns)
        index = getattr(data, "index", None)
        self.index_names: list[Any] = [x for x in getattr(index, "names", None) or [] if x is not None]
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
    data: Any,
    y: Any,
    names: dict[str, Any],
    sample_weight: Any,
    missing: Missing,
    dtype: np.dtype[Any],
    caller: Caller,
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
    missing : Missing
        Ratings that stand for none.
    dtype : numpy.dtype
        Type of the ratings that will be held.
    caller : Caller
        Whose argument this is.
    """
    frame = Frame(data)
    _refuse_other_shapes(frame, names, caller.data)
    roles = choose_columns(frame.names, names, y is not None, caller)
    columns = {role: Column(frame.column(name), f"{caller.data}[{show_name(name)}]") for role, name in roles.items()}
    if y is not None:
        columns["rating"] = Column(y, caller.y)
    times = columns.get("timestamp")
    if times is not None:
        times = times._replace(is_optional=names["timestamp"] is None)
    return check_columns(
        columns["user"], columns["item"], columns["rating"], times, Column(sample_weight, caller.weights),
        missing, dtype, caller,
    )  # fmt: skip


def _refuse_other_shapes(frame: Frame, names: dict[str, Any], name: str) -> None:
    """Refuse ids in the index, and tables of users x items, with what makes columns of them."""
    found = {x: role for x in frame.names for role in ("user", "item") if is_recognised(role, x)}
    if any(names[role] is not None for role in ("user", "item")) or len(set(found.values())) == 2:
        return
    in_index = [x for x in frame.index_names for role in ("user", "item") if is_recognised(role, x)]
    has_ratings = any(is_recognised("rating", x) for x in frame.names)
    if not has_ratings and (len(frame.names) > MAX_FRAME_COLUMNS or (in_index and len(frame.names) > 1)):
        _refuse_pivot(frame, name, list(found))
    if in_index:
        raise ValueError(f"{name} has {listed(in_index)} in its index, not in a column: pass {name}.reset_index()")


def _refuse_pivot(frame: Frame, name: str, ids: list[str]) -> NoReturn:
    """Refuse a table of users x items; `ids` are columns of it that hold users or items."""
    if ids:
        remedy = f"pass {name}.melt({quoted(ids[0])}).dropna()"
    else:
        remedy = f"pass {name}.melt(ignore_index=False).dropna().reset_index()"
    raise ValueError(
        f"{name} has {len(frame.names):,} columns ({listed(frame.names[:2])}, ...), but not one each of users, items and "
        f"ratings, as a table of users x items has: {remedy}, with names for its columns"
    )


def frame_pairs(data: Any, caller: Caller) -> tuple[Any, Any]:
    """Return users and items of a data frame, whose other columns are ignored."""
    frame = Frame(data)
    roles = choose_columns(frame.names, PAIR_COLUMNS, True, caller)
    return frame.column(roles["user"]), frame.column(roles["item"])


def frame_times(data: Any, caller: Caller) -> npt.NDArray[np.int64] | None:
    """Return when the ratings of the rows of a data frame were given, in seconds; None where it has no column of times."""
    frame = Frame(data)
    name = choose_columns(frame.names, TIMED_PAIR_COLUMNS, True, caller).get("timestamp")
    return None if name is None else time_column(frame.column(name), f"{caller.data}[{show_name(name)}]")


def pair_names(data: Any, caller: Caller = OWN) -> list[Any]:
    """Return the names of the columns of users and items of a data frame."""
    roles = choose_columns(Frame(data).names, PAIR_COLUMNS, True, caller)
    return [roles["user"], roles["item"]]


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
    where = f"{name}[{show_name(id_name)}]"
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
                f"{name}: the column {show_name(x)} cannot be read ({str(error)[:80]}): drop it, or make all its values of one kind"
            ) from None
    return ids, others


def _refuse_repeated_names(found: list[Any], name: str) -> None:
    texts = [str(x) for x in found]
    repeated = next((x for at, x in enumerate(texts) if x in texts[:at]), None)
    if repeated is not None:
        raise ValueError(
            f"{name} has two columns {show_name(repeated)}; the columns are {listed(found)}: rename or drop one"
        )


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
        if any(is_recognised(side, x) for x in frame.index_names):
            remedy = "the ids are the frame's index: pass .reset_index()"
    raise ValueError(f"{name}: {problem}; the columns are {listed(frame.names)}: {remedy}")

"""One column of the input: from whatever library it comes, checked and made a plain array.

A column of ids becomes an array of integers or strings, a column of numbers an array of floats or integers, a column
of times int64 seconds. Nothing is copied that need not be. What cannot be used is refused with the first such entry.
"""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx.ratings._caller import Place, show

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

ROW = Place()

SECONDS_PER_YEAR = 31_556_952
# Numbers of seconds since 1970 are below 10^11 (the year 5138); from there on they are milliseconds (from March 1973
# on), and so on: powers of ten of the unit, and where they end.
TIME_UNITS = ((0, 1e11), (3, 1e14), (6, 1e17), (9, 2.0**63))

ID_REMEDIES = {
    "float": "a float cannot be trusted to hold an id; "
    'where the values are whole numbers, take missing ones out and pass .astype("int64")',
    "bool": 'pass .astype("int64") if these really are ids',
    "datetime": "pass a number or a string that identifies it",
    "bytes": "decode them to str first",
    "other": "pass a number or a string that identifies it",
}


# ---------------------------------------------------------------------------------------------------------------------
# From any library


def plain_column(x: Any, name: str) -> Array | pa.ChunkedArray | list[Any]:
    """Return a column of any library as a NumPy array, an Arrow column or a list; refuse what is not a column.

    Parameters
    ----------
    x : array-like of shape (n,)
        Array, sequence, iterator, or a Series or column of any library of data frames.
    name : str
        What messages call it.

    Returns
    -------
    ndarray, pyarrow.ChunkedArray or list
        Without a copy where it is an array already.
    """
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            at = int(np.flatnonzero(np.ma.getmaskarray(x))[0])
            raise ValueError(f"{name}: row {at} is masked (missing): take such rows out first")
        x = x.data
    _refuse_what_is_no_column(x, name)
    if isinstance(x, list | tuple | range):
        return list(x)
    if not isinstance(x, np.ndarray):
        column = _frame_column(x) if _is_arrow(x) or not hasattr(x, "__array__") else np.asarray(x)
        if not isinstance(column, np.ndarray):
            return column if isinstance(column, list) else _checked_arrow(column, name)
        x = column
    return x if x.flags.aligned else x.copy()  # which Arrow, too, wants


def kernel_array(x: Array, dtype: np.dtype[Any] | type | None = None) -> Array:
    """Return an array as kernels read it, 4 or 8 bytes at once: contiguous, and at an address that is a multiple of them.

    A column of a packed record lies at an odd address, as does an Arrow buffer that was made from one.
    """
    return np.require(x, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def _checked_arrow(x: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """An Arrow column whose dictionary, if it has one, holds what its indices ask for: Arrow itself does not check that."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_dictionary(x.type):
        start = 0
        for chunk in x.chunks:
            limits = pc.min_max(chunk.indices)
            low, high, size = limits["min"].as_py(), limits["max"].as_py(), len(chunk.dictionary)
            if low is not None and (low < 0 or high >= size):
                indices = chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)
                at = int(np.flatnonzero((indices < 0) | (indices >= size))[0])
                raise ValueError(
                    f"{name}: row {start + at} has index {indices[at]} in a dictionary of {size:,} values: build the column "
                    "anew"
                )
            start += len(chunk)
    try:
        x.validate()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name} is malformed ({str(error)[:100]}): build the column anew") from None
    return x


def _refuse_what_is_no_column(x: Any, name: str) -> None:
    """Refuse scalars, texts, sets, sparse matrices and whatever has not one dimension."""
    kind = type(x).__name__
    if isinstance(x, str | bytes) or not (
        hasattr(x, "__len__") or hasattr(x, "__array__") or _is_arrow(x) or isinstance(x, Iterable)
    ):
        raise TypeError(f"{name} is {show(x)} ({kind}); it must be an array with one value per row")
    if isinstance(x, dict | set | frozenset):
        raise TypeError(f"{name} is a {kind}, which has no rows; it must be an array with one value per row")
    if scipy.sparse.issparse(x):
        raise TypeError(
            f"{name} is a sparse matrix; it must be an array with one value per row: pass .toarray().ravel()"
        )
    shape = getattr(x, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise ValueError(
            f"{name} has shape {shape}; it must have one dimension, with one value per row: pass one column of it, or "
            ".ravel()"
        )


def _is_arrow(x: Any) -> bool:
    return hasattr(x, "__arrow_c_array__") or hasattr(x, "__arrow_c_stream__")


def _frame_column(x: Any) -> Array | pa.ChunkedArray | list[Any]:
    """A column of a data frame: NumPy's array where it holds one, so that Arrow is not even loaded, else Arrow's."""
    import narwhals.stable.v2 as nw

    if nw.dependencies.is_into_series(x):
        series = nw.from_native(x, series_only=True)
        if series.implementation.is_pandas_like():
            if isinstance(x.dtype, np.dtype):
                return cast(Array, series.to_numpy())
            if not _is_arrow(x):  # pandas before 3
                x = series.to_arrow()
    if not _is_arrow(x):
        return list(x)
    import pyarrow as pa

    try:
        return arrow_column(x)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Types that Arrow does not have, such as integers of 128 bits.
        if nw.dependencies.is_into_series(x):
            return nw.from_native(x, series_only=True).to_list()
        raise


def arrow_column(x: Any) -> pa.ChunkedArray:
    """Return a column of any library as an Arrow column."""
    import pyarrow as pa

    if isinstance(x, pa.ChunkedArray):
        return x
    if isinstance(x, pa.Array):
        return pa.chunked_array([x])
    if hasattr(x, "__arrow_c_stream__"):
        return pa.chunked_array(x)
    return pa.chunked_array([pa.array(x)])


def is_arrow_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type is one of text."""
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def arrow_text(x: Any) -> pa.Array:
    """Return strings as one Arrow array of large_string, so that no number of characters is too many."""
    import pyarrow as pa

    if isinstance(x, np.ndarray):
        try:
            # As a list: pyarrow would end a NumPy string at the first NUL.
            return pa.array(x.tolist(), pa.large_string())
        except UnicodeEncodeError:
            at = next(at for at, text in enumerate(x) if any("\ud800" <= c <= "\udfff" for c in text))
            raise ValueError(
                f"row {at} is {show(x[at])}, which holds half a surrogate pair and so is not valid text: decode the source "
                "with its right encoding"
            ) from None
    if isinstance(x, pa.Array) and x.type == pa.large_string():
        return x
    if isinstance(x, pa.DictionaryArray):
        x = pa.DictionaryArray.from_arrays(x.indices, arrow_text(x.dictionary))
    whole = x.cast(pa.large_string())
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def python_texts(x: pa.Array, name: str) -> list[str]:
    """Return the strings of an Arrow array, which Arrow does not check to be valid UTF-8."""
    try:
        return cast("list[str]", x.to_pylist())
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: {show(error.object)} is not valid UTF-8: decode the source with its right encoding"
        ) from None


def frozen(array: Array) -> Array:
    """Return a read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view


def first_null(x: pa.ChunkedArray) -> int:
    """Return the first entry that is null; there must be one."""
    import pyarrow.compute as pc

    return int(pc.index(pc.is_null(x), True).as_py())


def plain_numbers(column: pa.ChunkedArray) -> Any:
    """Return integers and floating-point numbers without missing values as a NumPy array; all else as it is."""
    import pyarrow.types as pt

    if not (pt.is_integer(column.type) or pt.is_floating(column.type)) or column.null_count:
        return column
    parts = [part.to_numpy() for part in column.chunks]
    # By NumPy, since it asks for large pages of memory: a third of the time that Arrow's own copy takes.
    return np.concatenate(parts) if len(parts) > 1 else column.to_numpy()


def combined(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a dictionary-encoded column as one array with one dictionary."""
    import pyarrow as pa

    whole = column.unify_dictionaries().combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def integer_kind(low: int, high: int) -> type[np.signedinteger[Any] | np.unsignedinteger[Any]] | None:
    """Return the type that holds ids from `low` to `high`, int64 or uint64, or None where neither does."""
    if low >= -(2**63) and high < 2**63:
        return np.int64
    return np.uint64 if low >= 0 and high < 2**64 else None


def _is_missing(value: Any) -> bool:
    """Whether a Python object stands for a missing value (None, pandas.NA, NaT, a masked value)."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or value is np.ma.masked


def _refuse_missing_id(name: str, place: str, value: str) -> NoReturn:
    raise ValueError(f"{name}: {place} is missing ({value}): take rows without an id out first")


def _refuse_missing(name: str, place: str, value: str) -> NoReturn:
    raise ValueError(f"{name}: {place} is missing ({value}): take such rows out first")


# ---------------------------------------------------------------------------------------------------------------------
# Ids


def id_column(x: Any, name: str, place: Place = ROW) -> Array | pa.Array:
    """Return the ids of a column: an integer array, or strings (array of kind "U" or "O", or an Arrow string array).

    Parameters
    ----------
    x : array-like of int or str, shape (n,)
        As `plain_column` takes it.
    name : str
        What messages call it.
    place : Place
        How they say where an entry is.

    Raises
    ------
    TypeError
        Where an id is neither an integer nor a string, or both kinds are mixed.
    ValueError
        Where an id is missing or cannot be held.
    """
    x = plain_column(x, name)
    if isinstance(x, np.ndarray):
        return _numpy_ids(x, name, place)
    return _object_ids(x, name, place) if isinstance(x, list) else _arrow_ids(x, name, place)


def _refuse_id(name: str, place: str, value: Any, kind: str, family: str) -> NoReturn:
    raise TypeError(
        f"{name}: {place} is {show(value)} ({kind}); ids must be integers or strings: {ID_REMEDIES[family]}"
    )


def _numpy_ids(x: Array, name: str, place: Place) -> Array:
    kind = x.dtype.kind
    if kind in "iuU":
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    if kind in "OT":
        return _object_ids(x.tolist(), name, place)
    if not len(x):
        return np.empty(0, np.int64)
    family = {"f": "float", "b": "bool", "M": "datetime", "m": "datetime", "S": "bytes"}.get(kind, "other")
    _refuse_id(name, place(0), x[0], str(x.dtype), family)


def _object_ids(x: list[Any], name: str, place: Place) -> Array:
    """Ids from Python objects: all integers, or all strings."""
    if not x:
        return np.empty(0, np.int64)
    types = set(map(type, x))
    if all(issubclass(t, str) for t in types):
        at = next((at for at, text in enumerate(x) if text.endswith("\0")), None)
        if at is not None:
            refuse_nul(name, place(at), x[at])
        array = np.empty(len(x), object)
        array[:] = x
        return array
    if types == {decimal.Decimal} and all(value.is_finite() and value.as_tuple().exponent == 0 for value in x):
        x, types = [int(value) for value in x], {int}  # DECIMAL(p, 0) of a database
    if all(issubclass(t, numbers.Integral | np.integer) and not issubclass(t, bool | np.bool_) for t in types):
        try:
            return np.array(x, dtype=np.int64)
        except OverflowError:
            pass
        if all(0 <= int(value) < 2**64 for value in x):
            return np.array(x, dtype=np.uint64)
        at = next(at for at, value in enumerate(x) if not -(2**63) <= int(value) < 2**63)
        raise ValueError(
            f"{name}: {place(at)} is {show(x[at])}; integers as ids must fit into int64, or all into uint64: pass strings"
        )
    _refuse_object_ids(x, name, place)


def _refuse_object_ids(x: list[Any], name: str, place: Place) -> NoReturn:
    """The message for Python objects that are neither all integers nor all strings."""
    for at, value in enumerate(x):
        if _is_missing(value):
            _refuse_missing_id(name, place(at), show(value))
        if isinstance(value, bool | np.bool_):
            _refuse_id(name, place(at), value, "bool", "bool")
        if isinstance(value, float | np.floating | decimal.Decimal):
            if math.isnan(value):
                _refuse_missing_id(name, place(at), "nan")
            _refuse_id(name, place(at), value, type(value).__name__, "float")
        if isinstance(value, bytes):
            _refuse_id(name, place(at), value, "bytes", "bytes")
        if not isinstance(value, str | numbers.Integral | np.integer):
            family = "datetime" if "date" in type(value).__name__.lower() else "other"
            _refuse_id(name, place(at), value, type(value).__name__, family)
    at = next(at for at, value in enumerate(x) if isinstance(value, str) != isinstance(x[0], str))
    raise TypeError(
        f"{name} mix integers and strings: {place(0)} is {show(x[0])}, {place(at)} is {show(x[at])}; 1 and '1' would be "
        "two ids: make them one kind, for instance all strings with .astype(str)"
    )


def _arrow_ids(x: pa.ChunkedArray, name: str, place: Place) -> Array | pa.Array:
    """Ids from an Arrow column; dictionary-encoded strings stay encoded."""
    import pyarrow as pa
    import pyarrow.types as pt

    if x.null_count:
        _refuse_missing_id(name, place(first_null(x)), "null")
    kind = x.type
    if pt.is_dictionary(kind):
        if not is_arrow_text(kind.value_type):
            return _arrow_ids(x.cast(kind.value_type), name, place)
        # Not every kind of string has all of Arrow's functions; large_string does.
        chunks = [pa.DictionaryArray.from_arrays(part.indices, arrow_text(part.dictionary)) for part in x.chunks]
        type_ = pa.dictionary(kind.index_type, pa.large_string())
        whole = pa.chunked_array(chunks, type_).unify_dictionaries().combine_chunks()
        if not whole.dictionary.null_count:
            return whole
        return _arrow_ids(pa.chunked_array([whole.cast(pa.large_string())]), name, place)
    if is_arrow_text(kind):
        return arrow_text(x)
    if pt.is_integer(kind):
        return cast(Array, x.to_numpy())
    if pt.is_decimal(kind) and kind.scale == 0:
        return _decimal_ids(x, name, place)
    if not len(x):
        return np.empty(0, np.int64)
    if pt.is_null(kind):
        _refuse_missing_id(name, place(0), "null")
    _refuse_id(name, place(0), x[0], str(kind), _id_family(kind))


def _decimal_ids(x: pa.ChunkedArray, name: str, place: Place) -> Array:
    """Ids of DECIMAL(p, 0), as databases have integers."""
    import pyarrow as pa

    for kind in (pa.int64(), pa.uint64()):
        try:
            return cast(Array, x.cast(kind).to_numpy())
        except pa.ArrowInvalid:
            continue
    return _object_ids([int(value) for value in x.to_pylist()], name, place)


def _id_family(kind: pa.DataType) -> str:
    """Which of `ID_REMEDIES` an Arrow type that cannot be ids needs."""
    import pyarrow.types as pt

    if pt.is_floating(kind) or pt.is_decimal(kind):
        return "float"
    if pt.is_boolean(kind):
        return "bool"
    if pt.is_temporal(kind):
        return "datetime"
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return "bytes"
    return "other"


def refuse_nul(name: str, place: str, text: str) -> NoReturn:
    """Refuse a string that NumPy would cut."""
    raise ValueError(
        f"{name}: {place} is {show(text)}, which ends in a NUL character; NumPy would cut it off, and two ids could become "
        "one: take it out"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def number_column(x: Any, name: str, place: Place = ROW, nan_for_null: bool = False) -> Array:
    """Return the ratings or weights of a column: a one-dimensional array of floats or integers.

    Parameters
    ----------
    x : array-like of shape (n,)
        As `plain_column` takes it.
    name : str
        What messages call it.
    place : Place
        How they say where an entry is.
    nan_for_null : bool
        Whether missing values become NaN instead of being refused.

    Raises
    ------
    TypeError
        Where a value is not a number.
    ValueError
        Where one is missing, or beyond what a float can hold.
    """
    x = plain_column(x, name)
    if isinstance(x, np.ndarray):
        return _numpy_numbers(x, name, place, nan_for_null)
    take = _object_numbers if isinstance(x, list) else _arrow_numbers
    return take(x, name, place, nan_for_null)


def _numpy_numbers(x: Array, name: str, place: Place, nan_for_null: bool) -> Array:
    kind = x.dtype.kind
    if kind in "iuf":
        return x
    if kind == "O":
        return _object_numbers(x, name, place, nan_for_null)
    if not len(x):
        return np.empty(0, np.float64)
    _refuse_number(name, place(0), x[0], str(x.dtype))


def _object_numbers(x: Any, name: str, place: Place, nan_for_null: bool) -> Array:
    """Numbers from Python objects."""
    floats = np.empty(len(x))
    for at, value in enumerate(x):
        if _is_missing(value):
            if nan_for_null:
                floats[at] = np.nan
                continue
            _refuse_missing(name, place(at), show(value))
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real | np.number | decimal.Decimal):
            _refuse_number(name, place(at), value, type(value).__name__)
        try:
            floats[at] = float(value)
        except OverflowError:
            raise ValueError(
                f"{name}: {place(at)} is {show(value)}, beyond what a float can hold: rescale it"
            ) from None
    return floats


def _refuse_number(name: str, place: str, value: Any, kind: str) -> NoReturn:
    is_bool = "bool" in kind
    remedy = "say what true is worth, for instance" if is_bool else "convert it first, for instance"
    raise TypeError(f'{name}: {place} is {show(value)} ({kind}); it must be a number: {remedy} .astype("float32")')


def _arrow_numbers(x: pa.ChunkedArray, name: str, place: Place, nan_for_null: bool) -> Array:
    """Numbers from an Arrow column, also of decimals and of encoded numbers."""
    import pyarrow as pa
    import pyarrow.types as pt

    if x.null_count and not nan_for_null:
        _refuse_missing(name, place(first_null(x)), "null")
    kind = x.type
    if pt.is_dictionary(kind):
        return _arrow_numbers(x.cast(kind.value_type), name, place, nan_for_null)
    if pt.is_decimal(kind) or (pt.is_integer(kind) and x.null_count):
        x = x.cast(pa.float64(), safe=False)
    if pt.is_integer(x.type) or pt.is_floating(x.type):
        return cast(Array, x.to_numpy())
    if not len(x):
        return np.empty(0, np.float64)
    _refuse_number(name, place(0), x[0], str(kind))


def value_range(values: Array, name: str, dtype: np.dtype[Any], place: Place = ROW) -> tuple[float, float]:
    """Return the lowest and the highest value; refuse values that are not finite or that `dtype` cannot hold."""
    low, high = float(values.min()), float(values.max())
    largest = float(np.finfo(dtype).max)
    if not (math.isfinite(low) and math.isfinite(high)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(
            f"{name}: {place(at)} is {show(values[at])}; it must be a finite number: take such rows out first"
        )
    if max(-low, high) > largest:
        at = int(np.flatnonzero(np.abs(values.astype(np.float64)) > largest)[0])
        # float64 ends near 1.8e308, so that float32's limit tells which type this is.
        remedy = 'pass dtype="float64" or rescale it' if largest < 1e300 else "rescale it"
        raise ValueError(f"{name}: {place(at)} is {show(values[at])}, beyond what {dtype} can hold: {remedy}")
    return low, high


def weight_column(x: Any, n: int, dtype: np.dtype[Any], name: str, place: Place = ROW) -> Array:
    """Return the weights of `n` ratings of a column: finite, not negative and not all 0."""
    return check_weights(number_column(x, name, place), n, dtype, name, place)


def check_weights(weights: Array, n: int, dtype: np.dtype[Any], name: str, place: Place) -> Array:
    """Return the weights of `n` ratings, if they are finite, not negative and not all 0.

    Raises
    ------
    ValueError
        Where there are not `n` of them, or one is negative, not finite or beyond what `dtype` can hold.
    """
    if len(weights) != n:
        raise ValueError(f"{name} has {len(weights):,} values for {n:,} ratings: pass one weight per rating")
    low, high = value_range(weights, name, dtype, place)
    if low < 0:
        at = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(f"{name}: {place(at)} is {show(weights[at])}; it must not be negative")
    if float(dtype.type(high)) == 0:
        raise ValueError(
            f"{name} is 0 in every {place.entry}, as {dtype} holds it: at least one rating must have a weight above zero"
        )
    return weights


# ---------------------------------------------------------------------------------------------------------------------
# Times


def time_column(x: Any, name: str, place: Place = ROW) -> npt.NDArray[np.int64]:
    """Return times as int64 seconds: integers as they are, datetimes since 1970 (UTC), fractions rounded down.

    Raises
    ------
    TypeError
        Where a time is neither a number nor a datetime.
    ValueError
        Where one is missing or out of range.
    """
    times, are_seconds = plain_times(x, name, place)
    if are_seconds:
        return times
    limits = time_limits(times)
    unit = 1 if limits is None else time_unit(*limits)
    if unit is None and limits is not None:
        first = [int(np.flatnonzero(times == limit)[0]) for limit in limits]
        refuse_units(name, place, limits, (first[0], first[1]))
    return in_seconds(times, unit or 1, name, place)


def plain_times(x: Any, name: str, place: Place = ROW) -> tuple[Array, bool]:
    """Return times as numbers, and whether these are seconds since 1970, as those of datetimes are.

    Raises
    ------
    TypeError
        Where a time is neither a number nor a datetime.
    ValueError
        Where a datetime is missing.
    """
    x = plain_column(x, name)
    if isinstance(x, list):
        x = np.asarray(x)
    elif not isinstance(x, np.ndarray):
        return _arrow_times(x, name, place)
    if x.dtype.kind in "UO" and len(x) and all(isinstance(text, str) for text in x):
        return _arrow_times(arrow_column(arrow_text(x)), name, place)
    kind = x.dtype.kind
    if kind == "M":
        at = np.flatnonzero(np.isnat(x))
        if len(at):
            _refuse_missing(name, place(int(at[0])), "NaT")
        return x.astype("datetime64[s]").astype(np.int64), True
    if kind in "iuf":
        return x, False
    _refuse_time(name, place(0), x[0] if len(x) else None, str(x.dtype))


def time_limits(times: Array) -> tuple[Any, Any] | None:
    """Return the lowest and the highest of numbers that are times, those that are not finite left out."""
    finite = times if times.dtype.kind in "iu" else times[np.isfinite(times)]
    return (finite.min(), finite.max()) if len(finite) else None


def time_unit(low: Any, high: Any) -> int | None:
    """Return how many of the unit of numbers from `low` to `high` a second has; None where they have several units."""
    unit = next((10**power for power, end in TIME_UNITS if float(high) < end), 1)
    # Numbers that reach far below 1970 as well are no times of any unit, but an order all the same.
    if unit == 1 or float(low) < 0:
        return 1
    return None if float(low) * 1000 < float(high) else unit


def refuse_units(name: str, place: Place, limits: tuple[Any, Any], first: tuple[int, int]) -> NoReturn:
    """Refuse times of several units; `first` are the first rows that have the lowest and the highest."""
    years = float(limits[1]) / SECONDS_PER_YEAR + 1970
    raise ValueError(
        f"{name}: {place(first[1])} is {show(limits[1])}, the year {years:,.0f} if it is in seconds, "
        f"while {place(first[0])} is {show(limits[0])}: convert them all to seconds"
    )


def in_seconds(times: Array, unit: int, name: str, place: Place) -> npt.NDArray[np.int64]:
    """Return int64 seconds, rounded down, of numbers of which `unit` are a second."""
    x = times if unit == 1 else times // times.dtype.type(unit)
    if x.dtype.kind == "f":
        at = np.flatnonzero(~(np.abs(x) < 2.0**63))
        if len(at):
            raise ValueError(f"{name}: {place(int(at[0]))} is {show(x[at[0]])}, not a time: take such rows out first")
        return cast("npt.NDArray[np.int64]", np.floor(x).astype(np.int64))
    if x.dtype.kind == "u" and len(x) and int(x.max()) >= 2**63:
        raise ValueError(f"{name}: {place(int(x.argmax()))} is {show(x.max())}, beyond what int64 can hold")
    return cast("npt.NDArray[np.int64]", x.astype(np.int64, copy=False))


def _arrow_times(x: pa.ChunkedArray, name: str, place: Place) -> tuple[Array, bool]:
    """Times from an Arrow column of dates, timestamps, numbers or text, as `plain_times` returns them."""
    import pyarrow as pa
    import pyarrow.types as pt

    if is_arrow_text(x.type) or (pt.is_dictionary(x.type) and is_arrow_text(x.type.value_type)):
        x = _parsed_times(x, name, place)
    if not (pt.is_date(x.type) or pt.is_timestamp(x.type) or pt.is_integer(x.type) or pt.is_floating(x.type)):
        _refuse_time(name, place(0), x[0] if len(x) else None, str(x.type))
    if x.null_count:
        _refuse_missing(name, place(first_null(x)), "null")
    if pt.is_date(x.type):
        x = x.cast(pa.timestamp("ms"))
    if pt.is_timestamp(x.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[x.type.unit]
        return x.cast(pa.int64()).to_numpy() // per_second, True
    return x.to_numpy(), False


def _parsed_times(x: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """Times that are written as ISO 8601 has them, such as 2020-01-31 or 2020-01-31T10:00:00."""
    import pyarrow as pa

    text = x.cast(pa.string())
    try:
        return text.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        pass
    for at, value in enumerate(text):
        try:
            value.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            _refuse_time(name, place(at), value, "string")
    return text


def _refuse_time(name: str, place: str, value: Any, kind: str) -> NoReturn:
    raise TypeError(
        f"{name}: {place} is {show(value)} ({kind}); times must be integers (seconds) or datetimes: convert them first"
    )

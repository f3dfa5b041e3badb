"""Ratings: whatever the user has, made into codes and into ratings by user and by item.

Everything that can be wrong with data is found here, once a fit; the compiled room only ever sees what this module
built.
"""

from __future__ import annotations

import decimal
import math
import numbers
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx import _check, _sort, _threads, files

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Compressed", "Ids", "Ratings"]

Array = npt.NDArray[Any]

MOST_CODES = 2**31 - 1
PART = 2**20  # entries that are worth a thread of their own: some ten milliseconds' work
DUPLICATES = ("raise", "last", "mean", "sum")

# Column names that are recognised, lower case with everything but letters and digits taken out: "User-ID" is "userid".
COLUMNS = {
    "user": ("user", "userid", "uid", "users", "customer", "customerid", "reviewer", "reviewerid"),
    "item": (
        *("item", "itemid", "iid", "items", "movie", "movieid", "film", "filmid", "product", "productid"),
        *("book", "bookid", "isbn", "asin", "track", "trackid", "song", "songid", "artist", "artistid"),
    ),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "timestamps", "time", "ts", "date", "datetime", "unixreviewtime"),
}


class Compressed(NamedTuple):
    """Ratings compressed by row: row ``x`` owns the entries ``indptr[x]`` to ``indptr[x + 1] - 1``.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_rows + 1,)
        Where each row begins.
    indices : ndarray of int32, shape (n_ratings,)
        Codes of the other side, ascending within a row.
    values : ndarray of float32 or float64, shape (n_ratings,)
        Ratings.
    weights : ndarray of the dtype of `values`, shape (n_ratings,), or None
        Weights; None where every rating weighs 1.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: Array
    weights: Array | None


# ---------------------------------------------------------------------------------------------------------------------
# Ids


class Ids:
    """The ids of one side (users or items) in ascending order, and the way from ids to codes.

    The code of an id is its place in `values`, so that code order is id order.

    Parameters
    ----------
    values : array-like of int or str, shape (n,)
        Ids, ascending and without repeats (for instance `values` of another `Ids`, read back from a file).
    name : str, default="ids"
        What sentences call them.

    Attributes
    ----------
    values : ndarray of int64, uint64 or str ("U"), shape (n,)
        The ids, read-only. Integers are int64, or uint64 where one of them is above 2**63 - 1.
    kind : {"integers", "strings"}
        Which kind of id this is.

    Raises
    ------
    TypeError
        Where `values` are neither integers nor strings.
    ValueError
        Where they are not ascending, or are more than 2**31 - 1.
    """

    __slots__ = ("_table", "kind", "values")

    values: Array
    kind: str
    _table: npt.NDArray[np.int32] | None

    def __init__(self, values: Any, name: str = "ids") -> None:
        ids = _ids(values, name)
        if not isinstance(ids, np.ndarray):
            ids = _padded(ids.to_pylist(), name)
        elif ids.dtype.kind in "OT":
            ids = _padded(ids.tolist(), name)
        if len(ids) > MOST_CODES:
            raise ValueError(f"{name}: {len(ids):,} ids are more than 2**31 - 1, the most that int32 codes can number.")
        wrong = np.flatnonzero(ids[1:] <= ids[:-1])
        if len(wrong):
            at = int(wrong[0]) + 1
            raise ValueError(
                f"{name} must be ascending without repeats, but row {at} ({_show(ids[at])}) does not come after "
                f"{_show(ids[at - 1])}: pass np.unique of them."
            )
        self._set(ids)

    def _set(self, ids: Array) -> None:
        if ids.dtype.kind == "u" and (not len(ids) or int(ids[-1]) < 2**63):
            ids = ids.astype(np.int64)
        elif ids.dtype.kind == "i":
            ids = ids.astype(np.int64, copy=False)
        self.values = _frozen(ids)
        self.kind = "strings" if ids.dtype.kind == "U" else "integers"
        self._table = None

    @classmethod
    def _trusted(cls, ids: Array) -> Ids:
        """Ids known to be ascending: int64, uint64 or "U"."""
        new = cls.__new__(cls)
        new._set(ids)
        return new

    def __getstate__(self) -> Array:
        return self.values

    def __setstate__(self, state: Array) -> None:
        self._set(state)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        if not len(self):
            return "Ids(none)"
        return f"Ids({len(self):,} {self.kind} from {_show(self.values[0])} to {_show(self.values[-1])})"

    def codes(self, ids: Any, name: str = "ids") -> Any:
        """Codes of ids.

        Parameters
        ----------
        ids : int, str, or array-like of them, shape (m,)
            Ids of the kind of `values`; array, list, pandas or polars Series, Arrow array.
        name : str, default="ids"
            What a sentence calls them.

        Returns
        -------
        int32 scalar, or ndarray of int32 of shape (m,)
            The codes, -1 where an id is unknown. A scalar where `ids` is one.

        Raises
        ------
        TypeError
            Where `ids` cannot be ids, or are strings and these ids integers, or the other way round.
        ValueError
            Where an id is missing (None, null), or `ids` has more than one dimension.
        """
        if isinstance(ids, str | bytes | numbers.Number | np.generic | None) or (
            isinstance(ids, np.ndarray) and ids.ndim == 0
        ):
            one = ids[()] if isinstance(ids, np.ndarray) else ids
            return self._codes(_ids([one], name), name)[0]
        return self._codes(_ids(ids, name), name)

    def _codes(self, ids: Array | pa.Array, name: str) -> npt.NDArray[np.int32]:
        if not len(ids):
            return np.empty(0, np.int32)
        integers = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
        if integers != (self.kind == "integers"):
            raise TypeError(
                f"{name}: these ids are {self.kind}, but row 0 is {_show(ids[0])} "
                f"({'an integer' if integers else 'a string'}): pass ids of the kind that the ratings had."
            )
        if not len(self):
            return np.full(len(ids), -1, np.int32)
        return self._integer_codes(cast(Array, ids)) if integers else self._string_codes(ids)

    def _integer_codes(self, ids: Array) -> npt.NDArray[np.int32]:
        values = self.values
        lo, hi = int(values[0]), int(values[-1])
        first, last = int(ids.min()), int(ids.max())
        if first < lo or last > hi:
            # int64 against uint64 would be compared as floats, so that limits are taken in Python.
            kind = np.iinfo(ids.dtype)
            known = np.ones(len(ids), bool)
            if lo > kind.min:
                known &= ids >= ids.dtype.type(min(lo, kind.max))
            if hi < kind.max:
                known &= ids <= ids.dtype.type(max(hi, kind.min))
            if lo > kind.max or hi < kind.min:
                known[:] = False
            codes = np.full(len(ids), -1, np.int32)
            if known.any():
                codes[known] = self._integer_codes(ids[known])
            return codes
        ids = ids.astype(values.dtype, copy=False)
        if hi - lo + 1 == len(values):
            return cast("npt.NDArray[np.int32]", (ids - values[0]).astype(np.int32))
        if hi - lo < 4 * len(values) + 65536:
            if self._table is None:
                table = np.full(hi - lo + 1, -1, np.int32)
                table[values - values[0]] = np.arange(len(values), dtype=np.int32)
                self._table = table
            return cast("npt.NDArray[np.int32]", self._table[ids - values[0]])
        return self._searched(ids)

    def _searched(self, ids: Array) -> npt.NDArray[np.int32]:
        at = np.searchsorted(self.values, ids)
        at[at == len(self.values)] = 0
        return np.where(self.values[at] == ids, at, -1).astype(np.int32)

    def _string_codes(self, ids: Array | pa.Array) -> npt.NDArray[np.int32]:
        values = self.values
        if len(ids) > 64 and len(ids) > len(values) // 16:
            import pyarrow.compute as pc

            found = pc.index_in(_text(ids), value_set=_text(values))
            return cast("npt.NDArray[np.int32]", found.fill_null(-1).to_numpy(zero_copy_only=False))
        # Longer ids than the longest, and ids that "U" would cut (trailing NUL), are unknown.
        texts = ids.to_pylist() if not isinstance(ids, np.ndarray) else ids.tolist()
        width = values.dtype.itemsize // 4
        known = np.array([len(x) <= width and not x.endswith("\0") for x in texts])
        codes = self._searched(np.array([x if k else "" for x, k in zip(texts, known, strict=True)], values.dtype))
        codes[~known] = -1
        return codes


def _frozen(array: Array) -> Array:
    """The array, or a view of it, read-only."""
    view = array.view()
    view.flags.writeable = False
    return view


def _show(value: Any) -> str:
    """A value as a sentence shows it: short, without NumPy's wrapping."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _padded(texts: list[str], name: str) -> Array:
    """Strings as a NumPy array of "U", which every file format and every NumPy since 1.26 can hold without pickle."""
    longest = max(map(len, texts), default=0)
    padded, total = 4 * longest * len(texts), 4 * sum(map(len, texts))
    if padded > 2**28 and padded > 16 * total:
        long = next(x for x in texts if len(x) == longest)
        raise ValueError(
            f"{name}: the id {_show(long)} has {longest:,} characters, while the others are short; ids are stored "
            f"padded, which would take {padded / 2**30:.1f} GiB: replace long ids by a number or a hash."
        )
    return np.array(texts, dtype=f"U{max(longest, 1)}")


def _is_arrow(x: Any) -> bool:
    return hasattr(x, "__arrow_c_array__") or hasattr(x, "__arrow_c_stream__")


def _arrow(x: Any) -> pa.ChunkedArray:
    """A column (pyarrow, pandas, polars ...) as an Arrow chunked array."""
    import pyarrow as pa

    if isinstance(x, pa.ChunkedArray):
        return x
    if isinstance(x, pa.Array):
        return pa.chunked_array([x])
    if hasattr(x, "__arrow_c_stream__"):
        return pa.chunked_array(x)
    return pa.chunked_array([pa.array(x)])


def _one_dimensional(x: Any, name: str) -> Any:
    """Arrays, sequences and columns as they are or as a NumPy array; what is no column is refused."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            at = int(np.flatnonzero(np.ma.getmaskarray(x))[0])
            raise ValueError(f"{name}: row {at} is masked (missing): take such rows out first.")
        x = x.data
    if isinstance(x, str | bytes) or (not hasattr(x, "__len__") and not hasattr(x, "__array__") and not _is_arrow(x)):
        if isinstance(x, Iterable) and not isinstance(x, str | bytes):
            x = list(x)
        else:
            raise TypeError(f"{name} must be an array with a value a row, got {_show(x)} ({type(x).__name__}).")
    if isinstance(x, dict | set | frozenset):
        raise TypeError(f"{name} must be an array with a value a row, got a {type(x).__name__}, which has no rows.")
    if scipy.sparse.issparse(x):
        raise TypeError(f"{name} must be an array with a value a row, got a sparse matrix: pass .toarray().ravel().")
    shape = getattr(x, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise ValueError(
            f"{name} must have one dimension, a value a row, got shape {shape}: pass one column of it, or .ravel()."
        )
    return x


def _ids(x: Any, name: str) -> Array | pa.Array:
    """Ids from any column: an integer array, or strings (array of kind "U", "O", "T", or an Arrow string array).

    Nothing is copied that need not be. Everything else is refused, with the first offending row.
    """
    x = _one_dimensional(x, name)
    if isinstance(x, np.ndarray):
        return _numpy_ids(x, name)
    if _is_arrow(x) and type(x).__module__.partition(".")[0] == "pandas":
        # pandas' own arrays: NumPy's where they are one, so that Arrow is not even loaded.
        values = x.to_numpy() if isinstance(x.dtype, np.dtype) else None
        if values is not None:
            return _numpy_ids(values, name)
    if _is_arrow(x):
        return _arrow_ids(_arrow(x), name)
    if type(x).__module__.partition(".")[0] == "pandas":
        return _numpy_ids(np.asarray(x, dtype=x.dtype if isinstance(x.dtype, np.dtype) else object), name)
    if hasattr(x, "__array__"):
        return _numpy_ids(np.asarray(x), name)
    return _object_ids(list(x), name)


def _refuse_ids(name: str, at: int, value: Any, what: str, remedy: str) -> NoReturn:
    raise TypeError(f"{name} must be integers or strings, but row {at} is {_show(value)} ({what}): {remedy}.")


REMEDIES = {
    "float": "a float cannot be trusted to hold an id; "
    'where the values are whole numbers, take missing ones out and pass .astype("int64")',
    "bool": 'pass .astype("int64") if these really are ids',
    "datetime": "pass a number or a string that identifies it",
    "bytes": "decode them to str first",
    "None": "take rows without an id out first",
    "other": "pass a number or a string that identifies it",
}


def _numpy_ids(x: Array, name: str) -> Array:
    kind = x.dtype.kind
    if kind in "iu":
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    if kind == "U":
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    if kind == "O":
        return _object_ids(x.tolist(), name)
    if kind == "T":
        return _object_ids(x.tolist(), name)
    if not len(x):
        return np.empty(0, np.int64)
    what = {"f": "float", "b": "bool", "M": "datetime", "m": "datetime", "S": "bytes"}.get(kind, "other")
    _refuse_ids(name, 0, x[0], str(x.dtype), REMEDIES[what])


def _object_ids(x: list[Any], name: str) -> Array:
    """Python objects: all integers, or all strings."""
    if not x:
        return np.empty(0, np.int64)
    types = set(map(type, x))
    if all(issubclass(t, str) for t in types):
        at = next((at for at, text in enumerate(x) if text.endswith("\0")), None)
        if at is not None:
            _refuse_nul_row(name, at, x[at])
        array = np.empty(len(x), object)
        array[:] = x
        return array
    if all(issubclass(t, numbers.Integral | np.integer) and not issubclass(t, bool | np.bool_) for t in types):
        try:
            return np.array(x, dtype=np.int64)
        except OverflowError:
            pass
        at = next(at for at, value in enumerate(x) if not -(2**63) <= int(value) < 2**63)
        if all(issubclass(t, np.unsignedinteger) for t in types):
            return np.array(x, dtype=np.uint64)
        raise ValueError(
            f"{name}: row {at} is {_show(x[at])}, beyond what int64 can hold: pass an array of uint64 where all ids "
            "fit into it, else strings."
        )
    for at, value in enumerate(x):
        if value is None or type(value).__name__ in {"NAType", "NaTType"} or value is np.ma.masked:
            raise ValueError(f"{name}: row {at} is missing ({_show(value)}): {REMEDIES['None']}.")
        if isinstance(value, bool | np.bool_):
            _refuse_ids(name, at, value, "bool", REMEDIES["bool"])
        if isinstance(value, float | np.floating | decimal.Decimal):
            if math.isnan(value):
                raise ValueError(f"{name}: row {at} is missing (nan): {REMEDIES['None']}.")
            _refuse_ids(name, at, value, type(value).__name__, REMEDIES["float"])
        if isinstance(value, bytes):
            _refuse_ids(name, at, value, "bytes", REMEDIES["bytes"])
        if not isinstance(value, str | numbers.Integral | np.integer):
            what = "datetime" if "date" in type(value).__name__.lower() else "other"
            _refuse_ids(name, at, value, type(value).__name__, REMEDIES[what])
    at = next(at for at, value in enumerate(x) if isinstance(value, str) != isinstance(x[0], str))
    raise TypeError(
        f"{name} mix integers and strings: row 0 is {_show(x[0])}, row {at} is {_show(x[at])}. "
        "1 and '1' would be two ids: make them one kind, for instance all strings with .astype(str)."
    )


def _arrow_ids(x: pa.ChunkedArray, name: str) -> Array | pa.Array:
    """Ids from an Arrow column; dictionary-encoded strings stay encoded."""
    import pyarrow as pa
    import pyarrow.types as pt

    if x.null_count:
        raise ValueError(f"{name}: row {_first_null(x)} is missing (null): {REMEDIES['None']}.")
    kind = x.type
    if pt.is_dictionary(kind):
        if _is_text(kind.value_type):
            # Not every kind of string has all of Arrow's functions; large_string does.
            chunks = [pa.DictionaryArray.from_arrays(part.indices, _text(part.dictionary)) for part in x.chunks]
            type_ = pa.dictionary(kind.index_type, pa.large_string())
            whole = pa.chunked_array(chunks, type_).unify_dictionaries().combine_chunks()
            if not whole.dictionary.null_count:
                return whole
            return _arrow_ids(pa.chunked_array([whole.cast(pa.large_string())]), name)
        return _arrow_ids(x.cast(kind.value_type), name)
    if _is_text(kind):
        return _text(x)
    if pt.is_integer(kind):
        return cast(Array, x.to_numpy())
    if not len(x):
        return np.empty(0, np.int64)
    if pt.is_null(kind):
        raise ValueError(f"{name}: row 0 is missing (null): {REMEDIES['None']}.")
    what = (
        "float"
        if pt.is_floating(kind) or pt.is_decimal(kind)
        else "bool"
        if pt.is_boolean(kind)
        else "datetime"
        if pt.is_temporal(kind)
        else "bytes"
        if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)
        else "other"
    )
    _refuse_ids(name, 0, x[0], str(kind), REMEDIES[what])


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _text(x: Any) -> pa.Array:
    """Strings as one Arrow array of large_string, so that no number of characters is too many."""
    import pyarrow as pa

    if isinstance(x, np.ndarray):
        try:
            # As a list: pyarrow would end a NumPy string at the first NUL.
            return pa.array(x.tolist(), pa.large_string())
        except UnicodeEncodeError:
            at = next(at for at, text in enumerate(x) if any("\ud800" <= c <= "\udfff" for c in text))
            raise ValueError(
                f"row {at} is {x[at]!a}, which holds half a surrogate pair and so is no valid text: decode the "
                "source with its right encoding."
            ) from None
    if isinstance(x, pa.Array) and x.type == pa.large_string():
        return x
    if isinstance(x, pa.DictionaryArray):
        x = pa.DictionaryArray.from_arrays(x.indices, _text(x.dictionary))
    whole = x.cast(pa.large_string())
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _first_null(x: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.index(pc.is_null(x), True).as_py())


class _Coded(NamedTuple):
    """Ids of the rows on their way to codes: the code of row p is ``table[raw[p] - low]``."""

    raw: Array  # int32 or int64 (n,), contiguous
    low: int
    table: npt.NDArray[np.int32]
    ids: Ids


def _coded(x: Array | pa.Array, name: str, n_jobs: int) -> _Coded:
    """Codes of a column of ids, in ascending order of ids.

    Integers in a moderate range are looked up in a table; all others are hashed by Arrow.
    """
    if not (isinstance(x, np.ndarray) and x.dtype.kind in "iu"):
        return _hashed(x, name)
    if x.dtype == np.uint64:
        if int(x.max()) >= 2**63:
            return _hashed(x, name)
        x = x.view(np.int64)
    elif x.dtype == np.uint32:
        x = x.astype(np.int64)
    elif x.dtype.itemsize < 4:
        x = x.astype(np.int32)
    low, high = int(x.min()), int(x.max())
    span = high - low + 1
    if span > len(x) + 65536:
        return _hashed(x, name)
    x = np.ascontiguousarray(x)
    here = _present(x, low, span, n_jobs)
    table = np.cumsum(here, dtype=np.int64) - 1
    return _Coded(x, low, table.astype(np.int32), Ids._trusted(np.flatnonzero(here) + low))


def _hashed(x: Array | pa.Array, name: str) -> _Coded:
    """Codes through Arrow's hash table, then through the order of the distinct ids."""
    import pyarrow as pa
    import pyarrow.types as pt

    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        column = pa.array(np.ascontiguousarray(x))
    elif isinstance(x, np.ndarray):
        try:
            column = _text(x)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    else:
        column = x
    if pt.is_dictionary(column.type):
        # The dictionary may hold what no row has, or one string twice: both go away here.
        raw = column.indices.to_numpy(zero_copy_only=False)
        raw = raw.view(np.int64) if raw.dtype == np.uint64 else raw.astype(np.promote_types(raw.dtype, np.int32))
        used = np.flatnonzero(_present(raw, 0, len(column.dictionary), 1))
        distinct = column.dictionary.take(used)
        _refuse_nul(distinct.to_pylist(), raw, used, name)
        inner = _hashed(distinct, name)
        table = np.zeros(len(column.dictionary), np.int32)
        table[used] = inner.table[inner.raw]
        return _Coded(raw, 0, table, inner.ids)
    encoded = column.dictionary_encode()
    raw, distinct = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary
    if len(distinct) > MOST_CODES:
        _too_many(name, len(distinct))
    if _is_text(distinct.type):
        texts = distinct.to_pylist()
        _refuse_nul(texts, raw, np.arange(len(texts)), name)
        values = _padded(texts, name)
    else:
        values = distinct.to_numpy()
    order = np.argsort(values, kind="stable")
    table = np.empty(len(order), np.int32)
    table[order] = np.arange(len(order), dtype=np.int32)
    return _Coded(raw, 0, table, Ids._trusted(values[order]))


def _refuse_nul(texts: list[str], raw: Array, codes: Array, name: str) -> None:
    """Refuse strings that NumPy would cut; `codes` are the numbers that stand for `texts` in `raw`."""
    for text, code in zip(texts, codes.tolist(), strict=True):
        if text.endswith("\0"):
            _refuse_nul_row(name, int(np.flatnonzero(raw == code)[0]), text)


def _refuse_nul_row(name: str, at: int, text: str) -> NoReturn:
    raise ValueError(
        f"{name}: row {at} is {_show(text)}, which ends in a NUL character; NumPy would cut it off, and two ids could "
        "become one: take it out."
    )


def _too_many(name: str, n: int) -> NoReturn:
    raise ValueError(f"{name}: {n:,} distinct ids are more than 2**31 - 1, the most that int32 codes can number.")


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def _numbers(x: Any, name: str) -> Array:
    """Ratings or weights from any column: a one-dimensional array of floats or integers."""
    x = _one_dimensional(x, name)
    if _is_arrow(x) and not isinstance(x, np.ndarray):
        if type(x).__module__.partition(".")[0] == "pandas" and isinstance(x.dtype, np.dtype):
            return _numpy_numbers(x.to_numpy(), name)
        return _arrow_numbers(_arrow(x), name)
    if isinstance(x, np.ndarray):
        return _numpy_numbers(x, name)
    if hasattr(x, "__array__"):
        return _numpy_numbers(np.asarray(x), name)
    array = np.empty(len(x), object)
    array[:] = list(x)
    return _numpy_numbers(array, name)


def _numpy_numbers(x: Array, name: str) -> Array:
    kind = x.dtype.kind
    if kind in "iuf":
        return x
    if kind == "O":
        floats = np.empty(len(x))
        for at, value in enumerate(x):
            if value is None or type(value).__name__ in {"NAType", "NaTType"}:
                raise ValueError(f"{name}: row {at} is missing ({_show(value)}): take such rows out first.")
            if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real | np.number | decimal.Decimal):
                _refuse_numbers(name, at, value, type(value).__name__)
            try:
                floats[at] = float(value)
            except OverflowError:
                raise ValueError(f"{name}: row {at} is {_show(value)}, beyond what a float can hold.") from None
        return floats
    if not len(x):
        return np.empty(0, np.float64)
    _refuse_numbers(name, 0, x[0], str(x.dtype))


def _refuse_numbers(name: str, at: int, value: Any, what: str) -> NoReturn:
    bool_ = "bool" in what
    remedy = "say what true is worth, for instance" if bool_ else "convert them first, for instance"
    raise TypeError(f'{name} must be numbers, but row {at} is {_show(value)} ({what}): {remedy} .astype("float32").')


def _arrow_numbers(x: pa.ChunkedArray, name: str) -> Array:
    import pyarrow as pa
    import pyarrow.types as pt

    if x.null_count:
        raise ValueError(f"{name}: row {_first_null(x)} is missing (null): take such rows out first.")
    kind = x.type
    if pt.is_dictionary(kind):
        return _arrow_numbers(x.cast(kind.value_type), name)
    if pt.is_decimal(kind):
        return cast(Array, x.cast(pa.float64()).to_numpy())
    if pt.is_integer(kind) or pt.is_floating(kind):
        return cast(Array, x.to_numpy())
    if not len(x):
        return np.empty(0, np.float64)
    _refuse_numbers(name, 0, x[0], str(kind))


def _seconds(x: Any, name: str) -> npt.NDArray[np.int64]:
    """Timestamps as int64 seconds: integers as they are, datetimes since 1970 (UTC), fractions rounded down."""
    x = _one_dimensional(x, name)
    if not isinstance(x, np.ndarray):
        if _is_arrow(x):
            import pyarrow as pa
            import pyarrow.types as pt

            x = _arrow(x)
            if x.null_count:
                raise ValueError(f"{name}: row {_first_null(x)} is missing (null): take such rows out first.")
            if pt.is_date(x.type):
                x = x.cast(pa.timestamp("ms"))
            if pt.is_timestamp(x.type):
                per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[x.type.unit]
                return cast("npt.NDArray[np.int64]", x.cast(pa.int64()).to_numpy() // per_second)
            if not (pt.is_integer(x.type) or pt.is_floating(x.type)):
                _refuse_times(name, x[0] if len(x) else None, str(x.type))
            x = x.to_numpy()
        else:
            x = np.asarray(x)
    kind = x.dtype.kind
    if kind == "M":
        at = np.flatnonzero(np.isnat(x))
        if len(at):
            raise ValueError(f"{name}: row {at[0]} is missing (NaT): take such rows out first.")
        return cast("npt.NDArray[np.int64]", x.astype("datetime64[s]").astype(np.int64))
    if kind == "f":
        at = np.flatnonzero(~(np.abs(x) < 2.0**63))
        if len(at):
            raise ValueError(f"{name}: row {at[0]} is {_show(x[at[0]])}, which is no time: take such rows out first.")
        return cast("npt.NDArray[np.int64]", np.floor(x).astype(np.int64))
    if kind in "iu":
        if kind == "u" and len(x) and int(x.max()) >= 2**63:
            raise ValueError(f"{name}: row {int(x.argmax())} is {_show(x.max())}, beyond what int64 can hold.")
        return cast("npt.NDArray[np.int64]", x.astype(np.int64, copy=False))
    _refuse_times(name, x[0] if len(x) else None, str(x.dtype))


def _refuse_times(name: str, value: Any, what: str) -> NoReturn:
    raise TypeError(
        f"{name} must be integers (seconds) or datetimes, but row 0 is {_show(value)} ({what}): convert them first, or "
        "leave them out (timestamp=False)."
    )


def _bounds(values: Array, name: str, dtype: np.dtype[Any], where: str = "row") -> tuple[float, float]:
    """The least and the largest value; refuses NaN, infinite values and values that `dtype` cannot hold."""
    low, high = float(values.min()), float(values.max())
    most = float(np.finfo(dtype).max)
    if not (math.isfinite(low) and math.isfinite(high)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(
            f"{name}: {where} {at} is {_show(values[at])}, but {name} must be finite numbers: take such rows out first."
        )
    if max(-low, high) > most:
        at = int(np.flatnonzero(np.abs(values.astype(np.float64)) > most)[0])
        remedy = 'pass dtype="float64" or rescale them' if most < 1e300 else "rescale them"
        raise ValueError(f"{name}: {where} {at} is {_show(values[at])}, beyond what {dtype} can hold: {remedy}.")
    return low, high


# ---------------------------------------------------------------------------------------------------------------------
# Sorting


def _n_parts(n: int, n_codes: int, n_threads: int) -> int:
    """How many parts sort `n` entries: one a thread, but not so many that their counts take more room than the entries."""
    return max(1, min(n_threads, n // max(n_codes, PART)))


def _present(raw: Array, low: int, span: int, n_threads: int) -> npt.NDArray[np.bool_]:
    """Which of the numbers from `low` on are there."""
    seen = np.zeros((_n_parts(len(raw), span, n_threads), span), np.uint8)
    _sort.mark_ids(raw, low, seen)
    return np.asarray(seen.any(axis=0))


def _places(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each row begins, and where each part writes its entries of each row."""
    indptr = _offsets(counts.sum(axis=0))
    places = np.cumsum(counts, axis=0)
    places -= counts
    places += indptr[:-1]
    return indptr, places


def _sorted(
    users: _Coded, items: _Coded, payload: Array, n_threads: int, both: bool = True
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array] | None]:
    """Entries by user and by item, each (indptr, indices, payload); equal pairs keep the order of the input.

    Three stable counting sorts, by item, from there by user, from there by item, leave users and items ascending in
    every row. There is less to do where the input is sorted already, as files of ratings often are. By item is None
    where not both are wanted.
    """
    n, n_users, n_items = len(payload), len(users.ids), len(items.ids)
    raw = np.result_type(users.raw, items.raw)
    users = users._replace(raw=np.ascontiguousarray(users.raw, raw))
    items = items._replace(raw=np.ascontiguousarray(items.raw, raw))
    u, i = users[:3], items[:3]
    state = _sort.sorted_state(*u, *i)
    first, second, n_rows = (u, i, n_users) if state == 2 else (i, u, n_items)
    counts = np.zeros((_n_parts(n, n_rows, n_threads), n_rows), np.int64)
    _sort.count_ids(*first, counts)
    indptr, places = _places(counts)
    rows = indptr, np.empty(n, np.int32), np.empty(n, payload.dtype)
    _sort.move_ids(*first, *second, payload, places, *rows[1:])
    if state == 2:
        # The order is there already, and nothing was moved but into one row after the other.
        return rows, _transposed(*rows, n_items, n_threads) if both else None
    by_item, by_user = rows, _transposed(*rows, n_users, n_threads)
    if not both:
        return by_user, None
    if state == 0:
        # Users came in any order: once more, into the same room.
        by_item = _transposed(*by_user, n_items, n_threads, by_item)
    return by_user, by_item


def _transposed(
    indptr: Array,
    indices: Array,
    payload: Array,
    n: int,
    n_threads: int,
    out: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """The same entries by the other side, of `n` rows; within a row in ascending order of the rows given."""
    counts = np.zeros((_n_parts(len(indices), n, n_threads), n), np.int64)
    _sort.count_codes(indices, counts)
    starts, places = _places(counts)
    rows, moved = (np.empty_like(indices), np.empty_like(payload)) if out is None else out[1:]
    _sort.transpose_rows(indptr, indices, payload, places, rows, moved)
    return starts, rows, moved


def _offsets(counts: Array) -> npt.NDArray[np.int64]:
    """Where each row begins, from the number of entries of each."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _repeats(indptr: Array, indices: Array) -> npt.NDArray[np.bool_]:
    """Which entries have the same row and the same index as the entry before them."""
    repeats = np.zeros(len(indices), bool)
    np.equal(indices[1:], indices[:-1], out=repeats[1:])
    starts = indptr[:-1]
    repeats[starts[starts < len(indices)]] = False
    return repeats


# ---------------------------------------------------------------------------------------------------------------------
# Ratings


class _Rows(NamedTuple):
    """The input taken apart: one entry a row, in the order of the input."""

    users: _Coded
    items: _Coded
    values: Array
    timestamps: npt.NDArray[np.int64] | None


class Ratings:
    """Ratings of items by users, checked once and sorted once.

    Parameters
    ----------
    data : Ratings, sparse matrix, data frame, path, or array-like of shape (n, 2)
        - *Sparse matrix or array* of SciPy, any format and index width, users x items. Row and column numbers are the
          ids, and all rows and columns are known users and items, empty or not. Explicit zeros are ratings of 0, except
          in the formats DIA and BSR, where a stored zero cannot be told from padding.
        - *Data frame*: whatever offers the Arrow C stream (pandas, polars, pyarrow and more), with columns that are
          named below or recognised: letter case, "_", "-" and blanks do not matter, and ``userId``, ``movieId`` or
          ``product_id`` are as good as ``user`` and ``item``.
        - *Path* of a CSV file with a line of column names (.csv, .tsv, also .gz; a comma, tab, semicolon or bar between
          columns) or of a Parquet file. Columns are found as in a data frame, and only they are read.
        - *Pairs* of ids (array, list of pairs, frame of two columns), with `y` their ratings. A user's id may be a
          string and an item's an integer.
        - *Ratings*: the same again, perhaps in another `dtype` or with other weights.
    y : array-like of shape (n,), default=None
        Ratings of the pairs. Only with pairs and with frames that have no column of ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights of the ratings, finite and not negative, in the order of the rows; for a sparse matrix in the order in
        which its CSR form stores the entries. A rating of weight 0 counts as rated, but not in means or fits.
        Default: 1.
    user, item, rating : str, default=None
        Column names of a frame. Default: recognised.
    timestamp : str or False, default=None
        Column name of the time of rating, integers (seconds) or datetimes. Default: taken where one is
        recognised. False leaves it out.
    duplicates : {"raise", "last", "mean", "sum"}, default="raise"
        What to do where a user rated an item more than once. "last" takes the last in the order of the input, with its
        weight and time; "mean" the mean, weighted by `sample_weight` (the weights are added up); "sum" the unweighted
        sum (the weights are averaged). "mean" and "sum" keep the latest time.
    dtype : {"float32", "float64"}, default="float32"
        Type of the ratings and weights held. Half stars are exact in either; float32 takes half the memory.
    n_jobs : int, default=None
        Threads for sorting; the result is the same for any number. None: all that the process may use.
    copy : bool, default=True
        False shares the arrays of a CSR matrix whose rows are sorted, whose indices are int32 and whose values are of
        `dtype`, instead of copying them: half the memory, as long as the matrix is not changed.

    Attributes
    ----------
    user_ids, item_ids : ndarray of int64, uint64 or str, shape (n_users,) and (n_items,)
        Ids in ascending order; an id's place is its code.
    by_user, by_item : Compressed
        The ratings by user and by item.
    timestamps : ndarray of int64, shape (n_ratings,), or None
        Seconds, in the order of `by_user`.

    Raises
    ------
    TypeError
        Where ids are neither integers nor strings (floats, booleans, dates, bytes, a mix), ratings are no numbers, or
        `data` is nothing of the above.
    ValueError
        Where something is missing, doubled, not finite, out of range, of another length, or nothing at all. The
        sentence names the first such row, counted from 0, and what to do.

    See Also
    --------
    Ratings.from_arrays : From three arrays.

    Notes
    -----
    A Ratings never changes: its arrays are read-only, and unless `copy` is False it shares none with its input that could
    change. Any order of the input rows gives the same Ratings.

    Examples
    --------
    >>> import alsx
    >>> R = alsx.Ratings([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
    >>> R
    Ratings(2 users x 2 items, 3 ratings from 3 to 5, density 75 %)
    >>> R.item_ids
    array([3, 7])
    """

    by_user: Compressed
    by_item: Compressed
    range: tuple[float, float]
    timestamps: npt.NDArray[np.int64] | None

    def __init__(
        self,
        data: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        timestamp: str | bool | None = None,
        duplicates: str = "raise",
        dtype: Any = "float32",
        n_jobs: int | None = None,
        copy: bool = True,
    ) -> None:
        real, n_threads = _options(duplicates, dtype, n_jobs)
        names = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
        if isinstance(data, Ratings) or scipy.sparse.issparse(data):
            what = "Ratings" if isinstance(data, Ratings) else "a sparse matrix"
            if y is not None:
                raise TypeError(f"y is given, but {what} already holds the ratings: leave y out.")
            _refuse_names(names, what)
            if isinstance(data, Ratings):
                self._copy(data, sample_weight, real, n_threads)
            else:
                self._sparse(data, sample_weight, duplicates, real, n_threads, copy)
        elif files.is_path(data):
            found = files.read(data, lambda columns: _roles(columns, names, y), real)
            self._arrays(
                found.pop("user"), found.pop("item"), y if y is not None else found.pop("rating"),
                found.pop("timestamp", None), sample_weight, duplicates, real, n_threads,
            )  # fmt: skip
        elif _is_frame(data):
            columns = _columns(data, names, y)
            self._arrays(*columns, sample_weight, duplicates, real, n_threads)
        else:
            _refuse_names(names, "an array of pairs")
            pairs = _pairs(data, y)
            self._arrays(*pairs, y, None, sample_weight, duplicates, real, n_threads, ("data[:, 0]", "data[:, 1]", "y"))

    @classmethod
    def from_arrays(
        cls,
        users: Any,
        items: Any,
        ratings: Any,
        *,
        timestamps: Any = None,
        sample_weight: Any = None,
        duplicates: str = "raise",
        dtype: Any = "float32",
        n_jobs: int | None = None,
    ) -> Ratings:
        """Ratings from three arrays, a row each.

        Parameters
        ----------
        users, items : array-like of int or str, shape (n,)
            Ids; array, list, pandas or polars Series, Arrow array.
        ratings : array-like of shape (n,)
            Ratings, finite numbers.
        timestamps : array-like of int or datetime, shape (n,), default=None
            Time of each rating, in seconds.
        sample_weight : array-like of shape (n,), default=None
            Weights, finite and not negative. Default: 1.
        duplicates : {"raise", "last", "mean", "sum"}, default="raise"
            See `Ratings`.
        dtype : {"float32", "float64"}, default="float32"
            Type of the ratings and weights held.
        n_jobs : int, default=None
            Threads for sorting. None: all that the process may use.

        Returns
        -------
        Ratings

        Raises
        ------
        TypeError, ValueError
            As for `Ratings`.

        Examples
        --------
        >>> import alsx
        >>> alsx.Ratings.from_arrays([10, 20], ["x", "y"], [1, 5])
        Ratings(2 users x 2 items, 2 ratings from 1 to 5, density 50 %)
        """
        real, n_threads = _options(duplicates, dtype, n_jobs)
        new = cls.__new__(cls)
        new._arrays(users, items, ratings, timestamps, sample_weight, duplicates, real, n_threads)
        return new

    # Ways in

    def _arrays(
        self,
        users: Any,
        items: Any,
        ratings: Any,
        timestamps: Any,
        sample_weight: Any,
        duplicates: str,
        dtype: np.dtype[Any],
        n_threads: int,
        names: tuple[str, str, str] = ("users", "items", "ratings"),
    ) -> None:
        u, i, values = _ids(users, names[0]), _ids(items, names[1]), _numbers(ratings, names[2])
        times = None if timestamps is None else _seconds(timestamps, "timestamps")
        lengths = {names[0]: len(u), names[1]: len(i), names[2]: len(values)}
        if times is not None:
            lengths["timestamps"] = len(times)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
            raise ValueError(
                f"lengths differ: {told}; row {min(lengths.values())} is the first that is not whole. Pass as many "
                "of each."
            )
        if not len(values):
            raise ValueError(f"there are no ratings: {names[2]} is empty. Pass at least one rating.")
        low, high = _bounds(values, names[2], dtype)
        weights = _weights(sample_weight, len(values), dtype)
        rows = _Rows(_coded(u, names[0], n_threads), _coded(i, names[1], n_threads), values, times)
        self._build(rows, weights, duplicates, dtype, (low, high), n_threads)

    def _sparse(
        self, matrix: Any, sample_weight: Any, duplicates: str, dtype: np.dtype[Any], n_threads: int, copy: bool
    ) -> None:
        _check_sparse(matrix)
        n_users, n_items = matrix.shape
        rows = _sparse_rows(matrix, n_threads)
        entries = _entries(matrix, sample_weight is not None) if rows is None else rows
        values = entries[2]
        if not len(values):
            raise ValueError("there are no ratings: the sparse matrix stores no entries. Pass at least one rating.")
        bounds = _bounds(values, "ratings", dtype, "stored entry")
        weights = _weights(sample_weight, len(values), dtype)
        if rows is not None:
            indptr, indices, _ = rows
            if not _sort.count_descents(indptr, indices, n_threads):
                # Sorted and without duplicates, as CSR mostly is: the rows are there already.
                copy = copy and matrix.format == "csr"  # from other formats they are new
                by_user = Compressed(
                    indptr.copy() if copy else indptr,
                    indices.copy() if copy else indices,
                    values.astype(dtype, copy=copy),
                    None if weights is None else weights.astype(dtype),
                )
                ids = Ids._trusted(np.arange(n_users)), Ids._trusted(np.arange(n_items))
                self._finish(*ids, by_user, _turned(by_user, n_items, n_threads), None, bounds)
                return
            entries = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(indptr)), indices, values
        u, i, values = entries
        users = _Coded(u, 0, np.arange(n_users, dtype=np.int32), Ids._trusted(np.arange(n_users)))
        items = _Coded(i, 0, np.arange(n_items, dtype=np.int32), Ids._trusted(np.arange(n_items)))
        self._build(_Rows(users, items, values, None), weights, duplicates, dtype, bounds, n_threads)

    def _copy(self, other: Ratings, sample_weight: Any, dtype: np.dtype[Any], n_threads: int) -> None:
        _bounds(other.by_user.values, "ratings", dtype)
        user, item = other.by_user, other.by_item
        by_user = user._replace(values=user.values.astype(dtype, copy=False))
        by_item = item._replace(values=item.values.astype(dtype, copy=False))
        if sample_weight is not None:
            weights = cast(Array, _weights(sample_weight, len(user.values), dtype))
            by_user = by_user._replace(weights=weights.astype(dtype))
            turned = _transposed(user.indptr, user.indices, cast(Array, by_user.weights), other.n_items, n_threads)
            by_item = by_item._replace(weights=turned[2])
        elif user.weights is not None and item.weights is not None:
            _bounds(user.weights, "weights", dtype)
            by_user = by_user._replace(weights=user.weights.astype(dtype, copy=False))
            by_item = by_item._replace(weights=item.weights.astype(dtype, copy=False))
        self._finish(other._users, other._items, by_user, by_item, other.timestamps)

    def _build(
        self,
        rows: _Rows,
        weights: Array | None,
        duplicates: str,
        dtype: np.dtype[Any],
        bounds: tuple[float, float],
        n_threads: int,
    ) -> None:
        users, items, values, times = rows
        n = len(values)
        if times is None and weights is None and duplicates == "raise":
            # Nothing but the values travels, and they do so themselves.
            user, item = _sorted(users, items, np.ascontiguousarray(values, dtype), n_threads)
            if _sort.count_descents(user[0], user[1], n_threads):
                del user, item
                self._refuse_duplicates(users, items, n_threads)
            by_user, by_item = Compressed(*user, None), Compressed(*cast("tuple[Array, Array, Array]", item), None)
            self._finish(users.ids, items.ids, by_user, by_item, None, bounds)
            return

        # Otherwise the number of the row travels, and fetches what belongs to it.
        (indptr, indices, order), _ = _sorted(users, items, _positions(n), n_threads, both=False)
        repeats = _repeats(indptr, indices)
        if not repeats.any():
            values = values[order].astype(dtype, copy=False)
            weights = None if weights is None else weights[order].astype(dtype, copy=False)
            times = None if times is None else times[order]
        elif duplicates == "raise":
            self._refuse_duplicates(users, items, n_threads)
        else:
            starts = np.flatnonzero(~repeats)
            indptr = _offsets(np.diff(np.concatenate([[0], np.cumsum(~repeats)])[indptr]))
            indices = indices[starts]
            values, weights, times = _merged(duplicates, starts, order, values, weights, times)
            _bounds(values, f'ratings under duplicates="{duplicates}"', dtype, "sorted pair")
            values = values.astype(dtype, copy=False)
            if weights is not None:
                _bounds(weights, f'weights under duplicates="{duplicates}"', dtype, "sorted pair")
                weights = weights.astype(dtype, copy=False)
        by_user = Compressed(indptr, indices, values, weights)
        self._finish(users.ids, items.ids, by_user, _turned(by_user, len(items.ids), n_threads), times)

    def _refuse_duplicates(self, users: _Coded, items: _Coded, n_threads: int) -> NoReturn:
        """The sentence for a pair that is there twice; looks for the first such row of the input."""
        (indptr, indices, order), _ = _sorted(users, items, _positions(len(users.raw)), n_threads, both=False)
        repeats = np.flatnonzero(_repeats(indptr, indices))
        at = repeats[np.argmin(order[repeats])]
        row, before = int(order[at]), int(order[at - 1])
        user = users.ids.values[np.searchsorted(indptr, at, side="right") - 1]
        item = items.ids.values[indices[at]]
        raise ValueError(
            f"duplicate ratings: row {row} rates user {_show(user)}, item {_show(item)} again, after row {before}. "
            'Pass duplicates="last" | "mean" | "sum" to merge them, or take them out.'
        )

    def _finish(
        self,
        users: Ids,
        items: Ids,
        by_user: Compressed,
        by_item: Compressed,
        timestamps: Array | None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        self._users, self._items = users, items
        self.by_user = Compressed(*(None if x is None else _frozen(x) for x in by_user))  # type: ignore[arg-type]
        self.by_item = Compressed(*(None if x is None else _frozen(x) for x in by_item))  # type: ignore[arg-type]
        self.timestamps = None if timestamps is None else _frozen(timestamps)
        values = by_user.values
        # Rounded as the values held are.
        self.range = (
            (float(values.min()), float(values.max()))
            if bounds is None
            else (float(values.dtype.type(bounds[0])), float(values.dtype.type(bounds[1])))
        )
        self._moments: tuple[float, float] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "users": self._users,
            "items": self._items,
            "by_user": tuple(self.by_user),
            "by_item": tuple(self.by_item),
            "timestamps": self.timestamps,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        by_user, by_item = Compressed(*state["by_user"]), Compressed(*state["by_item"])
        self._finish(state["users"], state["items"], by_user, by_item, state["timestamps"])

    # What is there

    @property
    def user_ids(self) -> Array:
        """Ids of the users, ascending; the place of an id is its code."""
        return self._users.values

    @property
    def item_ids(self) -> Array:
        """Ids of the items, ascending; the place of an id is its code."""
        return self._items.values

    def user_codes(self, users: Any) -> Any:
        """Codes of users, -1 where unknown.

        Parameters
        ----------
        users : int, str, or array-like of them, shape (m,)
            Ids.

        Returns
        -------
        int32 scalar, or ndarray of int32 of shape (m,)

        Raises
        ------
        TypeError
            Where these cannot be ids, or not of the kind that `user_ids` are.
        ValueError
            Where an id is missing.
        """
        return self._users.codes(users, "users")

    def item_codes(self, items: Any) -> Any:
        """Codes of items, -1 where unknown.

        Parameters
        ----------
        items : int, str, or array-like of them, shape (m,)
            Ids.

        Returns
        -------
        int32 scalar, or ndarray of int32 of shape (m,)

        Raises
        ------
        TypeError
            Where these cannot be ids, or not of the kind that `item_ids` are.
        ValueError
            Where an id is missing.
        """
        return self._items.codes(items, "items")

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self._users)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self._items)

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return len(self.by_user.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and of items."""
        return self.n_users, self.n_items

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the ratings, float32 or float64."""
        return self.by_user.values.dtype

    @property
    def mean(self) -> float:
        """Weighted mean of the ratings, in double precision."""
        return self._mean_and_std()[0]

    @property
    def std(self) -> float:
        """Weighted standard deviation of the ratings (of the population: divided by the sum of weights)."""
        return self._mean_and_std()[1]

    def _mean_and_std(self) -> tuple[float, float]:
        if self._moments is None:
            values, weights = self.by_user.values, self.by_user.weights
            mean = _mean(values, weights, 0.0, 1)
            self._moments = (mean, math.sqrt(_mean(values, weights, mean, 2)))
        return self._moments

    def __len__(self) -> int:
        return self.n_ratings

    def __repr__(self) -> str:
        low, high = self.range
        n, m = self.shape
        count = self.n_ratings
        return (
            f"Ratings({n:,} user{'s' * (n != 1)} x {m:,} item{'s' * (m != 1)}, {count:,} rating{'s' * (count != 1)} "
            f"from {low:g} to {high:g}, density {_percent(count / (n * m))})"
        )

    # Ways out

    def triples(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Array]:
        """All ratings as three arrays, by user, within a user by item.

        Returns
        -------
        users : ndarray of int32, shape (n_ratings,)
            Codes of users; ``user_ids[users]`` are their ids.
        items : ndarray of int32, shape (n_ratings,)
            Codes of items.
        values : ndarray of `dtype`, shape (n_ratings,)
            Ratings.
        """
        counts = np.diff(self.by_user.indptr)
        users = np.repeat(np.arange(self.n_users, dtype=np.int32), counts)
        return users, self.by_user.indices, self.by_user.values

    def select(self, which: Any) -> Ratings:
        """Some of the ratings, with the same users and items, hence the same codes.

        Parameters
        ----------
        which : array-like of bool, shape (n_ratings,), or of int, shape (m,)
            Mask, or positions, in the order of `by_user`. The order of positions does not matter.

        Returns
        -------
        Ratings

        Raises
        ------
        IndexError
            Where a position is out of range, or the mask has another length.
        TypeError
            Where `which` is neither a mask nor positions.
        ValueError
            Where a position is there twice, or nothing is selected.
        """
        n = self.n_ratings
        chosen = np.asarray(which)
        if chosen.ndim != 1 or (chosen.dtype.kind not in "iub" and len(chosen)):
            raise TypeError(
                f"which must be a mask or positions in one dimension, got {chosen.dtype} of shape {chosen.shape}: pass "
                "booleans or integers."
            )
        if chosen.dtype.kind == "b":
            if len(chosen) != n:
                raise IndexError(
                    f"which is a mask of {len(chosen):,} for {n:,} ratings: pass one truth value a rating."
                )
            mask = chosen
        else:
            wrong = np.flatnonzero((chosen < 0) | (chosen >= n))
            if len(wrong):
                at = int(wrong[0])
                raise IndexError(f"which: row {at} is {_show(chosen[at])}, but positions run from 0 to {n - 1:,}.")
            mask = np.zeros(n, bool)
            mask[chosen.astype(np.int64, copy=False)] = True
            if np.count_nonzero(mask) != len(chosen):
                raise ValueError("which holds a position twice: pass np.unique of it.")
        if not mask.any():
            raise ValueError("which selects no rating: a Ratings holds at least one.")
        before = np.zeros(n + 1, np.int64)
        np.cumsum(mask, out=before[1:])
        user = self.by_user
        by_user = Compressed(
            before[user.indptr],
            user.indices[mask],
            user.values[mask],
            None if user.weights is None else user.weights[mask],
        )
        new = Ratings.__new__(Ratings)
        times = None if self.timestamps is None else self.timestamps[mask]
        n_threads = _options("raise", self.dtype, None)[1]
        new._finish(self._users, self._items, by_user, _turned(by_user, self.n_items, n_threads), times)
        return new

    def with_ids(self, users: Ids | None = None, items: Ids | None = None) -> Ratings:
        """The same ratings among more users and items, those without ratings.

        Parameters
        ----------
        users, items : Ids, default=None
            All ids, the old ones included. None: those there are.

        Returns
        -------
        Ratings

        Raises
        ------
        ValueError
            Where an old id is not among them.
        """
        moved = []
        for name, old, new in (("users", self._users, users), ("items", self._items, items)):
            codes = np.arange(len(old), dtype=np.int32) if new is None else np.asarray(new.codes(old.values, name))
            if (codes < 0).any():
                at = int(np.argmax(codes < 0))
                raise ValueError(f"{name} lacks {_show(old.values[at])}, which has ratings: pass all ids.")
            moved.append(codes)
        user_codes, item_codes = moved
        all_users, all_items = users or self._users, items or self._items

        def spread(rows: Compressed, places: Array, n_rows: int, columns: Array) -> Compressed:
            counts = np.zeros(n_rows, np.int64)
            counts[places] = np.diff(rows.indptr)
            same = len(columns) == 0 or int(columns[-1]) == len(columns) - 1
            return rows._replace(indptr=_offsets(counts), indices=rows.indices if same else columns[rows.indices])

        new_rows = Ratings.__new__(Ratings)
        new_rows._finish(
            all_users, all_items, spread(self.by_user, user_codes, len(all_users), item_codes),
            spread(self.by_item, item_codes, len(all_items), user_codes), self.timestamps, self.range,
        )  # fmt: skip
        return new_rows

    def to_csr(self) -> scipy.sparse.csr_array:
        """The ratings as a new SciPy sparse array, users x items; ratings of 0 are explicit zeros.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_users, n_items)
        """
        user = self.by_user
        # SciPy makes the indices as wide as the offsets.
        offsets = user.indptr.astype(np.int32 if self.n_ratings <= MOST_CODES else np.int64)
        return scipy.sparse.csr_array((user.values.copy(), user.indices.copy(), offsets), shape=self.shape)


def _options(duplicates: Any, dtype: Any, n_jobs: int | None) -> tuple[np.dtype[Any], int]:
    """The checked options: dtype and number of threads."""
    if not isinstance(duplicates, str) or duplicates not in DUPLICATES:
        raise ValueError(f"duplicates must be one of {', '.join(map(repr, DUPLICATES))}, got {_show(duplicates)}.")
    return _check.float_dtype("dtype", "" if dtype is None else dtype), _threads.resolve(n_jobs)


def _refuse_names(names: dict[str, Any], what: str) -> None:
    for name, value in names.items():
        if value is not None and value is not False:
            raise TypeError(f"{name}={value!r} names a column, but data is {what}, not a data frame: leave it out.")


def _weights(x: Any, n: int, dtype: np.dtype[Any]) -> Array | None:
    if x is None:
        return None
    name = "sample_weight"
    weights = _numbers(x, name)
    if len(weights) != n:
        raise ValueError(f"{name} has {len(weights):,} values for {n:,} ratings: pass a weight a rating.")
    low, high = _bounds(weights, name, dtype)
    if low < 0:
        at = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(f"{name}: row {at} is {_show(weights[at])}, but weights must not be negative.")
    if float(dtype.type(high)) == 0:
        raise ValueError(f"{name} is 0 in every row, as {dtype} holds it: at least one rating must weigh something.")
    return weights


def _positions(n: int) -> Array:
    return np.arange(n, dtype=np.int32 if n <= MOST_CODES else np.int64)


def _turned(by_user: Compressed, n_items: int, n_threads: int) -> Compressed:
    """By item what is given by user."""
    turned = _transposed(by_user.indptr, by_user.indices, by_user.values, n_items, n_threads)
    if by_user.weights is None:
        return Compressed(*turned, None)
    weights = _transposed(by_user.indptr, by_user.indices, by_user.weights, n_items, n_threads)[2]
    return Compressed(*turned, weights)


def _merged(
    how: str, starts: Array, order: Array, values: Array, weights: Array | None, times: Array | None
) -> tuple[Array, Array | None, Array | None]:
    """One value, weight and time a pair; `order` holds the rows pair after pair, `starts` where each pair begins."""
    if how == "last":
        last = order[np.append(starts[1:], len(order)) - 1]
        return (
            values[last],
            None if weights is None else weights[last],
            None if times is None else times[last],
        )
    counts = np.diff(np.append(starts, len(order)))
    found = values[order].astype(np.float64)
    w = None if weights is None else weights[order].astype(np.float64)
    total = None if w is None else np.add.reduceat(w, starts)
    times = None if times is None else np.maximum.reduceat(times[order], starts)
    if how == "sum":
        return np.add.reduceat(found, starts), None if total is None else total / counts, times
    if w is None or total is None:
        return np.add.reduceat(found, starts) / counts, None, times
    # Where all weights of a pair are 0, its mean is the plain one.
    nothing = np.repeat(total == 0, counts)
    shares = np.where(nothing, 1.0, w)
    return np.add.reduceat(found * shares, starts) / np.add.reduceat(shares, starts), total, times


def _mean(values: Array, weights: Array | None, centre: float, power: int) -> float:
    """Weighted mean of (values - centre) to a power in double precision, without a whole copy in double."""
    sums, totals = [], []
    for start in range(0, len(values), 2**18):
        part = values[start : start + 2**18].astype(np.float64) - centre
        if power == 2:
            part *= part
        if weights is None:
            totals.append(float(len(part)))
        else:
            w = weights[start : start + 2**18].astype(np.float64)
            part *= w
            totals.append(float(w.sum()))
        sums.append(float(part.sum()))
    return math.fsum(sums) / math.fsum(totals)


def _percent(share: float) -> str:
    """A share as a percentage of two significant digits, 100 only where it is whole."""
    percent = 100 * share
    text = f"{percent:.2g}" if percent < 99.5 else f"{min(percent, 100):.4g}"
    return ("100" if share == 1 else "under 100" if text == "100" else text) + " %"


# ---------------------------------------------------------------------------------------------------------------------
# Frames, pairs, sparse matrices


def _is_frame(data: Any) -> bool:
    """A table with named columns (a single column has an Arrow stream too, but one that is no struct)."""
    if hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns"):
        return True
    module = type(data).__module__.partition(".")[0]
    if module == "pyarrow":
        return hasattr(data, "schema")
    return hasattr(data, "__arrow_c_stream__") and module not in {"numpy", "pandas", "polars"}


def is_frame(data: Any) -> bool:
    """Whether `data` is a table with named columns."""
    return not isinstance(data, np.ndarray) and not scipy.sparse.issparse(data) and _is_frame(data)


def described_rows(data: Any, part: str, name: str) -> tuple[Array, dict[str, pa.ChunkedArray]]:
    """
    Ids and the other columns of a data frame that has a row for each user, or item.

    Parameters
    ----------
    data : data frame
    part : {"user", "item"}
        Whose ids.
    name : str
        What sentences call the frame.

    Returns
    -------
    ids : ndarray of int64, uint64 or str, shape (n,)
        In the order of the rows; no id comes twice.
    columns : dict of str to pyarrow.ChunkedArray
    """
    import pyarrow as pa

    if type(data).__module__.partition(".")[0] == "pyarrow" or not hasattr(data, "columns"):
        data = pa.table(data)
    found = _frame_names(data)
    told = ", ".join(map(repr, found)) or "none"
    doubled = next((x for at, x in enumerate(found) if str(x) in map(str, found[:at])), None)
    if doubled is not None:
        raise ValueError(f"{name} has two columns {doubled!r}; the columns are {told}. Rename or drop one")
    hits = [x for x in found if _choose(part, None, [x], True) is not None]
    if len(hits) != 1:
        what = f"no column of {part} ids is recognised" if not hits else f"{len(hits)} columns could be the {part} ids"
        remedy = f"Call one of them {part!r}, or give a matrix with a row for each"
        if not hits and _choose(part, None, [getattr(getattr(data, "index", None), "name", None)], True) is not None:
            remedy = "The ids are the frame's index: pass .reset_index()"
        elif hits:
            remedy = f"Leave one of {', '.join(map(repr, hits))} its name, and rename the others"
        raise ValueError(f"{name}: {what}; the columns are {told}. {remedy}")
    where = f"{name}[{hits[0]!r}]"
    raw = _ids(_column(data, hits[0]), where)
    if not len(raw):
        raise ValueError(f"{name} has no rows: give at least one, or leave it out")
    coded = _coded(raw, where, 1)
    codes = coded.table[coded.raw - coded.low]
    ids = coded.ids.values[codes]
    if len(coded.ids) < len(codes):
        first = np.zeros(len(codes), bool)
        first[np.unique(codes, return_index=True)[1]] = True
        at = int(np.argmin(first))
        raise ValueError(f"{where}: row {at} is {_show(ids[at])} for the second time: give one row each")
    others = {}
    for x in found:
        if x == hits[0]:
            continue
        try:
            others[str(x)] = _arrow(_column(data, x))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as error:
            raise TypeError(
                f"{name}: the column {x!r} cannot be read ({error}): drop it, or make all its values of one kind"
            ) from None
    return ids, others


def _frame_names(data: Any) -> list[Any]:
    if type(data).__module__.partition(".")[0] == "pyarrow":
        return list(data.schema.names)
    return list(data.columns)


def _columns(data: Any, names: dict[str, Any], y: Any) -> tuple[Any, Any, Any, Any]:
    """The columns of users, items, ratings and timestamps (or None) of a data frame."""
    import pyarrow as pa

    if not hasattr(data, "columns") and type(data).__module__.partition(".")[0] != "pyarrow":
        data = pa.table(data)
    roles = _roles(_frame_names(data), names, y)
    return (
        _column(data, roles["user"]),
        _column(data, roles["item"]),
        y if y is not None else _column(data, roles["rating"]),
        None if "timestamp" not in roles else _column(data, roles["timestamp"]),
    )


def _roles(found: list[Any], names: dict[str, Any], y: Any) -> dict[str, Any]:
    """Which column is what: users and items, ratings where there is no `y`, timestamps where there are some."""
    if y is not None and names["rating"] is not None:
        raise TypeError(f"both y and rating={names['rating']!r} say where the ratings are: pass one of them.")
    chosen: dict[str, Any] = {}
    for part in ("user", "item", "rating", "timestamp"):
        if (part == "rating" and y is not None) or names[part] is False:
            continue
        chosen[part] = _choose(part, names[part], found, part == "timestamp" or (y is not None and len(found) == 2))
    if y is not None and len(found) == 2 and None in (chosen["user"], chosen["item"]):
        # Two columns and y: pairs, whatever the columns are called, unless a recognised one says otherwise.
        chosen["user"], chosen["item"] = _two(chosen["user"], chosen["item"], found)
    if chosen.get("timestamp") in (chosen["user"], chosen["item"]):
        chosen["timestamp"] = None
    used: dict[Any, str] = {}
    for part, name in chosen.items():
        if name is not None and used.setdefault(name, part) != part:
            raise ValueError(f"the column {name!r} would be both {used[name]} and {part}: name another column.")
    return {part: name for part, name in chosen.items() if name is not None}


def _two(user: Any, item: Any, found: list[Any]) -> tuple[Any, Any]:
    if user is None and item is None:
        return found[0], found[1]
    other = found[1] if found[0] in (user, item) else found[0]
    return (other, item) if user is None else (user, other)


def _choose(part: str, name: Any, found: list[Any], optional: bool) -> Any:
    """The column that is asked for or recognised."""
    told = ", ".join(repr(x) for x in found) or "none"
    if name is not None and name is not True:
        hits = [x for x in found if x == name]
        if not hits:
            raise ValueError(f"{part}={name!r} is not a column; the columns are {told}.")
    else:
        hits = [x for x in found if isinstance(x, str) and re.sub("[^a-z0-9]", "", x.lower()) in COLUMNS[part]]
        if not hits:
            if optional and name is not True:
                return None
            raise ValueError(
                f"no column of {part}s is recognised; the columns are {told}. Pass {part}= with the name of one."
            )
    if len(hits) > 1:
        raise ValueError(
            f"the column of {part}s is ambiguous: {', '.join(map(repr, hits))} could all be it. "
            + (f"Pass {part}= with the name of one." if len(set(hits)) > 1 else "Rename all but one.")
        )
    return hits[0]


def _column(data: Any, name: Any) -> Any:
    if type(data).__module__.partition(".")[0] == "pyarrow":
        return data.column(name)
    return data[name]


def _pairs(data: Any, y: Any) -> tuple[Any, Any]:
    """The two columns of an array or a list of pairs."""
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _listed_pairs(data, y)
    if not isinstance(data, np.ndarray):
        if isinstance(data, str | bytes | dict) or not hasattr(data, "__array__"):
            raise TypeError(
                f"data is of type {type(data).__name__}, which holds no ratings that can be read: pass a SciPy "
                "sparse matrix, a data frame (pandas, polars, pyarrow; collect a lazy one), an (n, 2) array with y, or "
                "use Ratings.from_arrays(users, items, ratings)."
            )
        data = np.asarray(data)
    if data.ndim == 2 and data.shape[1] == 2 and not isinstance(data, np.matrix):
        if y is None:
            raise TypeError("data holds pairs of ids, but y, their ratings, is missing: pass y.")
        return data[:, 0], data[:, 1]
    if data.dtype.names is not None:
        raise TypeError("data is a structured array: pass pandas.DataFrame(data), or use Ratings.from_arrays.")
    shape = data.shape
    if data.ndim != 2:
        raise ValueError(
            f"data has shape {shape}, but pairs of ids have shape (n, 2): use "
            "Ratings.from_arrays(users, items, ratings)."
        )
    if shape[1] == 3 and not isinstance(data, np.matrix):
        also = "; if its columns are users, items, ratings, use Ratings.from_arrays(*data.T), with ids as integers"
    else:
        also = ""
    raise ValueError(
        f"data is a dense array of shape {shape}, which cannot say which ratings are missing: pass "
        f"scipy.sparse.csr_array(data) where 0 means not rated, or pairs of ids of shape (n, 2) with y{also}."
    )


def _listed_pairs(data: Sequence[Any], y: Any) -> tuple[list[Any], list[Any]]:
    users, items = [], []
    for at, pair in enumerate(data):
        if isinstance(pair, str | bytes) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(
                f"data: row {at} is {_show(pair)}, which is not a pair (user, item): pass pairs of ids with y, or use "
                "Ratings.from_arrays(users, items, ratings)."
            )
        users.append(pair[0])
        items.append(pair[1])
    if not users:
        raise ValueError("there are no ratings: data is empty. Pass at least one rating.")
    if y is None:
        raise TypeError("data holds pairs of ids, but y, their ratings, is missing: pass y.")
    return users, items


def _check_sparse(matrix: Any) -> None:
    """Refuse sparse matrices that can be no ratings, whatever their format."""
    if matrix.ndim != 2:
        raise ValueError(f"data is a sparse array of shape {matrix.shape}: pass one of two dimensions, users x items.")
    for n, what in zip(matrix.shape, ("rows (users)", "columns (items)"), strict=True):
        if n > MOST_CODES:
            raise ValueError(f"data has {n:,} {what}, more than 2**31 - 1, the most that int32 codes can number.")
    if matrix.dtype.kind not in "iuf":
        raise TypeError(
            f"data is a sparse matrix of {matrix.dtype}, but ratings must be numbers: convert it first, "
            '.astype("float32").'
        )


def _sparse_rows(matrix: Any, n_threads: int) -> tuple[Array, Array, Array] | None:
    """The entries by row, as (indptr, indices, values), of a matrix that is compressed; None for other formats."""
    if matrix.format == "lil":
        matrix = matrix.tocsr()
    if matrix.format == "csr":
        return _compressed(matrix, "row", "column")
    if matrix.format == "csc":
        return _transposed(*_compressed(matrix, "column", "row"), matrix.shape[0], n_threads)
    return None


def _entries(matrix: Any, ordered: bool) -> tuple[Array, Array, Array]:
    """Row numbers, column numbers and values of other sparse matrices; in the order of its CSR form where `ordered`."""
    padded = matrix.format in ("bsr", "dia")
    matrix = matrix.tocoo(copy=False)
    u, i = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    values = matrix.data
    if not len(u) == len(i) == len(values):
        raise ValueError(
            f"data is malformed: {len(u)} rows, {len(i)} columns, {len(values)} values: build the matrix anew."
        )
    u, i = _in_range(u, matrix.shape[0], "row"), _in_range(i, matrix.shape[1], "column")
    if padded:
        stored = values != 0
        u, i, values = u[stored], i[stored], values[stored]
    if ordered:
        order = np.argsort(u, kind="stable")
        u, i, values = u[order], i[order], values[order]
    return u, i, values


def _compressed(matrix: Any, row: str, column: str) -> tuple[Array, Array, Array]:
    """The checked arrays of a CSR or CSC matrix, as the compiled room takes them."""
    n_rows, n_columns = matrix.shape if row == "row" else matrix.shape[::-1]
    indptr, indices, values = matrix.indptr, matrix.indices, matrix.data
    if len(indptr) != n_rows + 1 or indptr[0] != 0 or indptr[-1] > min(len(indices), len(values)):
        raise ValueError(
            f"data is malformed: its indptr has {len(indptr)} values from {indptr[0]} to {indptr[-1]}, for "
            f"{n_rows} {row}s, {len(indices)} indices and {len(values)} values: build the matrix anew."
        )
    wrong = np.flatnonzero(indptr[1:] < indptr[:-1])
    if len(wrong):
        raise ValueError(f"data is malformed: its indptr falls after {row} {wrong[0]}: build the matrix anew.")
    count = int(indptr[-1])
    if values.dtype not in (np.float32, np.float64, np.int32, np.int64):
        values = values.astype(np.float64)
    return (
        indptr.astype(np.int64, copy=False),
        _in_range(indices[:count], n_columns, column),
        np.ascontiguousarray(values[:count]),
    )


def _in_range(codes: Array, n: int, what: str) -> npt.NDArray[np.int32]:
    """Row or column numbers as codes."""
    if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= n):
        at = int(np.flatnonzero((codes < 0) | (codes >= n))[0])
        raise ValueError(
            f"data is malformed: stored entry {at} has {what} {codes[at]}, but {what}s run from 0 to {n - 1}: build "
            "the matrix anew."
        )
    return np.ascontiguousarray(codes, np.int32)


def id_pairs(data: Any) -> tuple[Any, Any]:
    """Users and items of what `predict` takes: a frame (its other columns are passed over) or (n, 2) pairs of ids."""
    if _is_frame(data):
        return _columns(data, dict.fromkeys(("user", "item", "rating"), None) | {"timestamp": False}, ())[:2]
    return _pairs(data, ())

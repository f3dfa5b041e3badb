"""Ids: the distinct ids of one side in ascending order, and the way between ids and codes.

The code of an id is its position among the ascending ids. Codes are int32, and all that comes after this module works
with codes.
"""

from __future__ import annotations

import difflib
import numbers
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Place, show
from alsx.ratings.columns import (
    ROW,
    arrow_text,
    frozen,
    id_column,
    is_arrow_text,
    kernel_array,
    python_texts,
    refuse_nul,
)
from alsx.ratings.sorting import MAX_CODES, Codes, RowCodes, is_present

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Coded", "Ids", "encode", "entry_codes"]

Array = npt.NDArray[Any]

# Neighbours in the alphabet, on either side, that an unknown string is compared with.
NEAR_IDS = 300


class Ids:
    """The ids of one side (users or items) in ascending order, and the way from ids to codes.

    The code of an id is its place in `values`, so that code order is id order.

    Parameters
    ----------
    values : array-like of int or str, shape (n,)
        Ids, ascending and without repeats (for instance `values` of another `Ids`, read back from a file).
    name : str, default="ids"
        What messages call them.

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
        ids = id_column(values, name)
        if not isinstance(ids, np.ndarray):
            ids = _padded(python_texts(ids, name), name)
        elif ids.dtype.kind in "OT":
            ids = _padded(ids.tolist(), name)
        if len(ids) > MAX_CODES:
            raise ValueError(f"{name}: {len(ids):,} ids are more than 2**31 - 1, the most that int32 codes can number")
        wrong = np.flatnonzero(ids[1:] <= ids[:-1])
        if len(wrong):
            at = int(wrong[0]) + 1
            raise ValueError(
                f"{name}: row {at} is {show(ids[at])}, after {show(ids[at - 1])}; ids must be ascending without repeats: pass "
                "np.unique of them"
            )
        self._set(ids)
        if len(ids) and _marks_missing(self.values):
            raise ValueError(f"{name} holds {_not_an_id(self.missing)}: give it another id, or leave it out")

    def _set(self, ids: Array) -> None:
        # Integers are uint64 only where they must be, so that the same ids have the same type wherever they come from.
        if ids.dtype.kind == "u" and (not len(ids) or int(ids[-1]) < 2**63):
            ids = ids.astype(np.int64)
        elif ids.dtype.kind == "i":
            ids = ids.astype(np.int64, copy=False)
        self.values = frozen(ids)
        self.kind = "strings" if ids.dtype.kind == "U" else "integers"
        self._table = None

    @property
    def missing(self) -> Any:
        """What lists are padded with, see `of_codes`: it is never an id."""
        return missing_mark(self.values.dtype)

    def of_codes(self, codes: Array) -> Array:
        """Return the ids of codes; of -1 what marks missing ones: -2**63, 2**64 - 1 among uint64 ids, or ``""``.

        Parameters
        ----------
        codes : ndarray of int32, any shape

        Returns
        -------
        ids : ndarray of the type of `values`, the same shape
        """
        if not len(self):
            return np.full(np.shape(codes), self.missing, self.values.dtype)
        ids = self.values[codes]
        ids[codes < 0] = self.missing
        return ids

    @classmethod
    def trusted(cls, ids: Array) -> Ids:
        """Return ids that are known to be ascending, without a check: int64, uint64 or "U"."""
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
        return f"Ids({len(self):,} {self.kind} from {show(self.values[0])} to {show(self.values[-1])})"

    def near(self, unknown: Any, n: int = 3) -> list[Any]:
        """Return known ids that look like an unknown one, the most alike first, at most n; for messages.

        Of strings those that differ in case or blanks alone come first, then those with the same letters in about the same order
        among the neighbours in the alphabet; of integers the nearest numbers.
        """
        values = self.values
        if not len(values):
            return []
        if self.kind == "integers":
            at = int(
                np.searchsorted(values, values.dtype.type(min(max(int(unknown), int(values[0])), int(values[-1]))))
            )
            around = values[max(0, at - n) : at + n].tolist()
            return sorted(around, key=lambda one: (abs(one - int(unknown)), one))[:n]
        text = str(unknown)
        folded = text.strip().casefold()
        found = [one for one in values.tolist() if one.strip().casefold() == folded][:n]
        at = int(np.searchsorted(values, text))
        around = values[max(0, at - NEAR_IDS) : at + NEAR_IDS].tolist()
        # A first letter that is wrong puts a word far away: the rest of a small set is looked at, too.
        pool = values.tolist() if len(values) <= 10 * NEAR_IDS else around
        found += [one for one in difflib.get_close_matches(text, pool, n, cutoff=0.4) if one not in found]
        return found[:n]

    def codes(self, ids: Any, name: str = "ids") -> Any:
        """Codes of ids.

        Parameters
        ----------
        ids : int, str, or array-like of them, shape (m,)
            Ids of the kind of `values`; array, list, pandas or polars Series, Arrow array.
        name : str, default="ids"
            What a message calls them.

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
            return self._codes(id_column([one], name), name)[0]
        return self._codes(id_column(ids, name), name)

    def _codes(self, ids: Array | pa.Array, name: str) -> npt.NDArray[np.int32]:
        if not len(ids):
            return np.empty(0, np.int32)
        integers = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
        if integers != (self.kind == "integers"):
            raise TypeError(
                f"{name}: these ids are {self.kind}, but row 0 is {show(ids[0])} "
                f"({'an integer' if integers else 'a string'}): pass ids of the kind that the ratings had"
            )
        if not len(self):
            return np.full(len(ids), -1, np.int32)
        return self._integer_codes(cast(Array, ids)) if integers else self._string_codes(ids)

    def _integer_codes(self, ids: Array) -> npt.NDArray[np.int32]:
        """Codes of integers: by subtraction, a table or a search, as the gaps between the ids allow."""
        values = self.values
        lo, hi = int(values[0]), int(values[-1])
        first, last = int(ids.min()), int(ids.max())
        if first < lo or last > hi:
            # int64 against uint64 would be compared as floats, so that limits are taken in Python.
            limits = np.iinfo(ids.dtype)
            in_range = np.ones(len(ids), bool)
            if lo > limits.min:
                in_range &= ids >= ids.dtype.type(min(lo, limits.max))
            if hi < limits.max:
                in_range &= ids <= ids.dtype.type(max(hi, limits.min))
            if lo > limits.max or hi < limits.min:
                in_range[:] = False
            codes = np.full(len(ids), -1, np.int32)
            if in_range.any():
                codes[in_range] = self._integer_codes(ids[in_range])
            return codes
        ids = ids.astype(values.dtype, copy=False)
        if hi - lo + 1 == len(values):  # without a gap
            return cast("npt.NDArray[np.int32]", (ids - values[0]).astype(np.int32))
        if hi - lo < 4 * len(values) + 65536:  # few gaps: a table of codes is small, and faster than a search
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
        """Codes of strings: by a hash table where there are many, else by a search."""
        values = self.values
        # Arrow's hash table of all ids pays for itself where many are asked for.
        if len(ids) > 64 and len(ids) > len(values) // 16:
            import pyarrow.compute as pc

            found = pc.index_in(arrow_text(ids), value_set=arrow_text(values))
            return cast("npt.NDArray[np.int32]", found.fill_null(-1).to_numpy(zero_copy_only=False))
        # Longer ids than the longest, and ids that "U" would cut (trailing NUL), are unknown.
        texts = python_texts(ids, "ids") if not isinstance(ids, np.ndarray) else ids.tolist()
        width = values.dtype.itemsize // 4
        fits = np.array([len(x) <= width and not x.endswith("\0") for x in texts])
        codes = self._searched(np.array([x if fit else "" for x, fit in zip(texts, fits, strict=True)], values.dtype))
        codes[~fits] = -1
        return codes


# ---------------------------------------------------------------------------------------------------------------------
# Coding


class Coded(NamedTuple):
    """A column of ids that are coded: the distinct ids, and the code of each entry."""

    ids: Ids
    codes: Codes | RowCodes


def encode(column: Array | pa.Array | Coded, name: str, n_threads: int, place: Place = ROW) -> Coded:
    """Code a column of ids in ascending order of the ids.

    Integers in a moderate range are looked up in a table; all others are hashed by Arrow.

    Parameters
    ----------
    column : ndarray or pyarrow.Array, shape (n,), or Coded
        As `id_column` makes it, not empty. What is coded already is returned as it is.
    name : str
        What messages call it.
    n_threads : int
        Threads that look for the distinct ids.
    place : Place
        How messages say where an entry is.

    Raises
    ------
    ValueError
        Where there are more than 2**31 - 1 distinct ids, a string cannot be held, or an id is `Ids.missing`.
    """
    if isinstance(column, Coded):
        return column
    coded = _encode(column, name, n_threads, place)
    # An empty column of a matrix has codes without ids.
    if len(coded.ids) and _marks_missing(coded.ids.values):
        _refuse_missing_mark(coded, name, place)
    return coded


def _encode(x: Array | pa.Array, name: str, n_threads: int, place: Place) -> Coded:
    """Code a column, as `encode`."""
    if not (isinstance(x, np.ndarray) and x.dtype.kind in "iu"):
        return Coded(*_encode_by_hash(x, name, place))
    # The kernels take int32 and int64.
    if x.dtype == np.uint64:
        if int(x.max()) >= 2**63:
            return Coded(*_encode_by_hash(x, name, place))
        x = x.view(np.int64)
    elif x.dtype == np.uint32:
        x = x.astype(np.int64)
    elif x.dtype.itemsize < 4:
        x = x.astype(np.int32)
    low, high = int(x.min()), int(x.max())
    span = high - low + 1
    if span > len(x) + 65536:  # the table would be larger than the column
        return Coded(*_encode_by_hash(x, name, place))
    x = kernel_array(x)
    present = is_present(x, low, span, n_threads)
    table = (np.cumsum(present, dtype=np.int64) - 1).astype(np.int32)
    ids = Ids.trusted(np.flatnonzero(present) + low)
    return Coded(ids, Codes(x, low, table, len(ids)))


def missing_mark(dtype: np.dtype[Any]) -> Any:
    """Return what stands for no id among ids of this type: the lowest int64, the highest uint64, or an empty string.

    None of them may be an id, so that padded lists cannot be misread. (R marks missing integers by the lowest one, too.)
    """
    if dtype.kind == "U":
        return ""
    return int(np.iinfo(dtype).max if dtype.kind == "u" else np.iinfo(dtype).min)


def _marks_missing(values: Array) -> bool:
    """Return whether one of some ascending ids is the mark of missing ones."""
    return bool(values[-1 if values.dtype.kind == "u" else 0] == missing_mark(values.dtype))


def _refuse_missing_mark(coded: Coded, name: str, place: Place) -> NoReturn:
    """Refuse an id that marks missing ones, with the first entry that has it."""
    mark = missing_mark(coded.ids.values.dtype)
    code = len(coded.ids) - 1 if coded.ids.values.dtype.kind == "u" else 0
    at = int(np.flatnonzero(entry_codes(coded.codes) == code)[0])
    raise ValueError(f"{name}: {place(at)} is {_not_an_id(mark)}: give it another id, or leave it out")


def _not_an_id(mark: Any) -> str:
    """Return what is said of the mark of missing ids."""
    return "'' (an empty string), which is no id" if mark == "" else f"{mark}, which marks what has no id"


def entry_codes(codes: Codes | RowCodes) -> npt.NDArray[np.int64]:
    """Return the code of each entry."""
    if isinstance(codes, RowCodes):
        return np.repeat(np.arange(len(codes.indptr) - 1), np.diff(codes.indptr))
    return codes.table[codes.raw.astype(np.int64, copy=False) - codes.low].astype(np.int64)


def _encode_by_hash(x: Array | pa.Array, name: str, place: Place) -> tuple[Ids, Codes]:
    """Codes through Arrow's hash table, then through the order of the distinct ids."""
    import pyarrow as pa
    import pyarrow.types as pt

    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        column = pa.array(np.ascontiguousarray(x))
    elif isinstance(x, np.ndarray):
        try:
            column = arrow_text(x)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    else:
        column = x
    if pt.is_dictionary(column.type):
        return _encode_dictionary(column, name, place)
    encoded = column.dictionary_encode()
    raw, distinct = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary
    if len(distinct) > MAX_CODES:
        raise ValueError(
            f"{name}: {len(distinct):,} distinct ids are more than 2**31 - 1, the most that int32 codes can number"
        )
    if is_arrow_text(distinct.type):
        texts = python_texts(distinct, name)
        _refuse_nuls(texts, raw, np.arange(len(texts)), name, place)
        values = _padded(texts, name)
    else:
        values = distinct.to_numpy()
    order = np.argsort(values, kind="stable")
    table = np.empty(len(order), np.int32)
    table[order] = np.arange(len(order), dtype=np.int32)
    return Ids.trusted(values[order]), Codes(raw, 0, table, len(order))


def _encode_dictionary(column: pa.DictionaryArray, name: str, place: Place) -> tuple[Ids, Codes]:
    """Codes of dictionary-encoded strings, by their dictionary."""
    # The dictionary may hold what no entry has, or one string twice: both go away here.
    raw = column.indices.to_numpy(zero_copy_only=False)
    raw = raw.view(np.int64) if raw.dtype == np.uint64 else raw.astype(np.promote_types(raw.dtype, np.int32))
    used = np.flatnonzero(is_present(raw, 0, len(column.dictionary), 1))
    distinct = column.dictionary.take(used)
    _refuse_nuls(python_texts(distinct, name), raw, used, name, place)
    ids, inner = _encode_by_hash(distinct, name, place)
    table = np.zeros(len(column.dictionary), np.int32)
    table[used] = inner.table[inner.raw]
    return ids, Codes(raw, 0, table, len(ids))


def _refuse_nuls(texts: list[str], raw: Array, codes: Array, name: str, place: Place) -> None:
    """Refuse strings that NumPy would cut; `codes` are the numbers that stand for `texts` in `raw`."""
    for text, code in zip(texts, codes.tolist(), strict=True):
        if text.endswith("\0"):
            refuse_nul(name, place(int(np.flatnonzero(raw == code)[0])), text)


def _padded(texts: list[str], name: str) -> Array:
    """Strings as a NumPy array of "U", which every file format and every NumPy since 1.26 can hold without pickle."""
    longest = max(map(len, texts), default=0)
    padded, total = 4 * longest * len(texts), 4 * sum(map(len, texts))
    if padded > 2**28 and padded > 16 * total:
        long = next(x for x in texts if len(x) == longest)
        raise ValueError(
            f"{name}: the id {show(long)} has {longest:,} characters, while the others are short; ids are stored "
            f"padded, which would take {padded / 2**30:.1f} GiB: replace long ids by a number or a hash"
        )
    return np.array(texts, dtype=f"U{max(longest, 1)}")

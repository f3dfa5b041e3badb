"""Ratings that are read part by part: what no part alone can tell is decided when all of them are there.

Parts go to a spill, in memory or on the disk, as they come. Which ids there are, whether texts are integers, what unit times
have, what is lowest and highest: all that is gathered on the way, so that a file read in parts, and a folder of files, become
the same ratings as a file read at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt

from alsx import _sort
from alsx.ratings._caller import Caller, Place, SelectedPlace, ShiftedPlace, show_name
from alsx.ratings.columns import (
    ROW,
    check_weights,
    first_null,
    id_column,
    in_seconds,
    kernel_array,
    number_column,
    plain_numbers,
    plain_times,
    refuse_units,
    time_limits,
    time_unit,
    value_range,
)
from alsx.ratings.csvfile import ReadAgain, is_repeated_header, refuse_repeated_header
from alsx.ratings.folders import Source
from alsx.ratings.ids import Coded, Ids, encode, entry_codes
from alsx.ratings.raw import MAX_RATING_VALUES, Column, Missing, RawRatings, warn_of_sentinel
from alsx.ratings.sorting import MAX_CODES, Codes
from alsx.ratings.spill import MemorySpill, Spill
from alsx.ratings.text import LayoutOptions
from alsx.ratings.texts import Texts, refuse_empty_rating

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

SET_ROWS = 2**22  # distinct integers that wait to be merged with those that were seen
MAX_TABLE_SPAN = 2**28  # the widest range of ids that a table of all numbers in it is made for


@dataclass(frozen=True)
class FirstPlace(Place):
    """The place of the first row that has one of the distinct ids of a column."""

    place: Place = ROW
    row_of: Callable[[int], int] | None = None

    def __call__(self, at: int) -> str:
        """Return the place of the first row with the distinct id `at`."""
        assert self.row_of is not None
        return self.place(self.row_of(at))


class DistinctTexts:
    """The distinct texts of a column, numbered as they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.first_rows: list[int] = []

    def add(self, column: pa.Array, start: int) -> npt.NDArray[np.int32]:
        """Return the numbers of the texts of a part, a dictionary-encoded column that begins at the row `start`."""
        indices = column.indices.to_numpy(zero_copy_only=False)
        first = np.full(len(column.dictionary), -1, np.int64)
        # The last one written stays: backwards, that is the first row that has a text.
        first[indices[::-1]] = np.arange(len(indices) - 1, -1, -1)
        used = np.flatnonzero(first >= 0)
        table = np.zeros(len(first), np.int32)
        known = self.numbers
        for code, text in zip(used.tolist(), column.dictionary.take(used).to_pylist(), strict=True):
            number = known.setdefault(text, len(known))
            if number == len(self.first_rows):
                self.first_rows.append(start + int(first[code]))
            table[code] = number
        if len(known) > MAX_CODES:
            raise ValueError(
                f"{len(known):,} distinct ids are more than 2**31 - 1, the most that int32 codes can number"
            )
        return np.asarray(table[indices])

    def first(self, numbers: set[int]) -> int:
        """Return the first of these texts; its number is the lowest."""
        return min(numbers, key=self.first_rows.__getitem__)


class DistinctIntegers:
    """The distinct integers of a column: marked in a table as long as their range is narrow, else kept sorted."""

    def __init__(self) -> None:
        self._seen: Array | None = np.zeros(0, np.uint8)
        self._low = 0
        self._n = 0
        self._sets: list[Array] = []

    def add(self, x: Array) -> None:
        """Add the integers of a part."""
        self._n += len(x)
        if self._seen is not None and x.dtype != np.uint64:
            low, high = int(x.min()), int(x.max())
            if len(self._seen):
                low, high = min(low, self._low), max(high, self._low + len(self._seen) - 1)
            if high - low < min(MAX_TABLE_SPAN, 4 * self._n + 2**24):
                self._mark(x, low, high)
                return
        self._leave_table()
        self._sets.append(np.unique(x))
        if sum(map(len, self._sets[1:])) > max(SET_ROWS, len(self._sets[0])):
            self._merge()

    def _mark(self, x: Array, low: int, high: int) -> None:
        """Mark the integers of a part in the table, which is as long as need be."""
        assert self._seen is not None
        if low < self._low or high >= self._low + len(self._seen):
            # Some room beyond, so that ids that ascend do not make it grow with every part.
            last = max(self._low + len(self._seen) - 1, high + (high - low) // 2) if len(self._seen) else high
            wider = np.zeros(last - low + 1, np.uint8)
            if len(self._seen):
                wider[self._low - low : self._low - low + len(self._seen)] = self._seen
            self._seen, self._low = wider, low
        _sort.mark_ids(kernel_array(x), self._low, self._seen[None, :])

    def _leave_table(self) -> None:
        if self._seen is not None:
            self._sets = [np.flatnonzero(self._seen) + self._low]
            self._seen = None

    def _merge(self) -> None:
        kinds = {x.dtype for x in self._sets if len(x)}
        if np.dtype(np.uint64) in kinds and len(kinds) > 1:
            if any(len(x) and int(x.min()) < 0 for x in self._sets):
                raise OverflowError
            self._sets = [x.astype(np.uint64) for x in self._sets]
        self._sets = [np.unique(np.concatenate([x for x in self._sets if len(x)]))]

    def values(self) -> Array:
        """Return them, ascending.

        Raises
        ------
        OverflowError
            Where some are negative and some beyond int64.
        """
        self._leave_table()
        self._merge()
        return self._sets[0]


class IdColumn:
    """One side's ids, gathered from parts.

    Parameters
    ----------
    source : Source
        Where they are from.
    role : {"user", "item"}
    id_type : {"integers", "strings"}, or None
        What the ids of files of text are; None: what they look like.
    caller : Caller
        Whose argument it is.

    Attributes
    ----------
    ids : Ids
        After `finish`.
    """

    ids: Ids

    def __init__(self, source: Source, role: str, id_type: str | None, caller: Caller) -> None:
        self._source, self._role, self._id_type, self._caller = source, role, id_type, caller
        self._texts: DistinctTexts | None = None
        self._integers: DistinctIntegers | None = None
        self._table: npt.NDArray[np.int32] | None = None
        self._low = 0

    @property
    def name(self) -> str:
        """What messages call the column."""
        return f"{self._source.name}, column {show_name(self._source.roles[self._role])}"

    def add(self, column: pa.ChunkedArray, name: str, place: Place, start: int) -> Array:
        """Return what stands for the ids of a part in the spill: integers themselves, the numbers of texts."""
        import pyarrow.types as pt

        if self._source.is_text:
            if column.null_count:
                Texts.refuse_empty_id(f"{name}: {place(first_null(column))}")
            x = column.combine_chunks() if pt.is_dictionary(column.type) else plain_numbers(column)
        else:
            x = id_column(plain_numbers(column), name, place)
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
            self._refuse_mix(self._texts, name)
            if x.dtype.itemsize < 4 or x.dtype == np.uint32:
                x = x.astype(np.int64)
            elif x.dtype == np.uint64 and int(x.max()) < 2**63:
                x = x.view(np.int64)
            self._integers = self._integers or DistinctIntegers()
            self._integers.add(x)
            return np.asarray(x)
        import pyarrow as pa

        self._refuse_mix(self._integers, name)
        self._texts = self._texts or DistinctTexts()
        if isinstance(x, pa.ChunkedArray):
            x = x.unify_dictionaries().combine_chunks()
        if isinstance(x, np.ndarray):
            x = pa.array(x.tolist(), pa.large_string())
        return self._texts.add(x if isinstance(x, pa.DictionaryArray) else x.dictionary_encode(), start)

    def _refuse_mix(self, other: object, name: str) -> None:
        if other is not None:
            raise TypeError(
                f"{name} and the same column of an earlier file mix integers and strings: 1 and '1' would be two ids: write them "
                "as one kind in all files"
            )

    def finish(self, spill: Spill) -> None:
        """Decide what the ids are, and number them in their order."""
        if self._texts is not None:
            texts = self._texts
            values = self._meaning(list(texts.numbers), texts)
            place = FirstPlace(self._source.place.entry, self._source.place, texts.first_rows.__getitem__)
            texts.numbers = {}
        else:
            assert self._integers is not None
            try:
                values = self._integers.values()
            except OverflowError:
                self._refuse_range(spill)
            self._integers = None

            def row_of(at: int) -> int:
                return first_row(spill, self._role, lambda x: x == values[at])

            place = FirstPlace(self._source.place.entry, self._source.place, row_of)
        if isinstance(values, list):
            import pyarrow as pa

            values = pa.array(values, pa.large_string())
        coded = encode(values, self.name, 1, place)
        self.ids = coded.ids
        if self._texts is not None:
            self._table = entry_codes(coded.codes).astype(np.int32)
            return
        low, high = int(self.ids.values[0]), int(self.ids.values[-1])
        if self.ids.values.dtype.kind == "i" and high - low < max(MAX_TABLE_SPAN // 4, 4 * len(self.ids)):
            self._low = low
            self._table = np.zeros(high - low + 1, np.int32)
            self._table[self.ids.values - low] = np.arange(len(self.ids), dtype=np.int32)

    def _meaning(self, texts: list[str], distinct: DistinctTexts) -> list[str] | Array:
        """The ids that texts of files of text are; those of other files are what they are."""
        if not self._source.is_text:
            return texts
        return column_texts(texts, distinct, self._source, self._role, self._caller).ids(self._id_type)

    def _refuse_range(self, spill: Spill) -> NoReturn:
        at = first_row(spill, self._role, lambda x: x < 0 if x.dtype != np.uint64 else np.zeros(len(x), bool))
        raise ValueError(
            f"{self.name}: {self._source.place(at)} is negative, while others are above 2**63 - 1; integers as ids must fit into "
            "int64, or all into uint64: write strings"
        )

    def codes(self, raw: Array) -> Codes:
        """Return the codes of a part that was read from the spill."""
        if self._table is not None:
            return Codes(kernel_array(raw), self._low, self._table, len(self.ids))
        # Integers in too wide a range for a table: by a search.
        codes = np.asarray(self.ids.codes(raw))
        return Codes(codes, 0, np.arange(len(self.ids), dtype=np.int32), len(self.ids))


class Entries(NamedTuple):
    """Some of the ratings, in the order of the input, without those that stand for none.

    Attributes
    ----------
    users, items : Codes
    values : ndarray, shape (n,)
    weights, times : ndarray, shape (n,), or None
    place : Place
        How messages say where an entry is.
    start : int
        The row of the input that the part begins at.
    kept : ndarray of int64, shape (n,), or None
        Which rows of the part the entries are; None for all.
    """

    users: Codes
    items: Codes
    values: Array
    weights: Array | None
    times: npt.NDArray[np.int64] | None
    place: Place
    start: int
    kept: Array | None


class Gathering:
    """The ratings of a file, or of the files of a folder, gathered from parts into a spill.

    Parameters
    ----------
    path : path-like
        The file, or the folder.
    columns, layout, id_types, missing, dtype, caller
        As of `files.from_file`.
    sample_weight : array-like, shape (n,), or None
        Weights.
    spill : Spill
        Where the ratings go.

    Attributes
    ----------
    users, items : IdColumn
    limits : (float, float)
        The lowest and the highest rating.
    n_ratings : int
        How many there are, without those that stand for none.
    """

    users: IdColumn
    items: IdColumn

    def __init__(
        self,
        path: Any,
        columns: dict[str, Any],
        sample_weight: Any,
        layout: LayoutOptions,
        id_types: dict[str, str | None],
        missing: Missing,
        dtype: np.dtype[Any],
        caller: Caller,
        spill: Spill,
    ) -> None:
        self.source = Source(path, layout, columns, caller)
        self._id_types, self._missing, self._dtype, self._caller = id_types, missing, dtype, caller
        self._spill = spill
        kinds = self.source.kinds(dtype, id_types)
        while True:
            try:
                self._read(kinds, times_asked=columns["timestamp"] is not None)
                break
            except ReadAgain:
                spill.clear()
        if not spill.n_rows:
            raise ValueError(f"there are no ratings: {self.name} is empty: pass at least one rating")
        self._weights = None
        if sample_weight is not None:
            weights = number_column(sample_weight, caller.weights)
            self._weights = check_weights(weights, spill.n_rows, dtype, caller.weights, self.source.place)
        for side in (self.users, self.items):
            side.finish(spill)
        self._decide_ratings()
        self._decide_times()

    @property
    def name(self) -> str:
        """What messages call the column of ratings."""
        return f"{self.source.name}, column {show_name(self.source.roles['rating'])}"

    @property
    def has_times(self) -> bool:
        """Whether there are times."""
        return self._has_times

    @property
    def has_weights(self) -> bool:
        """Whether there are weights."""
        return self._weights is not None

    # One pass over the files

    def _read(self, kinds: dict[str, Any], times_asked: bool) -> None:
        """Read all parts into the spill."""
        source, caller = self.source, self._caller
        self.users, self.items = (IdColumn(source, role, self._id_types[role], caller) for role in ("user", "item"))
        self._rating_texts: DistinctTexts | None = None
        self._has_times, self._times_asked = "timestamp" in source.roles, times_asked
        self._are_seconds, self._time_limits = False, cast("tuple[Any, Any] | None", None)
        for number, begin, table in source.parts(kinds):
            if not table.num_rows:
                continue
            start = source.starts[-1] + begin
            place = ShiftedPlace(source.files[number].place.entry, source.place, start)
            names = {role: f"{source.name}, column {show_name(name)}" for role, name in source.roles.items()}
            part = {role: Column(table.column(role), names[role], place) for role in source.roles}
            self._refuse_repeated_header(part)
            rows = {
                "user": self.users.add(*part["user"][:3], start),
                "item": self.items.add(*part["item"][:3], start),
                "rating": self._ratings(part["rating"], start),
            }
            if self._has_times:
                self._add_times(part["timestamp"], rows)
            self._spill.append(rows)
            del table, part, rows

    def _refuse_repeated_header(self, part: dict[str, Column]) -> None:
        if self.source.is_text:
            at = is_repeated_header(part["user"].values, part["item"].values, self.source.roles)
            if at is not None:
                refuse_repeated_header(self.source.name, part["user"].place(at))

    def _ratings(self, column: Column, start: int) -> Array:
        """The ratings of a part, or the numbers of their texts."""
        import pyarrow.compute as pc
        import pyarrow.types as pt

        values, name, place, _ = column
        if not self.source.is_text:
            return number_column(plain_numbers(values), name, place, nan_for_null=self._missing.nothing)
        if pt.is_dictionary(values.type):
            if values.null_count:
                values = pc.fill_null(values.cast(values.type.value_type), "").dictionary_encode()
            self._rating_texts = self._rating_texts or DistinctTexts()
            return self._rating_texts.add(values.unify_dictionaries().combine_chunks(), start)
        if values.null_count and not self._missing.takes(""):
            refuse_empty_rating(f"{name}: {place(first_null(values))}", self._caller)
        return cast(Array, plain_numbers(values.fill_null(np.nan) if values.null_count else values))

    def _add_times(self, column: Column, rows: dict[str, Array]) -> None:
        """Add the times of a part to its rows; they are left out from now on where they cannot be read and nobody asked."""
        import pyarrow.types as pt

        values = column.values
        if pt.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        try:
            times, are_seconds = plain_times(plain_numbers(values), column.name, column.place)
            if times.dtype.kind == "f" or times.dtype.itemsize < 8:
                in_seconds(times, 1, column.name, column.place)
                times = times.astype(np.float64 if times.dtype.kind == "f" else np.int64)
        except (TypeError, ValueError) as error:
            self._leave_times_out(error)
            return
        rows["timestamp"] = times
        self._are_seconds |= are_seconds
        found = time_limits(times)
        if found is not None and not are_seconds:
            low, high = self._time_limits or found
            self._time_limits = min(low, found[0]), max(high, found[1])

    def _leave_times_out(self, error: TypeError | ValueError) -> None:
        """Go on without times, with a warning, or refuse them where they were asked for."""
        if self._times_asked:
            raise error
        self._has_times = False
        if self._caller.options == "own":
            warnings.warn(
                f"timestamps are left out, since they cannot be read; {str(error).partition(';')[0]}: convert them, or pass "
                "timestamp=False if they are not needed",
                UserWarning,
                stacklevel=7,
            )

    # What all parts tell

    def _decide_ratings(self) -> None:
        """Find the numbers that texts are, the range of all, and what is suspicious among them."""
        self._rating_table: Array | None = None
        if self._rating_texts is not None:
            distinct = self._rating_texts
            texts = column_texts(list(distinct.numbers), distinct, self.source, "rating", self._caller)
            self._rating_table = texts.numbers(self._missing, self.source.separator)
        self.n_ratings, low, high = 0, np.inf, -np.inf
        for values, _, place in self._values():
            if len(values):
                found = value_range(values, self.name, self._dtype, place)
                low, high = min(low, found[0]), max(high, found[1])
            self.n_ratings += len(values)
        if not self.n_ratings:
            raise ValueError(f"there are no ratings: all of {self.name} are missing, as missing= says: pass another")
        self.limits = float(low), float(high)
        warn_of_sentinel(self._counted_values, self.name, self.limits, self._caller)

    def _values(self, most: int = 2**22) -> Iterator[tuple[Array, Array | None, Place]]:
        """Yield ratings, which rows they are, and where."""
        for start, part in self._spill.parts(most, ("rating",)):
            yield self._kept(part["rating"], start)

    def _kept(self, values: Array, start: int) -> tuple[Array, Array | None, Place]:
        """Ratings of a part without those that stand for none, which rows these are, and where."""
        if self._rating_table is not None:
            values = self._rating_table[values]
        place: Place = ShiftedPlace(self.source.place.entry, self.source.place, start)
        kept = self._missing.rows_kept(values)
        if kept is None:
            return values, None, place
        return values[kept], kept, SelectedPlace(place.entry, place, kept)

    def _counted_values(self) -> tuple[Array, Array]:
        """The different ratings and how many there are of each; some of them where there are too many to matter."""
        distinct, counts = np.empty(0), np.empty(0, np.int64)
        for values, _, _ in self._values(2**20):
            own, own_counts = np.unique(values, return_counts=True)
            distinct, places = np.unique(np.concatenate([distinct, own]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([counts, own_counts])).astype(np.int64)
            if len(distinct) > MAX_RATING_VALUES:
                break
        return distinct, counts

    def _decide_times(self) -> None:
        """Find the unit of times."""
        self._time_unit = 1
        if not self._has_times or self._time_limits is None:
            return
        try:
            if self._are_seconds:
                raise TypeError(
                    f"{self._time_name} has datetimes in some files and numbers in others; write one of them"
                )
            unit = time_unit(*self._time_limits)
            if unit is None:
                low, high = (first_row(self._spill, "timestamp", lambda x: x == y) for y in self._time_limits)  # noqa: B023
                refuse_units(self._time_name, self.source.place, self._time_limits, (low, high))
            self._time_unit = unit
        except (TypeError, ValueError) as error:
            self._leave_times_out(error)

    @property
    def _time_name(self) -> str:
        return f"{self.source.name}, column {show_name(self.source.roles['timestamp'])}"

    # Reading them again

    def release(self) -> None:
        """Forget the ratings, when they are somewhere else."""
        self._spill.clear()

    def entries(self, most: int) -> Iterator[Entries]:
        """Yield the ratings in the order of the input, at most `most` at a time."""
        names = ("user", "item", "rating") + (("timestamp",) if self._has_times else ())
        for start, part in self._spill.parts(most, names):
            values, kept, place = self._kept(part["rating"], start)
            n = len(part["rating"])
            times = None
            if self._has_times:
                shifted = ShiftedPlace(place.entry, self.source.place, start)
                times = in_seconds(part["timestamp"], self._time_unit, self._time_name, shifted)
            weights = None if self._weights is None else self._weights[start : start + n]
            users, items = part["user"], part["item"]
            if kept is not None:
                users, items = users[kept], items[kept]
                times = None if times is None else times[kept]
                weights = None if weights is None else weights[kept]
            yield Entries(self.users.codes(users), self.items.codes(items), values, weights, times, place, start, kept)


def column_texts(texts: list[str], distinct: DistinctTexts, source: Source, role: str, caller: Caller) -> Texts:
    """Return the distinct texts of a column, for what decides on them."""
    name = source.roles[role]

    def first(numbers: set[int]) -> tuple[int, str]:
        number = distinct.first(numbers)
        return number, f"{source.name}, column {show_name(name)}: {source.place(distinct.first_rows[number])}"

    return Texts(texts, first, name, caller)


def first_row(spill: Spill, name: str, holds: Callable[[Array], Array]) -> int:
    """Return the first row of a column for which something holds; there must be one."""
    for start, part in spill.parts(2**20, (name,)):
        at = np.flatnonzero(holds(part[name]))
        if len(at):
            return start + int(at[0])
    raise IndexError(name)


def from_folder(
    path: Any,
    y: Any,
    columns: dict[str, Any],
    sample_weight: Any,
    layout: LayoutOptions,
    id_types: dict[str, str | None],
    missing: Missing,
    dtype: np.dtype[Any],
    caller: Caller,
) -> RawRatings:
    """Return the ratings of the files of a folder; the parameters and errors are those of `files.from_file`."""
    if y is not None:
        raise TypeError(
            f"{caller.y} is given, but {caller.data} is a folder, whose files have no order that it could follow: leave {caller.y} "
            "out, and write ratings into the files"
        )
    spill = MemorySpill()
    gathered = Gathering(path, columns, sample_weight, layout, id_types, missing, dtype, caller, spill)
    whole = next(gathered.entries(spill.n_rows))
    sides = (Coded(side.ids, codes) for side, codes in ((gathered.users, whole.users), (gathered.items, whole.items)))
    users, items = sides
    return RawRatings(
        users, items, whole.values, whole.weights, whole.times, gathered.limits,
        (gathered.users.name, gathered.items.name), whole.place, gathered.source.name,
        own=True,
    )  # fmt: skip

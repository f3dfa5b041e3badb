"""Ratings that are larger than memory: sorted by user and by item on the disk, in memory that does not grow with them.

An external bucket sort. Users are cut into ranges whose ratings fit into memory; one pass over the spilled entries writes each
into the bucket of its user, in the order of the input, and then one bucket after the other is sorted as ratings in memory are.
That is by user; the same again, from the sorted rows to buckets of items, is by item. Since a bucket holds all entries of a pair
in the order of the input, the outcome is the same to the last bit, however large buckets are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
import numpy.lib.format
import numpy.typing as npt

from alsx import _sort
from alsx.ratings._caller import ShiftedPlace
from alsx.ratings.gathering import Entries, Gathering
from alsx.ratings.sorting import (
    BY_PAIR,
    PAIR,
    Codes,
    RepeatedPair,
    entry_counts,
    group_entries,
    offsets,
    refuse_no_weight,
    sort_rows,
    sorted_state,
)
from alsx.ratings.spill import read_array, write_all

Array = npt.NDArray[Any]
Report = Callable[[str, float], None]

# Bytes of memory that an entry takes while its bucket is sorted, with times and weights: columns, copies in the new order, the
# order itself; more where doubled ratings are summed, for which they are ordered by value too.
SORT_BYTES, MERGE_BYTES = 96, 160
# Bytes that an entry takes while entries are moved to buckets.
MOVE_BYTES = 80
MAX_MOVED = 2**22  # entries that are moved to buckets at a time; more gain nothing
MIN_SORTED = 2**10


class Outcome(NamedTuple):
    """What `sort_to_disk` found.

    Attributes
    ----------
    arrays : dict of str to (str, tuple of int)
        Types and shapes of the arrays written, by the names of their files without ".npy".
    range : (float, float)
        The lowest and the highest rating, as they are held.
    is_reordered : bool
        Whether the input came in another order than by user and then by item, or ratings were merged.
    """

    arrays: dict[str, tuple[str, tuple[int, ...]]]
    range: tuple[float, float]
    is_reordered: bool


class ArrayFile:
    """A one-dimensional array that is appended to a .npy file, whose length is written at the end."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype[Any]) -> None:
        self.name, self.dtype, self.n = name, np.dtype(dtype), 0
        self._file: IO[bytes] = (folder / f"{name}.npy").open("w+b", buffering=0)
        self._write_header()

    def _write_header(self) -> None:
        """The header has the same length for any length of the array: NumPy leaves room for that."""
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.n,)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()

    def append(self, array: Array) -> None:
        """Write the next entries."""
        write_all(self._file, array.astype(self.dtype, copy=False))
        self.n += len(array)

    def read(self, begin: int, n: int) -> Array:
        """Return some entries again; writing goes on at the end."""
        array = read_array(self._file, self._begin + begin * self.dtype.itemsize, self.dtype, n)
        self._file.seek(0, 2)
        return array

    def finish(self) -> None:
        """Write the length."""
        self._write_header()
        self._file.seek(0, 2)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Buckets:
    """Entries by ranges of rows: a file for each column, in which each bucket has a place of its own.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files are.
    counts : ndarray of int64, shape (n_rows,)
        How many entries each row has.
    most : int
        Entries of a bucket, but for a row that has more.
    """

    def __init__(self, folder: Path, counts: npt.NDArray[np.int64], most: int) -> None:
        self._folder = folder
        before = offsets(counts)
        first = [0]
        while first[-1] < len(counts):
            last = int(np.searchsorted(before, before[first[-1]] + most, side="right")) - 1
            first.append(max(first[-1] + 1, min(last, len(counts))))
        self.rows = np.array(first)  # bucket b has the rows from rows[b] to rows[b + 1] - 1
        self.starts = before[self.rows]
        self.of_row = np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(self.rows))
        self._filled = np.zeros(len(first) - 1, np.int64)
        self._files: dict[str, tuple[IO[bytes], np.dtype[Any]]] = {}

    def __len__(self) -> int:
        return len(self.rows) - 1

    def append(self, sizes: npt.NDArray[np.int64], columns: dict[str, Array]) -> None:
        """Write entries that are grouped by bucket, `sizes` of each."""
        ends = np.cumsum(sizes)
        for name, column in columns.items():
            if name not in self._files:
                self._files[name] = (self._folder / f"{name}.bucket").open("w+b", buffering=0), column.dtype
            file, dtype = self._files[name]
            for bucket in np.flatnonzero(sizes):
                file.seek(int(self.starts[bucket] + self._filled[bucket]) * dtype.itemsize)
                write_all(file, column[ends[bucket] - sizes[bucket] : ends[bucket]])
        self._filled += sizes

    def read(self, bucket: int) -> dict[str, Array]:
        """Return the columns of a bucket."""
        begin, n = int(self.starts[bucket]), int(self._filled[bucket])
        return {name: read_array(file, begin * dtype.itemsize, dtype, n) for name, (file, dtype) in self._files.items()}

    def codes(self, rows: npt.NDArray[np.int32], bucket: int) -> Codes:
        """Return the rows of a bucket's entries, counted from its first."""
        begin, end = int(self.rows[bucket]), int(self.rows[bucket + 1])
        return plain_codes(rows - np.int32(begin), np.arange(end - begin, dtype=np.int32))

    def remove(self) -> None:
        """Remove the files."""
        for name, (file, _) in self._files.items():
            file.close()
            (self._folder / f"{name}.bucket").unlink(missing_ok=True)
        self._files = {}


def sort_to_disk(
    gathered: Gathering,
    folder: Path,
    duplicates: str,
    dtype: np.dtype[Any],
    n_threads: int,
    memory: int,
    report: Report,
) -> Outcome:
    """Write ratings by user and by item as arrays in .npy files.

    Parameters
    ----------
    gathered : Gathering
        The ratings; its spill is on the disk.
    folder : pathlib.Path
        Where the arrays and, meanwhile, what else is needed are written.
    duplicates, dtype, n_threads
        As of `sorting.compress`.
    memory : int
        Bytes that entries may take.
    report : callable
        ``report(step, share)`` is called now and then.

    Raises
    ------
    RepeatedPair
        Where a pair is there more than once and `duplicates` is "raise"; its rows are those of the input.
    """
    return _ExternalSort(gathered, folder, duplicates, dtype, n_threads, memory, report).run()


class _ExternalSort:
    """One run of `sort_to_disk`."""

    def __init__(
        self,
        gathered: Gathering,
        folder: Path,
        duplicates: str,
        dtype: np.dtype[Any],
        n_threads: int,
        memory: int,
        report: Report,
    ) -> None:
        self._gathered, self._folder, self._duplicates, self._dtype = gathered, folder, duplicates, dtype
        self._n_threads, self._report = n_threads, report
        self._n_moved = max(MIN_SORTED, min(MAX_MOVED, memory // MOVE_BYTES))
        bytes_ = MERGE_BYTES if duplicates in ("mean", "sum") else SORT_BYTES
        self._n_sorted = max(MIN_SORTED, memory // bytes_)
        self._n_users, self._n_items = len(gathered.users.ids), len(gathered.items.ids)
        self._all_users, self._all_items = (np.arange(n, dtype=np.int32) for n in (self._n_users, self._n_items))
        self._arrays: dict[str, tuple[str, tuple[int, ...]]] = {}

    def run(self) -> Outcome:
        """Sort."""
        with contextlib.ExitStack() as stack:
            self._stack = stack
            for name, side in (("users", self._gathered.users), ("items", self._gathered.items)):
                self._save(f"{name}.ids", side.ids.values)
            buckets, in_order = self._bucket_users()
            stack.callback(buckets.remove)
            merged, limits = self._sort_users(buckets)
            buckets.remove()
            self._gathered.release()
            self._sort_items()
        if not merged:
            limits = self._gathered.limits
        # Rounded as the values held are.
        low, high = (float(self._dtype.type(limit)) for limit in limits)
        return Outcome(self._arrays, (low, high), merged or not in_order)

    # By user

    def _bucket_users(self) -> tuple[Buckets, bool]:
        """Move entries to buckets of users; also tell whether they came in order."""
        gathered, n = self._gathered, self._gathered.n_ratings
        counts, value_type = np.zeros((1, self._n_users), np.int64), None
        for entries in gathered.entries(self._n_moved):
            entry_counts(entries.users, counts)
            value_type = np.result_type(entries.values, value_type or entries.values.dtype)
        self._value_type = np.dtype(value_type)
        buckets = Buckets(self._folder, counts[0], self._n_sorted)
        in_order, last, done = True, (-1, -1), 0
        table = of_table = np.empty(0, np.int32)
        for entries in gathered.entries(self._n_moved):
            if not len(entries.values):
                continue
            state = sorted_state(entries.users, entries.items, self._n_threads) if in_order else 0
            in_order = state >= BY_PAIR and last <= _pair(entries, 0)
            last = _pair(entries, -1)
            users, items = entries.users, entries.items
            columns = {"rating": entries.values.astype(self._value_type, copy=False)}
            columns |= {} if entries.weights is None else {"weight": entries.weights}
            columns |= {} if entries.times is None else {"timestamp": entries.times}
            if users.table is not table:
                table = users.table
                of_table = buckets.of_row[table]
            groups = Codes(users.raw, users.low, of_table, len(buckets))
            buckets.append(*group_entries(groups, {"user": users, "item": items}, columns, self._n_threads))
            done += len(entries.values)
            self._report("moving ratings to buckets of users", done / n)
        return buckets, in_order

    def _sort_users(self, buckets: Buckets) -> tuple[bool, tuple[float, float]]:
        """Sort bucket by bucket; return whether ratings were merged, and the range of all."""
        self._by_user = {"indices": self._open("by_user.indices", np.dtype(np.int32))}
        self._by_user["values"] = self._open("by_user.values", self._dtype)
        if self._gathered.has_times:
            self._by_user["times"] = self._open("timestamps", np.dtype(np.int64))
        self._item_counts = np.zeros((1, self._n_items), np.int64)
        sizes, merged, some_weight, low, high = [], False, False, np.inf, -np.inf
        repeated: list[
            tuple[int, int, int]
        ] = []  # the first pair of each bucket that is there twice: its entries, the bucket
        for bucket in range(len(buckets)):
            columns = buckets.read(bucket)
            codes, items = buckets.codes(columns["user"], bucket), plain_codes(columns["item"], self._all_items)
            place = ShiftedPlace(PAIR.entry, PAIR, self._by_user["indices"].n)
            try:
                rows, times, own_merged = sort_rows(
                    codes, items, columns["rating"], columns.get("weight"), columns.get("timestamp"), self._duplicates,
                    self._dtype, self._n_threads, place,
                )  # fmt: skip
            except RepeatedPair as pair:
                repeated.append((pair.row, pair.before, bucket))
                continue
            merged |= own_merged
            low, high = min(low, float(rows.values.min())), max(high, float(rows.values.max()))
            some_weight |= rows.weights is not None and bool(rows.weights.any())
            self._append(rows.indices, rows.values, rows.weights, times)
            _sort.count_codes(rows.indices, self._item_counts)
            sizes.append(np.diff(rows.indptr))
            self._report("sorting by user", (bucket + 1) / len(buckets))
        if repeated:
            self._refuse_repeated(buckets, repeated)
        refuse_no_weight("weights" not in self._by_user or some_weight)
        self._indptr = offsets(np.concatenate(sizes))
        self._save("by_user.indptr", self._indptr)
        for array in self._by_user.values():
            self._finish(array)
        return merged, (low, high)

    def _append(self, indices: Array, values: Array, weights: Array | None, times: Array | None) -> None:
        """Write the rows of a bucket. Weights may be there only from the first bucket on in which ratings were merged."""
        if weights is not None and "weights" not in self._by_user:
            self._by_user["weights"] = self._open("by_user.weights", self._dtype)
            left = self._by_user["indices"].n
            while left:
                self._by_user["weights"].append(np.ones(min(left, self._n_moved), self._dtype))
                left -= min(left, self._n_moved)
        self._by_user["indices"].append(indices)
        self._by_user["values"].append(values)
        if "weights" in self._by_user:
            self._by_user["weights"].append(np.ones(len(values), self._dtype) if weights is None else weights)
        if times is not None:
            self._by_user["times"].append(times)

    def _refuse_repeated(self, buckets: Buckets, repeated: list[tuple[int, int, int]]) -> NoReturn:
        """Find the first row of the input whose pair was there before.

        Entries of a bucket are in the order of the input, so that counting them tells which row is the n-th of a bucket.
        """
        wanted = {bucket: (before, at) for at, before, bucket in repeated}
        counts, rows = np.zeros(len(buckets), np.int64), dict[tuple[int, int], int]()
        for entries in self._gathered.entries(self._n_moved):
            of_entry = buckets.of_row[_all_codes(entries.users)]
            for bucket, places in wanted.items():
                mine = np.flatnonzero(of_entry == bucket)
                for place in places:
                    if counts[bucket] <= place < counts[bucket] + len(mine):
                        at = int(mine[place - counts[bucket]])
                        rows[bucket, place] = entries.start + (at if entries.kept is None else int(entries.kept[at]))
                counts[bucket] += len(mine)
        at, before, bucket = min(repeated, key=lambda pair: rows[pair[2], pair[0]])
        columns = buckets.read(bucket)
        raise RepeatedPair(rows[bucket, at], rows[bucket, before], int(columns["user"][at]), int(columns["item"][at]))

    # By item

    def _sort_items(self) -> None:
        """Move the sorted rows to buckets of items, and sort these."""
        n, counts = self._by_user["indices"].n, self._item_counts[0]
        self._save("by_item.indptr", offsets(counts))
        buckets = Buckets(self._folder, counts, self._n_sorted)
        self._stack.callback(buckets.remove)
        for begin, users in self._rows():
            items = self._by_user["indices"].read(begin, len(users))
            codes = {"user": plain_codes(users, self._all_users), "item": plain_codes(items, self._all_items)}
            columns = {name: self._by_user[name].read(begin, len(users)) for name in self._payloads()}
            groups = Codes(items, 0, buckets.of_row, len(buckets))
            buckets.append(*group_entries(groups, codes, columns, self._n_threads))
            self._report("moving ratings to buckets of items", (begin + len(users)) / n)
        by_item = {"indices": self._open("by_item.indices", np.dtype(np.int32))}
        by_item |= {name: self._open(f"by_item.{name}", self._dtype) for name in self._payloads()}
        for bucket in range(len(buckets)):
            columns = buckets.read(bucket)
            keys = buckets.codes(columns["item"], bucket)
            others = plain_codes(columns["user"], self._all_users)
            payloads = {name: columns[name] for name in self._payloads()}
            # They come by user, and equal items keep that order.
            _, moved = group_entries(keys, {"indices": others}, payloads, self._n_threads)
            for name, column in moved.items():
                by_item[name].append(column)
            self._report("sorting by item", (bucket + 1) / len(buckets))
        for array in by_item.values():
            self._finish(array)

    def _payloads(self) -> list[str]:
        return [name for name in ("values", "weights") if name in self._by_user]

    def _rows(self) -> Iterator[tuple[int, Array]]:
        """Yield the first of some sorted entries, and their users."""
        n = int(self._indptr[-1])
        for begin in range(0, n, self._n_moved):
            end = min(n, begin + self._n_moved)
            first = int(np.searchsorted(self._indptr, begin, side="right")) - 1
            last = int(np.searchsorted(self._indptr, end, side="left"))
            ends = np.clip(self._indptr[first : last + 1], begin, end).astype(np.int64)
            yield begin, np.repeat(np.arange(first, last, dtype=np.int32), ends[1:] - ends[:-1])

    # Arrays

    def _open(self, name: str, dtype: np.dtype[Any]) -> ArrayFile:
        array = ArrayFile(self._folder, name, dtype)
        self._stack.callback(array.close)
        return array

    def _finish(self, array: ArrayFile) -> None:
        array.finish()
        self._arrays[array.name] = array.dtype.str, (array.n,)

    def _save(self, name: str, values: Array) -> None:
        array = self._open(name, values.dtype)
        array.append(values)
        self._finish(array)


def plain_codes(codes: npt.NDArray[np.int32], all_codes: npt.NDArray[np.int32]) -> Codes:
    """Return codes that are codes already; `all_codes` are those from 0 on."""
    return Codes(codes, 0, all_codes, len(all_codes))


def _pair(entries: Entries, at: int) -> tuple[int, int]:
    """The codes of an entry."""
    users, items = entries.users, entries.items
    return int(users.table[int(users.raw[at]) - users.low]), int(items.table[int(items.raw[at]) - items.low])


def _all_codes(codes: Codes) -> Array:
    return codes.table[codes.raw.astype(np.int64, copy=False) - codes.low]

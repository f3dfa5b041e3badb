"""Files of text whose lines are plain: integers, and decimals of few digits, with one character between columns.

Nearly all files of ratings are, and such lines are parsed several times as fast as a reader can that must know more. Where a line
is not plain, the file is left to that reader, from its beginning, so that it decides on everything that needs a decision.
"""

from __future__ import annotations

import codecs
import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _csv, _threads
from alsx.ratings.text import INNER_SEPARATOR, Layout

Array = npt.NDArray[Any]

PART_BYTES = 2**22  # text of a part
BLOCK_BYTES = 2**20  # text that a thread parses at a time for `plain_columns`: it stays in the cache with its numbers
MAX_LINE_BYTES = 2**16  # longer lines are not plain
SPARE_SHARE = 1 / 32  # of the rows that are expected: room that is not used costs no memory
ROLES = {"user": 1, "item": 2, "rating": 3, "timestamp": 4}  # as `_csv.parse_lines` numbers them
NOT_PLAIN, TOO_WIDE = -1, -2


class NotPlain(Exception):
    """A line is not plain; or, where `is_wide`, it is, but an id needs 64 bits."""

    def __init__(self, is_wide: bool = False) -> None:
        super().__init__(is_wide)
        self.is_wide = is_wide


def may_be_plain(layout: Layout, types: dict[str, np.dtype[Any] | None]) -> bool:
    """Return whether a file of this layout may be plain, with columns of these types; None for text."""
    if codecs.lookup(layout.encoding).name not in ("utf-8", "ascii") or layout.delimiter == INNER_SEPARATOR:
        return False
    if len(layout.delimiter.encode()) > 1 or layout.delimiter in "-.0123456789\r":
        return False
    for role, dtype in types.items():
        if dtype is None or dtype.kind != ("f" if role == "rating" else "i") or dtype.itemsize not in (4, 8):
            return False
    return types["user"] == types["item"] and types.get("timestamp", np.dtype(np.int64)) == np.int64


def plain_types(
    layout: Layout, columns: dict[str, int], types: dict[str, np.dtype[Any]]
) -> dict[str, np.dtype[Any]] | None:
    """Return the types that hold the first lines, with ids of 64 bits where one needs them; None where a line is not plain.

    Parameters
    ----------
    layout : Layout
    columns : dict of str to int
        The numbers of the columns, by role.
    types : dict of str to dtype
        What they are to become, by role.
    """
    if len(set(columns.values())) < len(columns) or not may_be_plain(layout, dict(types)):
        return None
    text = np.frombuffer(layout.sample.encode() + b"\0", np.uint8)
    roles = _roles(layout, columns)
    n = _csv.count_lines(text) + 1
    for ids in (np.dtype(np.int32), np.dtype(np.int64)):
        found = types | {"user": ids, "item": ids}
        n_found = _parse(text, layout, roles, {role: np.empty(n, dtype) for role, dtype in found.items()})
        if n_found != TOO_WIDE:
            return found if n_found > 0 else None
    return None


def _roles(layout: Layout, columns: dict[str, int]) -> npt.NDArray[np.int32]:
    """What each column of a file is, as `_csv.parse_lines` numbers it."""
    roles = np.zeros(len(layout.names), np.int32)
    for role, number in columns.items():
        roles[number] = ROLES[role]
    return roles


def _parse(text: npt.NDArray[np.uint8], layout: Layout, roles: npt.NDArray[np.int32], out: dict[str, Array]) -> int:
    """Parse lines as `_csv.parse_lines` does, whose result is returned."""
    ratings, times = out.get("rating", np.empty(0, np.float32)), out.get("timestamp", np.empty(0, np.int64))
    return _csv.parse_lines(text, ord(layout.delimiter), roles, out["user"], out["item"], ratings, times)


def plain_parts(
    raw: Any, layout: Layout, columns: dict[str, int], types: dict[str, np.dtype[Any]], n_bytes: int = PART_BYTES
) -> Iterator[dict[str, Array]]:
    """Yield the columns of a plain file, some rows at a time, in their order.

    Parameters
    ----------
    raw : binary file
        At its beginning, decompressed.
    layout : Layout
        For which `may_be_plain` is true.
    columns : dict of str to int
        The numbers of the columns, by role.
    types : dict of str to dtype
        What they become, by role.
    n_bytes : int
        Text of a part.

    Raises
    ------
    NotPlain
        Where a line is not plain; what was yielded does not count.
    """

    def room(n_rows: int, _: int) -> dict[str, Array]:
        return {role: np.empty(n_rows, types[role]) for role in columns}

    return _parsed(raw, layout, columns, n_bytes, room)


def plain_columns(
    raw: Any, layout: Layout, columns: dict[str, int], types: dict[str, np.dtype[Any]], n_bytes: int = BLOCK_BYTES
) -> dict[str, Array]:
    """Return the columns of a plain file, which threads write right to their places.

    Parameters
    ----------
    raw, layout, columns, types, n_bytes
        As `plain_parts` takes them.

    Raises
    ------
    NotPlain
        Where a line is not plain.
    """
    # Of what is compressed the size is not known.
    size = os.fstat(raw.fileno()).st_size if isinstance(raw, io.FileIO) else None
    slabs: list[_Slab] = []
    n_rows = n_read = 0

    def room(n: int, n_text: int) -> dict[str, Array]:
        nonlocal n_rows, n_read
        n_rows, n_read = n_rows + n, n_read + n_text
        if not slabs or not slabs[-1].has_room(n):
            # As many rows are to come as there are if lines stay as long as they were; as many as there were where nobody knows.
            left = n_read if size is None else max(size - n_read, 0)
            expected = int(left * (n_rows / n_read) * (1 + SPARE_SHARE))
            slabs.append(_Slab(n + expected, {role: types[role] for role in columns}))
        return slabs[-1].take(n)

    deque(_parsed(raw, layout, columns, n_bytes, room), maxlen=0)
    out = {}
    for role in columns:
        # One column after the other leaves the slabs, so that it is not held twice.
        parts = [slab.column(role) for slab in slabs]
        out[role] = np.concatenate(parts or [np.empty(0, types[role])]) if len(parts) != 1 else parts[0]
    return out


class _Slab:
    """Columns of which the first rows are taken."""

    def __init__(self, capacity: int, types: dict[str, np.dtype[Any]]) -> None:
        self._columns = {role: np.empty(capacity, dtype) for role, dtype in types.items()}
        self._capacity, self._n_rows = capacity, 0

    def has_room(self, n: int) -> bool:
        """Return whether there are n rows more."""
        return self._n_rows + n <= self._capacity

    def take(self, n: int) -> dict[str, Array]:
        """Return the next n rows, to be written."""
        begin, self._n_rows = self._n_rows, self._n_rows + n
        return {role: column[begin : begin + n] for role, column in self._columns.items()}

    def column(self, role: str) -> Array:
        """Return the rows of a column that were taken, once; parts of it must not be used any more."""
        column = self._columns.pop(role)
        column.resize(self._n_rows, refcheck=False)  # which gives back what is behind, without a copy
        return column


def _parsed(
    raw: Any, layout: Layout, columns: dict[str, int], n_bytes: int, room: Callable[[int, int], dict[str, Array]]
) -> Iterator[dict[str, Array]]:
    """Parse a file with all threads; yield what `room(rows, bytes of text)` gave for its blocks, written, in their order."""
    roles = _roles(layout, columns)
    spare: list[Array] = []  # memory of blocks that are parsed, which is in the cache still

    def parse(text: npt.NDArray[np.uint8], out: dict[str, Array], buffer: Array) -> dict[str, Array]:
        found = _parse(text, layout, roles, out)
        spare.append(buffer)
        if found < 0:
            raise NotPlain(found == TOO_WIDE)
        return out

    def jobs() -> Iterator[tuple[npt.NDArray[np.uint8], dict[str, Array], Array]]:
        for text, buffer in _blocks(raw, layout.n_head_lines, n_bytes, spare):
            # Only the last line of all may have no line break.
            n = _csv.count_lines(text) + (text[-2] != ord("\n"))
            yield text, room(n, len(text) - 1), buffer

    n_threads = _threads.resolve()
    if n_threads == 1:
        for job in jobs():
            yield parse(*job)
        return
    # This thread reads, and decompresses, while others parse.
    with ThreadPoolExecutor(n_threads) as pool:
        pending: deque[Future[dict[str, Array]]] = deque()
        try:
            for job in jobs():
                pending.append(pool.submit(parse, *job))
                if len(pending) > n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _blocks(
    raw: Any, n_head_lines: int, n_bytes: int, spare: list[Array]
) -> Iterator[tuple[npt.NDArray[np.uint8], Array]]:
    """Yield a file's text behind the first lines in blocks of whole lines, with a zero behind each block.

    Each comes with the memory that it is in, which is used again when it is in `spare`.
    """
    rest = np.empty(0, np.uint8)
    while True:
        buffer = spare.pop() if spare else np.empty(MAX_LINE_BYTES + n_bytes + 1, np.uint8)
        buffer[: len(rest)] = rest
        end, full = len(rest), len(rest) + n_bytes
        while end < full:
            read = raw.readinto(memoryview(buffer)[end:full])
            if not read:
                break
            end += read
        is_last = end < full
        begin = 0
        while n_head_lines:
            at = buffer[begin:end].tobytes().find(b"\n")
            if at < 0:
                raise NotPlain
            begin, n_head_lines = begin + at + 1, n_head_lines - 1
        stop = end
        if not is_last:
            tail = max(begin, end - MAX_LINE_BYTES)
            stop = tail + buffer[tail:end].tobytes().rfind(b"\n") + 1
            if stop == tail:
                raise NotPlain
        rest = buffer[stop:end].copy()
        buffer[stop] = 0
        if stop > begin:
            yield buffer[begin : stop + 1], buffer
        if is_last:
            return

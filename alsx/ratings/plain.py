"""Files of text whose lines are plain: integers, and decimals of few digits, with one character between columns.

Nearly all files of ratings are, and such lines are parsed several times as fast as a reader can that must know more. Where a line
is not plain, the file is left to that reader, from its beginning, so that it decides on everything that needs a decision.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _csv, _threads
from alsx.ratings.text import INNER_SEPARATOR, Layout

Array = npt.NDArray[Any]

BLOCK_BYTES = 2**22  # text that a thread parses at a time
MAX_LINE_BYTES = 2**16  # longer lines are not plain
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


def plain_parts(
    raw: Any, layout: Layout, columns: dict[str, int], types: dict[str, np.dtype[Any]], n_bytes: int = BLOCK_BYTES
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
    roles = np.zeros(len(layout.names), np.int32)
    for role, number in columns.items():
        roles[number] = ROLES[role]

    def parse(text: npt.NDArray[np.uint8]) -> dict[str, Array]:
        n = int(np.count_nonzero(text == ord("\n"))) + 1
        out = {role: np.empty(n, types[role]) for role in columns}
        ratings, times = out.get("rating", np.empty(0, np.float32)), out.get("timestamp", np.empty(0, np.int64))
        found = _csv.parse_lines(text, ord(layout.delimiter), roles, out["user"], out["item"], ratings, times)
        if found < 0:
            raise NotPlain(found == TOO_WIDE)
        return {role: column[:found] for role, column in out.items()}

    n_threads = _threads.resolve()
    if n_threads == 1:
        yield from map(parse, _blocks(raw, layout.n_head_lines, n_bytes))
        return
    # This thread reads, and decompresses, while others parse.
    with ThreadPoolExecutor(n_threads) as pool:
        pending: deque[Future[dict[str, Array]]] = deque()
        try:
            for text in _blocks(raw, layout.n_head_lines, n_bytes):
                pending.append(pool.submit(parse, text))
                if len(pending) > n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _blocks(raw: Any, n_head_lines: int, n_bytes: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a file's text behind the first lines in blocks of whole lines, with a zero behind each block."""
    rest = np.empty(0, np.uint8)
    while True:
        buffer = np.empty(len(rest) + n_bytes + 1, np.uint8)
        buffer[: len(rest)] = rest
        end = len(rest)
        while end < len(buffer) - 1:
            read = raw.readinto(memoryview(buffer)[end:-1])
            if not read:
                break
            end += read
        is_last = end < len(buffer) - 1
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
            yield buffer[begin : stop + 1]
        if is_last:
            return

"""Columns that are written part by part and read again part by part, in memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Spill(Protocol):
    """Columns of one length, each of which may change its type from part to part."""

    n_rows: int

    def clear(self) -> None:
        """Forget everything."""

    def append(self, columns: dict[str, Array]) -> None:
        """Write the next rows."""

    def parts(self, most: int, names: tuple[str, ...] | None = None) -> Iterator[tuple[int, dict[str, Array]]]:
        """Yield the number of the first row of a part of at most `most` rows, and its columns, all or those named."""


class MemorySpill:
    """Columns in memory; they are read as a single part."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.n_rows = 0
        self._columns: dict[str, list[Array]] = {}

    def append(self, columns: dict[str, Array]) -> None:
        """Write the next rows."""
        for name, column in columns.items():
            self._columns.setdefault(name, []).append(column)
            self.n_rows += len(column) if name == next(iter(columns)) else 0

    def parts(self, most: int, names: tuple[str, ...] | None = None) -> Iterator[tuple[int, dict[str, Array]]]:
        """Yield all rows."""
        for name, pieces in self._columns.items():
            if len(pieces) > 1 and (names is None or name in names):
                self._columns[name] = [np.concatenate(pieces)]
                pieces.clear()
        wanted = self._columns if names is None else names
        yield 0, {name: self._columns[name][0] for name in wanted}


class DiskSpill:
    """Columns in files of their own, in a folder that is there.

    What is read is memory of its own: pages of the files can be dropped by the system at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the files."""
        self._stack.close()
        for name in self._files:
            (self._folder / f"{name}.spill").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        self.n_rows = 0
        # Rows of one type after the other: how many, and the types.
        self._runs: list[tuple[int, dict[str, np.dtype[Any]]]] = []
        for file in self._files.values():
            file.seek(0)
            file.truncate()

    def append(self, columns: dict[str, Array]) -> None:
        """Write the next rows."""
        n, types = len(next(iter(columns.values()))), {name: column.dtype for name, column in columns.items()}
        for name, column in columns.items():
            if name not in self._files:
                path = self._folder / f"{name}.spill"
                self._files[name] = self._stack.enter_context(path.open("w+b", buffering=0))
            write_all(self._files[name], column)
        self.n_rows += n
        if self._runs and self._runs[-1][1] == types:
            n += self._runs.pop()[0]
        self._runs.append((n, types))

    def parts(self, most: int, names: tuple[str, ...] | None = None) -> Iterator[tuple[int, dict[str, Array]]]:
        """Yield the number of the first row of a part of at most `most` rows, and its columns, all or those named."""
        start, places = 0, dict.fromkeys(self._files, 0)
        for n, types in self._runs:
            for begin in range(0, n, most):
                rows = min(most, n - begin)
                part = {}
                for name, dtype in types.items():
                    if names is None or name in names:
                        part[name] = read_array(self._files[name], places[name], dtype, rows)
                    places[name] += rows * dtype.itemsize
                yield start, part
                start += rows


def write_all(file: IO[bytes], array: Array) -> None:
    """Write an array to a file without a buffer, which may take some of it at a time."""
    left = memoryview(np.ascontiguousarray(array)).cast("B")
    while len(left):
        left = left[file.write(left) :]


def read_array(file: IO[bytes], begin: int, dtype: np.dtype[Any], n: int) -> Array:
    """Return `n` entries from the byte `begin` on, in memory of their own."""
    array = np.empty(n, dtype)
    left = memoryview(array).cast("B")
    file.seek(begin)
    while len(left):
        read = file.readinto(left)  # type: ignore[attr-defined]
        if not read:
            raise OSError(f"{file.name} is shorter than it was written")
        left = left[read:]
    return array

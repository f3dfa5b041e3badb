"""Ratings in files: the wanted columns of a CSV or Parquet file, in the narrowest types that hold them.

pyarrow reads them, with all processors. The types are asked for, since 32-bit ids and ratings take half the memory and
less than half the time of what it would choose. A file is opened first, which tells the names of its columns, and then
those that are needed are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alsx.ratings._caller import Caller
from alsx.ratings.frames import choose_columns
from alsx.ratings.raw import Column, RawRatings, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
SEPARATORS = ",\t;|"
BLOCK_BYTES = 2**22  # text that one thread parses at a time: enough that handing blocks out costs nothing
HEAD_BYTES = 2**16  # text that the names and likely types of the columns are found in


def is_path(data: Any) -> bool:
    """Return whether `data` names a file."""
    return isinstance(data, (str, os.PathLike))


class RatingsFile(Protocol):
    """An open file.

    Attributes
    ----------
    names : list of str
        Names of all columns.
    """

    names: list[str]

    def read(self, roles: dict[str, str], dtype: np.dtype[Any]) -> pa.Table:
        """Return a table of the columns `roles` (role -> name); floating-point ones of `dtype` where they fit."""
        ...


def from_file(
    path: Any, y: Any, names: dict[str, Any], sample_weight: Any, dtype: np.dtype[Any], caller: Caller
) -> RawRatings:
    """Return the ratings of a file.

    Parameters
    ----------
    path : path-like
        A file whose name ends in one of `SUFFIXES`.
    y : array-like, shape (n,), or None
        Ratings, where the file has none.
    names : dict of str to str, bool or None
        Names of the columns that are asked for, as `choose_columns` takes them.
    sample_weight : array-like, shape (n,), or None
        Weights.
    dtype : numpy.dtype
        Type of the ratings that will be held.
    caller : Caller
        Whose argument this is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, or not whole.
    """
    file = open_file(path)
    roles = choose_columns(file.names, names, y is not None, caller)
    found = file.read(roles, dtype)
    columns = {}
    for role, name in roles.items():
        column = found.column(name)
        # One column after the other leaves the table, so that it is not held twice.
        found = found.drop_columns([name])
        columns[role] = Column(_numpy(column), f"{path}, column {name!r}")
        del column
    if y is not None:
        columns["rating"] = Column(y, caller.y)
    return check_columns(
        columns.pop("user"), columns.pop("item"), columns.pop("rating"), columns.pop("timestamp", None),
        Column(sample_weight, caller.weights), dtype,
    )  # fmt: skip


def open_file(path: Any) -> RatingsFile:
    """Return an open file of ratings, whose columns are known but not read yet.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is of another kind, or has no columns.
    """
    file = Path(path)
    if not file.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{file} is not a file of ratings that can be read; its name must end in {', '.join(SUFFIXES)}"
        )
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give the path of a CSV or Parquet file of ratings")
    return ParquetFile(file) if file.suffix.lower() == ".parquet" else CsvFile(file)


@contextmanager
def _named_errors(file: Path) -> Iterator[None]:
    """Arrow's errors with the file's name in front."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is malformed: {error}") from None


def _numpy(column: pa.ChunkedArray) -> Any:
    """Integers and floating-point numbers without missing values as a NumPy array; all else as it is."""
    import pyarrow.types as pt

    if not (pt.is_integer(column.type) or pt.is_floating(column.type)) or column.null_count:
        return column
    parts = [part.to_numpy() for part in column.chunks]
    # By NumPy, since it asks for large pages of memory: a third of the time that Arrow's own copy takes.
    return np.concatenate(parts) if len(parts) > 1 else column.to_numpy()


# ---------------------------------------------------------------------------------------------------------------------
# CSV


class CsvFile:
    """A file of lines of text, the first of which names the columns."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self._file = file
        with _named_errors(file):
            self._parse = csv.ParseOptions(delimiter=_separator(file))
            try:
                with pa.input_stream(str(file), compression="detect") as stream:
                    self._head = csv.open_csv(stream, csv.ReadOptions(block_size=HEAD_BYTES), self._parse).schema
            except pa.ArrowInvalid as error:
                if "Empty CSV" in str(error):
                    raise ValueError(f"{file} is empty; its first line must name the columns") from None
                raise self._malformed(error) from None
        self.names: list[str] = self._head.names

    def read(self, roles: dict[str, str], dtype: np.dtype[Any]) -> pa.Table:
        """Return a table of the columns `roles` (role -> name)."""
        import pyarrow as pa

        wanted = list(dict.fromkeys(roles.values()))
        # The types of the first lines are tried for the whole file; where a later line holds something else, Arrow
        # looks for a type that holds all.
        types = {
            name: _narrow_type(self._head.field(name).type, name == roles.get("timestamp"), dtype) for name in wanted
        }
        with _named_errors(self._file):
            try:
                return self._table(wanted, types)
            except pa.ArrowInvalid as error:
                if "conversion error" not in str(error):
                    raise self._malformed(error) from None
            return self._table(wanted, {})

    def _table(self, wanted: list[str], types: dict[str, Any]) -> pa.Table:
        from pyarrow import csv

        return csv.read_csv(
            self._file,
            csv.ReadOptions(block_size=BLOCK_BYTES),
            self._parse,
            csv.ConvertOptions(include_columns=wanted, column_types=types),
        )

    def _malformed(self, error: Exception) -> ValueError:
        """The message for a malformed line, whose number Arrow only knows where one thread reads."""
        import pyarrow as pa
        from pyarrow import csv

        try:
            with pa.input_stream(str(self._file), compression="detect") as stream:
                csv.read_csv(stream, csv.ReadOptions(use_threads=False), self._parse)
        except pa.ArrowInvalid as numbered:
            error = numbered
        return ValueError(f"{self._file} is malformed: {error}")


def _separator(file: Path) -> str:
    """The character between columns: the one that the name of the file promises, if the first line has it."""
    import pyarrow as pa

    with pa.input_stream(str(file), compression="detect") as stream:
        first = stream.read(HEAD_BYTES).partition(b"\n")[0].decode("utf-8", "replace")
    promised = "\t" if ".tsv" in file.name.lower() else ","
    return next((c for c in (promised, *SEPARATORS) if c in first), promised)


def _narrow_type(kind: pa.DataType, is_time: bool, dtype: np.dtype[Any]) -> pa.DataType:
    """The narrowest type that is likely to hold a column whose first lines hold `kind`."""
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_integer(kind):
        return pa.int64() if is_time else pa.int32()
    if pt.is_floating(kind):
        return pa.from_numpy_dtype(dtype)
    return pa.dictionary(pa.int32(), pa.string()) if pt.is_string(kind) else kind


# ---------------------------------------------------------------------------------------------------------------------
# Parquet


class ParquetFile:
    """A Parquet file."""

    def __init__(self, file: Path) -> None:
        from pyarrow import parquet

        self._file = file
        with _named_errors(file), parquet.ParquetFile(file) as content:
            self._schema = content.schema_arrow
        self.names: list[str] = self._schema.names

    def read(self, roles: dict[str, str], dtype: np.dtype[Any]) -> pa.Table:
        """Return a table of the columns `roles` (role -> name)."""
        import pyarrow as pa
        import pyarrow.types as pt
        from pyarrow import parquet

        wanted = list(dict.fromkeys(roles.values()))
        kinds = {name: self._schema.field(name).type for name in wanted}
        texts = [name for name, kind in kinds.items() if pt.is_string(kind) or pt.is_large_string(kind)]
        narrow = {
            name: pa.int32() if pt.is_integer(kind) else pa.from_numpy_dtype(dtype)
            for name, kind in kinds.items()
            if (pt.is_integer(kind) and name != roles.get("timestamp")) or pt.is_floating(kind)
        }
        parts: list[pa.Table] = []
        with _named_errors(self._file), parquet.ParquetFile(self._file, read_dictionary=texts) as content:
            for group in range(content.num_row_groups):
                part = content.read_row_group(group, columns=wanted)
                # A row group after the other is made narrow, so that wide columns are never held whole.
                for name, kind in list(narrow.items()):
                    at = part.schema.get_field_index(name)
                    try:
                        column = part.column(at).cast(kind, safe=pt.is_integer(kind))
                    except pa.ArrowInvalid:
                        del narrow[name]  # too large for 32 bits
                        parts = [_cast(earlier, name, kinds[name]) for earlier in parts]
                        continue
                    part = part.set_column(at, name, column)
                parts.append(part)
            return pa.concat_tables(parts) if parts else self._schema.empty_table().select(wanted)


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, table.column(at).cast(kind))

"""Ratings in files: the wanted columns of a CSV or Parquet file, in the narrowest types that hold them.

By pyarrow, which parses text on all processors; the types are asked for, since 32-bit ids and ratings are half the memory
and more than half the time of what it would choose.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
DELIMITERS = ",\t;|"
BLOCK = 2**22  # bytes of text that one thread parses at a time: enough that handing blocks out costs nothing


def is_path(data: Any) -> bool:
    """Whether `data` names a file."""
    return isinstance(data, (str, os.PathLike))


def read(path: Any, choose: Callable[[list[str]], dict[str, str]], dtype: np.dtype[Any]) -> dict[str, Any]:
    """
    Read columns of a file.

    Parameters
    ----------
    path : path-like
        A file whose name ends in one of `SUFFIXES`.
    choose : callable
        ``choose(names)`` is given the names of all columns and returns which to read, role -> name.
    dtype : numpy.dtype
        Type of floating-point columns: float32 or float64.

    Returns
    -------
    columns : dict of role -> ndarray or pyarrow.ChunkedArray
        Integers without missing values as int32 where they fit, else int64; floating-point numbers of `dtype`; all else as
        pyarrow has it, strings dictionary-encoded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, or not whole.
    """
    file = Path(path)
    if not file.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{file} is no file of ratings that can be read: its name must end in one of {', '.join(SUFFIXES)}"
        )
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give the path of a CSV or Parquet file of ratings")
    reader = _read_parquet if file.suffix.lower() == ".parquet" else _read_csv
    with _told(file):
        roles, table = reader(file, choose, dtype)
    columns = {}
    for role, name in roles.items():
        column = table.column(name)
        # One column after the other leaves the table, so that it is not held twice.
        table = table.drop_columns([name])
        columns[role] = _numpy(column)
    return columns


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Arrow's errors with the file's name in front."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is malformed: {error}") from None


def _numpy(column: pa.ChunkedArray) -> Any:
    import pyarrow.types as pt

    if not (pt.is_integer(column.type) or pt.is_floating(column.type)) or column.null_count:
        return column
    parts = [part.to_numpy() for part in column.chunks]
    # By NumPy, since it asks for large pages of memory: a third of the time that Arrow's own copy takes.
    return np.concatenate(parts) if len(parts) > 1 else column.to_numpy()


# ---------------------------------------------------------------------------------------------------------------------
# CSV


def _read_csv(
    file: Path, choose: Callable[[list[str]], dict[str, str]], dtype: np.dtype[Any]
) -> tuple[dict[str, str], pa.Table]:
    import pyarrow as pa
    from pyarrow import csv

    delimiter = _delimiter(file)
    parse = csv.ParseOptions(delimiter=delimiter)
    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            found = csv.open_csv(stream, csv.ReadOptions(block_size=2**16), parse).schema
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise ValueError(f"{file} is empty; its first line must name the columns") from None
        raise ValueError(_with_line(file, parse, error)) from None
    roles = choose(found.names)
    wanted = list(dict.fromkeys(roles.values()))
    # What the first lines hold is tried for the whole file; where a later line holds something else, Arrow looks for a type
    # that holds all.
    types = {name: _narrow(found.field(name).type, name == roles.get("timestamp"), dtype) for name in wanted}
    try:
        return roles, _table(file, parse, wanted, types)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise ValueError(_with_line(file, parse, error)) from None
    return roles, _table(file, parse, wanted, {})


def _delimiter(file: Path) -> str:
    """The character between columns: the one that the name of the file promises, if the first line has it."""
    import pyarrow as pa

    with pa.input_stream(str(file), compression="detect") as stream:
        first = stream.read(2**16).partition(b"\n")[0].decode("utf-8", "replace")
    promised = "\t" if ".tsv" in file.name.lower() else ","
    return next((c for c in (promised, *DELIMITERS) if c in first), promised)


def _narrow(kind: pa.DataType, time: bool, dtype: np.dtype[Any]) -> pa.DataType | None:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_integer(kind):
        return pa.int64() if time else pa.int32()
    if pt.is_floating(kind):
        return pa.from_numpy_dtype(dtype)
    return pa.dictionary(pa.int32(), pa.string()) if pt.is_string(kind) else kind


def _table(file: Path, parse: Any, wanted: list[str], types: dict[str, Any], threads: bool = True) -> pa.Table:
    from pyarrow import csv

    return csv.read_csv(
        file,
        csv.ReadOptions(block_size=BLOCK, use_threads=threads),
        parse,
        csv.ConvertOptions(include_columns=wanted, column_types=types),
    )


def _with_line(file: Path, parse: Any, error: Exception) -> str:
    """The sentence for a malformed line; Arrow only knows its number where one thread reads."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            csv.read_csv(stream, csv.ReadOptions(use_threads=False), parse)
    except pa.ArrowInvalid as told:
        error = told
    return f"{file} is malformed: {error}"


# ---------------------------------------------------------------------------------------------------------------------
# Parquet


def _read_parquet(
    file: Path, choose: Callable[[list[str]], dict[str, str]], dtype: np.dtype[Any]
) -> tuple[dict[str, str], pa.Table]:
    import pyarrow as pa
    import pyarrow.types as pt
    from pyarrow import parquet

    with parquet.ParquetFile(file) as content:
        schema = content.schema_arrow
    roles = choose(schema.names)
    wanted = list(dict.fromkeys(roles.values()))
    kinds = {name: schema.field(name).type for name in wanted}
    texts = [name for name, kind in kinds.items() if pt.is_string(kind) or pt.is_large_string(kind)]
    narrow = {
        name: pa.int32() if pt.is_integer(kind) else pa.from_numpy_dtype(dtype)
        for name, kind in kinds.items()
        if (pt.is_integer(kind) and name != roles.get("timestamp")) or pt.is_floating(kind)
    }
    parts: list[pa.Table] = []
    with parquet.ParquetFile(file, read_dictionary=texts) as content:
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
    return roles, pa.concat_tables(parts) if parts else schema.empty_table().select(wanted)


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, table.column(at).cast(kind))

"""Ratings in Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alsx.ratings._caller import Place, path_name, show_name
from alsx.ratings.columns import ROW, plain_numbers
from alsx.ratings.raw import Column, Missing
from alsx.ratings.text import named_errors

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 2**20  # rows of a part of a file
BUFFER_BYTES = 2**22  # of a column that is read part by part


class ParquetFile:
    """A Parquet file.

    Parameters
    ----------
    file : pathlib.Path
        The file.

    Attributes
    ----------
    names : list of str
        Names of all columns.
    place : Place
        How messages say where a row is.
    """

    def __init__(self, file: Path) -> None:
        from pyarrow import parquet

        self._file, self._name = file, path_name(file)
        self.place: Place = ROW
        with named_errors(self._name), parquet.ParquetFile(file) as content:
            self._schema = content.schema_arrow
        self.names: list[str] = self._schema.names

    def read(
        self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None], missing: Missing
    ) -> dict[str, Column]:
        """Return the columns `roles` (role -> name); floating-point ones of `dtype`, integers of 32 bits where they fit.

        The parameters are those of `CsvFile.read`; ids have the type that the file says.
        """
        with named_errors(self._name):
            table = self._table(roles, dtype)
        columns = {}
        for role, name in roles.items():
            column = table.column(name)
            # One column after the other leaves the table, so that it is not held twice.
            table = table.drop_columns([name])
            columns[role] = Column(plain_numbers(column), f"{self._name}, column {show_name(name)}")
            del column
        return columns

    def _table(self, roles: dict[str, str], dtype: np.dtype[Any]) -> pa.Table:
        """The columns in narrow types, row group by row group, so that wide columns are never held whole."""
        import pyarrow as pa
        from pyarrow import parquet

        wanted, texts, narrow = self._wanted(roles, dtype)
        kinds = {name: self._schema.field(name).type for name in wanted}
        parts: list[pa.Table] = []
        with parquet.ParquetFile(self._file, read_dictionary=texts) as content:
            for group in range(content.num_row_groups):
                part, too_large = _narrowed(content.read_row_group(group, columns=wanted), narrow)
                for name in too_large:
                    del narrow[name]
                    parts = [_cast(earlier, name, kinds[name]) for earlier in parts]
                parts.append(part)
        return pa.concat_tables(parts) if parts else self._schema.empty_table().select(wanted)

    def _wanted(
        self, roles: dict[str, str], dtype: np.dtype[Any]
    ) -> tuple[list[str], list[str], dict[str, pa.DataType]]:
        """The columns that are needed, those of text among them, and narrow types for those of numbers."""
        import pyarrow as pa
        import pyarrow.types as pt

        wanted = list(dict.fromkeys(roles.values()))
        kinds = {name: self._schema.field(name).type for name in wanted}
        texts = [name for name, kind in kinds.items() if pt.is_string(kind) or pt.is_large_string(kind)]
        narrow = {
            name: pa.int32() if pt.is_integer(kind) else pa.from_numpy_dtype(dtype)
            for name, kind in kinds.items()
            if (pt.is_integer(kind) and name != roles.get("timestamp")) or pt.is_floating(kind)
        }
        return wanted, texts, narrow

    def kinds(self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None]) -> dict[str, Any]:
        """Return what the columns are read as, for `parts`; the parameters are those of `CsvFile.read`."""
        return self._wanted(roles, dtype)[2]

    def parts(self, roles: dict[str, str], kinds: dict[str, Any], *, at_once: bool = False) -> Iterator[pa.Table]:
        """Yield the columns by role, some rows at a time, in their order; as `CsvFile.parts`.

        Integers have 32 bits in those tables where they fit.
        """
        import pyarrow as pa
        from pyarrow import parquet

        wanted = list(dict.fromkeys(roles.values()))
        _, texts, narrow = self._wanted(roles, np.dtype(np.float64))
        narrow = {name: kinds.get(name, kind) for name, kind in narrow.items()}
        # Without a buffer a column of a row group would be held whole.
        options = {"read_dictionary": texts, "buffer_size": BUFFER_BYTES}
        with named_errors(self._name), parquet.ParquetFile(self._file, **options) as content:
            for batch in content.iter_batches(PART_ROWS, columns=wanted):
                part, _ = _narrowed(pa.Table.from_batches([batch]), narrow)
                yield pa.table([part.column(name) for name in roles.values()], names=list(roles))


def _narrowed(part: pa.Table, narrow: dict[str, pa.DataType]) -> tuple[pa.Table, list[str]]:
    """Columns in narrow types, and the names of those that hold too large integers for them."""
    import pyarrow as pa
    import pyarrow.types as pt

    too_large = []
    for name, kind in narrow.items():
        at = part.schema.get_field_index(name)
        try:
            column = part.column(at).cast(kind, safe=pt.is_integer(kind))
        except pa.ArrowInvalid:
            too_large.append(name)
            continue
        part = part.set_column(at, name, column)
    return part, too_large


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, table.column(at).cast(kind))

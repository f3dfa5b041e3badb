"""Ratings in CSV files and the like: lines of text with something between columns.

Arrow parses them, with all processors, into the types that their first lines promise. Where a column is not what it
promised, it is read as text, and becomes what all of its texts are: ids are integers only if every one is written as an
integer is (00417 is not 417), and a message names the first text that is not a number, with its line.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, Place, path_name, show, show_name
from alsx.ratings.columns import combined, first_null, plain_numbers
from alsx.ratings.plain import NotPlain, may_be_plain, plain_columns, plain_parts, plain_types
from alsx.ratings.raw import Column, Missing
from alsx.ratings.text import (
    BLANKS,
    INNER_SEPARATOR,
    LayoutOptions,
    TextStream,
    find_layout,
    named_errors,
    open_bytes,
    records,
)
from alsx.ratings.texts import INTEGER, Texts, refuse_empty_rating

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

BLOCK_BYTES = 2**22  # text that one thread parses at a time: enough that handing blocks out costs nothing
MAX_BLOCK_BYTES = 2**30  # the longest row


@dataclass(frozen=True)
class LinePlace(Place):
    """The line of a row of a file."""

    file: CsvFile | None = None

    def __call__(self, at: int) -> str:
        """Return the line of the row `at`."""
        assert self.file is not None
        return f"line {self.file.line_of(at):,}"


class ReadAgain(Exception):
    """A file has to be read once more, from its beginning, in another way."""


class CsvFile:
    """A file of lines of text.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    options : LayoutOptions
        What the caller says of its layout.
    asked : set
        Names of columns that the caller asks for.
    caller : Caller
        Whose argument it is.

    Attributes
    ----------
    names : list of str
        Names of all columns.
    place : Place
        How messages say where a row is.
    """

    def __init__(self, file: Path, options: LayoutOptions, asked: set[Any], caller: Caller) -> None:
        self._file, self._options, self._caller = file, options, caller
        self._name = path_name(file)
        with named_errors(self._name):
            self._layout = find_layout(file, options, asked, caller)
        self.names = self._layout.names
        self.place: Place = LinePlace("line", self)
        self._quoting = options.quoting is not False and self._layout.delimiter != INNER_SEPARATOR
        # Whether every row is one line, so that the line of a row need not be looked for.
        self._is_row_per_line = False
        self._newlines, self._n_records = False, 0  # whether rows run over lines, and how many rows there are then
        self._block_bytes = BLOCK_BYTES
        self._is_plain = True  # as far as it is known
        self._drops_blanks = False  # whether lines of nothing but blanks are passed over, as empty ones are

    # -----------------------------------------------------------------------------------------------------------------
    # Columns

    def read(
        self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None], missing: Missing
    ) -> dict[str, Column]:
        """Return the columns `roles` (role -> name).

        Parameters
        ----------
        roles : dict
            Names of the columns that are needed, by role: "user", "item", "rating", "timestamp".
        dtype : numpy.dtype
            Type of floating-point numbers.
        id_types : dict
            For "user" and "item" "integers", "strings", or None: what the file has.
        missing : Missing
            Ratings that stand for none.
        """
        found = self._plain_columns(roles, dtype, id_types)
        kinds = {} if found is not None else self.kinds(roles, dtype, id_types)
        while found is None:
            with suppress(ReadAgain):
                found = self._whole(roles, kinds)
        # One column after the other leaves the table, so that it is not held twice.
        columns = {
            role: self._column(role, name, found.pop(role), id_types.get(role), missing) for role, name in roles.items()
        }
        at = is_repeated_header(columns["user"].values, columns["item"].values, roles)
        if at is not None:
            refuse_repeated_header(self._name, self.place(at))
        return columns

    def _plain_columns(
        self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None]
    ) -> dict[str, Any] | None:
        """The columns by role of a file of plain lines; None where it has others.

        Arrow is not even imported, which takes as long as reading a hundred megabytes.
        """
        columns = {role: self.names.index(name) for role, name in roles.items()}
        integers = np.dtype(np.int32), np.dtype(np.int64)
        types = {"user": integers[0], "item": integers[0], "rating": dtype, "timestamp": integers[1]}
        found = None
        if "strings" not in id_types.values():
            found = plain_types(self._layout, columns, {role: types[role] for role in roles})
        while found is not None:
            with named_errors(self._name), open_bytes(self._file) as raw:
                try:
                    read = plain_columns(raw, self._layout, columns, found)
                    self._is_row_per_line = True
                    return read
                except NotPlain as line:
                    found = found | dict.fromkeys(("user", "item"), integers[1]) if line.is_wide else None
        self._is_plain = False
        return None

    def _whole(self, roles: dict[str, str], kinds: dict[str, Any]) -> dict[str, Any]:
        """All rows of the columns by role, read by Arrow. It raises as `parts` does."""
        import pyarrow as pa

        table = pa.concat_tables(self.parts(roles, kinds, at_once=True))
        return {role: table.column(role) for role in roles}

    def _column(self, role: str, name: str, column: Any, id_type: str | None, missing: Missing) -> Column:
        """One column as `check_columns` takes it."""
        where = f"{self._name}, column {show_name(name)}"
        if isinstance(column, np.ndarray):
            return Column(column, where, self.place)
        import pyarrow.types as pt

        is_text = pt.is_dictionary(column.type)
        values: Any
        if role in ("user", "item"):
            if column.null_count:
                Texts.refuse_empty_id(f"{where}: {self.place(first_null(column))}")
            values = self._ids(column, where, name, id_type) if is_text else plain_numbers(column)
        elif role == "rating":
            values = self._numbers(column, where, name, missing) if is_text else self._filled(column, where, missing)
        else:
            values = column.cast(column.type.value_type) if is_text else plain_numbers(column)
        return Column(values, where, self.place)

    def _filled(self, column: pa.ChunkedArray, where: str, missing: Missing) -> Any:
        """Ratings; empty ones are NaN where they stand for none."""
        if column.null_count and missing.takes(""):
            return plain_numbers(column.fill_null(np.nan))
        if column.null_count:
            refuse_empty_rating(f"{where}: {self.place(first_null(column))}", self._caller)
        return plain_numbers(column)

    def _texts(self, whole: pa.DictionaryArray, where: str, name: str) -> Texts:
        """The distinct texts of a column without nulls."""

        def first(codes: set[int]) -> tuple[int, str]:
            indices = whole.indices.to_numpy(zero_copy_only=False)
            at = int(np.flatnonzero(np.isin(indices, list(codes)))[0])
            return int(indices[at]), f"{where}: {self.place(at)}"

        return Texts(whole.dictionary.to_pylist(), first, name, self._caller)

    def _ids(self, column: pa.ChunkedArray, where: str, name: str, id_type: str | None) -> Any:
        """Ids from texts: integers where all are written as integers are, else text."""
        import pyarrow as pa

        whole = combined(column)
        ids = self._texts(whole, where, name).ids(id_type)
        if isinstance(ids, list):
            return pa.DictionaryArray.from_arrays(whole.indices, pa.array(ids, pa.string()))
        return ids[pa.chunked_array([whole.indices]).to_numpy()]

    def _numbers(self, column: pa.ChunkedArray, where: str, name: str, missing: Missing) -> Array:
        """Ratings from texts, NaN where they stand for none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if column.null_count:
            column = pc.fill_null(column.cast(column.type.value_type), "").dictionary_encode()
        whole = combined(column)
        values = self._texts(whole, where, name).numbers(missing, self._layout.separator)
        return np.asarray(values[pa.chunked_array([whole.indices]).to_numpy()])

    @property
    def separator(self) -> str:
        """What stands between columns."""
        return self._layout.separator

    # -----------------------------------------------------------------------------------------------------------------
    # Parsing

    def kinds(self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None]) -> dict[str, Any]:
        """Return the type of each column that the first lines promise; "text" for what becomes a number or an id later.

        The parameters are those of `read`.
        """
        import pyarrow as pa
        import pyarrow.types as pt
        from pyarrow import csv

        found: dict[str, Any] = {}
        try:
            sample = self._layout.sample.replace(self._layout.separator, self._layout.delimiter).encode()
            if sample.strip() and self._layout.separator != BLANKS:
                # Not with threads, which would want more memory than there may be.
                read = csv.ReadOptions(use_threads=False, column_names=self._column_numbers())
                table = csv.read_csv(io.BytesIO(sample), read, self._parse_options(), self._convert_options(roles, {}))
                found = {role: table.column(str(self.names.index(name))).type for role, name in roles.items()}
        except (pa.ArrowInvalid, UnicodeEncodeError):
            pass  # the pass over the whole file finds out
        kinds: dict[str, Any] = {}
        for role in roles:
            kind = found.get(role)
            if role in ("user", "item"):
                is_integer = kind is None or pt.is_integer(kind)
                kinds[role] = pa.int32() if is_integer and id_types.get(role) != "strings" else "text"
            elif role == "rating":
                is_number = kind is None or pt.is_integer(kind) or pt.is_floating(kind)
                kinds[role] = pa.from_numpy_dtype(dtype) if is_number else "text"
            else:
                kinds[role] = _time_kind(kind)
        return kinds

    def _column_numbers(self) -> list[str]:
        """Names of the columns for Arrow, which may be there twice in the file."""
        return [str(at) for at in range(len(self.names))]

    def _parse_options(self) -> Any:
        from pyarrow import csv

        return csv.ParseOptions(
            delimiter=self._layout.delimiter,
            quote_char='"' if self._quoting else False,
            newlines_in_values=self._newlines,
        )

    def _convert_options(self, roles: dict[str, str], kinds: dict[str, Any]) -> Any:
        """How Arrow converts the columns: only those of the roles, in the types of `kinds`."""
        import pyarrow as pa
        from pyarrow import csv

        text = pa.dictionary(pa.int32(), pa.string())
        return csv.ConvertOptions(
            include_columns=[str(self.names.index(name)) for name in roles.values()],
            column_types={
                str(self.names.index(roles[role])): text if isinstance(kind, str) else kind
                for role, kind in kinds.items()
            },
            # Only an empty place is null, so that messages show "N/A" as what it is.
            null_values=[""],
            strings_can_be_null=True,
        )

    def parts(self, roles: dict[str, str], kinds: dict[str, Any], *, at_once: bool = False) -> Iterator[pa.Table]:
        """Yield the columns by role, some rows at a time, in their order.

        Parameters
        ----------
        roles : dict
            Names of the columns that are needed, by role.
        kinds : dict
            What they are read as, from `kinds`. Where that turns out to be wrong, it is changed.
        at_once : bool
            Whether all rows come in one table, which all processors make.

        Raises
        ------
        ReadAgain
            Where the file has to be read once more, from its beginning, in another way: what was yielded does not count.
        """
        import pyarrow as pa

        if self._may_be_plain(kinds):
            yield from self._plain_parts(roles, kinds)
            return
        source = TextStream(self._file, self._layout, self._drops_blanks, for_arrow=True)
        n_rows = 0
        with named_errors(self._name):
            try:
                for table in self._parsed(source, roles, kinds, at_once):
                    self._refuse_quotes(table, roles, n_rows)
                    yield table.rename_columns(list(roles))
                    n_rows += table.num_rows
            except pa.ArrowInvalid as error:
                self._adapt(error, roles, kinds, source)
                raise ReadAgain from None
            finally:
                source.close()
            self._is_row_per_line = n_rows == source.n_lines
            if self._newlines:
                if n_rows != self._n_records:
                    self._refuse_lines(ValueError("its double quotes are not closed"))
            elif n_rows != source.n_lines - source.n_blank and source.n_quotes and self._quoting:
                self._judge_quotes()
                raise ReadAgain
        # A zero would be dropped somewhere; if it is in these columns, they are text.
        as_text = [role for role in ("user", "item") if role in roles and kinds[role] != "text"]
        if as_text and source.has_odd_number:
            kinds |= dict.fromkeys(as_text, "text")
            raise ReadAgain

    def _may_be_plain(self, kinds: dict[str, Any]) -> bool:
        """Whether the lines may be plain ones."""
        if not self._is_plain:
            return False
        import pyarrow.types as pt

        types = {
            role: None
            if isinstance(kind, str) or not (pt.is_integer(kind) or pt.is_floating(kind))
            else np.dtype(kind.to_pandas_dtype())
            for role, kind in kinds.items()
        }
        return may_be_plain(self._layout, types)

    def _plain_parts(self, roles: dict[str, str], kinds: dict[str, Any]) -> Iterator[pa.Table]:
        """The columns of plain lines by role, as `parts` yields them."""
        import pyarrow as pa

        columns = {role: self.names.index(name) for role, name in roles.items()}
        if len(set(columns.values())) < len(columns):
            self._is_plain = False
            raise ReadAgain
        types = {role: np.dtype(kind.to_pandas_dtype()) for role, kind in kinds.items()}
        with named_errors(self._name), open_bytes(self._file) as raw:
            self._is_row_per_line = True
            try:
                yield pa.table({role: np.empty(0, dtype) for role, dtype in types.items()})  # where there are no lines
                for part in plain_parts(raw, self._layout, columns, types):
                    yield pa.table(part)
            except NotPlain as found:
                self._is_row_per_line = False
                if found.is_wide:
                    kinds |= {"user": pa.int64(), "item": pa.int64()}
                else:
                    self._is_plain = False
                raise ReadAgain from None

    def _parsed(
        self, source: TextStream, roles: dict[str, str], kinds: dict[str, Any], at_once: bool
    ) -> Iterator[pa.Table]:
        """One pass over the file; columns come in the order of the roles."""
        import pyarrow as pa
        from pyarrow import csv

        options = (
            csv.ReadOptions(block_size=self._block_bytes, column_names=self._column_numbers()),
            self._parse_options(),
            self._convert_options(roles, kinds),
        )
        file = pa.PythonFile(source, mode="r")
        try:
            if at_once:
                yield csv.read_csv(file, *options)
                return
            with csv.open_csv(file, *options) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise
            kinds_ = {role: pa.string() if isinstance(kind, str) else kind for role, kind in kinds.items()}
            yield pa.table({str(self.names.index(name)): pa.array([], kinds_[role]) for role, name in roles.items()})

    def _adapt(self, error: pa.ArrowInvalid, roles: dict[str, str], kinds: dict[str, Any], source: TextStream) -> None:
        """Read in another way from now on, so that there is no such error, or say what is wrong with the file."""
        if self._widened(error, roles, kinds):
            return
        if "straddl" in str(error) and self._block_bytes < MAX_BLOCK_BYTES:
            self._block_bytes *= 8
        elif source.n_quotes == 0 or self._newlines or not self._quoting:
            if self._drops_blanks or self._has_odd_line():
                self._refuse_lines(error)
            self._drops_blanks = True
        else:
            self._judge_quotes()

    def _judge_quotes(self) -> None:
        """Rows run over lines: find out whether fields have line breaks, or whether there are stray quotes."""
        self._quoting = self._newlines = self._quotes_are_sound()

    def _widened(self, error: Exception, roles: dict[str, str], kinds: dict[str, Any]) -> bool:
        """Whether the error is of a column that can be read as something else, which `kinds` then says."""
        match = re.search(r"In CSV column #(\d+): .*conversion error", str(error))
        if match is None:
            return False
        name = self.names[int(match.group(1))]
        role = next(role for role, own in roles.items() if self.names.index(own) == int(match.group(1)))
        if kinds[role] == "text":
            self._refuse_encoding(name)
        kinds[role] = _wider_kind(kinds[role], role, str(error))
        return True

    # -----------------------------------------------------------------------------------------------------------------
    # Quotes and lines

    def _quotes_are_sound(self) -> bool:
        """Whether all quotes enclose fields; False where they are better read as part of the text.

        A field that runs over several lines, each of which would be a row of its own, is not one: a quote at its
        beginning was meant as text.
        """
        import csv

        width, begin, self._n_records = len(self.names), self._layout.n_head_lines + 1, 0
        try:
            for first, last, row in records(self._file, self._layout, quoting=True, strict=True):
                self._n_records, begin = self._n_records + 1, first
                if first == last or self._options.quoting:
                    continue
                inner = [line for field in row if "\n" in field for line in field.split("\n")[1:]]
                if len(row) != width or any(line.count(self._layout.delimiter) >= width - 1 for line in inner):
                    raise csv.Error("a field runs over rows")
                begin = last + 1
        except csv.Error:
            if self._options.quoting or not self._is_rectangular():
                raise ValueError(
                    f"{self._name}: a double quote in line {begin:,} is not closed before the end of its field: double it,"
                    f" or {self._caller.remedy('quoting', 'False')} where quotes are part of the text"
                ) from None
            return False
        return True

    def _is_rectangular(self) -> bool:
        """Whether every line has the right number of columns if quotes are part of the text."""
        return all(len(row) == len(self.names) for _, _, row in records(self._file, self._layout, quoting=False))

    def _refuse_quotes(self, table: pa.Table, roles: dict[str, str], start: int) -> None:
        """Refuse fields in quotes in columns that are needed, where quotes had to be read as text."""
        import pyarrow.compute as pc
        import pyarrow.types as pt

        if self._quoting or self._options.quoting is False or self._layout.delimiter == INNER_SEPARATOR:
            return
        for name in roles.values():
            column = table.column(str(self.names.index(name)))
            if not pt.is_dictionary(column.type):
                continue
            starts = pc.starts_with(column.cast(column.type.value_type), '"')
            at = int(pc.index(starts, True).as_py())
            if at >= 0:
                where = f"{self._name}, column {show_name(name)}: {self.place(start + at)}"
                raise ValueError(
                    f"{where} is in quotes, but other quotes of the file are not "
                    f"closed: mend those, or {self._caller.remedy('quoting', 'False')}"
                )

    def _has_odd_line(self) -> bool:
        """Whether a line that is not blank has another number of columns than the others."""
        return any(len(row) != len(self.names) for _, _, row in records(self._file, self._layout, self._quoting))

    def _refuse_lines(self, error: Exception) -> NoReturn:
        """The message for the first line that has not as many columns as the others."""
        width = len(self.names)
        for first, _, row in records(self._file, self._layout, self._quoting):
            if len(row) != width:
                text = self._layout.separator.join(row)
                found = f"{len(row)} column{'s' * (len(row) != 1)}"
                raise ValueError(
                    f"{self._name}: line {first:,} has {found}, not {width}: {show(text)}; mend it, or "
                    + self._caller.remedy("separator", '";"')
                    + " if that is what stands between columns"
                )
        raise ValueError(f"{self._name} cannot be read: {str(error)[:150]}")

    def _refuse_encoding(self, name: str) -> NoReturn:
        """The message for the first line that is not valid text."""
        at = self.names.index(name)
        for first, _, row in records(self._file, self._layout, self._quoting):
            text = row[at] if at < len(row) else ""
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                found = text.encode("utf-8", "surrogateescape")
                raise ValueError(
                    f"{self._name}, column {show_name(name)}: line {first:,} is {show(found)}, which is not UTF-8: "
                    + self._caller.remedy("encoding", '"latin-1"')
                    + ", or what the file was written in"
                )
        raise ValueError(f"{self._name}, column {show_name(name)} is not UTF-8: pass encoding=")

    def line_of(self, at: int) -> int:
        """Return the line of the row `at`; both the first row and the first line of a file have the lowest number."""
        if self._is_row_per_line:
            return at + 1 + self._layout.n_head_lines
        for row, (first, _, _) in enumerate(records(self._file, self._layout, self._quoting)):
            if row == at:
                return first
        raise IndexError(at)


def is_repeated_header(users: Any, items: Any, roles: dict[str, str]) -> int | None:
    """Return the first row whose ids, dictionary-encoded texts, are the names of their columns; None where there is none."""
    if isinstance(users, np.ndarray):
        return None
    import pyarrow as pa
    import pyarrow.types as pt

    is_header = np.ones(len(users), bool)
    for x, role in ((users, "user"), (items, "item")):
        if not isinstance(x, pa.Array | pa.ChunkedArray) or not pt.is_dictionary(x.type):
            return None
        whole = combined(x) if isinstance(x, pa.ChunkedArray) else x
        codes = [code for code, text in enumerate(whole.dictionary.to_pylist()) if text and text.strip() == roles[role]]
        if not codes:
            return None
        is_header &= np.isin(whole.indices.fill_null(-1).to_numpy(zero_copy_only=False), codes)
    return int(np.argmax(is_header)) if is_header.any() else None


def refuse_repeated_header(name: str, place: str) -> NoReturn:
    """Refuse a row that names the columns."""
    raise ValueError(
        f"{name}: {place} holds the names of the columns again, as files that were joined do: take that line out"
    )


def _time_kind(kind: pa.DataType | None) -> pa.DataType:
    """The type that times are read as, by what the first lines hold."""
    import pyarrow as pa
    import pyarrow.types as pt

    if kind is None:
        return pa.int64()
    if pt.is_date(kind):
        return pa.timestamp("us")
    if pt.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    return kind if pt.is_floating(kind) or pt.is_integer(kind) else "text"


def _wider_kind(kind: Any, role: str, error: str) -> Any:
    """What a column is read as after something in it was not of `kind`."""
    import pyarrow as pa

    if role == "timestamp":
        return pa.float64() if kind == pa.int64() else "text"
    value = error.rpartition("invalid value '")[2].rstrip("'")
    if kind == pa.int32() and INTEGER.fullmatch(value) and -(2**63) <= int(value) < 2**63:
        return pa.int64()
    return "text"

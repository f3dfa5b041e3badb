"""The ratings of one MovieLens file as a table: one pass, fixed types, one block of text in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alsx.datasets._archive import MAX_LINE_BYTES, Archive, Member

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 4 << 20  # of text a block; pyarrow keeps a few blocks in flight
COLUMNS = ("user", "item", "rating", "timestamp")
MAX_SHOWN = 60  # characters of a malformed line in a message


class RatingLines:
    """A stream of lines of numbers as pyarrow reads them, block by block: ``::`` is made ``,``.

    pyarrow's separators are single bytes. Ratings are numbers, so a comma or another colon in them is a malformed line
    either way.
    """

    closed = False  # pyarrow asks for it

    def __init__(self, stream: Member, separator: bytes) -> None:
        self._stream, self._separator, self._carry = stream, separator, b""

    def read(self, size: int) -> bytes:
        """Read at most so many bytes, 2 or more; none at the end."""
        if self._separator != b"::":
            return plain_numbers(self._stream.read(size), self._separator)
        while True:
            fresh = self._stream.read(size - len(self._carry))
            block = self._carry + fresh
            # A separator may straddle two blocks: hold a last colon back until its neighbour is known.
            held = fresh and block.endswith(b":") and not block.endswith(b"::")
            self._carry = b":" if held else b""
            block = plain_numbers(block[: len(block) - len(self._carry)], self._separator)
            if block or not fresh:
                return block

    def close(self) -> None:
        """Do nothing: the stream is closed by who opened it."""


def plain_numbers(block: bytes, separator: bytes) -> bytes:
    """Return text with a separator of one byte; refuse hexadecimal numbers, which pyarrow would read."""
    import pyarrow as pa

    if b"x" in block or b"X" in block:
        raise pa.ArrowInvalid("a number is hexadecimal")
    return block.replace(b"::", b",") if separator == b"::" else block


def csv_options(separator: bytes, timestamps: bool) -> dict[str, Any]:
    """Return pyarrow's options for lines of ratings."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict(zip(COLUMNS, (pa.int32(), pa.int32(), pa.float32(), pa.int64()), strict=True))
    wanted = list(COLUMNS if timestamps else COLUMNS[:3])
    return {
        "read_options": csv.ReadOptions(column_names=list(COLUMNS), block_size=BLOCK_BYTES),
        "parse_options": csv.ParseOptions(
            delimiter="," if separator == b"::" else separator.decode(), quote_char=False
        ),
        "convert_options": csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
    }


def read_ratings(
    archive: Archive, name: str, separator: bytes, header: tuple[str, ...] | None, timestamps: bool
) -> pa.Table:
    """Read the ratings of one file.

    Parameters
    ----------
    archive : Archive
    name : str
        The file.
    separator : bytes
        Between the columns; ``b"::"`` is allowed.
    header : tuple of str or None
        The names of the columns in the first line; None where there is no such line.
    timestamps : bool
        Whether to read the times.
    """
    import pyarrow as pa
    from pyarrow import csv

    options = csv_options(separator, timestamps)
    batches = []
    with archive.open(name) as file:
        if header is not None:
            skip_header(archive, name, file, header)
        try:
            for batch in csv.open_csv(pa.PythonFile(RatingLines(file, separator), mode="r"), **options):
                check_finite(batch)
                batches.append(batch)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise malformed_rating(archive, name, separator, header, timestamps, error) from None
    convert = options["convert_options"]
    schema = pa.schema([(column, convert.column_types[column]) for column in convert.include_columns])
    table = pa.Table.from_batches(batches, schema)
    if table.num_rows == 0:
        raise ValueError(f"{archive.where(name)} holds no ratings")
    return table


def check_finite(batch: pa.RecordBatch | pa.Table) -> None:
    """Refuse a rating that is not finite: the reader takes "nan" for a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Of a block of blank lines, which has no ratings, all are finite.
    if not pc.all(pc.is_finite(batch.column("rating")), min_count=0).as_py():
        raise pa.ArrowInvalid("a rating is not finite")


def check_header(archive: Archive, name: str, line: str, header: tuple[str, ...]) -> None:
    """Refuse another first line than the official one."""
    if tuple(line.strip().split(",")) != header:
        raise ValueError(
            f"{archive.where(name)}, line 1: expected the header {','.join(header)}, got {line.strip()[:MAX_SHOWN]!r}"
        )


def skip_header(archive: Archive, name: str, file: Member, header: tuple[str, ...]) -> None:
    """Read the first line, and refuse another one than the official one."""
    check_header(archive, name, file.readline(MAX_LINE_BYTES).decode("utf-8-sig", "replace"), header)


# ---------------------------------------------------------------------------------------------------------------------
# Malformed lines


def malformed_rating(
    archive: Archive, name: str, separator: bytes, header: tuple[str, ...] | None, timestamps: bool, error: Exception
) -> ValueError:
    """Return the error for the first malformed line.

    pyarrow knows only blocks, so the file is read again, in blocks of whole lines, and the first block that is malformed
    is halved until one line is left.
    """
    shape = separator.decode().join(COLUMNS)
    number = 1
    with archive.open(name) as file:
        if header is not None:
            file.readline(MAX_LINE_BYTES)
            number = 2
        for block in whole_lines(file):
            if not is_sound(block, separator, timestamps):
                lines = block.splitlines(keepends=True)
                first = first_malformed(lines, separator, timestamps)
                return malformed(archive, name, number + first, lines[first].decode("utf-8", "replace"), shape)
            number += block.count(b"\n")
    return ValueError(f"{archive.where(name)} is malformed: {str(error)[:MAX_SHOWN]}")


def whole_lines(file: Member) -> Iterator[bytes]:
    """Yield blocks that end where a line ends; or within one that is too long, which makes it malformed."""
    while block := file.read(BLOCK_BYTES):
        yield block if block.endswith(b"\n") else block + file.readline(MAX_LINE_BYTES)


def is_sound(block: bytes, separator: bytes, timestamps: bool) -> bool:
    """Return whether pyarrow reads these lines, and all ratings are finite."""
    import pyarrow as pa
    from pyarrow import csv

    if not block.strip(b"\r\n"):
        return True  # blank lines alone are an error for pyarrow
    try:
        text = pa.BufferReader(plain_numbers(block, separator))
        check_finite(csv.read_csv(text, **csv_options(separator, timestamps)))
    except pa.ArrowInvalid:
        return False
    return True


def first_malformed(lines: list[bytes], separator: bytes, timestamps: bool) -> int:
    """Return the place of the first malformed line, of lines of which one is."""
    start, stop = 0, len(lines)
    while stop - start > 1:
        middle = (start + stop) // 2
        if is_sound(b"".join(lines[start:middle]), separator, timestamps):
            start = middle
        else:
            stop = middle
    return start


def malformed(archive: Archive, name: str, number: int, text: str, shape: str) -> ValueError:
    """Return the error for a line that has not the form `shape`."""
    return ValueError(f"{archive.where(name)}, line {number}: expected {shape!r}, got {text.rstrip()[:MAX_SHOWN]!r}")

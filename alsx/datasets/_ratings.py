"""The ratings of one MovieLens file as a table: one pass, fixed types, one block of text in memory at a time."""

from __future__ import annotations

import io
import re
from typing import IO, TYPE_CHECKING, Any

from alsx.datasets._archive import Archive

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 4 << 20  # of text a block; pyarrow keeps a few blocks in flight


class SingleSeparator(io.RawIOBase):
    """A stream of ``.dat`` lines with ``::`` made ``,``, block by block: pyarrow's separators are single bytes.

    Ratings are numbers, so a comma or another colon in them is a malformed line either way.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._carry = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(buffer) < 2:
            raise ValueError("a block must hold a separator")
        while True:
            fresh = self._stream.read(len(buffer) - len(self._carry))
            block = self._carry + fresh
            # A separator may straddle two blocks: hold a last colon back until its neighbour is known.
            self._carry = b":" if fresh and block.endswith(b":") and not block.endswith(b"::") else b""
            block = block[: len(block) - len(self._carry)].replace(b"::", b",")
            if block or not fresh:
                buffer[: len(block)] = block
                return len(block)


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
    import pyarrow.compute as pc
    import pyarrow.csv

    types = {"user": pa.int32(), "item": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()}
    wanted = list(types) if timestamps else list(types)[:3]
    schema = pa.schema([(column, types[column]) for column in wanted])
    batches = []
    with archive.open(name) as file:
        if header is not None:
            check_header(archive, name, file.readline().decode("utf-8-sig", "replace").strip().split(","), header)
        stream = SingleSeparator(file) if separator == b"::" else file
        try:
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                pyarrow.csv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES),
                pyarrow.csv.ParseOptions(delimiter="," if separator == b"::" else separator.decode(), quote_char=False),
                pyarrow.csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
            )
            for batch in reader:
                if not pc.all(pc.is_finite(batch.column("rating"))).as_py():  # the reader takes "nan" for a number
                    raise pa.ArrowInvalid("a rating is not finite")
                batches.append(batch)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise malformed_rating(archive, name, separator, header is not None, error) from None
    table = pa.Table.from_batches(batches, schema)
    if table.num_rows == 0:
        raise ValueError(f"{archive.where(name)} holds no ratings")
    return table


def check_header(archive: Archive, name: str, found: list[str], header: tuple[str, ...]) -> None:
    """Refuse another first line than the official one."""
    if tuple(found) != header:
        raise ValueError(
            f"{archive.where(name)}, line 1: expected the header {','.join(header)}, got {','.join(found)[:80]}"
        )


def malformed_rating(archive: Archive, name: str, separator: bytes, has_header: bool, error: Exception) -> ValueError:
    """Read the file again, line by line, for the number of the first malformed line: pyarrow knows only blocks."""
    line = re.compile(
        rb"(\d{1,10})SEP(\d{1,10})SEP\d+(?:\.\d*)?SEP[+-]?\d{1,19}\r?\n?".replace(b"SEP", re.escape(separator))
    )
    shape = separator.decode().join(("user", "item", "rating", "timestamp"))
    with archive.open(name) as file:
        for number, text in enumerate(file, 1):
            if (number == 1 and has_header) or not text.strip():
                continue
            match = line.fullmatch(text)
            if match is None or max(int(match[1]), int(match[2])) >= 2**31:
                return malformed(archive, name, number, text.decode("utf-8", "replace"), shape)
    return ValueError(f"{archive.where(name)} is malformed: {error}")


def malformed(archive: Archive, name: str, number: int, text: str, shape: str) -> ValueError:
    """Return the error for a line that has not the form `shape`."""
    return ValueError(f"{archive.where(name)}, line {number}: expected {shape!r}, got {text.rstrip()[:80]!r}")

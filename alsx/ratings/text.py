"""The text of a file: opened whatever compression and encoding it has, with the layout that its first lines show.

`TextStream` is what Arrow's reader reads: UTF-8 with one character between columns. On the way it notes what Arrow does
not say and the reader must know: how many lines there are, whether there are quotes, and whether a number begins with
a zero, which Arrow would drop.
"""

from __future__ import annotations

import codecs
import csv
import io
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, path_name, show, show_name
from alsx.ratings.names import is_recognised

SEPARATORS = ("\t", ",", ";", "|", "::")
BLANKS = " "  # the separator of columns that any number of blanks and tabs keeps apart
INNER_SEPARATOR = "\x1f"  # what stands between columns for Arrow where the file's separator is not one character
HEAD_BYTES = 2**16  # text that names, layout and likely types of the columns are found in
MAX_LINE_BYTES = 2**24  # a first line that is longer is not the names of columns
MAX_FIELD_LENGTH = 2**31 - 1
COMMENTS = "#%"  # what lines before the names of the columns begin with
SNIFFED_LINES = 50
DEFAULT_NAMES = ("user", "item", "rating", "timestamp")  # the order of files without a line of names

NOTED_BYTES = 2**17  # text that is looked at at once: what stays in the second-level cache
LINE_BREAK, SPACE, QUOTE, MINUS, ZERO, LETTER_X = b'\n "-0x'

NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
# MovieLens' files without names of columns, whose order is known.
MOVIELENS_FILES = re.compile(r"u\.data|u[1-5ab]\.(base|test)|ratings\.dat|r[1-5ab]\.(train|test)")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8
BYTE_ORDER_MARKS = (
    (BYTE_ORDER_MARK, "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it first, or pass pandas.read_excel(path)"),
    (b"SQLite format 3", "a SQLite database", "pass pandas.read_sql(query, connection)"),
    (b"\x89HDF", "an HDF5 file", "pass pandas.read_hdf(path)"),
    (b"ARROW1", "an Arrow file", "pass pyarrow.feather.read_table(path)"),
    (b"Obj\x01", "an Avro file", "pass it as a data frame"),
    (b"ORC", "an ORC file", "pass pyarrow.orc.read_table(path)"),
    (b"{", "JSON", "pass pandas.read_json(path, lines=True), or without lines= for a single document"),
    (b"[{", "JSON", "pass pandas.read_json(path)"),
)


class LayoutOptions(NamedTuple):
    """What the caller says about the layout of a file; None: what its first lines show.

    Attributes
    ----------
    separator : str or None
        What stands between columns; " " is any number of blanks and tabs.
    header : bool or None
        Whether the first line names the columns.
    names : list of str or None
        Names of the columns.
    encoding : str or None
        Of the text.
    quoting : bool or None
        Whether double quotes enclose fields; None: where that is consistent over the whole file.
    """

    separator: str | None = None
    header: bool | None = None
    names: list[str] | None = None
    encoding: str | None = None
    quoting: bool | None = None

    @classmethod
    def of(cls, separator: Any, header: Any, names: Any, encoding: Any, quoting: Any) -> LayoutOptions:
        """Return the checked options."""
        if separator is not None and (not isinstance(separator, str) or not separator or set(separator) & set('\n\r"')):
            raise ValueError(
                f'separator is {show(separator)}; it must be a text such as ";" or "::", or " " for blanks'
            )
        for name, value in (("header", header), ("quoting", quoting)):
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} is {show(value)}; it must be True, False or None")
        if names is not None:
            if isinstance(names, str) or not all(isinstance(x, str) for x in names) or len(set(names)) < len(names):
                raise ValueError(
                    f"names is {show(names)}; it must be a list of texts, one for each column, all different"
                )
            names = list(names)
        if encoding is not None and not isinstance(encoding, str):
            raise TypeError(f"encoding is {show(encoding)}; it must be a text such as 'latin-1'")
        if separator is not None and separator.strip(" ") == "":
            separator = BLANKS
        return cls(separator, header, names, encoding, quoting)


class Layout(NamedTuple):
    """How a file is written.

    Attributes
    ----------
    encoding : str
        Of the text.
    separator : str
        What stands between columns.
    names : list of str
        Names of the columns.
    n_head_lines : int
        Lines before the first row of data.
    sample : str
        The first whole lines of data.
    """

    encoding: str
    separator: str
    names: list[str]
    n_head_lines: int
    sample: str

    @property
    def delimiter(self) -> str:
        """The one character that stands between columns in what Arrow reads."""
        return self.separator if len(self.separator) == 1 and self.separator != BLANKS else INNER_SEPARATOR


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Turn what goes wrong inside a file into a message with its name."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not {error.encoding}: {show(error.object[error.start : error.start + 20])}; pass encoding= with "
            "what it was written in"
        ) from None
    except (ValueError, KeyError, NotImplementedError, IndexError) as error:
        # Those of Arrow, which need not be imported, are derived from these.
        if not type(error).__module__.startswith("pyarrow"):
            raise
        raise ValueError(f"{name} cannot be read: {_first_line(error)}") from None
    except (OSError, EOFError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system's own words name the file
        raise ValueError(f"{name} is cut short or damaged ({_first_line(error)}): get it again") from None


def _first_line(error: Exception) -> str:
    """The beginning of what a library says."""
    return str(error).partition("\n")[0][:150].rstrip(".")


def open_bytes(file: Path) -> Any:
    """Return an open binary file, decompressed, whatever its name says."""
    with open(file, "rb") as content:
        start = content.read(6)
    for magic, compression in ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if start.startswith(magic):
            import pyarrow as pa

            return pa.CompressedInputStream(pa.OSFile(str(file)), compression)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.open(file)
    return open(file, "rb", buffering=0)


def read_head(file: Path, raw: Any) -> bytes:
    """Return the beginning of a file: at least one line, unless that is longer than any line of names."""
    head = raw.read(HEAD_BYTES)
    while head and not (b"\n" in head or b"\r" in head) and len(head) < MAX_LINE_BYTES:
        more = raw.read(len(head))
        if not more:
            break
        head += more
    return bytes(head)


class TextStream:
    """A file as Arrow reads it: bytes of UTF-8 with one character between columns, from the first row of data on.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    layout : Layout
        How it is written.
    drops_blanks : bool, default=False
        Whether lines of blanks become empty ones, which Arrow passes over.
    for_arrow : bool, default=False
        Whether Arrow's reader is the one that reads.

    Attributes
    ----------
    n_blank : int
        Lines of nothing.
    n_quotes : int
        Double quotes that were read.
    has_odd_number : bool
        Whether a field may be a number that Arrow reads, but would not write so: 007, -0, 0x1F.
    """

    closed = False

    def __init__(self, file: Path, layout: Layout, drops_blanks: bool = False, for_arrow: bool = False) -> None:
        self._raw = open_bytes(file)
        self._layout, self._drops_blanks = layout, drops_blanks
        self._decoder = None
        if codecs.lookup(layout.encoding).name != "utf-8":
            self._decoder = codecs.getincrementaldecoder(layout.encoding)()
        self._rest = b""  # a piece whose line is not whole yet
        self._is_first, self._ended = True, False
        # Arrow takes a byte order mark away that its input begins with, which behind skipped lines is part of the first id.
        self._doubles_mark = for_arrow
        self._lines_to_skip = layout.n_head_lines
        self._starts = [ord(layout.delimiter), QUOTE, SPACE]  # what a field begins after, beside a line break
        self._before = b"\n"
        self._n_breaks = self.n_blank = self.n_quotes = 0
        self.has_odd_number = False

    # What Arrow asks of a file

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._raw.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at least one where there is one."""
        while not self._ended:
            block = self._raw.read(size if size > 0 else 2**22)
            self._ended = not block
            text = self._normal(bytes(block))
            while self._lines_to_skip and text:
                _, found, after = text.partition(b"\n")
                if not found and not self._ended:
                    # The names of the columns go on in the next block.
                    self._rest, text = text + self._rest, b""
                    break
                self._lines_to_skip -= 1
                text = after
            if text:
                self._note(text)
                if self._doubles_mark and text.startswith(BYTE_ORDER_MARK):
                    text = BYTE_ORDER_MARK + text
                self._doubles_mark = False
                return text
        return b""

    def _normal(self, block: bytes) -> bytes:
        """A block as UTF-8 with the inner separator, without byte order mark, and with the line ends of Unix."""
        if self._decoder is not None:
            block = self._decoder.decode(block, final=self._ended).encode()
        block = self._rest + block
        self._rest = b""
        if self._is_first and (len(block) >= 3 or self._ended):
            self._is_first = False
            block = block.removeprefix(BYTE_ORDER_MARK)
        if b"\r" in block:
            # A break of two characters may lie on the border of two blocks.
            if block.endswith(b"\r") and not self._ended:
                self._rest, block = b"\r", block[:-1]
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        separator = self._layout.separator
        if self._layout.delimiter == separator and not self._drops_blanks:
            return block
        if not self._ended:
            # Neither separators of more than one character nor lines of blanks must be cut.
            whole = block.rfind(b"\n") + 1
            block, self._rest = block[:whole], block[whole:] + self._rest
        if self._drops_blanks:
            block = re.sub(rb"(?m)^[ \t\f\v]+$", b"", block)
        if self._layout.delimiter == separator:
            return block
        if separator == BLANKS:
            block = re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", block)
            return re.sub(rb"[ \t]+", INNER_SEPARATOR.encode(), block)
        return block.replace(separator.encode(), INNER_SEPARATOR.encode())

    def _note(self, text: bytes) -> None:
        """Note what Arrow does not say of a block, in few passes over memory that stays in the cache."""
        self.n_quotes += text.count(b'"')
        letters = np.frombuffer(text, np.uint8)
        after_break = self._before.endswith(b"\n")
        starts = [letter for letter in self._starts if letter in text]
        for begin in range(0, len(letters), NOTED_BYTES):
            part = letters[begin : begin + NOTED_BYTES + 2]
            breaks = part[:NOTED_BYTES] == LINE_BREAK
            self._n_breaks += int(np.count_nonzero(breaks))
            self.n_blank += int(np.count_nonzero(breaks[1:] & breaks[:-1])) + (after_break and bool(breaks[0]))
            after_break = bool(breaks[-1])
            if not self.has_odd_number and len(part) > 2:
                self.has_odd_number = _has_odd_number(part, breaks[: len(part) - 2], starts)
        if not self.has_odd_number:
            border = np.frombuffer(self._before + text[:2], np.uint8)
            for at in range(len(border) - 2):
                triple = border[at : at + 3]
                self.has_odd_number |= _has_odd_number(triple, triple[:1] == LINE_BREAK, self._starts)
        self._before = (self._before + text[-2:])[-2:]

    @property
    def n_lines(self) -> int:
        """Lines that were read, blank ones and a last one without a line break included."""
        return self._n_breaks + (not self._before.endswith(b"\n"))


def _has_odd_number(letters: npt.NDArray[np.uint8], breaks: npt.NDArray[np.bool_], starts: list[int]) -> bool:
    """Whether a field begins with 0 and a digit, with 0x, or with -0; `breaks` says where lines end."""
    begins = breaks
    for letter in starts:
        begins = begins | (letters[:-2] == letter)
    at = np.flatnonzero(begins & (letters[1:-1] == ZERO))
    after = letters[at + 2]
    if ((after - np.uint8(ZERO) < 10) | (after | np.uint8(32) == LETTER_X)).any():
        return True
    minus = letters[1:-1] == MINUS
    return bool(minus.any() and (letters[np.flatnonzero(begins & minus) + 2] == ZERO).any())


def text_lines(file: Path, layout: Layout) -> io.TextIOBase:
    """Return the rows of data of a file as lines of text, for Python's own reader; bad bytes are replaced."""

    class Raw(io.RawIOBase):
        def __init__(self) -> None:
            self.stream, self.rest = TextStream(file, layout), b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece = self.rest or self.stream.read(2**20)
            self.rest = piece[len(buffer) :]
            piece = piece[: len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

        def close(self) -> None:
            self.stream.close()
            super().close()

    return io.TextIOWrapper(io.BufferedReader(Raw()), "utf-8", errors="surrogateescape", newline="\n")


# ---------------------------------------------------------------------------------------------------------------------
# Layout


def find_layout(file: Path, options: LayoutOptions, asked: set[Any], caller: Caller) -> Layout:
    """Find how a file is written, from its first lines.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    options : LayoutOptions
        What the caller says; that is not looked for.
    asked : set
        Names of columns that the caller asks for.
    caller : Caller
        Whose argument the file is.

    Raises
    ------
    ValueError
        Where the file is empty, of another kind, or seems to have no names of columns.
    """
    name = path_name(file)
    with open_bytes(file) as raw:
        head = read_head(file, raw)
        is_whole = not raw.read(1)
    encoding = options.encoding or _encoding(head)
    text = _decoded(head, encoding, is_whole, name, caller)
    _refuse_other_formats(head, text, name, caller)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not is_whole:
        lines.pop()  # which may be cut
    # Where no line names the columns, every line is a rating.
    comments = COMMENTS if options.header is not False and options.names is None else ""
    n_before = next((at for at, line in enumerate(lines) if line.strip() and line[0] not in comments), len(lines))
    lines = lines[n_before:]
    if not lines:
        raise ValueError(f"{name} is empty; its first line must name the columns")
    separator = options.separator
    said = re.fullmatch(r"sep=(.)\s*", lines[0])  # as Excel writes and reads it
    if said:
        n_before, lines, separator = n_before + 1, lines[1:], separator or said.group(1)
    separator = separator or _separator(lines, file.name.lower())
    quoting = options.quoting is not False
    first, n_first = _first_record(lines, separator, quoting)
    has_header = _has_header(first, options, asked, file, caller)
    names = _column_names(first, has_header, options, name)
    if len(names) < 2:
        raise ValueError(
            f"{name} has one column, {show(first[0])}, where {show(separator)} is to stand between columns: "
            + caller.remedy("separator", '";"')
            + ", or what does"
        )
    n_head = n_first if has_header else 0
    sample = "\n".join(lines[n_head:])
    return Layout(encoding, separator, names, n_before + n_head, sample)


def fields_of(line: str, separator: str, quoting: bool = True) -> list[str]:
    """Return the fields of a line."""
    if separator == BLANKS:
        return line.split()
    if len(separator) > 1:
        return line.split(separator)
    style = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    try:
        return next(csv.reader([line], delimiter=separator, quoting=style))  # type: ignore[arg-type]
    except (csv.Error, StopIteration):
        return line.split(separator)


def _encoding(head: bytes) -> str:
    """The encoding that a byte order mark or the zeros of ASCII in UTF-16 show; else UTF-8."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    sample = head[:1000]
    if len(sample) >= 4:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        for zeros, encoding in ((odd, "utf-16-le"), (even, "utf-16-be")):
            if 3 * zeros > len(sample):
                return encoding
    return "utf-8"


def _decoded(head: bytes, encoding: str, is_whole: bool, name: str, caller: Caller) -> str:
    """The first lines as text."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    except LookupError:
        raise ValueError(f"encoding is {show(encoding)}; it must be one that Python knows, such as 'latin-1'") from None
    return decoder.decode(head, final=is_whole).removeprefix("\ufeff")


def _refuse_other_formats(head: bytes, text: str, name: str, caller: Caller) -> None:
    """Refuse what is not lines of text with columns, saying what reads it."""
    for magic, kind, remedy in OTHER_FORMATS:
        if head.lstrip().startswith(magic) if kind == "JSON" else head.startswith(magic):
            raise ValueError(f"{name} is {kind}, not CSV or Parquet: {remedy.replace('path', repr(name))}")
    if "\0" in text:
        raise ValueError(
            f"{name} is not text: it holds a NUL character; if it is text of another encoding, "
            + caller.remedy("encoding", '"utf-16"')
        )
    if re.match(r"\s*[0-9]+:\r?\n[0-9]+,[0-9]", text):
        raise ValueError(
            f"{name} has the layout of the Netflix Prize, a line 'ITEM:' before the ratings of each item: write the item "
            "into each line first, with awk -F, -v OFS=, '/:/{i=$0+0;next}{print $1,i,$2,$3}', and name the columns"
        )


def _separator(lines: list[str], file_name: str) -> str:
    """What stands between columns: what splits most of the first lines into the same number of fields, two or more.

    Where several do alike, the one that the name of the file promises, then the one that makes the most fields.
    """
    promised = "\t" if ".tsv" in file_name or ".tab" in file_name else ","
    sample = [line for line in lines[:SNIFFED_LINES] if line.strip()]

    def agreement(separator: str) -> tuple[float, bool, int]:
        best = (0.0, False, 0)
        for quoting in (True, False):
            counts = [len(fields_of(line, separator, quoting)) for line in sample]
            most = max(set(counts), key=lambda n: (counts.count(n), n))
            if most > 1:
                # The first line alone must not be wider or narrower than the others.
                share = counts.count(most) / len(counts) - 0.5 * (counts[0] != most)
                best = max(best, (round(share, 1), separator == promised, most))
        return best

    found = max(SEPARATORS, key=agreement)
    if agreement(found)[0] >= 0.5:
        return found
    return BLANKS if agreement(BLANKS)[0] >= 0.5 else promised


def _first_record(lines: list[str], separator: str, quoting: bool) -> tuple[list[str], int]:
    """The fields of the first line, and how many lines it takes (a quoted name may hold a line break)."""
    if len(separator) > 1 or separator == BLANKS or not quoting:
        return fields_of(lines[0], separator, quoting), 1
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator)
    try:
        fields = next(reader)
    except (csv.Error, StopIteration):
        return fields_of(lines[0], separator, False), 1
    if reader.line_num > 1 and len(fields) < 2:
        return fields_of(lines[0], separator, False), 1
    return fields, reader.line_num


def _has_header(first: list[str], options: LayoutOptions, asked: set[Any], file: Path, caller: Caller) -> bool:
    """Whether the first line names the columns; where it seems not to, the suspicion is said."""
    if options.header is not None:
        return options.header
    if options.names is not None:
        return [x.strip() for x in first] == options.names
    texts = [x.strip() for x in first]
    recognised = any(is_recognised(role, x) for x in texts for role in DEFAULT_NAMES)
    if recognised or asked & set(texts) or not any(NUMBER.fullmatch(x) for x in texts):
        return True
    if MOVIELENS_FILES.fullmatch(file.name.lower()) and 3 <= len(first) <= 4:
        return False
    all_names = '["user", "item", ...]'
    raise ValueError(
        f"{path_name(file)}: the first line, {show_name(', '.join(texts))}, looks like a rating, not like names of columns: "
        f"{caller.remedy('header', 'False')} if the order is user, item, rating, timestamp, else "
        f"{caller.option('names', all_names)}"
    )


def _column_names(first: list[str], has_header: bool, options: LayoutOptions, name: str) -> list[str]:
    """Names of the columns."""
    if options.names is not None:
        if len(options.names) != len(first):
            raise ValueError(
                f"names has {len(options.names)} names; {name} has {len(first)} columns: name each of them"
            )
        return options.names
    if has_header:
        return [x.strip() for x in first]
    return [*DEFAULT_NAMES, *(f"column {at}" for at in range(5, len(first) + 1))][: len(first)]


def records(file: Path, layout: Layout, quoting: bool, strict: bool = False) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the rows of data as Python's own reader has them: the first and the last line of each, and its fields.

    Blank lines are passed over. Lines are counted from 1, from the beginning of the file.
    """
    style = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    limit = csv.field_size_limit(MAX_FIELD_LENGTH)  # of the whole process
    try:
        with text_lines(file, layout) as lines:
            reader = csv.reader(lines, delimiter=layout.delimiter, quoting=style, strict=strict)  # type: ignore[arg-type]
            before = 0
            for row in reader:
                if row and not (len(row) == 1 and not row[0].strip()):
                    yield before + 1 + layout.n_head_lines, reader.line_num + layout.n_head_lines, row
                before = reader.line_num
    finally:
        csv.field_size_limit(limit)

"""The files of a MovieLens archive, inside a .zip or in a folder on disk: where they are, and streams that are safe to read.

A .zip may be damaged anywhere, and it may unpack to a thousand times its size. Whatever goes wrong in reading it becomes one
ValueError that names the archive and the file in it, and no file is read that is larger, unpacked, than a limit.
"""

from __future__ import annotations

import errno
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

# The files that each layout must have: ml-100k, those with "::", those with CSV.
REQUIRED = (("u.data", "u.item", "u.genre"), ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"))
RATINGS_FILES = frozenset(required[0] for required in REQUIRED)

DEFAULT_MAX_BYTES = 4 << 30  # of a file, unpacked: five times the ratings of ml-32m
# Of the limit for files that are read line by line (films, users, links): 32 MiB by default, eight times the films of ml-32m.
LINES_PART = 128
LINES_BLOCK_BYTES = 1 << 18  # read at a time
MAX_LINE_BYTES = 1 << 16  # no line comes near; without line ends a file would be read whole

ENCRYPTED = 1 << 0  # of the flags of a member of a .zip
# What zipfile and the decompressors raise for files that are damaged or made to harm. An OSError is another matter, but for
# that of bz2, which has no number, and that of places before the start of the file.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, KeyError, IndexError, RuntimeError, OverflowError,
    UnicodeError, ValueError, OSError,
)  # fmt: skip
MAX_PATH_LENGTH = 60  # characters of a path in a message
MAX_REASON_LENGTH = 80


class Archive:
    """The folder of MovieLens files inside a .zip or on disk.

    Parameters
    ----------
    path : pathlib.Path
        The .zip or the folder.
    members : dict of str -> zipfile.ZipInfo or pathlib.Path
        All files in it by their path, with "/" between its parts.
    file : zipfile.ZipFile or None
        The open .zip; None for a folder.
    max_bytes : int
        The largest file of a .zip that is read, in bytes when unpacked. Files on disk have no limit: they are as large as
        they seem.

    Attributes
    ----------
    folder_name : str
        The name of the folder that holds the files.
    ratings_file : {"u.data", "ratings.dat", "ratings.csv"}
        The file of ratings of the layout of which all files are there.
    """

    def __init__(
        self,
        path: Path,
        members: dict[str, zipfile.ZipInfo] | dict[str, Path],
        file: zipfile.ZipFile | None,
        max_bytes: int,
    ) -> None:
        folders: dict[PurePosixPath, dict[str, zipfile.ZipInfo | Path]] = {}
        for name, member in members.items():
            place = PurePosixPath(name)  # "./ml-1m/ratings.dat" is "ml-1m/ratings.dat"
            if "__MACOSX" not in place.parts:  # resource forks that macOS adds when people zip a folder again
                folders.setdefault(place.parent, {})[place.name] = member
        # The shallowest folder wins: copies in deeper ones are somebody's own.
        found = (
            (folder, required[0])
            for folder in sorted(folders, key=lambda f: (len(f.parts), str(f)))
            for required in REQUIRED
            if folders[folder].keys() >= set(required)
        )
        folder, self.ratings_file = next(found, (None, ""))
        if folder is None:
            raise ValueError(
                f"{shown(path)} is not a MovieLens archive: {what_lacks([set(f) for f in folders.values()])}"
            )
        self._path, self._folder, self._members = path, folder, folders[folder]
        self._file, self._max_bytes = file, max_bytes
        self._open_members: list[Member] = []
        self.folder_name = folder.name or path.resolve().name

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def where(self, name: str) -> str:
        """Return the place of a file, for messages."""
        return f"{shown(self._path)}: {shown(self._folder / name)}"

    def open(self, name: str) -> Member:
        """Open a file for reading in blocks."""
        return self._open(name, self._max_bytes)

    def lines(self, name: str, encoding: str, max_part: int = LINES_PART) -> Iterator[str]:
        """Yield the lines of a small file, with their ends.

        Files of one layout share an encoding, but a user may have converted them to UTF-8: it is tried first.

        Parameters
        ----------
        name : str
            The file.
        encoding : str
            Of lines that are not UTF-8; "utf-8" refuses them.
        max_part : int
            Of the limit of the archive: the file may have 1 / `max_part` of it.
        """
        with self._open(name, self._max_bytes // max_part) as stream:
            for number, line in enumerate(split_lines(stream), 1):
                if len(line) > MAX_LINE_BYTES:
                    raise ValueError(f"{self.where(name)}, line {number} is longer than {MAX_LINE_BYTES:,} bytes")
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    if encoding == "utf-8":
                        raise ValueError(f"{self.where(name)}, line {number}: the text is not UTF-8") from None
                    text = line.decode(encoding)
                yield text.removeprefix("\ufeff") if number == 1 else text

    def _open(self, name: str, max_bytes: int) -> Member:
        """Open a file that is not larger than this."""
        member = self._members[name]
        if isinstance(member, Path):
            stream: IO[bytes] = member.open("rb")
        else:
            self._check_member(name, member, max_bytes)
            assert self._file is not None
            with damage_named(self.where(name)):
                stream = self._file.open(member)
        self._open_members.append(Member(stream, self.where(name)))
        return self._open_members[-1]

    def _check_member(self, name: str, member: zipfile.ZipInfo, max_bytes: int) -> None:
        """Refuse what cannot be read, or is too large, by what the archive states."""
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{self.where(name)} is encrypted; unpack the archive and give the folder")
        if member.file_size > max_bytes:
            raise ValueError(
                f"{self.where(name)} unpacks to {member.file_size:,} bytes; it must be at most {max_bytes:,}: if you trust "
                "the archive, unpack it and give the folder, or raise max_bytes"
            )

    def close(self) -> None:
        """Close the files that are still open, such as those of a reader that found a malformed line."""
        for member in self._open_members:
            member.close()


class Member(io.RawIOBase):
    """A stream of the bytes of one file; whatever a damaged archive does to it becomes a ValueError that names the file.

    Parameters
    ----------
    stream : binary file object
    where : str
        The file, for messages.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream, self._where = stream, where

    def readable(self) -> bool:
        """Return that it can be read from."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all that are left."""
        with damage_named(self._where):
            return self._stream.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        """Read to the end of the line, or so many bytes."""
        with damage_named(self._where):
            return self._stream.readline(-1 if size is None else size)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def split_lines(stream: Member) -> Iterator[bytes]:
    """Yield the lines of a stream, with their ends; of a line that is too long only a beginning that is too long itself."""
    carry = b""
    while block := stream.read(LINES_BLOCK_BYTES):
        *lines, carry = (carry + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(carry) > MAX_LINE_BYTES:
            break
    if carry:
        yield carry


@contextmanager
def open_archive(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[Archive]:
    """Open a .zip, or a folder with the files of a MovieLens archive, or the file of ratings in such a folder.

    Parameters
    ----------
    path : pathlib.Path
    max_bytes : int
        The largest file of a .zip that is read, in bytes when unpacked.

    Yields
    ------
    archive : Archive

    Raises
    ------
    ValueError
        If it is not a MovieLens archive, or not a sound .zip file.
    OSError
        If it cannot be read.
    """
    with ExitStack() as stack:
        if path.is_dir():
            archive = Archive(path, files_below(path, "*", "*/*"), None, max_bytes)
        elif path.name in RATINGS_FILES:
            archive = folder_of(path, max_bytes)
        else:
            zip_file = stack.enter_context(open_zip(path))
            # Windows' own programs write backslashes. Of two members with one name the last one counts, as in all unpackers.
            named = ((info.filename.replace("\\", "/"), info) for info in zip_file.infolist())
            members = {name: info for name, info in named if not name.endswith("/")}  # is_dir() fails for an empty name
            archive = Archive(path, members, zip_file, max_bytes)
        stack.callback(archive.close)
        yield archive


def is_archive_folder(path: Path) -> bool:
    """Return whether this is a folder with the files of a MovieLens archive."""
    try:
        Archive(path, files_below(path, "*", "*/*"), None, DEFAULT_MAX_BYTES)
    except ValueError:
        return False
    return True


def files_below(folder: Path, *patterns: str) -> dict[str, Path]:
    """Return the files of a folder by their path in it."""
    files = (file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    return {file.relative_to(folder).as_posix(): file for file in files}


def folder_of(ratings: Path, max_bytes: int) -> Archive:
    """Return the archive in the folder of a file of ratings."""
    try:
        return Archive(ratings.parent, files_below(ratings.parent, "*"), None, max_bytes)
    except ValueError:
        lacks = what_lacks([{file.name for file in ratings.parent.glob("*")}])
        raise ValueError(
            f"{shown(ratings)} is one file of a MovieLens archive, and its folder is not whole: {lacks}; to read the ratings "
            f"alone write alsx.Ratings({ratings.name!r}{'' if ratings.suffix == '.csv' else ', header=False'})"
        ) from None


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a .zip file."""
    try:
        with damage_named(shown(path), "is not a sound .zip file"):
            return zipfile.ZipFile(path)
    except ValueError:
        if path.suffix.lower() == ".zip":
            raise
        raise ValueError(
            f"{shown(path)} is neither a .zip file nor a folder; give the folder of a MovieLens archive, or its .zip; a file "
            "of ratings alone is read by alsx.Ratings"
        ) from None


def what_lacks(folders: list[set[str]]) -> str:
    """Return what is missing for a MovieLens archive."""
    for names in folders:
        for required in REQUIRED:
            present = [name for name in required if name in names]
            if present:
                missing = next(name for name in required if name not in names)
                return f"it has {present[0]} but lacks {missing}"
    sets = "; ".join(", ".join(required) for required in REQUIRED)
    return f"no folder in it holds one of these sets of files: {sets}"


@contextmanager
def damage_named(where: str, problem: str = "is damaged: this is not a sound .zip file") -> Iterator[None]:
    """Turn what zipfile and the decompressors raise into a ValueError that names the file and the problem."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[: MAX_REASON_LENGTH - 3]}..."
        if isinstance(error, NotImplementedError):  # a method of compression that Python lacks, such as Deflate64
            raise ValueError(f"{where} cannot be unpacked ({reason}); unpack the archive and give the folder") from None
        raise ValueError(f"{where} {problem} ({reason}); download it again") from None


def shown(path: Path | PurePosixPath) -> str:
    """Return a path as messages show it: a long one is cut in front."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= MAX_PATH_LENGTH else f"...{text[3 - MAX_PATH_LENGTH :]}"

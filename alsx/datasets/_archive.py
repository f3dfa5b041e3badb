"""Where the files of a MovieLens archive are: inside a .zip or in a folder on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

# The files that each layout must have: ml-100k, those with "::", those with CSV.
REQUIRED = (("u.data", "u.item", "u.genre"), ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"))


class Archive:
    """The folder of MovieLens files inside a .zip or on disk: what is there, and streams of it.

    Parameters
    ----------
    path : pathlib.Path
        The .zip or the folder, for messages.
    members : list of str
        Paths of all files in it.
    opener : callable
        From the path of a file to a stream of its bytes.
    """

    def __init__(self, path: Path, members: list[str], opener: Callable[[str], IO[bytes]]) -> None:
        folders: dict[PurePosixPath, set[str]] = {}
        for member in map(PurePosixPath, members):
            if "__MACOSX" not in member.parts:  # resource forks that macOS adds when people zip a folder again
                folders.setdefault(member.parent, set()).add(member.name)
        # The shallowest folder wins: copies in deeper ones are somebody's own.
        for folder in sorted(folders, key=lambda f: (len(f.parts), str(f))):
            if any(folders[folder].issuperset(required) for required in REQUIRED):
                break
        else:
            raise ValueError(f"{str(path)!r} is not a MovieLens archive: {what_lacks(folders)}")
        self._path, self._folder, self._names, self._opener = path, folder, folders[folder], opener
        self.folder_name = folder.name or path.name

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def where(self, name: str) -> str:
        """Return the place of a file, for messages."""
        return f"{self._path}: {self._folder / name}"

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return self._opener(str(self._folder / name))

    def text(self, name: str, encoding: str) -> str:
        """Read a whole small file. Files of one layout share an encoding, but a user may have converted them to UTF-8."""
        with self.open(name) as stream:
            raw = stream.read()
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if encoding == "utf-8":
                line = raw.count(b"\n", 0, error.start) + 1
                raise ValueError(f"{self.where(name)}, line {line}: the text is not UTF-8") from None
            return raw.decode(encoding)


def what_lacks(folders: dict[PurePosixPath, set[str]]) -> str:
    """Return what is missing for a MovieLens archive."""
    for names in folders.values():
        for required in REQUIRED:
            present = [name for name in required if name in names]
            if present:
                missing = next(name for name in required if name not in names)
                return f"it has {present[0]} but lacks {missing}"
    sets = "; ".join(", ".join(required) for required in REQUIRED)
    return f"no folder in it holds one of these sets of files: {sets}"


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a .zip or a folder with the files of a MovieLens archive."""
    if path.is_dir():
        members = [
            f.relative_to(path).as_posix() for pattern in ("*", "*/*") for f in path.glob(pattern) if f.is_file()
        ]
        yield Archive(path, members, lambda member: (path / member).open("rb"))
        return
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(path, [i.filename for i in file.infolist() if not i.is_dir()], file.open)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{str(path)!r} is not a sound .zip file ({error}); download it again") from None

"""One file of ratings, or the files of a folder as if they were one, read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alsx.ratings import files
from alsx.ratings._caller import Caller, Place, path_name, show_name
from alsx.ratings.csvfile import CsvFile
from alsx.ratings.names import choose_columns
from alsx.ratings.text import LayoutOptions

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")


def files_of(path: Any) -> list[Path]:
    """Return the file that `path` is, or the files of ratings in that folder and in folders in it, by name.

    Names that begin with "." or "_" are passed over, as Spark and Arrow do. Where there are Parquet files, others are not looked
    at.

    Raises
    ------
    FileNotFoundError
        Where it is a folder without such files.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return [folder]
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name.lower().endswith(files.SUFFIXES)
        and not any(name.startswith((".", "_")) for name in file.relative_to(folder).parts)
    )
    found = [file for file in found if file.suffix.lower() in PARQUET_SUFFIXES] or found
    if not found:
        raise FileNotFoundError(
            f"{path_name(folder)} is a folder without files of ratings, such as .parquet or .csv: pass one that has some"
        )
    return found


@dataclass(frozen=True)
class FilesPlace(Place):
    """The place of a row of several files: where it is in its file, and which that is."""

    source: Source | None = None

    def __call__(self, at: int) -> str:
        """Return the place of the row `at` of all."""
        assert self.source is not None
        number = int(np.searchsorted(self.source.starts, at, side="right")) - 1
        file = self.source.files[number]
        place = file.place(at - self.source.starts[number])
        return place if len(self.source.files) == 1 else f"{place} of {path_name(self.source.paths[number].name)}"


class Source:
    """A file of ratings, or the files of a folder as if they were one.

    Parameters
    ----------
    path : path-like
        The file, or the folder.
    options : LayoutOptions
        What the caller says of the layout of text; of every file.
    columns : dict
        Names of columns that are asked for, as `choose_columns` takes them.
    caller : Caller
        Whose argument it is.

    Attributes
    ----------
    paths : list of pathlib.Path
        The files, in the order in which they are read.
    name : str
        What messages call it.
    roles : dict of str to str
        Names of the columns that are needed, by role; the same in all files.
    starts : list of int
        The first row of each file that was begun so far.
    place : Place
        How messages say where a row is.
    """

    def __init__(self, path: Any, options: LayoutOptions, columns: dict[str, Any], caller: Caller) -> None:
        self.paths, self.name = files_of(path), path_name(Path(path).expanduser())
        asked = {name for name in columns.values() if isinstance(name, str)}
        self.files = [files.open_file(one, options, asked, caller) for one in self.paths]
        self.roles = choose_columns(self.files[0].names, columns, False, caller)
        self.starts: list[int] = []
        self.place = FilesPlace(self.files[0].place.entry, self)
        for one, file in zip(self.paths, self.files, strict=True):
            lacking = [name for name in self.roles.values() if name not in file.names]
            if lacking:
                raise ValueError(
                    f"{path_name(one)} has no column {show_name(lacking[0])}, which {path_name(self.paths[0].name)} has; all files "
                    "of a folder must have the same columns: take this one out"
                )

    @property
    def separator(self) -> str:
        """What stands between columns of text; a comma where it is no text."""
        file = self.files[0]
        return file.separator if isinstance(file, CsvFile) else ","

    @property
    def is_text(self) -> bool:
        """Whether the first file is one of text."""
        return isinstance(self.files[0], CsvFile)

    def kinds(self, dtype: np.dtype[Any], id_types: dict[str, str | None]) -> dict[str, Any]:
        """Return what columns are read as, so that it suits every file as far as its first lines tell."""
        kinds: dict[str, Any] = {}
        for file in self.files:
            for name, kind in file.kinds(self.roles, dtype, id_types).items():
                # What is text somewhere is read as text everywhere; all else is found out by reading.
                if name not in kinds or kind == "text":
                    kinds[name] = kind
        return kinds

    def parts(self, kinds: dict[str, Any]) -> Iterator[tuple[int, int, Any]]:
        """Yield the number of a file, the first row of a part of it in that file, and the part: a table of columns by role."""
        self.starts = [0]
        for number, file in enumerate(self.files):
            n_rows = 0
            for table in file.parts(self.roles, kinds):
                yield number, n_rows, table
                n_rows += table.num_rows
            self.starts.append(self.starts[-1] + n_rows)

"""Files of ratings: opened by what they hold, not by what they are called.

A file is opened first, which tells the names of its columns; then those that are needed are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, Place, path_name
from alsx.ratings.columns import id_column, time_column
from alsx.ratings.csvfile import CsvFile
from alsx.ratings.names import PAIR_COLUMNS, TIMED_PAIR_COLUMNS, choose_columns
from alsx.ratings.parquet import ParquetFile
from alsx.ratings.raw import Column, Missing, RawRatings, check_columns
from alsx.ratings.text import LayoutOptions

if TYPE_CHECKING:
    import pyarrow as pa

# What the command line takes for a file of ratings and not for the name of a data set.
SUFFIXES = (
    *(".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".parq", ".pq", ".txt", ".txt.gz", ".dat", ".dat.gz", ".data"),
    *(".base", ".test", ".train", ".tab", ".csv.bz2", ".csv.xz", ".csv.zst"),
    *(".tsv.zst", ".tsv.bz2", ".tsv.xz"),
)
LAYOUT_OPTIONS = ("separator", "header", "names", "encoding", "quoting")


def is_path(data: Any) -> bool:
    """Return whether `data` names a file."""
    return isinstance(data, (str, os.PathLike))


def is_folder(data: Any) -> bool:
    """Return whether a path is that of a folder."""
    return Path(data).expanduser().is_dir()


class RatingsFile(Protocol):
    """An open file.

    Attributes
    ----------
    names : list of str
        Names of all columns.
    place : Place
        How messages say where a row is.
    """

    names: list[str]
    place: Place

    def read(
        self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None], missing: Missing
    ) -> dict[str, Column]:
        """Return the columns `roles` (role -> name)."""
        ...

    def kinds(self, roles: dict[str, str], dtype: np.dtype[Any], id_types: dict[str, str | None]) -> dict[str, Any]:
        """Return what columns are read as, as far as the beginning of the file tells."""
        ...

    def parts(self, roles: dict[str, str], kinds: dict[str, Any], *, at_once: bool = False) -> Iterator[pa.Table]:
        """Yield the columns by role, some rows at a time, in their order."""
        ...


def from_file(
    path: Any,
    y: Any,
    names: dict[str, Any],
    sample_weight: Any,
    options: LayoutOptions,
    id_types: dict[str, str | None],
    missing: Missing,
    dtype: np.dtype[Any],
    caller: Caller,
) -> RawRatings:
    """Return the ratings of a file.

    Parameters
    ----------
    path : path-like
        A file of text with columns (also compressed), or a Parquet file.
    y : array-like, shape (n,), or None
        Ratings, where the file has none.
    names : dict of str to str, bool or None
        Names of the columns that are asked for, as `choose_columns` takes them.
    sample_weight : array-like, shape (n,), or None
        Weights.
    options : LayoutOptions
        What the caller says of the layout of text.
    id_types : dict
        For "user" and "item" "integers", "strings", or None: what the file has.
    missing : Missing
        Ratings that stand for none.
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
    file = open_file(path, options, {name for name in names.values() if isinstance(name, str)}, caller)
    roles = choose_columns(file.names, names, y is not None, caller)
    columns = file.read(roles, dtype, id_types, missing)
    if y is not None:
        columns["rating"] = Column(y, caller.y)
    times = columns.pop("timestamp", None)
    if times is not None:
        times = times._replace(is_optional=names["timestamp"] is None)
    raw = check_columns(
        columns.pop("user"), columns.pop("item"), columns.pop("rating"), times, Column(sample_weight, caller.weights),
        missing, dtype, caller, path_name(path),
    )  # fmt: skip
    return raw._replace(own=y is None)


def file_pairs(path: Any, id_types: dict[str, str | None], caller: Caller) -> tuple[Any, Any]:
    """Return users and items of the rows of a file, whose other columns are ignored."""
    file = open_file(path, LayoutOptions(), set(), caller)
    roles = choose_columns(file.names, PAIR_COLUMNS, True, caller)
    columns = file.read(roles, np.dtype(np.float32), id_types, Missing())
    return id_column(*columns["user"][:3]), id_column(*columns["item"][:3])


def file_times(path: Any, caller: Caller) -> npt.NDArray[np.int64] | None:
    """Return when the ratings of the rows of a file were given, in seconds; None where it has no column of times."""
    file = open_file(path, LayoutOptions(), set(), caller)
    roles = choose_columns(file.names, TIMED_PAIR_COLUMNS, True, caller)
    if "timestamp" not in roles:
        return None
    # Readers of plain files take no column without ids.
    columns = file.read(roles, np.dtype(np.float32), {"user": None, "item": None}, Missing())
    return time_column(*columns["timestamp"][:3])


def open_file(path: Any, options: LayoutOptions, asked: set[Any], caller: Caller) -> RatingsFile:
    """Return an open file of ratings, whose columns are known but not read yet.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is of another kind, or has no columns.
    """
    file = Path(path).expanduser()
    if re.match(r"[a-z0-9]+:/", str(path), re.IGNORECASE) and len(str(path).partition(":")[0]) > 1:
        raise ValueError(
            f"{path_name(path)} is an address, not a file: download it first, or pass what pandas.read_csv makes of it"
        )
    if file.is_dir():
        raise IsADirectoryError(
            f"{path_name(file)} is a folder, whose files have no order that predictions could have: pass one of its files"
        )
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no file {path_name(file)}; give the path of a CSV or Parquet file of ratings"
        )
    with open(file, "rb") as content:
        is_parquet = content.read(4) == b"PAR1"
    if is_parquet or file.suffix.lower() in (".parquet", ".parq", ".pq"):
        given = [name for name in LAYOUT_OPTIONS if getattr(options, name) is not None]
        if given:
            raise TypeError(f"{given[0]} is given, but {path_name(file)} is a Parquet file, not text: leave it out")
        return ParquetFile(file)
    return CsvFile(file, options, asked, caller)

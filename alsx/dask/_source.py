"""The source: files at any address, or a Dask data frame, read part by part by the readers that local fits use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _check
from alsx.ratings import Caller, Ids, is_frame, is_path
from alsx.ratings._caller import path_name, show_name
from alsx.ratings.files import LAYOUT_OPTIONS, SUFFIXES, from_file
from alsx.ratings.folders import PARQUET_SUFFIXES
from alsx.ratings.frames import from_frame
from alsx.ratings.ids import encode, entry_codes
from alsx.ratings.names import choose_columns
from alsx.ratings.options import Options, check_options
from alsx.ratings.raw import MAX_RATING_VALUES, RawRatings

Array = NDArray[Any]

# Parts that the source is read in, at most: tasks cost the scheduler about a millisecond each.
MAX_PARTS = 256

# Bytes of a Parquet file from which on its row groups may be read by different tasks.
SPLIT_BYTES = 2**27

SOURCE = Caller("source", weights="weight")


class Reading(NamedTuple):
    """How a source is read.

    Parameters
    ----------
    options : Options
        As of `Ratings`.
    weight : str or None
        The column of weights.
    storage : dict
        What fsspec needs to open the files.
    """

    options: Options
    weight: str | None
    storage: dict[str, Any]


class Piece(NamedTuple):
    """A file, or some row groups of a Parquet file.

    Parameters
    ----------
    address : str
    is_parquet : bool
    columns : tuple of str
        The columns of a Parquet file that are needed.
    groups : (int, int) or None
        The first row group, and the one after the last; None for the whole file.
    """

    address: str
    is_parquet: bool
    columns: tuple[str, ...] = ()
    groups: tuple[int, int] | None = None


class Part(NamedTuple):
    """Ratings of a part of the source, coded by its own ids, in their order.

    Parameters
    ----------
    users, items : Ids or None
        The distinct ids; None where there are no ratings.
    user_codes, item_codes : ndarray of int32, shape (n,)
    values : ndarray, shape (n,)
    weights : ndarray, shape (n,), or None
    error : Exception or None
        Why it cannot be read.
    """

    users: Ids | None = None
    items: Ids | None = None
    user_codes: Array = np.empty(0, np.int32)
    item_codes: Array = np.empty(0, np.int32)
    values: Array = np.empty(0, np.float32)
    weights: Array | None = None
    error: Exception | None = None


class PartFacts(NamedTuple):
    """What the client needs to know of a part.

    Parameters
    ----------
    n : int
        Ratings.
    kinds : pair of str, or None
        Of the ids of users and items.
    range : (float, float)
    counted : pair of ndarray
        Different ratings, and how many there are of each; the first of them where they are many.
    error : Exception or None
    """

    n: int
    kinds: tuple[str, str] | None
    range: tuple[float, float]
    counted: tuple[Array, Array]
    error: Exception | None


def check_reading(
    user: Any,
    item: Any,
    rating: Any,
    weight: Any,
    duplicates: Any,
    missing: Any,
    id_types: Any,
    layout: dict[str, Any],
    storage_options: Any,
    dtype: np.dtype[Any],
) -> Reading:
    """Check the arguments of `fit` that say how the source is read."""
    options = check_options(
        user, item, rating, False, duplicates, missing, id_types=id_types, dtype=dtype, n_jobs=1, **layout
    )
    for name, value in (("user", user), ("item", item), ("rating", rating), ("weight", weight)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is {value!r:.40}; it must be the name of a column, or None")
    if storage_options is not None and not isinstance(storage_options, dict):
        raise TypeError(f"storage_options is of type {type(storage_options).__name__}; it must be a dict, or None")
    return Reading(options, weight, dict(storage_options or {}))


# ---------------------------------------------------------------------------------------------------------------------
# What there is to read


def is_dask_frame(source: Any) -> bool:
    """Return whether a source is a data frame of Dask."""
    return hasattr(source, "to_delayed") and hasattr(source, "columns") and hasattr(source, "npartitions")


def refuse_other_sources(source: Any) -> None:
    """Refuse what is neither an address nor a data frame of Dask."""
    if is_path(source) or is_dask_frame(source):
        return
    kind, remedy = type(source).__name__, "pass the address of files, or a data frame of Dask"
    if is_frame(source):
        remedy = "fit alsx.FactorALS to it, which needs no cluster, or pass dask.dataframe.from_pandas(frame, npartitions=8)"
    raise TypeError(f"source is of type {kind}; it must be the address of files or a Dask data frame: {remedy}")


def needed_columns(frame: Any, reading: Reading) -> list[str]:
    """Return the columns of a frame of Dask that are needed."""
    names = list(frame.columns)
    roles = choose_columns(names, reading.options.columns, False, SOURCE)
    return [*roles.values(), *_weight_column(names, reading)]


def _weight_column(names: Sequence[Any], reading: Reading) -> list[str]:
    if reading.weight is None:
        return []
    if reading.weight not in names:
        raise ValueError(f"weight={show_name(reading.weight)} is not a column: name one of the columns of source")
    return [reading.weight]


def pieces_of(address: Any, reading: Reading) -> list[Piece]:
    """Return the pieces of the files at an address: a file, a folder, or a pattern with ``*``.

    Raises
    ------
    FileNotFoundError
        Where there are none.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    given = os.fspath(address)
    filesystem, path = fsspec.core.url_to_fs(os.path.expanduser(given), **reading.storage)
    is_local = isinstance(filesystem, LocalFileSystem)
    if any(x in path for x in "*?["):
        found, root = [x for x in filesystem.glob(path) if not filesystem.isdir(x)], ""
    elif filesystem.isdir(path):
        found, root = filesystem.find(path), path
    else:
        found, root = ([path] if filesystem.exists(path) else []), ""
    named = bool(root)
    found = sorted(x for x in found if not _is_hidden(x[len(root) :] if named else x.rpartition("/")[2]))
    if named:
        found = [x for x in found if x.lower().endswith(SUFFIXES)]
        found = [x for x in found if _is_parquet_name(x)] or found
    if not found:
        raise FileNotFoundError(
            f"source is {path_name(given)}, where there are no files of ratings, such as .parquet or .csv: pass the address of "
            "files, a folder of them, or a pattern such as folder/*.parquet"
        )
    pieces: list[Piece] = []
    columns: tuple[str, ...] = ()
    for name in found:
        url = os.path.abspath(name) if is_local else filesystem.unstrip_protocol(name)
        if not _is_parquet(filesystem, name):
            if reading.weight is not None:
                raise ValueError(
                    f"weight={show_name(reading.weight)} names a column, which files of text cannot have yet: write Parquet files"
                )
            pieces.append(Piece(url, False))
            continue
        given_options = [x for x in LAYOUT_OPTIONS if getattr(reading.options.layout, x) is not None]
        if given_options:
            raise TypeError(f"{given_options[0]} is given, but {path_name(name)} is a Parquet file, not text: leave it out")
        columns = columns or _parquet_columns(filesystem, name, reading)
        pieces += _parquet_pieces(filesystem, name, url, columns)
    return pieces


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/") if part)


def _is_parquet_name(name: str) -> bool:
    return name.lower().endswith(PARQUET_SUFFIXES)


def _is_parquet(filesystem: Any, name: str) -> bool:
    """Return whether a file is a Parquet file, whatever it is called."""
    if _is_parquet_name(name):
        return True
    with filesystem.open(name, "rb") as file:
        return bool(file.read(4) == b"PAR1")


def _parquet_columns(filesystem: Any, name: str, reading: Reading) -> tuple[str, ...]:
    """Return the columns that are needed, from the first of the files."""
    from pyarrow import parquet

    with filesystem.open(name, "rb") as file:
        names = parquet.read_schema(file).names
    roles = choose_columns(names, reading.options.columns, False, SOURCE)
    return (*roles.values(), *_weight_column(names, reading))


def _parquet_pieces(filesystem: Any, name: str, url: str, columns: tuple[str, ...]) -> list[Piece]:
    """Return a Parquet file, or where it is large its row groups some at a time."""
    from pyarrow import parquet

    if filesystem.size(name) < 2 * SPLIT_BYTES:
        return [Piece(url, True, columns)]
    with filesystem.open(name, "rb") as file:
        metadata = parquet.ParquetFile(file).metadata
    pieces, first, size = [], 0, 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= SPLIT_BYTES or group == metadata.num_row_groups - 1:
            pieces.append(Piece(url, True, columns, (first, group + 1)))
            first, size = group + 1, 0
    return pieces


def batches(things: Sequence[Any]) -> list[list[Any]]:
    """Return pieces or partitions as at most `MAX_PARTS` lists, in their order."""
    n = min(MAX_PARTS, len(things))
    return [list(things[len(things) * x // n : len(things) * (x + 1) // n]) for x in range(n)]


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: reading


def read_pieces(pieces: list[Piece], reading: Reading) -> Part:
    """Read files, or row groups of them, as one part."""
    parts = []
    for piece in pieces:
        try:
            parts.append(_coded(_read_parquet(piece, reading) if piece.is_parquet else _read_text(piece, reading)))
        except _Empty:
            continue
        except (TypeError, ValueError, OSError) as error:
            return Part(error=_located(error, path_name(piece.address)))
    return joined(parts, is_text=not any(piece.is_parquet for piece in pieces))


def read_frames(frames: list[Any], first: int, reading: Reading) -> Part:
    """Read partitions of a data frame as one part; `first` is the number of the first."""
    parts = []
    for number, frame in enumerate(frames, first):
        try:
            parts.append(_coded(_read_frame(frame, reading)) if len(frame) else Part())
        except (TypeError, ValueError) as error:
            return Part(error=_located(error, f"partition {number}"))
    return joined(parts, is_text=False)


def _located(error: Exception, where: str) -> Exception:
    """Return an error that also says in which part of the source it is."""
    if isinstance(error, OSError):
        return error
    kind = TypeError if isinstance(error, TypeError) else ValueError
    text = str(error)
    return kind(text if where in text else f"{where}: {text}"[:300])


def _read_frame(frame: Any, reading: Reading) -> RawRatings:
    options = reading.options
    weights = None if reading.weight is None else frame[reading.weight]
    return from_frame(frame, None, options.columns, weights, options.missing, options.dtype, SOURCE)


def _read_parquet(piece: Piece, reading: Reading) -> RawRatings:
    """Read a Parquet file; floating-point ratings in the type of the model, as the local reader does."""
    import fsspec
    import pyarrow as pa
    import pyarrow.types as pt
    from pyarrow import parquet

    options = reading.options
    with fsspec.open(piece.address, "rb", **reading.storage) as file:
        content = parquet.ParquetFile(file)
        lacking = [name for name in piece.columns if name not in content.schema_arrow.names]
        if lacking:
            raise ValueError(
                f"there is no column {show_name(lacking[0])}, which other files have; all files must have the same columns"
            )
        names, groups = list(piece.columns), piece.groups or (0, content.num_row_groups)
        table = content.read_row_groups(list(range(*groups)), columns=names)
    if not table.num_rows:
        raise _Empty
    rating = choose_columns(names, options.columns, False, SOURCE)["rating"]
    at = table.schema.get_field_index(rating)
    if pt.is_floating(table.schema.field(at).type):
        table = table.set_column(at, rating, table.column(at).cast(pa.from_numpy_dtype(options.dtype), safe=False))
    return _read_frame(table, reading)


def _read_text(piece: Piece, reading: Reading) -> RawRatings:
    """Read a file of text by the local reader; one that is elsewhere is fetched first."""
    import fsspec

    options = reading.options
    with tempfile.TemporaryDirectory() as folder:
        path = piece.address
        if "://" in path:
            name = path.rpartition("/")[2]
            path = str(Path(folder, name))
            filesystem, there = fsspec.core.url_to_fs(piece.address, **reading.storage)
            filesystem.get_file(there, path)
        return from_file(
            path, None, options.columns, None, options.layout, options.id_types, options.missing, options.dtype, SOURCE
        )


class _Empty(Exception):
    """A file without rows."""


def _coded(raw: RawRatings) -> Part:
    """Code the ids of a part."""
    users, items = (encode(x, name, 1, raw.place) for x, name in zip((raw.users, raw.items), raw.names, strict=True))
    codes = (entry_codes(side.codes).astype(np.int32) for side in (users, items))
    return Part(users.ids, items.ids, *codes, raw.values, raw.weights)


def joined(parts: list[Part], is_text: bool) -> Part:
    """Return several parts as one; files of text may have integers and others texts in the same column."""
    filled = [part for part in parts if len(part.values)]
    if len(filled) <= 1:
        return filled[0] if filled else Part()
    try:
        as_text = mixed_kinds([part_facts(part) for part in filled], is_text)
        ids = merge_ids([own_ids(part) for part in filled], as_text)
    except (TypeError, ValueError) as error:
        return Part(error=error)
    coded = [code(part, ids[0], ids[1]) for part in filled]
    weights = None if filled[0].weights is None else np.concatenate([part.weights for part in coded if part.weights is not None])
    return Part(
        ids[0], ids[1], np.concatenate([x.users for x in coded]), np.concatenate([x.items for x in coded]),
        np.concatenate([x.values for x in coded]), weights,
    )  # fmt: skip


def part_facts(part: Part) -> PartFacts:
    """Return what the client needs to know of a part."""
    if part.error is not None or part.users is None or part.items is None:
        return PartFacts(0, None, (np.inf, -np.inf), (np.empty(0), np.empty(0, np.int64)), part.error)
    counted = np.unique(part.values, return_counts=True)
    limits = float(counted[0][0]), float(counted[0][-1])
    most = slice(MAX_RATING_VALUES + 1)
    kinds = part.users.kind, part.items.kind
    return PartFacts(len(part.values), kinds, limits, (counted[0][most], counted[1][most]), None)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: ids


class AllIds(NamedTuple):
    """The ids of all users and items."""

    users: Ids
    items: Ids


class Coded(NamedTuple):
    """Ratings of a part with the codes of all ids."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: Array
    weights: Array | None


def mixed_kinds(facts: Sequence[PartFacts], is_text: bool) -> tuple[bool, bool]:
    """Return of which side ids are integers in some parts and strings in others, and so are strings.

    Raises
    ------
    TypeError
        Where the source is not text, in which 1 and '1' are the same.
    """
    mixed = []
    for side, name in enumerate(("users", "items")):
        kinds = {one.kinds[side] for one in facts if one.kinds is not None}
        mixed.append(len(kinds) > 1)
        if mixed[-1] and not is_text:
            raise TypeError(
                f"source: ids of {name} are integers in some parts and strings in others: 1 and '1' would be two ids: write them "
                "as one kind everywhere"
            )
    return mixed[0], mixed[1]


def own_ids(part: Part) -> tuple[Ids | None, Ids | None]:
    """Return the ids of a part."""
    return part.users, part.items


def merge_ids(several: list[tuple[Ids | None, Ids | None]], as_text: tuple[bool, bool]) -> tuple[Ids | None, Ids | None]:
    """Return the ids of several parts together."""
    users, items = (merged_ids([x[side] for x in several if x[side] is not None], as_text[side]) for side in (0, 1))
    return users, items


def merged_ids(several: Sequence[Ids | None], as_text: bool) -> Ids | None:
    """Return the distinct ids of several sets, ascending.

    Integers that files of text hold stay what they are written as where another file has other texts in the same column: they
    were taken for integers only since each is written as Python writes it, so that nothing is lost.
    """
    values = [_texts(x.values) if as_text else x.values for x in several if x is not None]
    if not values:
        return None
    if len({x.dtype.kind for x in values}) > 1:  # int64 and uint64, which together would be floats
        negative = next((x[0] for x in values if x.dtype.kind == "i" and x[0] < 0), None)
        if negative is not None:
            raise ValueError(
                f"source: the id {negative} is negative, while others are above 2**63 - 1; integers as ids must fit into int64, or "
                "all into uint64: write strings"
            )
        values = [x.astype(np.uint64) for x in values]
    return Ids.trusted(np.unique(np.concatenate(values)))


def _texts(values: Array) -> Array:
    """Return ids as texts, as wide as the longest."""
    if values.dtype.kind == "U":
        return values
    texts = values.astype("U")
    return texts.astype(f"U{np.char.str_len(texts).max(initial=1)}")


def all_ids(pair: tuple[Ids | None, Ids | None]) -> AllIds:
    """Return the ids of all parts, once each part is merged; there are some."""
    users, items = pair
    assert users is not None
    assert items is not None
    # Ids checks what holds for all of them: how many, and that none marks what has no id.
    return AllIds(Ids(users.values, "source: users"), Ids(items.values, "source: items"))


def code(part: Part, users: Ids | None, items: Ids | None) -> Coded:
    """Return a part with the codes of all ids."""
    if part.users is None or part.items is None or users is None or items is None:
        return Coded(part.user_codes, part.item_codes, part.values, part.weights)
    pairs = ((part.users, part.user_codes, users), (part.items, part.item_codes, items))
    codes = [np.asarray(to.codes(_as_kind(own.values, to.kind)), np.int32)[entries] for own, entries, to in pairs]
    return Coded(codes[0], codes[1], part.values, part.weights)


def code_part(part: Part, ids: AllIds) -> Coded:
    """Return a part with the codes of all ids; a task."""
    return code(part, ids.users, ids.items)


def _as_kind(values: Array, kind: str) -> Array:
    return _texts(values) if kind == "strings" else values


def id_counts(ids: AllIds) -> tuple[int, int]:
    """Return how many users and items there are."""
    return len(ids.users), len(ids.items)


def check_timeout(timeout: Any) -> float:
    """Return the seconds that a wait may take without a finished task."""
    seconds = _check.real("timeout", timeout)
    if seconds <= 0:
        raise ValueError(f"timeout is {timeout}; it must be above 0, in seconds")
    return seconds

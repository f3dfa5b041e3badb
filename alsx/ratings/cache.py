"""Ratings prepared once on the disk, and mapped into memory from then on.

What is prepared from a file, or a folder of files, with some options is a folder of .npy files in the cache. Its name holds a
digest of the path and the options, and one of the sizes and times of the files, so that a changed source, or other options,
are another folder: nothing that is there is ever changed. It is made under another name and renamed when all of it is on the
disk, so that a folder of its final name is whole; and its manifest says what has to be in it. What killed processes left is
removed by the next one that prepares.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alsx._files import DISK_ERRORS, STALE_SECONDS, sync_folder, try_lock
from alsx.ratings._caller import Caller, path_name, show
from alsx.ratings.columns import number_column
from alsx.ratings.external import Report, sort_to_disk
from alsx.ratings.folders import files_of
from alsx.ratings.gathering import Gathering
from alsx.ratings.ids import Ids
from alsx.ratings.options import Options
from alsx.ratings.sorting import CSR, RepeatedPair, repeated_message
from alsx.ratings.spill import DiskSpill

Array = npt.NDArray[Any]

FORMAT = 1  # of what is in a folder; other numbers are prepared anew
MANIFEST = "manifest.json"
LOCK = "lock"
FOLDER = re.compile(r"(.*-[0-9a-f]{16})-[0-9a-f]{16}(\.[0-9a-f]{16}\.part)?")
# Of columns in sorting: a share of any machine's, and large enough that passes over the disk are few.
DEFAULT_MEMORY = 10**9
MIN_MEMORY = 10**7
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
UNLOCKED_SECONDS = 60.0  # after which a part folder without a lock must be a dead process's
WAIT_SECONDS = 0.2  # between looks at whether another process has prepared the same


def silent(step: str, share: float) -> None:
    """Report nothing."""


def refuse_no_cache(data: Any, y: Any, cache: Any, caller: Caller) -> None:
    """Refuse a cache for what is no file, a memory budget without a cache, and ratings beside a file."""
    if cache is None:
        raise TypeError("memory is given, but no cache, which it is for: pass cache= with the path of a folder, too")
    if not isinstance(data, (str, os.PathLike)):
        raise TypeError(
            f"cache is for the path of a file or a folder, but {caller.data} is of type {type(data).__name__}: leave it out, or "
            "write a Parquet file and pass its path"
        )
    if y is not None:
        raise TypeError(
            f"{caller.y} is given beside cache, which keeps files with ratings of their own: leave one of them out"
        )


class Prepared(NamedTuple):
    """Prepared ratings, mapped into memory.

    Attributes
    ----------
    users, items : Ids
    by_user, by_item : CSR
    times : ndarray of int64, or None
    range : (float, float)
        The lowest and the highest rating.
    is_reordered : bool
        As of `Ratings`.
    """

    users: Ids
    items: Ids
    by_user: CSR
    by_item: CSR
    times: Array | None
    range: tuple[float, float]
    is_reordered: bool


def memory_bytes(memory: Any) -> int:
    """Return the bytes that the argument `memory` of `Ratings` asks for.

    Raises
    ------
    ValueError, TypeError
        Where it is no size, or too small a one.
    """
    if memory is None:
        return DEFAULT_MEMORY
    if isinstance(memory, bool) or not isinstance(memory, str | int | float | np.number):
        raise TypeError(f'memory is {show(memory)}; it must be a number of bytes, or a text such as "2GB"')
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmg]?i?b?)\s*", str(memory).lower())
    try:
        size = int(float(found[1]) * UNITS[found[2] if found[2] in UNITS else found[2] + "b"]) if found else 0
    except (ValueError, OverflowError):
        size = 0
    if size < MIN_MEMORY:
        raise ValueError(
            f'memory is {show(memory)}; it must be a number of bytes, or a text such as "2GB", of 10 MB at least'
        )
    return size


def open_prepared(
    path: Any, cache: Any, memory: Any, sample_weight: Any, options: Options, caller: Caller, report: Report
) -> Prepared:
    """Return the ratings of a file, or of the files of a folder, from the cache; prepare them where they are not there.

    Parameters
    ----------
    path : path-like
        The file or the folder.
    cache : path-like
        The folder of what is prepared; it is made where there is none.
    memory : int, str, or None
        See `memory_bytes`.
    sample_weight : array-like, or None
        Weights of the rows.
    options : Options
    caller : Caller
        Whose arguments these are.
    report : callable
        ``report(step, share)`` is called now and then while they are prepared.

    Raises
    ------
    OSError
        Where the cache cannot be written, for instance since the disk is full.
    """
    if not isinstance(cache, (str, os.PathLike)):
        raise TypeError(f"cache is {show(cache)} ({type(cache).__name__}); it must be the path of a folder")
    size, root = memory_bytes(memory), Path(cache).expanduser()
    if sample_weight is not None:
        sample_weight = number_column(sample_weight, caller.weights)
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"cache is {path_name(root)}; it must be a folder, and this is a file")
    while True:
        sources = _sources(path)
        target = root / _folder_name(path, sources, sample_weight, options)
        prepared = _mapped(target, sources)
        if prepared is not None:
            _remove_leftovers(root, target)
            return prepared
        if _is_being_prepared(root, target):
            # Its work is not done twice. Where that process dies or fails, it is done here.
            time.sleep(WAIT_SECONDS)
            continue
        with _disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(root, target)
            _prepare(path, target, size, sample_weight, options, caller, report)
        if _sources(path) == sources and _mapped(target, sources) is None:
            # Another process prepared a changed source, and removed this one, or somebody else did.
            raise FileNotFoundError(f"{path_name(target)} was removed while it was in use: try again")


# ---------------------------------------------------------------------------------------------------------------------
# What is there


def _sources(path: Any) -> list[list[Any]]:
    """The files that ratings are made of, as the manifest names them: path, size and time of change."""
    if not Path(path).expanduser().exists():
        raise FileNotFoundError(
            f"there is no file {path_name(path)}; give the path of a CSV or Parquet file of ratings"
        )
    found = []
    for file in files_of(path):
        status = file.stat()
        found.append([str(file.resolve()), status.st_size, status.st_mtime_ns])
    return found


def _folder_name(path: Any, sources: list[list[Any]], sample_weight: Any, options: Options) -> str:
    """The name of what is prepared from these files with these options."""
    asked = [
        FORMAT, str(Path(path).expanduser().resolve()), sorted(options.columns.items()), options.duplicates, options.missing,
        options.layout, sorted(options.id_types.items()), options.dtype.str,
    ]  # fmt: skip
    if sample_weight is not None:
        asked.append(hashlib.blake2b(np.ascontiguousarray(sample_weight).view(np.uint8)).hexdigest())
    stem = re.sub(r"[^\w.-]", "_", Path(path).name)[:60] or "ratings"
    return f"{stem}-{_digest(asked)}-{_digest(sources)}"


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=8).hexdigest()


def _mapped(folder: Path, sources: list[list[Any]]) -> Prepared | None:
    """The ratings of a folder, if it holds all of what it must; None where it does not."""
    try:
        about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if about["format"] != FORMAT or about["sources"] != sources:
            return None
        arrays = {name: _map(folder, name, *expected) for name, expected in about["arrays"].items()}
        users, items = (Ids.trusted(arrays[f"{side}.ids"]) for side in ("users", "items"))
        by_user, by_item = (
            CSR(
                arrays[f"{side}.indptr"],
                arrays[f"{side}.indices"],
                arrays[f"{side}.values"],
                arrays.get(f"{side}.weights"),
            )
            for side in ("by_user", "by_item")
        )
        for rows, own in ((by_user, users), (by_item, items)):
            if len(rows.indptr) != len(own) + 1 or rows.indptr[-1] != len(rows.indices):
                return None
        low, high = about["range"]
        return Prepared(users, items, by_user, by_item, arrays.get("timestamps"), (low, high), about["is_reordered"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _map(folder: Path, name: str, descr: str, shape: list[int], n_bytes: int) -> Array:
    """A mapped array, if it is what the manifest says.

    Offsets and ids are read, so that they stay in memory; they are small beside the ratings.
    """
    file = folder / f"{name}.npy"
    if file.stat().st_size != n_bytes:
        raise ValueError(name)
    array = np.load(file, mmap_mode=None if name.endswith((".ids", ".indptr")) else "r", allow_pickle=False)
    if array.dtype.str != descr or list(array.shape) != shape or not array.dtype.isnative:
        raise ValueError(name)
    return np.asarray(array)


# ---------------------------------------------------------------------------------------------------------------------
# Preparing


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """Say where there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno or 0)}: preparing ratings takes about 40 bytes each while it lasts, 50 with times; "
            "free some space, or name another cache",
            str(root),
        ) from None


def _prepare(
    path: Any, target: Path, memory: int, sample_weight: Any, options: Options, caller: Caller, report: Report
) -> None:
    """Make the folder `target`."""
    with _part_folder(target) as part:
        sources = _sources(path)
        with DiskSpill(part) as spill:
            report("reading", 0.0)
            gathered = Gathering(
                path, options.columns, sample_weight, options.layout, options.id_types, options.missing, options.dtype, caller,
                spill,
            )  # fmt: skip
            try:
                found = sort_to_disk(
                    gathered, part, options.duplicates, options.dtype, options.n_threads, memory, report
                )
            except RepeatedPair as pair:
                user, item = gathered.users.ids.values[pair.user], gathered.items.ids.values[pair.item]
                places = gathered.source.place(pair.before), gathered.source.place(pair.row)
                raise ValueError(repeated_message(user, item, places, gathered.source.name, caller)) from None
        if _sources(path) != sources:
            raise OSError(f"{path_name(path)} was changed while it was read: try again when it is complete")
        arrays = {name: (*expected, (part / f"{name}.npy").stat().st_size) for name, expected in found.arrays.items()}
        about = {
            "format": FORMAT,
            "path": str(Path(path).expanduser().resolve()),
            "sources": sources,
            "arrays": arrays,
            "range": found.range,
            "is_reordered": found.is_reordered,
        }
        report("writing to the disk", 0.0)
        (part / MANIFEST).write_text(json.dumps(about, indent=1), encoding="utf-8")
        for file in part.iterdir():
            # Windows synchronises no file that is open for reading alone.
            with file.open("r+b") as content:
                os.fsync(content.fileno())
        sync_folder(part)
        try:
            os.rename(part, target)
        except OSError as error:
            # Another process was faster, with the same outcome; or something broken is there, which goes.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES):
                raise
            if _mapped(target, sources) is None:
                _remove(target)
                os.rename(part, target)
        sync_folder(target.parent)
        (target / LOCK).unlink(missing_ok=True)


@contextmanager
def _part_folder(target: Path) -> Iterator[Path]:
    """Make and lock a folder beside the target; at the end remove what is left of it."""
    while True:
        part = target.with_name(f"{target.name}.{secrets.token_hex(8)}.part")
        part.mkdir()
        try:
            with (part / LOCK).open("x+b") as lock:
                # Another process may take it for a dead one's before it is locked; then a new one is made.
                if try_lock(lock) is not False and (part / LOCK).exists():
                    if os.name == "nt":
                        lock.close()  # Windows renames no folder with a file that is open
                    yield part
                    return
        finally:
            _remove(part)


def _remove(folder: Path) -> None:
    """Remove a folder, its manifest first, so that what is left of it, if anything, is not trusted."""
    with suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_if_dead(part: Path) -> None:
    """Remove a part folder whose process has ended; without locks its age decides."""
    # An error: another process was faster, or Windows, where no file is removed that a process has open.
    with suppress(OSError):
        last = max((file.stat().st_mtime for file in part.iterdir()), default=part.stat().st_mtime)
        age = time.time() - last
        if not (part / LOCK).exists():
            # Its process may be about to make the lock.
            if age > UNLOCKED_SECONDS:
                _remove(part)
            return
        with (part / LOCK).open("rb") as lock:
            locked = try_lock(lock)
            if locked or (locked is None and age > STALE_SECONDS):
                _remove(part)


def _folders(root: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """The folders of a cache that this module has made."""
    with suppress(FileNotFoundError):
        for entry in sorted(root.iterdir()):
            match = FOLDER.fullmatch(entry.name)
            if match is not None and entry.is_dir():
                yield entry, match


def _is_being_prepared(root: Path, target: Path) -> bool:
    """Whether a living process prepares the same."""
    return any(
        match[2] is not None and folder.name.startswith(target.name) and _is_locked(folder)
        for folder, match in _folders(root)
    )


def _is_locked(part: Path) -> bool:
    """Whether a process holds the lock of a part folder: without locks nobody can tell, and nobody waits."""
    try:
        with (part / LOCK).open("rb") as lock:
            return try_lock(lock) is False
    except OSError:
        return False


def _remove_leftovers(root: Path, target: Path) -> None:
    """Remove what killed processes left, and what was prepared from the same source before it changed."""
    stem = FOLDER.fullmatch(target.name)
    for folder, match in _folders(root):
        if match[2] is not None:
            _remove_if_dead(folder)
        elif stem is not None and match[1] == stem[1] and folder != target:
            _remove(folder)

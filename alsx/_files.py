"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, overload

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Bytes of the target's name in the name of its part file: with the rest below the 255 that file systems allow.
MAX_STEM_BYTES = 200
# Seconds without a write after which a part file must be a dead process's, on file systems that have no locks.
STALE_SECONDS = 86_400.0
# What a write says of a disk, not of a file.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})


@overload
def atomic_write(path: str | os.PathLike[str], *, encoding: None = None) -> AbstractContextManager[IO[bytes]]: ...
@overload
def atomic_write(path: str | os.PathLike[str], *, encoding: str) -> AbstractContextManager[IO[str]]: ...
@contextmanager
def atomic_write(path: str | os.PathLike[str], *, encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing that gets its name when it is complete and on the disk.

    Until then `path` holds what it held before. What is written goes to a part file in the same folder, which is removed
    where the block raises; those of processes that were killed are removed by the next write of the same file.

    Parameters
    ----------
    path : path-like
        The file. A symbolic link is followed: the file that it points to is replaced. A leading ``~`` is the home folder.
        What is not a regular file (``/dev/stdout``, a pipe) is written to directly.
    encoding : str, default=None
        Of text; None opens a binary file.

    Yields
    ------
    file : file object
        For writing and reading. It must not be closed within the block.

    Raises
    ------
    OSError
        If the file cannot be written. The message names the file, also where the disk is full.

    Notes
    -----
    The mode of an existing file is kept; a new one has what the umask leaves of 0666. File and folder are synchronised
    with the disk, so that after a power failure there is the old file or the new one.
    """
    given = Path(path).expanduser()
    try:
        # A loop of links is an error here; of a link that points nowhere yet the file is made.
        before = _status(given)
        if before is not None and not stat.S_ISREG(before.st_mode):
            with given.open("w", encoding=encoding) if encoding else given.open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(given))
        _check_target(target, before)
        with _part_file(target) as part:
            _keep_mode(part.fileno(), before)
            # The descriptor stays ours: closing it would give up the lock.
            with open(part.fileno(), "w+" if encoding else "w+b", encoding=encoding, closefd=False) as file:
                yield file
                file.flush()
            os.fsync(part.fileno())
            if os.name == "nt":
                part.close()  # Windows cannot rename a file that is open
            os.replace(part.name, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno in DISK_ERRORS and error.filename is None:
            error.filename = str(path)
        raise


def _status(path: Path) -> os.stat_result | None:
    """Return what is at the path, links followed, or None."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _check_target(target: Path, before: os.stat_result | None) -> None:
    """Refuse what a plain write would refuse too, by the path that was given and not by that of the part file."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} to write {target.name} to; make it first")
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is write-protected", str(target))
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "the folder may not be written to", str(target.parent))


@contextmanager
def _part_file(target: Path) -> Iterator[IO[bytes]]:
    """Make and lock a file beside the target under a name that no other process uses; at the end remove that name."""
    stem = os.fsdecode(os.fsencode(target.name)[:MAX_STEM_BYTES])
    _remove_dead_parts(target.parent, stem)
    while True:
        part = target.with_name(f"{stem}.{secrets.token_hex(8)}.part")
        file = part.open("x+b")  # not by tempfile, whose files only their owner may read
        try:
            # Another process may take it for a dead one's before it is locked; then a new one is made.
            if try_lock(file) is not False and part.exists():
                yield file
                return
        finally:
            file.close()
            part.unlink(missing_ok=True)


def try_lock(file: IO[bytes]) -> bool | None:
    """Lock a file for as long as it is open; return False if another process holds it, None if there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as a network file system
        return None
    return True


def _remove_dead_parts(folder: Path, stem: str) -> None:
    """Remove the part files of processes that were killed: nobody reads them, but they fill the disk.

    A part file is locked as long as its process lives. Without locks its age decides.
    """
    pattern = re.compile(re.escape(stem) + r"\.[0-9a-f]{16}\.part")
    for name in os.listdir(folder):
        if pattern.fullmatch(name):
            # An error: another process was faster, or Windows, where no file is removed that a process has open.
            with suppress(OSError), (folder / name).open("rb") as file:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                locked = try_lock(file)
                if locked or (locked is None and age > STALE_SECONDS):
                    if os.name == "nt":
                        file.close()
                    (folder / name).unlink()


def _keep_mode(descriptor: int, before: os.stat_result | None) -> None:
    """Give a file the owner and the mode of the one that it replaces."""
    if before is None or not hasattr(os, "fchmod"):
        return
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with suppress(OSError):  # only root may give files away
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def sync_folder(folder: Path) -> None:
    """Put the new name on the disk, where the system can."""
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

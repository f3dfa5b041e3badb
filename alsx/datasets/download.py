"""Fetch a MovieLens archive once, and trust only what was verified.

The cache holds two files for each archive: ``ml-100k.zip`` and, beside it, ``ml-100k.zip.md5``, the checksum that GroupLens
published when the archive was fetched. An archive is used only if its bytes give the checksum beside it, on every call;
so neither an interrupted run nor a damaged disk can leave something that a later run would trust,
and archives that change over time (``ml-latest``, ``ml-latest-small``) work like the others.

pooch supplies the cache folder and the transfer; the order of the steps is ours because pooch wants the
checksum before it starts and keeps it in the program, while here it comes from the server, may change between two
attempts, and has to survive beside the archive for runs without network.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alsx._files import atomic_write

BASE_URL = "https://files.grouplens.org/datasets/movielens"

_PAUSE_SECONDS = (0.5, 2.0)  # before the second and the third attempt
_TIMEOUT_SECONDS = 30.0  # without a chunk: a server that sends less is not waited for
_CHUNK_BYTES = 1 << 14
_MAX_SECONDS = 6 * 3600.0  # of a transfer; the largest archive takes them at 11 KB a second
_MAX_BYTES = 16 << 30  # of an archive, some fifty times the largest
_MAX_CHECKSUM_BYTES = 1 << 16
_POLL_SECONDS = 0.1  # after which an interrupt is heard
_MAX_REASON_LENGTH = 100  # characters of other libraries' words in a message


class DownloadError(OSError):
    """A MovieLens archive could not be fetched, or what came was not what GroupLens published."""


def fetch(
    name: str, *, cache: str | os.PathLike[str] | None = None, base_url: str | None = None, progress: bool = True
) -> Path:
    """Return the path of the archive of that name, downloaded if the cache has no verified copy.

    Parameters
    ----------
    name : str
        Such as ``"ml-100k"``; the file on the server is ``<base_url>/<name>.zip``.
    cache : path, default=None
        Folder of the cache. By default the environment variable ``ALSX_DATA_DIR``, else the user's cache folder as
        pooch knows it (``~/.cache/alsx`` on Linux).
    base_url : str, default=None
        Where the archives are. By default the environment variable ``ALSX_MOVIELENS_URL``, else GroupLens' server.
    progress : bool, default=True
        Whether to draw a progress bar on standard error.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DownloadError
        No network, an error of the server, a server that sends next to nothing, or a checksum that differs, each after three
        attempts (a file that the server does not have is not asked for again). Nothing is kept.
    """
    import pooch

    folder = Path(cache or os.environ.get("ALSX_DATA_DIR") or pooch.os_cache("alsx")).expanduser()
    url = f"{(base_url or os.environ.get('ALSX_MOVIELENS_URL') or BASE_URL).rstrip('/')}/{name}.zip"
    archive = folder / f"{name}.zip"
    if _verified(archive):
        return archive
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DownloadError(
            f"the cache folder {str(folder)!r} cannot be written ({error.strerror}); "
            "give another one with cache= or the environment variable ALSX_DATA_DIR"
        ) from None
    for pause in (*_PAUSE_SECONDS, None):
        try:
            _download(url, archive, progress)
            return archive
        except (OSError, ValueError) as error:
            if pause is None or _is_final(error):
                raise DownloadError(_message(name, url, error)) from error
            time.sleep(pause)
    raise AssertionError("unreachable")


def parse_checksum(text: str) -> str:
    """Return the MD5 sum in a checksum file: ``"MD5 (ml-100k.zip) = <hex>"`` (BSD) or ``"<hex>  ml-100k.zip"`` (GNU).

    Raises
    ------
    ValueError
        The text holds no MD5 sum, or several different ones.
    """
    sums = {found.lower() for found in re.findall(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])", text)}
    if len(sums) != 1:
        raise ValueError(f"no MD5 sum in the checksum file, which begins {text[:60]!r}")
    return str(sums.pop())


class _Mismatch(ValueError):
    """The archive that came does not give the published checksum."""


class _Slow(ValueError):
    """The server sends too little."""


class _Refused(ValueError):
    """What the server sends is too much or takes too long; asking again is useless."""


def _sidecar(archive: Path) -> Path:
    """Return the path of the checksum beside an archive."""
    return archive.with_name(archive.name + ".md5")


def _md5(file: Any) -> str:
    """Return the MD5 sum of an open file, which guards against damage and not against attacks."""
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _verified(archive: Path) -> bool:
    """Return whether the cache has this archive and its bytes give the checksum beside it."""
    try:
        published = parse_checksum(_sidecar(archive).read_text("ascii"))
        with archive.open("rb") as file:
            return _md5(file) == published
    except (OSError, ValueError):  # one of the two is absent or unreadable
        return False


def _download(url: str, archive: Path, progress: bool) -> None:
    """Make one attempt: checksum, archive into a part file, comparison, and only then the two final names."""
    body = io.BytesIO()
    _transfer(url + ".md5", body, _MAX_CHECKSUM_BYTES)
    published = parse_checksum(body.getvalue().decode("ascii", "replace"))
    with _published(archive) as part:
        _transfer(url, part, _MAX_BYTES, archive.name if progress else None)
        part.seek(0)
        came = _md5(part)
        if came != published:
            raise _Mismatch(f"its MD5 sum is {came}, the published one {published}")
        with _published(_sidecar(archive)) as sidecar:
            sidecar.write(f"{published}  {archive.name}\n".encode("ascii"))


@contextlib.contextmanager
def _published(target: Path) -> Iterator[IO[bytes]]:
    """Open a file of the cache for writing that gets its name when it is complete."""
    try:
        with atomic_write(target) as file:
            yield file
    except PermissionError:
        # On Windows a file that another process has open cannot be replaced: it is that process's verified copy.
        if not (os.name == "nt" and target.exists()):
            raise


def _transfer(url: str, file: IO[bytes], max_bytes: int, label: str | None = None) -> None:
    """Write the body of `url` to `file`, with a progress bar if it has a label.

    In a thread of its own, which is left behind where the server takes too long: nothing else ends a read that gets a byte
    now and then, and an interrupt is heard at once.
    """
    watched = _Watched(file, max_bytes)
    with contextlib.ExitStack() as stack:
        bar = None
        if label is not None:
            from tqdm import tqdm

            # The total becomes known with the first answer; pooch asks for bool(bar), which tqdm refuses without any total.
            bar = tqdm(total=1, desc=label, unit="B", unit_scale=True, unit_divisor=1000, file=sys.stderr)
            stack.enter_context(bar)
        stack.callback(watched.abandon)
        thread = threading.Thread(target=watched.receive, args=(url, bar), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            watched.check_pace()
    error, watched.error = watched.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # a cycle of traceback and frame would keep the connection open


class _Watched:
    """A file that is written by a transfer, and what is known of it: how much has come, and when.

    Parameters
    ----------
    file : binary file object
    max_bytes : int
        More are refused.

    Attributes
    ----------
    error : Exception or None
        What ended the transfer early.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._max_bytes, self._n_bytes = file, max_bytes, 0
        self._began = self._moved = time.monotonic()
        self._abandoned, self._lock = False, threading.Lock()
        self.error: Exception | None = None

    def receive(self, url: str, bar: Any) -> None:
        """Write the body of `url` to the file; this is what the thread does."""
        import pooch

        try:
            progress = False if bar is None else bar
            pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)(
                url, self, None
            )
        except Exception as error:
            self.error = error

    def write(self, chunk: bytes) -> None:
        """Write a chunk to the file, unless nobody waits for it any more."""
        with self._lock:
            if self._abandoned:
                raise _Refused("abandoned")
            self._n_bytes += len(chunk)
            if self._n_bytes > self._max_bytes:
                raise _Refused(f"it has more than {self._max_bytes:,} bytes")
            self._file.write(chunk)
            self._moved = time.monotonic()

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is complete."""

    def abandon(self) -> None:
        """Write no more to the file, which is about to be closed."""
        with self._lock:
            self._abandoned = True

    def check_pace(self) -> None:
        """Give up a transfer that takes too long."""
        now = time.monotonic()
        if now - self._began > _MAX_SECONDS:
            raise _Refused(f"it took more than {_MAX_SECONDS / 3600:.3g} hours")
        # A little later than the time-out of the connection, which has more to say.
        if now - self._moved > 1.2 * _TIMEOUT_SECONDS:
            raise _Slow(f"less than {_CHUNK_BYTES:,} bytes came in {now - self._moved:.0f} seconds")


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer that is an error."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return None if status is None else int(status)


def _is_final(error: Exception) -> bool:
    """Return whether asking again is useless: the server refused, or this machine's disk did."""
    if isinstance(error, _Refused):
        return True
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, OSError) and error.errno is not None and not hasattr(error, "request")


def _message(name: str, url: str, error: Any) -> str:
    """Return why the archive of that name could not be downloaded, and what to do."""
    remedy = "load_movielens also takes the path of an archive or folder that you have"
    if isinstance(error, _Mismatch):
        return f"{url} came three times damaged or incomplete: {error}; nothing was kept: try again later"
    if (status := _status(error)) is not None:
        reason = f"the server answered {status} for {error.response.url}"
    elif isinstance(error, (_Slow, _Refused)):
        reason = str(error)
    else:
        # The libraries below wrap one another's errors; the system's own words are the ones that help.
        text = " ".join(str(error).split())
        found = re.search(r"\[Errno -?\d+\] [^'\")]+", text)
        text = found[0] if found else text
        reason = f"{type(error).__name__}: {text[:_MAX_REASON_LENGTH]}"
    return f"{name} could not be downloaded from {url} ({reason}); {remedy}"

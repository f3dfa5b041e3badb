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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alsx._files import atomic_write

BASE_URL = "https://files.grouplens.org/datasets/movielens"

_PAUSE_SECONDS = (0.5, 2.0)  # before the second and the third attempt
_TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK_BYTES = 1 << 18  # between two updates of the progress bar


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
        No network, an error of the server, or a checksum that differs, each after three attempts (a file that the
        server does not have is not asked for again). Nothing is kept.
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
    _transfer(url + ".md5", body)
    published = parse_checksum(body.getvalue().decode("ascii", "replace"))
    with _published(archive) as part:
        _transfer(url, part, archive.name if progress else None)
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


def _transfer(url: str, file: Any, label: str | None = None) -> None:
    """Write the body of `url` to `file`, with a progress bar if it has a label."""
    import pooch

    if label is None:
        pooch.HTTPDownloader(chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)(url, file, None)
        return
    from tqdm import tqdm

    # The total becomes known with the first answer; pooch asks for bool(bar), which tqdm refuses without any total.
    with tqdm(total=1, desc=label, unit="B", unit_scale=True, unit_divisor=1000, file=sys.stderr) as bar:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)(url, file, None)


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer that is an error."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return None if status is None else int(status)


def _is_final(error: Exception) -> bool:
    """Return whether asking again is useless: the server refused, or this machine's disk did."""
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, OSError) and error.errno is not None and not hasattr(error, "request")


def _message(name: str, url: str, error: Any) -> str:
    """Return why the archive of that name could not be downloaded, and what to do."""
    remedy = "load_movielens also takes the path of an archive or folder that you already have"
    if isinstance(error, _Mismatch):
        return f"{url} came three times damaged or incomplete: {error}; nothing was kept: try again later; {remedy}"
    if (status := _status(error)) is not None:
        reason = f"the server answered {status} for {error.response.url}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return f"{name} could not be downloaded from {url} ({reason}); {remedy}"

"""The MovieLens archives of GroupLens in all their layouts, read where they are.

Layouts (https://grouplens.org/datasets/movielens/; F. M. Harper and J. A. Konstan, 2015, The MovieLens Datasets:
History and Context, ACM TiiS 5(4), 19):

======================  ==========================================================================================
``ml-100k``             ``u.data`` (tabs), ``u.item``, ``u.user`` (bars), ISO-8859-1; folds ``u1.base`` and so on
``ml-1m``               ``ratings.dat``, ``movies.dat``, ``users.dat`` (``::``), ISO-8859-1
``ml-10m``              ``ratings.dat``, ``movies.dat``, ``tags.dat`` (``::``), UTF-8, half stars
``ml-20m`` and newer    ``ratings.csv``, ``movies.csv``, ``links.csv``, ``tags.csv``, UTF-8, half stars
======================  ==========================================================================================

Nothing is unpacked to disk: members of a .zip are streamed. The ratings go block by block through pyarrow's CSV reader
with fixed column types, so that neither the text nor a second copy of the table is ever in memory.
"""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from alsx.datasets.titles import display_title, split_year

if TYPE_CHECKING:
    import pyarrow as pa

    from alsx.ratings import Ratings

NAMES = ("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small")
FOLDS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")

_REQUIRED = (("u.data", "u.item", "u.genre"), ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"))
_NO_GENRES = frozenset({"", "(no genres listed)", "unknown"})
_BLOCK = 4 << 20  # bytes of text a block; pyarrow keeps a few blocks in flight

# From the README of ml-1m.
_AGE_GROUPS = {1: "Under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
_OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}


class MovieLens:
    """Ratings of films with what is known about films and users, as pyarrow tables.

    `load_movielens` and `load_demo` make these.

    Parameters
    ----------
    name : str
        Such as ``"ml-100k"``.
    table : pyarrow.Table
        The ratings: ``user`` int32, ``item`` int32, ``rating`` float32 (stars) and, unless left out, ``timestamp``
        int64 (seconds since 1970-01-01 UTC).
    items : pyarrow.Table
        The films, rated or not: ``item`` int32, ``title`` string (without year, article last as MovieLens has it),
        ``year`` int32 (null where unknown), ``genres`` list<string> (empty where none is listed). ml-100k adds
        ``release_date`` date32 and ``imdb_url``; archives with links.csv add ``imdb_id`` (string, seven digits or
        more, zeros in front) and ``tmdb_id`` (int32, null where unknown).
    tags : pyarrow.Table, default=None
        ``user``, ``item`` int32, ``tag`` string, ``timestamp`` int64; None where the archive has none.
    users : pyarrow.Table, default=None
        ``user``, ``age`` int32 (years), ``gender`` ("F" or "M"), ``occupation`` (a word), ``zip`` string; in ml-1m
        ``age`` is the lower bound of a group (1 means under 18) and ``age_group`` names it. None where the archive has
        none.
    simulated : bool, default=False
        Whether the ratings are made up.
    source : path, default=None
        The archive or folder the tables came from, where `fold` finds the canonical folds.

    Attributes
    ----------
    name, table, items, tags, users, simulated, source
        As given.
    ratings : alsx.Ratings
        The ratings ready for a model, built from `table` at first use and kept.
    """

    def __init__(
        self,
        name: str,
        table: pa.Table,
        items: pa.Table,
        *,
        tags: pa.Table | None = None,
        users: pa.Table | None = None,
        simulated: bool = False,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.items = items
        self.tags = tags
        self.users = users
        self.simulated = simulated
        self.source = None if source is None else Path(source)

    @cached_property
    def ratings(self) -> Ratings:
        """The ratings as `alsx.Ratings`, built at first use."""
        from alsx.ratings import Ratings

        return Ratings(self.table)

    def titles(self, item_ids: Any, *, alternates: bool = True, years: bool = False) -> list[str]:
        """Titles to read, articles first: ``"The Matrix"`` where the file has ``"Matrix, The"``.

        Parameters
        ----------
        item_ids : int or sequence of int
            Ids of films.
        alternates : bool, default=True
            Whether to keep other titles in parentheses: ``"Amelie (Le Fabuleux destin d'Amélie Poulain)"``.
        years : bool, default=False
            Whether to append the year, where known: ``"The Matrix (1999)"``.

        Returns
        -------
        list of str
            One title an id. `items` has the official titles.

        Raises
        ------
        ValueError
            An id is not among `items`; the sentence names the first.
        """
        rows = self._rows(item_ids)
        shown = [display_title(title, alternates=alternates) for title in self.items["title"].take(rows).to_pylist()]
        if not years:
            return shown
        released = self.items["year"].take(rows).to_pylist()
        return [title if year is None else f"{title} ({year})" for title, year in zip(shown, released, strict=True)]

    def genres_of(self, item_ids: Any) -> list[list[str]]:
        """Genres of films.

        Parameters
        ----------
        item_ids : int or sequence of int
            Ids of films.

        Returns
        -------
        list of list of str
            One list an id, empty where no genre is listed.

        Raises
        ------
        ValueError
            An id is not among `items`; the sentence names the first.
        """
        return cast(list[list[str]], self.items["genres"].take(self._rows(item_ids)).to_pylist())

    def item_features(self, *, year: bool = True, tags: bool = False, min_films: int = 5) -> pa.Table:
        """
        What is known of the films, as the models take it: ``fit(..., item_features=data.item_features())``.

        Parameters
        ----------
        year : bool, default=True
            Take the year of the film, as a number and by decade: films of an age are alike in more than a trend.
        tags : bool, default=False
            Take the tags that users gave, lower case, where a tag was given to at least `min_films` films. Users tag what
            they have seen, so films without ratings have few.
        min_films : int, default=5
            Rarer tags are left out.

        Returns
        -------
        pyarrow.Table
            ``item``, ``genres`` list<string>, and as asked ``year`` int32, ``decade`` string ("1990s") and ``tags``
            list<string>; a row a film.

        Raises
        ------
        ValueError
            If tags are asked for and the archive has none.
        """
        import pyarrow as pa

        features = self.items.select(["item", "genres", *(["year"] if year else [])])
        if year:
            decades = [None if x is None else f"{x // 10 * 10}s" for x in features["year"].to_pylist()]
            features = features.append_column("decade", pa.array(decades, pa.string()))
        if tags:
            if self.tags is None:
                raise ValueError(f"tags: {self.name} has no tags; leave them out")
            of_film: dict[int, set[str]] = {}
            columns = (self.tags[name].to_pylist() for name in ("item", "tag"))
            for item, tag in zip(*columns, strict=True):
                of_film.setdefault(item, set()).add(tag.strip().lower())
            films = Counter(tag for given in of_film.values() for tag in given)
            kept = {tag for tag, count in films.items() if count >= min_films and tag}
            given = [sorted(of_film.get(item, set()) & kept) for item in features["item"].to_pylist()]
            features = features.append_column("tags", pa.array(given, pa.list_(pa.string())))
        return features

    def user_features(self) -> pa.Table:
        """
        What is known of the users, as the models take it: ``fit(..., user_features=data.user_features())``.

        Returns
        -------
        pyarrow.Table
            ``user``, ``age`` int32, ``gender`` and ``occupation``, a row a user; where the archive has ages in groups (ml-1m)
            ``age_group`` instead of ``age``.

        Raises
        ------
        ValueError
            If the archive says nothing about users.
        """
        if self.users is None:
            raise ValueError(f"{self.name} says nothing about users; ml-100k and ml-1m do")
        age = "age_group" if "age_group" in self.users.column_names else "age"
        return self.users.select(["user", age, "gender", "occupation"])

    def fold(self, name: str) -> tuple[pa.Table, pa.Table]:
        """One of the canonical folds of ml-100k.

        Parameters
        ----------
        name : {"u1", "u2", "u3", "u4", "u5", "ua", "ub"}
            ``u1`` to ``u5`` are disjoint test sets of 20,000 ratings (five-fold cross-validation); ``ua`` and ``ub``
            hold out ten ratings of each user.

        Returns
        -------
        train, test : pyarrow.Table
            With the columns of `table`.

        Raises
        ------
        ValueError
            There is no fold of that name, or these ratings come without folds.
        """
        if name not in FOLDS:
            raise ValueError(f"name={name!r} is not a fold; the folds of ml-100k are {', '.join(FOLDS)}")
        if self.source is None:
            raise ValueError(f"{self.name} has no canonical folds; only ml-100k has")
        with _open_archive(self.source) as archive:
            for member in (f"{name}.base", f"{name}.test"):
                if member not in archive:
                    raise ValueError(f"{archive.where(member)} is missing; only ml-100k comes with canonical folds")
            timestamps = "timestamp" in self.table.column_names
            return (
                _read_ratings(archive, f"{name}.base", b"\t", None, timestamps),
                _read_ratings(archive, f"{name}.test", b"\t", None, timestamps),
            )

    def __repr__(self) -> str:
        what = "simulated ratings" if self.simulated else "ratings"
        return f"<MovieLens {self.name}: {self.table.num_rows:,} {what}, {self.items.num_rows:,} films>"

    @cached_property
    def _row_of(self) -> dict[int, int]:
        return {item: row for row, item in enumerate(self.items["item"].to_pylist())}

    def _rows(self, item_ids: Any) -> pa.Array:
        import pyarrow as pa

        # Arrow scalars and NumPy's do not hash like Python's numbers: let their containers turn them into those.
        to_list = getattr(item_ids, "tolist", None) or getattr(item_ids, "to_pylist", None)
        ids = item_ids if to_list is None else to_list()
        try:
            rows = [self._row_of[int(item)] for item in (ids if isinstance(ids, Iterable) else [ids])]
        except KeyError as error:
            raise ValueError(
                f"item id {error.args[0]!r} is not among the {len(self._row_of):,} films of {self.name}"
            ) from None
        return pa.array(rows, pa.int64())


def load_movielens(
    name_or_path: str | os.PathLike[str],
    *,
    timestamps: bool = True,
    cache: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    progress: bool = True,
) -> MovieLens:
    """Load a MovieLens archive: by name, from its .zip, or from a folder.

    Parameters
    ----------
    name_or_path : str or path
        ``"ml-100k"``, ``"ml-1m"``, ``"ml-10m"``, ``"ml-20m"``, ``"ml-25m"``, ``"ml-32m"``, ``"ml-latest"`` or
        ``"ml-latest-small"``, in any case, with or without ``"ml-"``: downloaded once into a cache and verified there
        at every use (see `alsx.datasets.download`). Anything else is the path of a .zip or of a folder with its files.
        A name is never looked for in the working folder: write ``"./ml-100k"`` for a folder of that name.
    timestamps : bool, default=True
        Whether to read the times of the ratings. Without them `table` takes 12 bytes a rating instead of 20.
    cache : path, default=None
        Folder for downloads. By default the environment variable ``ALSX_DATA_DIR``, else the user's cache folder.
    base_url : str, default=None
        Server for downloads. By default the environment variable ``ALSX_MOVIELENS_URL``, else GroupLens' own.
    progress : bool, default=True
        Whether a download draws a progress bar on standard error.

    Returns
    -------
    MovieLens

    Raises
    ------
    ValueError
        An unknown name, an archive that is not MovieLens', or a malformed line (with file and line number).
    FileNotFoundError
        There is nothing at that path.
    alsx.datasets.download.DownloadError
        No network, or a download that does not give the published checksum. An `OSError`.

    Notes
    -----
    Titles and genres are the official ones (``"Children's"`` in ml-100k and ml-1m is ``"Children"`` later), except
    that the year has its own column and that "(no genres listed)" and ml-100k's "unknown" are empty lists.

    Examples
    --------
    >>> from alsx.datasets import load_movielens
    >>> data = load_movielens("ml-100k")  # doctest: +SKIP
    >>> data.titles([50, 181])  # doctest: +SKIP
    ['Star Wars', 'Return of the Jedi']
    """
    name = canonical_name(name_or_path) if isinstance(name_or_path, str) else None
    if name is not None:
        from alsx.datasets.download import fetch

        path = fetch(name, cache=cache, base_url=base_url, progress=progress)
    else:
        path = Path(name_or_path).expanduser()
        if not path.exists():
            known = f"the known data sets are {', '.join(NAMES)}"
            if isinstance(name_or_path, str) and not re.search(r"[/\\]|\.zip$", name_or_path):
                raise ValueError(
                    f"{name_or_path!r} is neither a MovieLens data set nor an existing file or folder; {known}"
                )
            raise FileNotFoundError(f"there is no file or folder {str(path)!r}; {known}")
    with _open_archive(path) as archive:
        if "u.data" in archive:
            data = _read_100k(archive, timestamps)
        elif "ratings.dat" in archive:
            data = _read_dat(archive, timestamps)
        else:
            data = _read_csv(archive, timestamps)
    data.name = name or canonical_name(archive.folder_name) or canonical_name(path.stem) or path.stem
    data.source = path if "u1.base" in archive else None
    return data


def canonical_name(text: str) -> str | None:
    """The official name meant by ``"100K"``, ``"ML_latest_small"`` or ``"ml-10M100K"``; None where it is not one."""
    name = text.strip().lower().replace("_", "-")
    name = "ml-10m" if name == "ml-10m100k" else name
    return next((known for known in NAMES if name in (known, known.removeprefix("ml-"))), None)


# ---------------------------------------------------------------------------------------------------------------------
# Where the files are


class _Archive:
    """The folder of MovieLens files inside a .zip or on disk: what is there, and streams of it."""

    def __init__(self, path: Path, members: list[str], opener: Callable[[str], IO[bytes]]) -> None:
        folders: dict[PurePosixPath, set[str]] = {}
        for member in map(PurePosixPath, members):
            if "__MACOSX" not in member.parts:  # resource forks that macOS adds when people zip a folder again
                folders.setdefault(member.parent, set()).add(member.name)
        # The shallowest folder wins: copies in deeper ones are somebody's own.
        for folder in sorted(folders, key=lambda f: (len(f.parts), str(f))):
            if any(folders[folder].issuperset(required) for required in _REQUIRED):
                break
        else:
            raise ValueError(f"{str(path)!r} is not a MovieLens archive: {_what_lacks(folders)}")
        self._path, self._folder, self._names, self._opener = path, folder, folders[folder], opener
        self.folder_name = folder.name or path.name

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def where(self, name: str) -> str:
        """The file's place, for messages."""
        return f"{self._path}: {self._folder / name}"

    def open(self, name: str) -> IO[bytes]:
        return self._opener(str(self._folder / name))

    def text(self, name: str, encoding: str) -> str:
        """A whole small file. Files of one layout share an encoding, but a user may have converted them to UTF-8."""
        with self.open(name) as stream:
            raw = stream.read()
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if encoding == "utf-8":
                line = raw.count(b"\n", 0, error.start) + 1
                raise ValueError(f"{self.where(name)}, line {line}: the text is not UTF-8") from None
            return raw.decode(encoding)


def _what_lacks(folders: dict[PurePosixPath, set[str]]) -> str:
    for names in folders.values():
        for required in _REQUIRED:
            present = [name for name in required if name in names]
            if present:
                missing = next(name for name in required if name not in names)
                return f"it has {present[0]} but lacks {missing}"
    sets = "; ".join(", ".join(required) for required in _REQUIRED)
    return f"no folder in it holds one of these sets of files: {sets}"


@contextmanager
def _open_archive(path: Path) -> Iterator[_Archive]:
    if path.is_dir():
        members = [
            f.relative_to(path).as_posix() for pattern in ("*", "*/*") for f in path.glob(pattern) if f.is_file()
        ]
        yield _Archive(path, members, lambda member: (path / member).open("rb"))
        return
    try:
        with zipfile.ZipFile(path) as file:
            yield _Archive(path, [i.filename for i in file.infolist() if not i.is_dir()], file.open)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{str(path)!r} is not a sound .zip file ({error}); download it again") from None


# ---------------------------------------------------------------------------------------------------------------------
# Ratings


class _SingleSeparator(io.RawIOBase):
    """A stream of ``.dat`` lines with ``::`` made ``,``, block by block: pyarrow's separators are single bytes.

    Ratings are numbers, so a comma or another colon in them is a malformed line either way.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._carry = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(buffer) < 2:
            raise ValueError("a block must hold a separator")
        while True:
            fresh = self._stream.read(len(buffer) - len(self._carry))
            block = self._carry + fresh
            # A separator may straddle two blocks: hold a last colon back until its neighbour is known.
            self._carry = b":" if fresh and block.endswith(b":") and not block.endswith(b"::") else b""
            block = block[: len(block) - len(self._carry)].replace(b"::", b",")
            if block or not fresh:
                buffer[: len(block)] = block
                return len(block)


def _read_ratings(
    archive: _Archive, name: str, separator: bytes, header: tuple[str, ...] | None, timestamps: bool
) -> pa.Table:
    """The table of ratings of one file: one pass, fixed types, one block of text in memory at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    types = {"user": pa.int32(), "item": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()}
    wanted = list(types) if timestamps else list(types)[:3]
    schema = pa.schema([(column, types[column]) for column in wanted])
    batches = []
    with archive.open(name) as file:
        if header is not None:
            _check_header(archive, name, file.readline().decode("utf-8-sig", "replace").strip().split(","), header)
        stream = _SingleSeparator(file) if separator == b"::" else file
        try:
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                pyarrow.csv.ReadOptions(column_names=list(types), block_size=_BLOCK),
                pyarrow.csv.ParseOptions(delimiter="," if separator == b"::" else separator.decode(), quote_char=False),
                pyarrow.csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
            )
            for batch in reader:
                if not pc.all(pc.is_finite(batch.column("rating"))).as_py():  # the reader takes "nan" for a number
                    raise pa.ArrowInvalid("a rating is not finite")
                batches.append(batch)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise _malformed_rating(archive, name, separator, header is not None, error) from None
    table = pa.Table.from_batches(batches, schema)
    if table.num_rows == 0:
        raise ValueError(f"{archive.where(name)} holds no ratings")
    return table


def _check_header(archive: _Archive, name: str, found: list[str], header: tuple[str, ...]) -> None:
    if tuple(found) != header:
        raise ValueError(
            f"{archive.where(name)}, line 1: expected the header {','.join(header)}, got {','.join(found)[:80]}"
        )


def _malformed_rating(archive: _Archive, name: str, separator: bytes, has_header: bool, error: Exception) -> ValueError:
    """Read the file again, line by line, for the number of the first malformed line: pyarrow knows only blocks."""
    line = re.compile(
        rb"(\d{1,10})SEP(\d{1,10})SEP\d+(?:\.\d*)?SEP[+-]?\d{1,19}\r?\n?".replace(b"SEP", re.escape(separator))
    )
    shape = separator.decode().join(("user", "item", "rating", "timestamp"))
    with archive.open(name) as file:
        for number, text in enumerate(file, 1):
            if (number == 1 and has_header) or not text.strip():
                continue
            match = line.fullmatch(text)
            if match is None or max(int(match[1]), int(match[2])) >= 2**31:
                return _malformed(archive, name, number, text.decode("utf-8", "replace"), shape)
    return ValueError(f"{archive.where(name)} is malformed: {error}")


def _malformed(archive: _Archive, name: str, number: int, text: str, shape: str) -> ValueError:
    return ValueError(f"{archive.where(name)}, line {number}: expected {shape!r}, got {text.rstrip()[:80]!r}")


# ---------------------------------------------------------------------------------------------------------------------
# Films, users, tags


def _records(
    archive: _Archive, name: str, shape: str, record: Callable[[list[str]], dict[str, Any]], encoding: str = "utf-8"
) -> list[dict[str, Any]]:
    """The records of a small file. `shape` shows a line, with its separator; in a CSV file it is the header."""
    text = archive.text(name, encoding)
    found = []
    if name.endswith(".csv"):
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        _check_header(archive, name, next(reader, [""]), tuple(shape.split(",")))
        lines = ((reader.line_num, row) for row in reader if row)
    else:
        separator = "::" if "::" in shape else "|"
        # Not str.splitlines, which also ends lines at characters that occur within titles and tags.
        numbered = enumerate((line.removesuffix("\r") for line in text.split("\n")), 1)
        lines = ((number, line.split(separator)) for number, line in numbered if line)
    number, fields = 0, list[str]()
    try:
        for number, fields in lines:  # noqa: B007, the number is for the messages below
            found.append(record(fields))
    except (ValueError, IndexError, KeyError):
        raise _malformed(archive, name, number, ",".join(fields), shape) from None
    except csv.Error as error:
        raise ValueError(f"{archive.where(name)}, line {number + 1}: {error}") from None
    return found


def _table(records: list[dict[str, Any]], **types: Any) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: pa.array([r[name] for r in records], kind) for name, kind in types.items()})


def _items_table(records: list[dict[str, Any]], **more: Any) -> pa.Table:
    import pyarrow as pa

    kinds = {"item": pa.int32(), "title": pa.string(), "year": pa.int32(), "genres": pa.list_(pa.string())}
    return _table(records, **kinds, **more)


def _genres(text: str) -> list[str]:
    return [genre for genre in text.strip().split("|") if genre not in _NO_GENRES]


def _film(item: str, title: str, genres: str) -> dict[str, Any]:
    name, year = split_year(title)
    return {"item": int(item), "title": name, "year": year, "genres": _genres(genres)}


def _read_100k(archive: _Archive, timestamps: bool) -> MovieLens:
    import pyarrow as pa

    genre_names = {}
    for genre in _records(archive, "u.genre", "genre|number", lambda f: {"name": f[0], "number": int(f[1])}):
        genre_names[genre["number"]] = genre["name"]

    def film(fields: list[str]) -> dict[str, Any]:
        item, title, released, _video, url, *flags = fields
        if not flags or not set(flags) <= {"0", "1"}:
            raise ValueError
        genres = "|".join(genre_names[n] for n, flag in enumerate(flags) if flag == "1")
        return {**_film(item, title, genres), "release_date": _date(released), "imdb_url": url or None}

    shape = "item|title|release date|video release date|IMDb URL|19 genre flags"
    films = _records(archive, "u.item", shape, film, "iso-8859-1")
    users = None
    if "u.user" in archive:

        def user(f: list[str]) -> dict[str, Any]:
            return {"user": int(f[0]), "age": int(f[1]), "gender": f[2], "occupation": f[3], "zip": f[4]}

        users = _users_table(_records(archive, "u.user", "user|age|gender|occupation|zip", user, "iso-8859-1"))
    return MovieLens(
        "",
        _read_ratings(archive, "u.data", b"\t", None, timestamps),
        _items_table(films, release_date=pa.date32(), imdb_url=pa.string()),
        users=users,
    )


def _date(text: str) -> Any:
    """The date of ``"01-Jan-1995"``, whatever the locale."""
    import datetime

    if not text:
        return None
    day, month, year = text.split("-")
    return datetime.date(int(year), _MONTHS[month], int(day))


def _users_table(records: list[dict[str, Any]], **more: Any) -> pa.Table:
    import pyarrow as pa

    kinds = {
        "user": pa.int32(),
        "age": pa.int32(),
        "gender": pa.string(),
        "occupation": pa.string(),
        "zip": pa.string(),
    }
    return _table(records, **kinds, **more)


def _read_dat(archive: _Archive, timestamps: bool) -> MovieLens:
    """ml-1m, which has demographics, and ml-10m, which has tags."""
    import pyarrow as pa

    encoding = "iso-8859-1" if "users.dat" in archive else "utf-8"

    def film(fields: list[str]) -> dict[str, Any]:
        item, *title, genres = fields
        if not title:
            raise ValueError
        return _film(item, "::".join(title), genres)

    films = _records(archive, "movies.dat", "item::title::genres", film, encoding)
    users = tags = None
    if "users.dat" in archive:

        def user(f: list[str]) -> dict[str, Any]:
            age = int(f[2])
            who = {"user": int(f[0]), "age": age, "gender": f[1], "occupation": _OCCUPATIONS[int(f[3])], "zip": f[4]}
            return {**who, "age_group": _AGE_GROUPS[age]}

        shape = "user::gender::age::occupation::zip"
        users = _users_table(_records(archive, "users.dat", shape, user, encoding), age_group=pa.string())
    if "tags.dat" in archive:

        def tag(fields: list[str]) -> dict[str, Any]:
            user, item, *text, when = fields
            if not text:
                raise ValueError
            return {"user": int(user), "item": int(item), "tag": "::".join(text), "timestamp": int(when)}

        tags = _table(_records(archive, "tags.dat", "user::item::tag::timestamp", tag, encoding), **_tag_types())
    return MovieLens(
        "", _read_ratings(archive, "ratings.dat", b"::", None, timestamps), _items_table(films), tags=tags, users=users
    )


def _read_csv(archive: _Archive, timestamps: bool) -> MovieLens:
    import pyarrow as pa

    def film(fields: list[str]) -> dict[str, Any]:
        item, title, genres = fields
        return _film(item, title, genres)

    films = _records(archive, "movies.csv", "movieId,title,genres", film)
    more = {}
    if "links.csv" in archive:

        def link(fields: list[str]) -> dict[str, Any]:
            item, imdb, tmdb = fields
            # Seven digits as in IMDb's addresses: early archives lost the zeros in front.
            return {
                "item": int(item),
                "imdb_id": imdb.zfill(7) if imdb else None,
                "tmdb_id": int(tmdb) if tmdb else None,
            }

        links = {row["item"]: row for row in _records(archive, "links.csv", "movieId,imdbId,tmdbId", link)}
        for row in films:
            linked = links.get(row["item"], {})
            row.update(imdb_id=linked.get("imdb_id"), tmdb_id=linked.get("tmdb_id"))
        more = {"imdb_id": pa.string(), "tmdb_id": pa.int32()}
    return MovieLens(
        "",
        _read_ratings(archive, "ratings.csv", b",", ("userId", "movieId", "rating", "timestamp"), timestamps),
        _items_table(films, **more),
        tags=_read_tags(archive) if "tags.csv" in archive else None,
    )


def _tag_types() -> dict[str, Any]:
    import pyarrow as pa

    return {"user": pa.int32(), "item": pa.int32(), "tag": pa.string(), "timestamp": pa.int64()}


def _read_tags(archive: _Archive) -> pa.Table:
    """tags.csv has up to two million lines, and tags may hold quotes, commas and ends of lines."""
    import pyarrow as pa
    import pyarrow.csv

    types = _tag_types()
    header = ("userId", "movieId", "tag", "timestamp")
    batches = []
    with archive.open("tags.csv") as file:
        _check_header(archive, "tags.csv", file.readline().decode("utf-8-sig", "replace").strip().split(","), header)
        try:
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(file, mode="r"),
                pyarrow.csv.ReadOptions(column_names=list(types), block_size=_BLOCK),
                pyarrow.csv.ParseOptions(newlines_in_values=True),
                pyarrow.csv.ConvertOptions(column_types=types, null_values=[]),
            )
            batches = list(reader)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):

                def tag(fields: list[str]) -> dict[str, Any]:
                    user, item, _text, when = fields
                    return {"user": int(user), "item": int(item), "timestamp": int(when)}

                _records(archive, "tags.csv", ",".join(header), tag)  # raises with the number of the line
                raise ValueError(f"{archive.where('tags.csv')} is malformed: {error}") from None
    return pa.Table.from_batches(batches, pa.schema(list(types.items())))

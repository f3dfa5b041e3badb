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

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alsx import _check
from alsx.datasets._archive import DEFAULT_MAX_BYTES, is_archive_folder, open_archive
from alsx.datasets._layouts import read_fold, read_tables
from alsx.datasets.titles import display_title

if TYPE_CHECKING:
    import pyarrow as pa

    from alsx.ratings import Ratings

NAMES = ("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small")
FOLDS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")


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
        """Return titles to read, articles first: ``"The Matrix"`` where the file has ``"Matrix, The"``.

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
            One title for each id. `items` has the official titles.

        Raises
        ------
        ValueError
            An id is not among `items`; the message names the first.
        """
        rows = self._rows(item_ids)
        shown = [display_title(title, alternates=alternates) for title in self.items["title"].take(rows).to_pylist()]
        if not years:
            return shown
        released = self.items["year"].take(rows).to_pylist()
        return [title if year is None else f"{title} ({year})" for title, year in zip(shown, released, strict=True)]

    def item(self, title: str) -> int:
        """Return the id of a film by its title, to ask a model about it.

        Parameters
        ----------
        title : str
            Such as ``"The Matrix"``, in any case, as `titles` gives it or as the archive has it; with the year,
            ``"Titanic (1997)"``, where several films have the title.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If no film has that title, or several have; the message names titles that are like it.

        Examples
        --------
        >>> from alsx.datasets import load_demo
        >>> load_demo().item("the matrix")
        2
        """
        found = self._by_title.get(str(title).strip().casefold(), [])
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(
                f"{one!r} is {item}" for one, item in zip(self.titles(found, years=True), found, strict=True)
            )
            raise ValueError(
                f"title is {title!r}, which {len(found)} films have; add the year, or take the id: {several:.180}"
            )
        near = difflib.get_close_matches(str(title).strip().casefold(), self._by_title, n=3)
        known = ", ".join(repr(self.titles(self._by_title[one][0])[0]) for one in near)
        raise ValueError(
            f"title is {title!r}, which no film has; it must be that of a film" + (f", such as {known}" if near else "")
        )

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        """Ids by title, in lower case: as MovieLens has it and as people write it, with the year and without."""
        places: dict[str, list[int]] = {}
        columns = (self.items[name].to_pylist() for name in ("item", "title", "year"))
        for item, title, year in zip(*columns, strict=True):
            names = {title, display_title(title), display_title(title, alternates=False)}
            for name in names | {f"{name} ({year})" for name in names if year is not None}:
                places.setdefault(name.casefold(), []).append(item)
        return places

    def genres_of(self, item_ids: Any) -> list[list[str]]:
        """Return the genres of films.

        Parameters
        ----------
        item_ids : int or sequence of int
            Ids of films.

        Returns
        -------
        list of list of str
            One list for each id, empty where no genre is listed.

        Raises
        ------
        ValueError
            An id is not among `items`; the message names the first.
        """
        return cast(list[list[str]], self.items["genres"].take(self._rows(item_ids)).to_pylist())

    def item_features(self, *, year: bool = True, tags: bool = False, min_films: int = 5) -> pa.Table:
        """Return what is known of the films, as the models take it: ``fit(..., item_features=data.item_features())``.

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
            list<string>; one row for each film.

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
            of_film = self._common_tags(min_films)
            listed = [of_film.get(item, []) for item in features["item"].to_pylist()]
            features = features.append_column("tags", pa.array(listed, pa.list_(pa.string())))
        return features

    def _common_tags(self, min_films: int) -> dict[int, list[str]]:
        """Return the tags of each film, in lower case and sorted, that at least `min_films` films have."""
        if self.tags is None:
            raise ValueError(f"tags is True, but {self.name} has no tags; leave them out")
        of_film: dict[int, set[str]] = {}
        columns = (self.tags[name].to_pylist() for name in ("item", "tag"))
        for item, tag in zip(*columns, strict=True):
            of_film.setdefault(item, set()).add(tag.strip().lower())
        n_films = Counter(tag for tags in of_film.values() for tag in tags)
        common = {tag for tag, n in n_films.items() if n >= min_films and tag}
        return {item: sorted(tags & common) for item, tags in of_film.items()}

    def user_features(self) -> pa.Table:
        """Return what is known of the users, as the models take it: ``fit(..., user_features=data.user_features())``.

        Returns
        -------
        pyarrow.Table
            ``user``, ``age`` int32, ``gender`` and ``occupation``, one row for each user; where the archive has ages in groups
            (ml-1m) ``age_group`` instead of ``age``.

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
            raise ValueError(f"name is {name!r}; it must be a fold of ml-100k: {', '.join(FOLDS)}")
        if self.source is None:
            raise ValueError(f"{self.name} has no canonical folds; only ml-100k has")
        with open_archive(self.source) as archive:
            return read_fold(archive, name, "timestamp" in self.table.column_names)

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
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> MovieLens:
    """Load a MovieLens archive: by name, from its .zip, or from a folder.

    Parameters
    ----------
    name_or_path : str or path
        ``"ml-100k"``, ``"ml-1m"``, ``"ml-10m"``, ``"ml-20m"``, ``"ml-25m"``, ``"ml-32m"``, ``"ml-latest"`` or
        ``"ml-latest-small"``, in any case, with or without ``"ml-"``: downloaded once into a cache and verified there
        at every use (see ``alsx.datasets.download``). Where the working folder has a folder of that name with the files of an
        archive, that is read instead. Anything else is the path of a .zip, of a folder with its files, or of the file of
        ratings in such a folder (``"ml-1m/ratings.dat"``).
    timestamps : bool, default=True
        Whether to read the times of the ratings. Without them `table` takes 12 bytes a rating instead of 20.
    cache : path, default=None
        Folder for downloads. By default the environment variable ``ALSX_DATA_DIR``, else the user's cache folder.
    base_url : str, default=None
        Server for downloads. By default the environment variable ``ALSX_MOVIELENS_URL``, else GroupLens' own.
    progress : bool, default=True
        Whether a download draws a progress bar on standard error.
    max_bytes : int, default=4294967296
        The largest file in a .zip that is read, in bytes when unpacked: a small .zip can unpack to a thousand times its
        size. Files of films, users and links, which are made of Python's objects on the way, may have a 128th of it. The
        largest of MovieLens 32M have 877 and 4 million bytes. Files in a folder have no limit.

    Returns
    -------
    MovieLens

    Raises
    ------
    ValueError
        An unknown name, an archive that is not MovieLens', damaged or too large, or a malformed line (with file and line
        number).
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
    max_bytes = _check.integer("max_bytes", max_bytes, 1)
    name = canonical_name(name_or_path) if isinstance(name_or_path, str) else None
    if name is not None and not is_archive_folder(Path(name_or_path)):
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
    with open_archive(path, max_bytes) as archive:
        table, items, tags, users = read_tables(archive, timestamps)
        official = name or canonical_name(archive.folder_name) or canonical_name(path.stem) or path.stem
        source = path if "u1.base" in archive else None
    return MovieLens(official, table, items, tags=tags, users=users, source=source)


def canonical_name(text: str) -> str | None:
    """Return the official name meant by ``"100K"``, ``"ML_latest_small"`` or ``"ml-10M100K"``; None where it is not one."""
    name = text.strip().lower().replace("_", "-")
    name = "ml-10m" if name == "ml-10m100k" else name
    return next((known for known in NAMES if name in (known, known.removeprefix("ml-"))), None)

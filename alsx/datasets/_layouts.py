"""The layouts of the MovieLens archives: ratings, films, tags and users as tables of one form."""

from __future__ import annotations

import csv
import datetime
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from alsx.datasets._archive import LINES_PART, Archive, Member
from alsx.datasets._ratings import BLOCK_BYTES, MAX_SHOWN, check_header, malformed, read_ratings, skip_header
from alsx.datasets.titles import NO_GENRES, split_year

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

BATCH_RECORDS = 8192  # made a part of a table at a time
RATINGS_HEADER = ("userId", "movieId", "rating", "timestamp")
TAGS_HEADER = ("userId", "movieId", "tag", "timestamp")

# From the README of ml-1m: ages are the lower bounds of groups, occupations are numbers.
AGE_GROUPS = {1: "Under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
OCCUPATIONS = (
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
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Tables(NamedTuple):
    """What an archive holds; the columns are described at `alsx.datasets.MovieLens`."""

    ratings: pa.Table
    items: pa.Table
    tags: pa.Table | None = None
    users: pa.Table | None = None


def read_tables(archive: Archive, timestamps: bool) -> Tables:
    """Read all tables of an archive, whatever its layout."""
    read = {"u.data": read_100k, "ratings.dat": read_dat, "ratings.csv": read_csv}[archive.ratings_file]
    return read(archive, timestamps)


def read_fold(archive: Archive, name: str, timestamps: bool) -> tuple[pa.Table, pa.Table]:
    """Read the training and the test ratings of a canonical fold of ml-100k."""
    members = f"{name}.base", f"{name}.test"
    for member in members:
        if member not in archive:
            raise ValueError(f"{archive.where(member)} is missing; only ml-100k comes with canonical folds")
    train, test = (read_ratings(archive, member, b"\t", None, timestamps) for member in members)
    return train, test


# ---------------------------------------------------------------------------------------------------------------------
# ml-100k: tabs and bars


def read_100k(archive: Archive, timestamps: bool) -> Tables:
    """Read ml-100k."""
    import pyarrow as pa

    genres = read_records(archive, "u.genre", "genre|number", lambda fields: (parse_int(fields[1]), fields[0]))
    film = partial(film_100k, genre_names=dict(genres))
    shape = "item|title|release date|video release date|IMDb URL|19 genre flags"
    films = read_records(archive, "u.item", shape, film, "iso-8859-1")
    items = items_table(films, release_date=pa.date32(), imdb_url=pa.string())
    users = None
    if "u.user" in archive:
        shape = "user|age|gender|occupation|zip"
        users = users_table(read_records(archive, "u.user", shape, user_100k, "iso-8859-1"))
    return Tables(read_ratings(archive, "u.data", b"\t", None, timestamps), items, users=users)


def film_100k(fields: list[str], genre_names: dict[int, str]) -> dict[str, Any]:
    """Return the film of a line of u.item."""
    item, title, released, _video, url, *flags = fields
    if not flags or not set(flags) <= {"0", "1"}:
        raise ValueError
    genres = "|".join(genre_names[n] for n, flag in enumerate(flags) if flag == "1")
    return {**film_record(item, title, genres), "release_date": parse_date(released), "imdb_url": url or None}


def user_100k(fields: list[str]) -> dict[str, Any]:
    """Return the user of a line of u.user."""
    user, age, gender, occupation, zip_code = fields[:5]
    about = {"user": parse_int(user), "age": parse_int(age), "gender": gender}
    return {**about, "occupation": occupation, "zip": zip_code}


def parse_date(text: str) -> datetime.date | None:
    """Return the date of ``"01-Jan-1995"``, whatever the locale, which strptime would follow; None for no text."""
    if not text:
        return None
    day, month, year = text.split("-")
    return datetime.date(parse_int(year), MONTHS.index(month) + 1, parse_int(day))


# ---------------------------------------------------------------------------------------------------------------------
# ml-1m and ml-10m: double colons


def read_dat(archive: Archive, timestamps: bool) -> Tables:
    """Read ml-1m, which has demographics, or ml-10m, which has tags."""
    import pyarrow as pa

    encoding = "iso-8859-1" if "users.dat" in archive else "utf-8"
    items = items_table(read_records(archive, "movies.dat", "item::title::genres", film_dat, encoding))
    users = tags = None
    if "users.dat" in archive:
        shape = "user::gender::age::occupation::zip"
        users = users_table(read_records(archive, "users.dat", shape, user_1m, encoding), age_group=pa.string())
    if "tags.dat" in archive:
        shape = "user::item::tag::timestamp"
        tags = make_table(read_records(archive, "tags.dat", shape, tag_10m, encoding), tag_types())
    return Tables(read_ratings(archive, "ratings.dat", b"::", None, timestamps), items, tags=tags, users=users)


def film_dat(fields: list[str]) -> dict[str, Any]:
    """Return the film of a line of movies.dat; a title may hold the separator."""
    item, *title, genres = fields
    if not title:
        raise ValueError
    return film_record(item, "::".join(title), genres)


def user_1m(fields: list[str]) -> dict[str, Any]:
    """Return the user of a line of users.dat."""
    user, gender, age, occupation, zip_code = fields[:5]
    job = OCCUPATIONS[parse_int(occupation, low=0)]
    about = {"user": parse_int(user), "age": parse_int(age), "gender": gender, "occupation": job, "zip": zip_code}
    return {**about, "age_group": AGE_GROUPS[parse_int(age)]}


def tag_10m(fields: list[str]) -> dict[str, Any]:
    """Return the tag of a line of tags.dat; a tag may hold the separator."""
    user, item, *text, when = fields
    if not text:
        raise ValueError
    tag = "::".join(text)
    return {"user": parse_int(user), "item": parse_int(item), "tag": tag, "timestamp": parse_int(when, bits=64)}


# ---------------------------------------------------------------------------------------------------------------------
# ml-20m and newer: CSV


def read_csv(archive: Archive, timestamps: bool) -> Tables:
    """Read an archive with CSV files."""
    import pyarrow as pa

    films = read_records(archive, "movies.csv", "movieId,title,genres", film_csv)
    more = {}
    if "links.csv" in archive:
        links = dict(read_records(archive, "links.csv", "movieId,imdbId,tmdbId", link_csv))
        unknown: tuple[str | None, int | None] = (None, None)
        names = "imdb_id", "tmdb_id"
        films = (film | dict(zip(names, links.get(film["item"], unknown), strict=True)) for film in films)
        more = {"imdb_id": pa.string(), "tmdb_id": pa.int32()}
    items = items_table(films, **more)
    tags = read_tags_csv(archive) if "tags.csv" in archive else None
    return Tables(read_ratings(archive, "ratings.csv", b",", RATINGS_HEADER, timestamps), items, tags=tags)


def film_csv(fields: list[str]) -> dict[str, Any]:
    """Return the film of a line of movies.csv."""
    item, title, genres = fields
    return film_record(item, title, genres)


def link_csv(fields: list[str]) -> tuple[int, tuple[str | None, int | None]]:
    """Return a film's id, and its ids at IMDb and TMDB, of a line of links.csv."""
    item, imdb, tmdb = fields
    # Seven digits as in IMDb's addresses: early archives lost the zeros in front.
    return parse_int(item), (imdb.zfill(7) if imdb else None, parse_int(tmdb) if tmdb else None)


def read_tags_csv(archive: Archive) -> pa.Table:
    """Read tags.csv, which has up to two million lines; tags may hold quotes, commas and ends of lines."""
    import pyarrow as pa
    from pyarrow import csv

    types = tag_types()
    batches = []
    with archive.open("tags.csv") as file:
        skip_header(archive, "tags.csv", file, TAGS_HEADER)
        text = TagText(file)
        try:
            reader = csv.open_csv(
                pa.PythonFile(text, mode="r"),
                csv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES),
                csv.ParseOptions(newlines_in_values=True),
                csv.ConvertOptions(column_types=types, null_values=[]),
            )
            batches = list(reader)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                check_tags_csv(archive)
                raise ValueError(f"{archive.where('tags.csv')} is malformed: {str(error)[:MAX_SHOWN]}") from None
    if text.may_be_hexadecimal:
        check_tags_csv(archive)
    return pa.Table.from_batches(batches, pa.schema(list(types.items())))


class TagText:
    """The text of tags.csv, block by block, watched for hexadecimal numbers, which pyarrow would read as ids.

    Attributes
    ----------
    may_be_hexadecimal : bool
        Whether the text holds "0x", which may as well be a part of a tag.
    """

    closed = False  # pyarrow asks for it

    def __init__(self, stream: Member) -> None:
        self._stream, self._last = stream, b""
        self.may_be_hexadecimal = False

    def read(self, size: int) -> bytes:
        """Read at most so many bytes."""
        block = self._stream.read(size)
        seen = self._last + block
        self.may_be_hexadecimal = self.may_be_hexadecimal or b"0x" in seen or b"0X" in seen
        self._last = block[-1:]
        return block

    def close(self) -> None:
        """Do nothing: the stream is closed by who opened it."""


def check_tags_csv(archive: Archive) -> None:
    """Read tags.csv line by line, and refuse the first malformed line: pyarrow knows only blocks."""
    for _ in read_records(archive, "tags.csv", ",".join(TAGS_HEADER), check_tag_csv, max_part=1):
        pass


def check_tag_csv(fields: list[str]) -> None:
    """Refuse a line of tags.csv that is malformed."""
    user, item, _text, when = fields
    parse_int(user)
    parse_int(item)
    parse_int(when, bits=64)


# ---------------------------------------------------------------------------------------------------------------------
# Records and tables


def read_records(
    archive: Archive,
    name: str,
    shape: str,
    record: Callable[[list[str]], T],
    encoding: str = "utf-8",
    max_part: int = LINES_PART,
) -> Iterator[T]:
    """Yield the records of a small file.

    Parameters
    ----------
    archive : Archive
    name : str
        The file.
    shape : str
        What a line looks like, with its separator; in a CSV file the header.
    record : callable
        From the fields of a line to the record; a ValueError, IndexError or KeyError means that the line is malformed.
    encoding : str, default="utf-8"
        Of lines that are not UTF-8.
    max_part : int
        See `Archive.lines`.
    """
    text = archive.lines(name, encoding, max_part)
    number = 0
    try:
        for number, fields in (
            csv_fields(archive, name, shape, text) if name.endswith(".csv") else split_fields(shape, text)
        ):
            try:
                found = record(fields)
            except (ValueError, IndexError, KeyError):
                raise malformed(archive, name, number, ",".join(fields), shape) from None
            yield found
    except csv.Error as error:
        raise ValueError(f"{archive.where(name)}, line {number + 1}: {error}") from None


def csv_fields(archive: Archive, name: str, shape: str, text: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line of a CSV file; the number of the last line, where a field holds ends."""
    check_header(archive, name, next(text, ""), tuple(shape.split(",")))
    reader = csv.reader(text, strict=True)
    for fields in reader:
        if fields:
            yield reader.line_num + 1, fields


def split_fields(shape: str, text: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line of a file without quotes."""
    separator = "::" if "::" in shape else "|"
    for number, line in enumerate(text, 1):
        line = line.removesuffix("\n").removesuffix("\r")
        if line:
            yield number, line.split(separator)


def parse_int(text: str, *, bits: int = 32, low: int | None = None) -> int:
    """Return an integer of so many bits; unlike `int` refuse "1_000" and digits of other scripts."""
    if not (text.isascii() and text.strip().removeprefix("-").isdigit()):
        raise ValueError
    number = int(text)
    if not (-(2 ** (bits - 1)) if low is None else low) <= number < 2 ** (bits - 1):
        raise ValueError
    return number


def film_record(item: str, title: str, genres: str) -> dict[str, Any]:
    """Return a film from its id, its title with the year, and its genres with bars between them."""
    name, year = split_year(title)
    listed = [genre for genre in genres.strip().split("|") if genre not in NO_GENRES]
    return {"item": parse_int(item), "title": name, "year": year, "genres": listed}


def make_table(records: Iterator[dict[str, Any]], types: dict[str, Any]) -> pa.Table:
    """Return records as a table with these columns, name -> type."""
    import pyarrow as pa

    schema = pa.schema(list(types.items()))
    batches = []
    # In batches, since a record takes far more memory as a dict.
    while batch := list(itertools.islice(records, BATCH_RECORDS)):
        batches.append(pa.record_batch([pa.array([r[name] for r in batch], types[name]) for name in types], schema))
    return pa.Table.from_batches(batches, schema).combine_chunks()


def items_table(records: Iterator[dict[str, Any]], **more: Any) -> pa.Table:
    """Return the table of the films; `more` are the types of further columns."""
    import pyarrow as pa

    types = {"item": pa.int32(), "title": pa.string(), "year": pa.int32(), "genres": pa.list_(pa.string())}
    return make_table(records, types | more)


def users_table(records: Iterator[dict[str, Any]], **more: Any) -> pa.Table:
    """Return the table of the users; `more` are the types of further columns."""
    import pyarrow as pa

    types = {"user": pa.int32(), "age": pa.int32()} | dict.fromkeys(("gender", "occupation", "zip"), pa.string())
    return make_table(records, types | more)


def tag_types() -> dict[str, Any]:
    """Return the columns of the table of tags, name -> type."""
    import pyarrow as pa

    return {"user": pa.int32(), "item": pa.int32(), "tag": pa.string(), "timestamp": pa.int64()}

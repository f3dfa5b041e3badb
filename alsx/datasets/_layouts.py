"""The layouts of the MovieLens archives: ratings, films, tags and users as tables of one form."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from alsx.datasets._archive import Archive
from alsx.datasets._ratings import BLOCK_BYTES, check_header, malformed, read_ratings
from alsx.datasets.titles import NO_GENRES, split_year

if TYPE_CHECKING:
    import pyarrow as pa

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
    if "u.data" in archive:
        return read_100k(archive, timestamps)
    if "ratings.dat" in archive:
        return read_dat(archive, timestamps)
    return read_csv(archive, timestamps)


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

    genres = read_records(archive, "u.genre", "genre|number", lambda f: {"name": f[0], "number": int(f[1])})
    film = partial(film_100k, genre_names={genre["number"]: genre["name"] for genre in genres})
    shape = "item|title|release date|video release date|IMDb URL|19 genre flags"
    films = read_records(archive, "u.item", shape, film, "iso-8859-1")
    users = None
    if "u.user" in archive:
        shape = "user|age|gender|occupation|zip"
        users = users_table(read_records(archive, "u.user", shape, user_100k, "iso-8859-1"))
    ratings = read_ratings(archive, "u.data", b"\t", None, timestamps)
    return Tables(ratings, items_table(films, release_date=pa.date32(), imdb_url=pa.string()), users=users)


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
    return {"user": int(user), "age": int(age), "gender": gender, "occupation": occupation, "zip": zip_code}


def parse_date(text: str) -> datetime.date | None:
    """Return the date of ``"01-Jan-1995"``, whatever the locale, which strptime would follow; None for no text."""
    if not text:
        return None
    day, month, year = text.split("-")
    return datetime.date(int(year), MONTHS.index(month) + 1, int(day))


# ---------------------------------------------------------------------------------------------------------------------
# ml-1m and ml-10m: double colons


def read_dat(archive: Archive, timestamps: bool) -> Tables:
    """Read ml-1m, which has demographics, or ml-10m, which has tags."""
    import pyarrow as pa

    encoding = "iso-8859-1" if "users.dat" in archive else "utf-8"
    films = read_records(archive, "movies.dat", "item::title::genres", film_dat, encoding)
    users = tags = None
    if "users.dat" in archive:
        shape = "user::gender::age::occupation::zip"
        users = users_table(read_records(archive, "users.dat", shape, user_1m, encoding), age_group=pa.string())
    if "tags.dat" in archive:
        tags = make_table(
            read_records(archive, "tags.dat", "user::item::tag::timestamp", tag_10m, encoding), tag_types()
        )
    ratings = read_ratings(archive, "ratings.dat", b"::", None, timestamps)
    return Tables(ratings, items_table(films), tags=tags, users=users)


def film_dat(fields: list[str]) -> dict[str, Any]:
    """Return the film of a line of movies.dat; a title may hold the separator."""
    item, *title, genres = fields
    if not title:
        raise ValueError
    return film_record(item, "::".join(title), genres)


def user_1m(fields: list[str]) -> dict[str, Any]:
    """Return the user of a line of users.dat."""
    user, gender, age, occupation, zip_code = fields[:5]
    who = {"user": int(user), "age": int(age), "gender": gender, "occupation": OCCUPATIONS[int(occupation)]}
    return {**who, "zip": zip_code, "age_group": AGE_GROUPS[int(age)]}


def tag_10m(fields: list[str]) -> dict[str, Any]:
    """Return the tag of a line of tags.dat; a tag may hold the separator."""
    user, item, *text, when = fields
    if not text:
        raise ValueError
    return {"user": int(user), "item": int(item), "tag": "::".join(text), "timestamp": int(when)}


# ---------------------------------------------------------------------------------------------------------------------
# ml-20m and newer: CSV


def read_csv(archive: Archive, timestamps: bool) -> Tables:
    """Read an archive with CSV files."""
    import pyarrow as pa

    films = read_records(archive, "movies.csv", "movieId,title,genres", film_csv)
    more = {}
    if "links.csv" in archive:
        links = {row["item"]: row for row in read_records(archive, "links.csv", "movieId,imdbId,tmdbId", link_csv)}
        for film in films:
            linked = links.get(film["item"], {})
            film.update(imdb_id=linked.get("imdb_id"), tmdb_id=linked.get("tmdb_id"))
        more = {"imdb_id": pa.string(), "tmdb_id": pa.int32()}
    ratings = read_ratings(archive, "ratings.csv", b",", RATINGS_HEADER, timestamps)
    tags = read_tags_csv(archive) if "tags.csv" in archive else None
    return Tables(ratings, items_table(films, **more), tags=tags)


def film_csv(fields: list[str]) -> dict[str, Any]:
    """Return the film of a line of movies.csv."""
    item, title, genres = fields
    return film_record(item, title, genres)


def link_csv(fields: list[str]) -> dict[str, Any]:
    """Return the ids of a film elsewhere, of a line of links.csv."""
    item, imdb, tmdb = fields
    # Seven digits as in IMDb's addresses: early archives lost the zeros in front.
    return {"item": int(item), "imdb_id": imdb.zfill(7) if imdb else None, "tmdb_id": int(tmdb) if tmdb else None}


def read_tags_csv(archive: Archive) -> pa.Table:
    """Read tags.csv, which has up to two million lines; tags may hold quotes, commas and ends of lines."""
    import pyarrow as pa
    import pyarrow.csv

    types = tag_types()
    batches = []
    with archive.open("tags.csv") as file:
        found = file.readline().decode("utf-8-sig", "replace").strip().split(",")
        check_header(archive, "tags.csv", found, TAGS_HEADER)
        try:
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(file, mode="r"),
                pyarrow.csv.ReadOptions(column_names=list(types), block_size=BLOCK_BYTES),
                pyarrow.csv.ParseOptions(newlines_in_values=True),
                pyarrow.csv.ConvertOptions(column_types=types, null_values=[]),
            )
            batches = list(reader)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                # Read again, line by line, for the number of the first malformed line.
                read_records(archive, "tags.csv", ",".join(TAGS_HEADER), tag_csv)
                raise ValueError(f"{archive.where('tags.csv')} is malformed: {error}") from None
    return pa.Table.from_batches(batches, pa.schema(list(types.items())))


def tag_csv(fields: list[str]) -> dict[str, Any]:
    """Return the numbers of a line of tags.csv."""
    user, item, _text, when = fields
    return {"user": int(user), "item": int(item), "timestamp": int(when)}


# ---------------------------------------------------------------------------------------------------------------------
# Records and tables


def read_records(
    archive: Archive, name: str, shape: str, record: Callable[[list[str]], dict[str, Any]], encoding: str = "utf-8"
) -> list[dict[str, Any]]:
    """Read the records of a small file.

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
        Of text that is not UTF-8.
    """
    text = archive.text(name, encoding)
    if name.endswith(".csv"):
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        check_header(archive, name, next(reader, [""]), tuple(shape.split(",")))
        lines = ((reader.line_num, row) for row in reader if row)
    else:
        separator = "::" if "::" in shape else "|"
        # Not str.splitlines, which also ends lines at characters that occur within titles and tags.
        numbered = enumerate((line.removesuffix("\r") for line in text.split("\n")), 1)
        lines = ((number, line.split(separator)) for number, line in numbered if line)
    found = []
    number, fields = 0, list[str]()
    try:
        for number, fields in lines:  # noqa: B007, the number is for the messages below
            found.append(record(fields))
    except (ValueError, IndexError, KeyError):
        raise malformed(archive, name, number, ",".join(fields), shape) from None
    except csv.Error as error:
        raise ValueError(f"{archive.where(name)}, line {number + 1}: {error}") from None
    return found


def film_record(item: str, title: str, genres: str) -> dict[str, Any]:
    """Return a film from its id, its title with the year, and its genres with bars between them."""
    name, year = split_year(title)
    listed = [genre for genre in genres.strip().split("|") if genre not in NO_GENRES]
    return {"item": int(item), "title": name, "year": year, "genres": listed}


def make_table(records: list[dict[str, Any]], types: dict[str, Any]) -> pa.Table:
    """Return records as a table with these columns, name -> type."""
    import pyarrow as pa

    return pa.table({name: pa.array([r[name] for r in records], kind) for name, kind in types.items()})


def items_table(records: list[dict[str, Any]], **more: Any) -> pa.Table:
    """Return the table of the films; `more` are the types of further columns."""
    import pyarrow as pa

    types = {"item": pa.int32(), "title": pa.string(), "year": pa.int32(), "genres": pa.list_(pa.string())}
    return make_table(records, types | more)


def users_table(records: list[dict[str, Any]], **more: Any) -> pa.Table:
    """Return the table of the users; `more` are the types of further columns."""
    import pyarrow as pa

    types = {"user": pa.int32(), "age": pa.int32()} | dict.fromkeys(("gender", "occupation", "zip"), pa.string())
    return make_table(records, types | more)


def tag_types() -> dict[str, Any]:
    """Return the columns of the table of tags, name -> type."""
    import pyarrow as pa

    return {"user": pa.int32(), "item": pa.int32(), "tag": pa.string(), "timestamp": pa.int64()}

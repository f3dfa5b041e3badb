"""Readers of every MovieLens layout: on archives made here in the official formats, and on real ones where present."""

from __future__ import annotations

import datetime
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import alsx
from alsx.datasets import MovieLens, load_movielens
from alsx.datasets.titles import display_title, split_year

GENRES_100K = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def flags(*genres):
    return "|".join(str(int(genre in genres)) for genre in GENRES_100K)


def files_100k():
    return {
        "README": b"SUMMARY",
        "u.data": b"196\t1\t3\t881250949\n186\t2\t5\t891717742\n22\t1\t1\t878887116\n",
        "u.item": (
            f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|"
            f"{flags('Animation', 'Comedy')}\n"
            f"2|Misérables, Les (1995)|20-Oct-1995||http://us.imdb.com/M/Mis%E9rables|{flags('Drama')}\n"
            f"267|unknown||||{flags('unknown')}\n"
        ).encode("iso-8859-1"),
        "u.genre": "".join(f"{genre}|{n}\n" for n, genre in enumerate(GENRES_100K)).encode() + b"\n",
        "u.user": b"22|24|M|technician|85711\n186|53|F|other|V3N4P\n196|7|M|student|04101\n",
        "u.occupation": b"technician\nother\nstudent\n",
        "u.info": b"3 users\n3 items\n3 ratings\n",
        "u1.base": b"196\t1\t3\t881250949\n186\t2\t5\t891717742\n",
        "u1.test": b"22\t1\t1\t878887116\n",
    }


def files_1m():
    return {
        "README": b"SUMMARY",
        "ratings.dat": b"1::1::5::978300760\n1::73::3::978302109\n2::1::4::978301968\n",
        "movies.dat": (
            "1::Toy Story (1995)::Animation|Children's|Comedy\n73::Misérables, Les (1995)::Drama|Musical\n"
            "3930::Creature: From :: Beyond (1954)::Sci-Fi\n"
        ).encode("iso-8859-1"),
        "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072-1234\n",
    }


def files_10m():
    return {
        "README.html": b"<html>",
        "ratings.dat": b"1::1::5::838985046\n1::73::3.5::838983525\n2::1::0.5::868245777\n",
        "movies.dat": (
            "1::Toy Story (1995)::Adventure|Animation\n73::Misérables, Les (1995)::Drama\n"
            '8874::"Quoted" (1996)::(no genres listed)\n'
        ).encode(),
        "tags.dat": (
            '2::1::a "quoted" tag::1188263867\n2::73::été::1188263868\n3::1::half::cut::1188263869\n'
        ).encode(),
        "split_ratings.sh": b"#!/bin/bash\n",
    }


def files_csv(newline="\r\n"):
    rows = {
        "README.txt": ["Summary"],
        "ratings.csv": ["userId,movieId,rating,timestamp", "1,1,4.0,964982703", "1,73,0.5,964981247", "7,1,5.0,1"],
        "movies.csv": [
            "movieId,title,genres",
            "1,Toy Story (1995),Adventure|Animation|Children",
            '73,"Misérables, Les (1995)",Drama|War',
            '99,"11\'09""01 - September 11 (2002) ",(no genres listed)',
            "171749,Death Note: Desu nôto (2006–2007),(no genres listed)",
            "156605,Paterson,(no genres listed)",
        ],
        "links.csv": [
            "movieId,imdbId,tmdbId",
            "1,0114709,862",
            "73,113828,",
            "171749,0877057,419787",
            "156605,5247022,370755",
        ],
        "tags.csv": [
            "userId,movieId,tag,timestamp",
            "2,1,funny,1445714994",
            '2,73,"Hugo, Victor",1445714996',
            '3,1,"two\nlines ""quoted""",1445714997',
            "3,73,null,1445714998",
        ],
        "genome-scores.csv": ["movieId,tagId,relevance", "1,1,0.025"],
        "genome-tags.csv": ["tagId,tag", "1,007"],
    }
    return {name: (newline.join(lines) + newline).encode() for name, lines in rows.items()}


LAYOUTS = {
    "ml-100k": ("ml-100k", files_100k),
    "ml-1m": ("ml-1m", files_1m),
    "ml-10m": ("ml-10M100K", files_10m),
    "ml-20m": ("ml-20m", files_csv),
    "ml-25m": ("ml-25m", files_csv),
    "ml-32m": ("ml-32m", files_csv),
    "ml-latest": ("ml-latest", files_csv),
    "ml-latest-small": ("ml-latest-small", files_csv),
}


def write_zip(path, files, folder="ml-x", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{folder}/", b"")
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return path


def write_folder(path, files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def triples(table):
    return list(zip(*(table[name].to_pylist() for name in ("user", "item", "rating")), strict=True))


@pytest.fixture(params=["zip", "folder", "folder above"])
def place(request, tmp_path):
    """A function that puts files where `load_movielens` is to find them."""

    def put(files, folder):
        if request.param == "zip":
            return write_zip(tmp_path / "any name.zip", files, folder)
        path = write_folder(tmp_path / "somewhere" / folder, files)
        return path if request.param == "folder" else path.parent

    return put


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_kind_of_tables(name, place):
    folder, files = LAYOUTS[name]
    data = load_movielens(place(files(), folder))
    assert isinstance(data, MovieLens)
    assert data.name == name
    assert data.simulated is False
    kinds = {column: str(kind) for column, kind in zip(data.table.column_names, data.table.schema.types, strict=True)}
    assert kinds == {"user": "int32", "item": "int32", "rating": "float", "timestamp": "int64"}
    assert data.table.num_rows == 3
    assert data.items["item"].to_pylist()[:1] == [1]
    assert str(data.items.schema.field("genres").type).startswith("list<")
    les_miserables = 2 if name == "ml-100k" else 73
    assert data.titles([les_miserables, 1]) == ["Les Misérables", "Toy Story"]
    assert data.titles(les_miserables, years=True) == ["Les Misérables (1995)"]
    assert name in repr(data)
    assert pickle.loads(pickle.dumps(data)).table.equals(data.table)


def test_100k(place):
    data = load_movielens(place(files_100k(), "ml-100k"))
    assert triples(data.table) == [(196, 1, 3.0), (186, 2, 5.0), (22, 1, 1.0)]
    assert data.table["timestamp"].to_pylist() == [881250949, 891717742, 878887116]
    films = data.items.to_pylist()
    assert films[0]["release_date"] == datetime.date(1995, 1, 1)
    assert films[0]["imdb_url"].endswith("Toy%20Story%20(1995)")
    assert films[1]["title"] == "Misérables, Les"
    assert films[2] == {
        "item": 267,
        "title": "unknown",
        "year": None,
        "genres": [],
        "release_date": None,
        "imdb_url": None,
    }
    assert data.genres_of([1, 267]) == [["Animation", "Comedy"], []]
    assert data.tags is None
    assert data.users.to_pylist()[1] == {"user": 186, "age": 53, "gender": "F", "occupation": "other", "zip": "V3N4P"}
    assert data.users["zip"].to_pylist()[2] == "04101"


def test_folds_of_100k(place):
    data = load_movielens(place(files_100k(), "ml-100k"))
    train, test = data.fold("u1")
    assert triples(train) == [(196, 1, 3.0), (186, 2, 5.0)]
    assert triples(test) == [(22, 1, 1.0)]
    assert train.schema == data.table.schema
    with pytest.raises(ValueError, match="name is 'u6'; it must be a fold of ml-100k: u1, u2"):
        data.fold("u6")
    with pytest.raises(ValueError, match=r"u2\.base is missing"):
        data.fold("u2")


def test_folds_without_timestamps(tmp_path):
    data = load_movielens(write_zip(tmp_path / "a.zip", files_100k()), timestamps=False)
    assert data.fold("u1")[0].column_names == ["user", "item", "rating"]


def test_others_have_no_folds(tmp_path):
    data = load_movielens(write_zip(tmp_path / "a.zip", files_1m()))
    with pytest.raises(ValueError, match="no canonical folds"):
        data.fold("u1")


def test_1m(place):
    data = load_movielens(place(files_1m(), "ml-1m"))
    assert triples(data.table) == [(1, 1, 5.0), (1, 73, 3.0), (2, 1, 4.0)]
    assert data.items["title"].to_pylist() == ["Toy Story", "Misérables, Les", "Creature: From :: Beyond"]
    assert data.genres_of(1) == [["Animation", "Children's", "Comedy"]]
    assert data.users.to_pylist() == [
        {"user": 1, "age": 1, "gender": "F", "occupation": "K-12 student", "zip": "48067", "age_group": "Under 18"},
        {"user": 2, "age": 56, "gender": "M", "occupation": "self-employed", "zip": "70072-1234", "age_group": "56+"},
    ]
    assert data.tags is None


def test_10m(place):
    data = load_movielens(place(files_10m(), "ml-10M100K"))
    assert triples(data.table) == [(1, 1, 5.0), (1, 73, 3.5), (2, 1, 0.5)]
    assert data.titles([73, 8874]) == ["Les Misérables", '"Quoted"']
    assert data.genres_of(8874) == [[]]
    assert data.tags["tag"].to_pylist() == ['a "quoted" tag', "été", "half::cut"]
    assert data.tags["timestamp"].to_pylist()[2] == 1188263869
    assert data.users is None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv(tmp_path, newline):
    data = load_movielens(write_zip(tmp_path / "ml-32m.zip", files_csv(newline), "ml-32m"))
    assert triples(data.table) == [(1, 1, 4.0), (1, 73, 0.5), (7, 1, 5.0)]
    films = {film["item"]: film for film in data.items.to_pylist()}
    assert films[1] == {
        "item": 1,
        "title": "Toy Story",
        "year": 1995,
        "genres": ["Adventure", "Animation", "Children"],
        "imdb_id": "0114709",
        "tmdb_id": 862,
    }
    assert (films[73]["imdb_id"], films[73]["tmdb_id"]) == ("0113828", None)
    assert (films[99]["title"], films[99]["year"]) == ("11'09\"01 - September 11", 2002)
    assert (films[99]["imdb_id"], films[99]["tmdb_id"]) == (None, None)
    assert (films[171749]["title"], films[171749]["year"]) == ("Death Note: Desu nôto", 2006)
    assert (films[156605]["year"], films[156605]["genres"]) == (None, [])
    tags = [text.replace("\r\n", "\n") for text in data.tags["tag"].to_pylist()]
    assert tags == ["funny", "Hugo, Victor", 'two\nlines "quoted"', "null"]
    assert data.tags["user"].to_pylist() == [2, 2, 3, 3]
    assert data.users is None


def test_csv_without_links_and_tags(tmp_path):
    files = {name: content for name, content in files_csv().items() if name in ("ratings.csv", "movies.csv")}
    data = load_movielens(write_folder(tmp_path / "mine", files))
    assert data.name == "mine"
    assert data.tags is None
    assert data.items.column_names == ["item", "title", "year", "genres"]


@pytest.mark.parametrize("make", [files_100k, files_1m, files_10m, files_csv])
def test_without_timestamps(tmp_path, make):
    data = load_movielens(write_zip(tmp_path / "a.zip", make()), timestamps=False)
    assert data.table.column_names == ["user", "item", "rating"]
    assert data.ratings.timestamps is None


@pytest.mark.parametrize("make", [files_100k, files_1m, files_10m, files_csv])
def test_ratings(tmp_path, make):
    data = load_movielens(write_zip(tmp_path / "a.zip", make()))
    ratings = data.ratings
    assert ratings is data.ratings
    assert ratings.n_ratings == 3
    users, items, values = ratings.triples()
    found = zip(ratings.user_ids[users].tolist(), ratings.item_ids[items].tolist(), values.tolist(), strict=True)
    assert sorted(found) == sorted(triples(data.table))
    assert sorted(ratings.timestamps.tolist()) == sorted(data.table["timestamp"].to_pylist())


@pytest.mark.parametrize("block", [1 << 12, 4 << 20])
@pytest.mark.parametrize(("make", "separator"), [(files_10m, "::"), (files_csv, ","), (files_100k, "\t")])
def test_many_ratings_in_small_blocks(tmp_path, monkeypatch, make, separator, block):
    """Blocks end anywhere: within lines, numbers and separators."""
    monkeypatch.setattr("alsx.datasets._ratings.BLOCK_BYTES", block)
    n = 20_000
    rng = np.random.default_rng(0)
    user, item = np.sort(rng.integers(1, 2**31, n)), rng.integers(1, 10 ** rng.integers(1, 10, n))
    rating, when = rng.integers(1, 11, n) / 2, rng.integers(0, 2**33, n)
    rows = zip(user, item, rating, when, strict=True)
    text = "".join(separator.join((str(u), str(i), f"{r:g}", str(t))) + "\n" for u, i, r, t in rows)
    files = make()
    name = next(name for name in ("ratings.dat", "ratings.csv", "u.data") if name in files)
    header = "userId,movieId,rating,timestamp\n" if name == "ratings.csv" else ""
    files[name] = (header + text).encode()
    table = load_movielens(write_zip(tmp_path / "a.zip", files)).table
    for column, expected in (("user", user), ("item", item), ("rating", rating), ("timestamp", when)):
        np.testing.assert_array_equal(table[column].to_numpy(), expected)


def test_separator_straddles_blocks():
    import io

    from alsx.datasets._ratings import RatingLines

    text = b"".join(b"%d::%d::3.5::%d\n" % (n, 7 * n, n**3) for n in range(300)) + b"1:2:::3:"
    for size in (2, 3, 5, 64, 4096):
        stream = RatingLines(io.BytesIO(text), b"::")
        assert b"".join(iter(lambda s=stream, n=size: s.read(n), b"")) == text.replace(b"::", b","), size


def test_the_last_line_may_lack_its_end_and_a_byte_order_mark_is_no_harm(tmp_path):
    files = files_csv("\n")
    files["ratings.csv"] = b"\xef\xbb\xbf" + files["ratings.csv"].rstrip(b"\n")
    files["movies.csv"] = b"\xef\xbb\xbf" + files["movies.csv"].rstrip(b"\n")
    assert load_movielens(write_zip(tmp_path / "a.zip", files)).table.num_rows == 3


def test_macos_resource_forks_are_passed_over(tmp_path):
    path = write_zip(tmp_path / "a.zip", files_1m(), "ml-1m")
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("ratings.dat", "movies.dat"):
            archive.writestr(f"__MACOSX/{name}", b"\0\5\x16\7")
    assert load_movielens(path).table.num_rows == 3


@pytest.mark.parametrize(
    ("make", "name", "bad", "line"),
    [
        (files_100k, "u.data", b"1\t2\t3\n", 4),
        (files_100k, "u.data", b"1\t2\tx\t4\n", 4),
        (files_100k, "u.item", b"5|No flags (1990)|||\n", 4),
        (files_100k, "u.item", b"5|Bad date (1990)|01-Foo-1990|||0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n", 4),
        (files_100k, "u.user", b"5|old|M|other|0\n", 4),
        (files_1m, "ratings.dat", b"1::2::3::4::5\n", 4),
        (files_1m, "ratings.dat", b"1::2::nan::4\n", 4),
        (files_1m, "ratings.dat", b"1:2:3:4\n", 4),
        (files_1m, "ratings.dat", b"3000000000::2::3::4\n", 4),
        (files_1m, "movies.dat", b"5::No genres (1990)\n", 4),
        (files_1m, "users.dat", b"5::F::1::99::0\n", 3),
        (files_10m, "tags.dat", b"5::F::1\n", 4),
        (files_csv, "ratings.csv", b"\r\n1,2,,4\r\n", 6),
        (files_csv, "ratings.csv", b"1,2,inf,4\r\n", 5),
        (files_csv, "ratings.csv", b"1.5,2,3,4\r\n", 5),
        (files_csv, "ratings.csv", b"\xff\xfe,2,3,4\r\n", 5),
        (files_csv, "movies.csv", b"7,Comma, too many (1990),Drama\r\n", 7),
        (files_csv, "links.csv", b"x,0114709,862\r\n", 6),
        (files_csv, "tags.csv", b"1,x,tag,4\r\n", 7),
    ],
)
def test_malformed_lines_are_named(tmp_path, make, name, bad, line):
    files = make()
    files[name] += bad
    with pytest.raises(ValueError, match=rf"{name}, line {line}: expected "):
        load_movielens(write_zip(tmp_path / "a.zip", files))


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv", "links.csv", "tags.csv"])
def test_other_headers_are_refused(tmp_path, name):
    files = files_csv()
    files[name] = files[name].replace(b"movieId", b"filmId", 1)
    with pytest.raises(ValueError, match=rf"{name}, line 1: expected the header .*movieId"):
        load_movielens(write_zip(tmp_path / "a.zip", files))


def test_text_that_is_not_utf8_is_refused_where_the_layout_is(tmp_path):
    files = files_10m()
    files["movies.dat"] = files["movies.dat"].decode().encode("iso-8859-1")
    with pytest.raises(ValueError, match=r"movies\.dat, line 2: the text is not UTF-8"):
        load_movielens(write_zip(tmp_path / "a.zip", files))


@pytest.mark.parametrize("content", [b"", b"userId,movieId,rating,timestamp\n"])
def test_no_ratings_at_all(tmp_path, content):
    files = files_csv()
    files["ratings.csv"] = content
    with pytest.raises(ValueError, match=r"ratings\.csv(, line 1: expected the header| holds no ratings)"):
        load_movielens(write_zip(tmp_path / "a.zip", files))


def test_empty_tags_are_a_table_without_rows(tmp_path):
    files = files_csv()
    files["tags.csv"] = b"userId,movieId,tag,timestamp\n"
    assert load_movielens(write_zip(tmp_path / "a.zip", files)).tags.num_rows == 0


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'ml-33m' is neither .* ml-100k, ml-1m, ml-10m.*ml-latest-small"):
        load_movielens("ml-33m")


def test_missing_files(tmp_path):
    for path in (tmp_path / "absent", str(tmp_path / "absent.zip"), "absent.zip"):
        with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*absent.* ml-100k"):
            load_movielens(path)


def test_what_is_not_movielens(tmp_path):
    with pytest.raises(ValueError, match=r"not a MovieLens archive: no folder in it holds .*u\.data"):
        load_movielens(write_zip(tmp_path / "a.zip", {"readme": b""}))
    with pytest.raises(ValueError, match=r"it has ratings\.csv but lacks movies\.csv"):
        load_movielens(write_zip(tmp_path / "b.zip", {"ratings.csv": b""}))
    (tmp_path / "c.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"c\.zip is not a sound \.zip file"):
        load_movielens(tmp_path / "c.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="not a MovieLens archive"):
        load_movielens(tmp_path / "empty")


@pytest.mark.parametrize("member", ["ratings.csv", "movies.csv"])
def test_damaged_members_are_refused(tmp_path, member):
    path = write_zip(tmp_path / "a.zip", files_csv(), method=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    at = raw.index({"ratings.csv": b"964982703", "movies.csv": b"Toy Story"}[member])
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"is not a sound \.zip file"):
        load_movielens(path)


# ---- archives that are damaged, hostile, or written by other programs


def refused(path, *words, **options):
    """The message with which an archive is refused: one line that names it."""
    with pytest.raises(ValueError) as caught:
        load_movielens(path, **options)
    message = str(caught.value)
    assert len(message) <= 300, message
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message
    return message


@pytest.mark.parametrize("name", ["./ml-x/{}", "/ml-x/{}", "ml-x//{}", "ml-x\\{}", "some/where/else/{}", "{}"])
def test_member_names_of_other_programs(tmp_path, name):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files_csv().items():
            archive.writestr(zipfile.ZipInfo(name.format(file)), content)
    assert load_movielens(path).table.num_rows == 3


def patched(path, member, **changes):
    """The archive with other flags or another method of compression of a member, in both places that state them."""
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(member).header_offset
        central = raw.index(b"PK\1\2", archive.start_dir)
        for info in archive.infolist():
            if info.filename == member:
                break
            central = raw.index(b"PK\1\2", central + 4)
    for name, value in changes.items():
        at = {"flags": 6, "method": 8}[name]
        raw[local + at : local + at + 2] = raw[central + at + 2 : central + at + 4] = value.to_bytes(2, "little")
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("member", ["ratings.csv", "movies.csv"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flags": 1}, ["encrypted", "unpack the archive and give the folder"]),
        ({"flags": 0x40}, ["strong encryption", "unpack the archive and give the folder"]),
        ({"method": 9}, ["compression", "unpack the archive and give the folder"]),  # Deflate64
        ({"method": 99}, ["compression", "unpack the archive and give the folder"]),
        ({"method": 12}, ["damaged", "download it again"]),  # not bzip2
        ({"method": 14}, ["damaged", "download it again"]),  # not LZMA
    ],
)
def test_members_that_cannot_be_unpacked(tmp_path, member, changes, words):
    path = patched(write_zip(tmp_path / "a.zip", files_csv()), f"ml-x/{member}", **changes)
    refused(path, f"ml-x/{member}", *words)


def test_a_member_without_a_name(tmp_path):
    path = write_zip(tmp_path / "a.zip", files_csv())
    raw = path.read_bytes().replace(b"ml-x/README.txt", b"\0" * 15)  # zipfile cuts names at a NUL
    path.write_bytes(raw)
    assert load_movielens(path).table.num_rows == 3


def test_cut_archives(tmp_path):
    whole = write_zip(tmp_path / "whole.zip", files_csv()).read_bytes()
    path = tmp_path / "a.zip"
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        refused(path, "download it again")


@pytest.mark.parametrize("number", ["99999999999", "-3000000000", "9" * 5000, "1_0", "١", "1e3", "0x1F", ""])
@pytest.mark.parametrize(
    ("make", "name", "line"),
    [
        (files_csv, "movies.csv", "{},A film (1990),Drama\n"),
        (files_csv, "links.csv", "{},1,1\n"),
        (files_csv, "ratings.csv", "1,{},3,4\n"),
        (files_csv, "tags.csv", "{},1,tag,4\n"),
        (files_1m, "movies.dat", "{}::A film (1990)::Drama\n"),
        (files_1m, "users.dat", "{}::F::1::10::48067\n"),
        (files_1m, "users.dat", "7::F::1::{}::48067\n"),
        (files_10m, "tags.dat", "1::{}::tag::4\n"),
    ],
)
def test_ids_that_are_no_32_bit_numbers(tmp_path, make, name, line, number):
    files = make()
    files[name] += line.format(number).encode()
    n_lines = len(files[name].splitlines())
    refused(write_zip(tmp_path / "a.zip", files), f"{name}, line {n_lines}: expected")


def test_tags_may_look_like_hexadecimal_numbers(tmp_path):
    files = files_csv()
    files["tags.csv"] += b"1,1,0x1F,4\r\n"
    assert load_movielens(write_zip(tmp_path / "a.zip", files)).tags["tag"].to_pylist()[-1] == "0x1F"


def test_occupations_are_not_counted_from_the_end(tmp_path):
    files = files_1m()
    files["users.dat"] = b"1::F::1::-1::48067\n"
    refused(write_zip(tmp_path / "a.zip", files), "users.dat, line 1")


@pytest.mark.parametrize("member", ["movies.csv", "ratings.csv", "links.csv", "tags.csv"])
def test_what_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path, member):
    files = files_csv()
    files[member] += b" " * 60_000_000
    path = write_zip(tmp_path / "a.zip", files)
    tracemalloc.start()
    try:
        refused(path, member, " bytes; it must be at most", "raise max_bytes", "unpack it", max_bytes=50_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_can_be_raised(tmp_path):
    path = write_zip(tmp_path / "a.zip", files_csv())
    refused(path, "unpacks to", max_bytes=1000)
    assert load_movielens(path, max_bytes=100_000).table.num_rows == 3
    assert load_movielens(write_folder(tmp_path / "b", files_csv()), max_bytes=1).table.num_rows == 3
    with pytest.raises(ValueError, match="max_bytes is 0; it must be at least 1"):
        load_movielens(path, max_bytes=0)


@pytest.mark.parametrize("member", ["movies.csv", "ratings.csv", "tags.csv"])
def test_a_line_without_end_is_not_read_whole(tmp_path, member):
    files = files_csv()
    files[member] += b"1" * 60_000_000
    path = write_zip(tmp_path / "a.zip", files)
    tracemalloc.start()
    try:
        refused(path, member, "line ", max_bytes=2**33)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "name"), [(files_csv, "ratings.csv"), (files_1m, "ratings.dat"), (files_100k, "u.data")]
)
def test_blocks_of_blank_lines(tmp_path, make, name):
    files = make()
    content, blank = files[name], b"\n" * (9 << 20)
    files[name] = content + blank
    assert load_movielens(write_zip(tmp_path / "a.zip", files)).table.num_rows == 3
    lines = content.splitlines(keepends=True)
    files[name] = b"".join([*lines[:2], blank, *lines[2:]])
    assert load_movielens(write_zip(tmp_path / "a.zip", files)).table.num_rows == 3
    files[name] += blank + b"1 2 3 4\n"
    n_lines = files[name].count(b"\n")
    path = write_zip(tmp_path / "a.zip", files)
    start = time.process_time()  # which a busy machine does not change
    refused(path, f"{name}, line {n_lines}: expected")
    assert time.process_time() - start < 5


def test_the_first_of_many_malformed_lines_is_named(tmp_path):
    files = files_csv("\n")
    sound = b"1,2,3,4\n" * 1_200_000  # several blocks
    files["ratings.csv"] += sound + b"1,2,3\n" + sound + b"x\n"
    refused(write_zip(tmp_path / "a.zip", files), "ratings.csv, line 1200005: expected", "got '1,2,3'")


def test_a_timestamp_that_is_not_wanted_is_not_looked_at(tmp_path):
    files = files_csv("\n")
    files["ratings.csv"] += b"1,2,3,noon\n"
    path = write_zip(tmp_path / "a.zip", files)
    refused(path, "ratings.csv, line 5")
    assert load_movielens(path, timestamps=False).table.num_rows == 4
    files["ratings.csv"] += b"1,2,three,4\n"
    with pytest.raises(ValueError, match=r"line 6"):
        load_movielens(write_zip(tmp_path / "a.zip", files), timestamps=False)


@pytest.mark.parametrize(
    ("make", "name", "folder"),
    [(files_100k, "u.data", "ml-100k"), (files_1m, "ratings.dat", "ml-1m"), (files_csv, "ratings.csv", "ml-latest")],
)
def test_the_file_of_ratings_stands_for_its_folder(tmp_path, monkeypatch, make, name, folder):
    path = write_folder(tmp_path / folder, make())
    data = load_movielens(path / name)
    assert data.name == folder
    assert data.table.equals(load_movielens(path).table)
    monkeypatch.chdir(path)
    assert load_movielens(name).name == folder
    if folder == "ml-100k":
        assert data.fold("u1")[1].num_rows == 1
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / name).write_bytes(make()[name])
    refused(alone / name, "lacks", f"alsx.Ratings('{name}'")
    monkeypatch.chdir(alone)
    assert alsx.Ratings(name, **({} if name.endswith("csv") else {"header": False})).n_ratings == data.table.num_rows


def test_files_of_another_layout_are_passed_over(tmp_path):
    files = files_csv() | {"u.data": b"1\t2\t3\t4\n", "ratings.dat": b"1::2::3::4\n"}
    assert load_movielens(write_folder(tmp_path / "a", files)).table.num_rows == 3


def test_other_files_are_named_with_what_reads_them(tmp_path):
    (tmp_path / "mine.csv").write_text("user,item,rating\n1,2,3\n")
    refused(tmp_path / "mine.csv", "neither a .zip file nor a folder", "alsx.Ratings")


def test_a_folder_in_place_is_read_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "alsx.datasets.download.fetch", lambda *args, **kwargs: write_zip(tmp_path / "d.zip", files_csv())
    )
    write_folder(tmp_path / "ml-100k", files_100k())
    assert load_movielens("ml-100k").users is not None
    (tmp_path / "ml-1m").mkdir()  # without the files of an archive
    assert load_movielens("ml-1m").users is None


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_mutated_archives_are_read_or_refused(tmp_path, data):
    """Whatever bytes of an archive are changed, cut out or doubled: it is read, or refused with a message that names it."""
    make = data.draw(st.sampled_from([files_100k, files_1m, files_10m, files_csv]), "layout")
    path = write_zip(tmp_path / "a.zip", make(), method=data.draw(st.sampled_from(METHODS), "method"))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        at = data.draw(st.integers(0, len(raw) - 1), "place")
        size = data.draw(st.integers(0, 40), "size")
        raw[at : at + size] = data.draw(st.binary(max_size=40), "bytes")
    path.write_bytes(raw)
    read_or_refused(path)


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_mutated_texts_are_read_or_refused(tmp_path, data):
    """Whatever is in the files of a sound archive."""
    files = data.draw(st.sampled_from([files_100k, files_1m, files_10m, files_csv]), "layout")()
    name = data.draw(st.sampled_from(sorted(files)), "file")
    text = bytearray(files[name])
    piece = st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b",", b"::", b"|", b'"', b"\n", b"\r", b"\0", b"\xff", b"-1", b"nan", b"1e999", b"9" * 30, b"0x1"]
        ),
    )
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        at = data.draw(st.integers(0, len(text)), "place")
        text[at : at + data.draw(st.integers(0, 10), "size")] = data.draw(piece, "bytes")
    files[name] = bytes(text)
    read_or_refused(write_zip(tmp_path / "a.zip", files, method=zipfile.ZIP_STORED))


def read_or_refused(path):
    """Load an archive, and return whether that works; if it does not it is with one short line that names it."""
    try:
        read = load_movielens(path)
    except ValueError as error:
        message = str(error)
    else:
        assert read.table.num_rows > 0
        assert np.isfinite(read.table["rating"].to_numpy()).all()
        assert all(isinstance(title, str) for title in read.titles(read.items["item"]))
        return True
    assert path.name in message
    assert len(message) <= 300, message
    assert "\n" not in message
    return False


def test_ids_for_titles_may_come_in_any_container(tmp_path):
    data = load_movielens(write_zip(tmp_path / "a.zip", files_1m()))
    both = ["Les Misérables", "Toy Story"]
    ids = np.array([73, 1], np.int64)
    for given in ([73, 1], (73, 1), ids, ids.astype(np.int32), list(ids), data.items["item"].take([1, 0])):
        assert data.titles(given) == both
    assert data.titles(np.int32(1)) == data.titles(1) == ["Toy Story"]
    assert data.titles([]) == data.genres_of([]) == []
    with pytest.raises(ValueError, match="item id 5 is not among the 3 films of a"):
        data.titles([1, 5])


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Two Friends (1986) ", "Two Friends", 1986),
        ("Blind Side, The  (2009)", "Blind Side, The", 2009),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("Big Bang Theory, The (2007-)", "Big Bang Theory, The", 2007),
        ("Diplomatic Immunity (2009– )", "Diplomatic Immunity", 2009),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Mona (Mona ja palavan rakkauden aika) (1983))", "Mona (Mona ja palavan rakkauden aika)", 1983),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("Moonlight", "Moonlight", None),
        ("unknown", "unknown", None),
        ("1984", "1984", None),
        ("(1984)", "(1984)", None),
        ("Blade Runner (1982) Final Cut", "Blade Runner (1982) Final Cut", None),
    ],
)
def test_titles_and_years(text, title, year):
    assert split_year(text) == (title, year)


@pytest.mark.parametrize(
    ("official", "shown"),
    [
        ("Matrix, The", "The Matrix"),
        ("Clockwork Orange, A", "A Clockwork Orange"),
        ("American in Paris, An", "An American in Paris"),
        ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly"),
        ("Lord of the Rings: The Two Towers, The", "The Lord of the Rings: The Two Towers"),
        ("Misérables, Les", "Les Misérables"),
        ("Avventura, L' (Adventure, The)", "L'Avventura (The Adventure)"),
        ("Dolce Vita, La", "La Dolce Vita"),
        ("Boot, Das (Boat, The)", "Das Boot (The Boat)"),
        ("Downfall (Untergang, Der)", "Downfall (Der Untergang)"),
        ("Ehe der Maria Braun, Die", "Die Ehe der Maria Braun"),
        ("Postino, Il", "Il Postino"),
        ("Topo, El", "El Topo"),
        ("Olvidados, Los", "Los Olvidados"),
        ("Vitelloni, I (a.k.a. The Young and the Passionate)", "I Vitelloni (a.k.a. The Young and the Passionate)"),
        ("Woman Is a Woman, A (femme est une femme, Une)", "A Woman Is a Woman (Une femme est une femme)"),
        ("Andalusian Dog, An (Chien andalou, Un)", "An Andalusian Dog (Un Chien andalou)"),
        ("Trou, Le (Hole, The) (Night Watch, The)", "Le Trou (The Hole) (The Night Watch)"),
        (
            "His Secret Life (a.k.a. Ignorant Fairies, The) (Fate ignoranti, Le)",
            "His Secret Life (a.k.a. The Ignorant Fairies) (Le Fate ignoranti)",
        ),
        ("(500) Days of Summer", "(500) Days of Summer"),
        ("Me, Myself & Irene", "Me, Myself & Irene"),
        ("I, Robot", "I, Robot"),
        ("Evangelion: 1.0 You Are (Not) Alone (Jo)", "Evangelion: 1.0 You Are (Not) Alone (Jo)"),
        ("Broken) (Parentheses)", "Broken) (Parentheses)"),
        ("The End)", "The End)"),
        ("(All of it)", "(All of it)"),
        ("", ""),
    ],
)
def test_display_titles(official, shown):
    assert display_title(official) == shown


def test_display_titles_without_alternates():
    assert display_title("City of Lost Children, The (Cité des enfants perdus, La)", alternates=False) == (
        "The City of Lost Children"
    )
    assert display_title("(500) Days of Summer", alternates=False) == "(500) Days of Summer"


def test_importing_datasets_imports_nothing_heavy():
    # scikit-learn imports pandas, and with it pyarrow, where it finds it: here it does not.
    code = (
        "import sys; sys.modules['pandas'] = None; import alsx.datasets; "
        "heavy = {'pyarrow', 'pooch', 'requests', 'tqdm', 'matplotlib', 'fire'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_features_of_films(tmp_path):
    data = load_movielens(write_zip(tmp_path / "a.zip", files_csv()))
    films = {film["item"]: film for film in data.item_features().to_pylist()}
    assert films[73] == {"item": 73, "genres": ["Drama", "War"], "year": 1995, "decade": "1990s"}
    assert films[156605] == {"item": 156605, "genres": [], "year": None, "decade": None}
    assert data.item_features(year=False).column_names == ["item", "genres"]
    with pytest.raises(ValueError, match="has no tags"):
        load_movielens(write_zip(tmp_path / "b.zip", files_100k())).item_features(tags=True)


def test_tags_that_enough_films_share(tmp_path):
    files = files_csv()
    rows = ["2,1, Funny ,1", "3,1,funny,2", "2,73,FUNNY,3", "2,73,war,4", "2,99,   ,5", "2,555,funny,6"]
    files["tags.csv"] = ("\n".join(["userId,movieId,tag,timestamp", *rows]) + "\n").encode()
    data = load_movielens(write_zip(tmp_path / "a.zip", files))
    for least, expected in ((1, [["funny"], ["funny", "war"], []]), (2, [["funny"], ["funny"], []])):
        features = data.item_features(tags=True, min_films=least)
        assert str(features.schema.field("tags").type).startswith("list<")
        assert features["tags"].to_pylist()[:3] == expected


def test_features_of_users(tmp_path):
    data = load_movielens(write_zip(tmp_path / "a.zip", files_100k()))
    expected = {"user": 186, "age": 53, "gender": "F", "occupation": "other"}
    assert data.user_features().to_pylist()[1] == expected
    data = load_movielens(write_zip(tmp_path / "b.zip", files_1m()))
    expected = {"user": 1, "age_group": "Under 18", "gender": "F", "occupation": "K-12 student"}
    assert data.user_features().to_pylist()[0] == expected
    data = load_movielens(write_zip(tmp_path / "c.zip", files_csv()))
    with pytest.raises(ValueError, match="c says nothing about users; ml-100k and ml-1m do"):
        data.user_features()


@pytest.fixture
def real():
    """A function from a name to the path of the real archive."""

    def find(name):
        folder = os.environ.get("ALSX_TEST_DATA")
        if not folder:
            pytest.skip("ALSX_TEST_DATA is not set")
        path = Path(folder) / f"{name}.zip"
        if not path.exists():
            pytest.skip(f"there is no {name}.zip in ALSX_TEST_DATA")
        return path

    return find


def test_the_real_100k(real):
    data = load_movielens(real("ml-100k"))
    assert data.name == "ml-100k"
    assert data.table.num_rows == 100_000
    assert data.users.num_rows == len(data.table["user"].unique()) == 943
    assert data.items.num_rows == len(data.table["item"].unique()) == 1682
    assert data.titles([50, 543]) == ["Star Wars", "Les Misérables"]
    assert data.items["year"].null_count == 1
    assert "�" not in "".join(data.titles(data.items["item"]))
    held_out = []
    for fold in ("u1", "u2", "u3", "u4", "u5"):
        train, test = data.fold(fold)
        assert (train.num_rows, test.num_rows) == (80_000, 20_000)
        held_out += triples(test)
    assert sorted(held_out) == sorted(triples(data.table))
    assert data.fold("ua")[1].num_rows == data.fold("ub")[1].num_rows == 9430


def test_the_real_latest_small(real):
    data = load_movielens(real("ml-latest-small"))
    assert data.name == "ml-latest-small"
    assert (data.table.num_rows, data.items.num_rows, data.tags.num_rows) == (100_836, 9742, 3683)
    assert len(data.table["user"].unique()) == 610
    assert data.titles([4973, 2571], alternates=False, years=True) == ["Amelie (2001)", "The Matrix (1999)"]
    assert data.titles(4973) == ["Amelie (Le Fabuleux destin d'Amélie Poulain)"]
    assert data.ratings.shape == (610, 9724)
    assert not any("Ã" in title or "�" in title for title in data.titles(data.items["item"]))

"""Kinds of input that public data sets and bug reports show: read right, or refused with what helps."""

import bz2
import decimal
import gzip
import io
import lzma
import warnings

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from pyarrow import dataset, parquet

import alsx
from alsx import FactorALS, Ratings
from alsx.model_selection import k_fold, train_test_split
from alsx.ratings import Caller, as_ratings, id_pairs, read_ratings
from alsx.ratings.ids import encode

FIT = Caller("R", options="Ratings")
COMMAND = Caller("RATINGS", options="flags", flags=(("item", "item-column"), ("header", "header"), ("names", "names")))


@pytest.fixture
def write(tmp_path):
    """Write a file, and return its path."""

    def write(content, name="ratings.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def rows(R):
    """All ratings as tuples of ids and values."""
    u, i, r = R.triples()
    return list(zip(R.user_ids[u].tolist(), R.item_ids[i].tolist(), r.tolist(), strict=True))


# Ids in files


@pytest.mark.parametrize("kind", ["csv", "csv.gz"])
def test_ids_with_leading_zeros_are_texts(write, kind):
    text = "user,item,rating\nann,00417,5\nbob,00417,4\nann,0417,1\nbob,0417,2\ncat,417,3"
    R = Ratings(write(gzip.compress(text.encode()) if kind == "csv.gz" else text, f"ratings.{kind}"))
    assert R.item_ids.tolist() == ["00417", "0417", "417"]
    assert rows(R)[0] == ("ann", "00417", 5)
    assert len(R) == 5


@pytest.mark.parametrize(
    "odd", ["02116", "+5", "-0", "-07", "0x1F", "0X1f", "1e5", "1E5", "1_000", '"007"', " 007", f"{2**64}", "5a"]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_column_with_an_id_that_is_not_written_as_an_integer_is_text(write, odd, late):
    before = "".join(f"{n},1,3\n" for n in range(1, 100_001 if late else 3))
    R = Ratings(write(f"user,item,rating\n{before}{odd},2,4\n"))
    assert R.user_ids.dtype.kind == "U"
    assert odd.strip('"') in R.user_ids
    assert "1" in R.user_ids
    assert R.item_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (["7", "-5", "0"], np.int64),
        ([str(2**31), "1"], np.int64),
        ([str(2**63 - 1), str(-(2**63) + 1)], np.int64),
        ([str(2**63 + 1), str(2**63 + 3)], np.uint64),
        ([str(2**64 - 2), "1"], np.uint64),
    ],
)
def test_integers_of_any_size_are_exact(write, ids, dtype):
    R = Ratings(write("user,item,rating\n" + "".join(f"{x},1,3\n" for x in ids)))
    assert R.user_ids.dtype == dtype
    assert sorted(map(int, ids)) == R.user_ids.tolist()


def test_numbers_with_zeros_elsewhere_do_not_make_ids_texts(write):
    R = Ratings(write("user,item,rating,timestamp,zip\n1,2,0.5,0,02139\n3,4,05.0,007,00000\n"))
    assert rows(R) == [(1, 2, 0.5), (3, 4, 5.0)]
    assert R.timestamps.tolist() == [0, 7]


def test_kinds_of_ids_that_are_asked_for(write):
    path = write("user,item,rating\n1,007,5\n2,8,4\n")
    assert Ratings(path).item_ids.tolist() == ["007", "8"]
    assert Ratings(path, id_types="strings").user_ids.tolist() == ["1", "2"]
    assert Ratings(path, id_types=(None, "integers")).item_ids.tolist() == [7, 8]
    assert Ratings(path, id_types={"item": int, "user": str}).item_ids.tolist() == [7, 8]
    assert as_ratings(path, "test", id_types=("strings", "strings")).user_ids.tolist() == ["1", "2"]
    path = write("user,item,rating\n" + "".join(f"{n},1,3\n" for n in range(3000)) + "x17,1,3\n")
    with pytest.raises(TypeError, match="column 'user': line 3,002 is 'x17'; the ids must be integers"):
        Ratings(path, id_types="integers")
    with pytest.raises(ValueError, match="beyond what 64 bits hold: leave id_types out"):
        Ratings(write(f"user,item,rating\n{2**64},1,3\n"), id_types="integers")
    for wrong in ("texts", float, ("strings", "x"), {"items": "strings"}):
        with pytest.raises(ValueError, match="id_types (is|has the key) "):
            Ratings(path, id_types=wrong)
    with pytest.raises(TypeError, match="id_types is for files, but data is of type Table"):
        Ratings(pa.table({"user": [1], "item": [1], "rating": [1]}), id_types="strings")


def test_ids_with_a_decimal_point_are_not_guessed(write):
    path = write("user,item,rating\n1.0,1,3\n2.0,1,4\n")
    with pytest.raises(TypeError, match='line 2 is \'1.0\'; .* pass id_types="integers" or "strings"'):
        Ratings(path)
    assert Ratings(path, id_types="integers").user_ids.tolist() == [1, 2]
    assert Ratings(path, id_types="strings").user_ids.tolist() == ["1.0", "2.0"]


@pytest.mark.parametrize("nothing", ["-", "N/A", "null", "None", "?", "\\N"])
def test_what_stands_for_nothing_is_not_an_id_among_integers(write, nothing):
    lines = [f"{n},{n},3\n" for n in range(300)]
    lines[205] = f"{nothing},205,3\n"
    path = write("user,item,rating\n" + "".join(lines))
    with pytest.raises(TypeError, match="column 'user': line 207 is .*, while the other ids are numbers"):
        Ratings(path)
    assert nothing in Ratings(path, id_types="strings").user_ids


def test_blanks_around_ids(write):
    assert rows(Ratings(write("user, item, rating\nann, i1, 5\nbob, i2, 4\n"))) == [("ann", "i1", 5), ("bob", "i2", 4)]
    assert Ratings(write("user,item,rating\nann,i1,5\n bob,i2,4\n")).user_ids.tolist() == [" bob", "ann"]
    with pytest.raises(ValueError, match="column 'rating': line 3 is empty"):
        Ratings(write("user,item,rating\nann,i1,5\nbob,i2, \n"))
    assert len(Ratings(write("user,item,rating\nann,i1,5\nbob,i2, \n"), missing="")) == 1


@pytest.mark.parametrize(
    "content",
    ["ann,i1,4\n  ,i1,5\nbob,i2,1\n", "ann,i1,4\n,i1,5\nbob,i2,1\n", 'ann,i1,4\n"",i1,5\nbob,i2,1\n', "1,7,4\n,7,5\n"],
)
def test_empty_ids_are_refused(write, content):
    with pytest.raises(ValueError, match="column 'user': line 3 is empty: take rows without an id out first"):
        Ratings(write("user,item,rating\n" + content))


def test_a_line_of_names_within_a_file_is_refused(write):
    with pytest.raises(ValueError, match="line 3 holds the names of the columns again"):
        Ratings(write("user,item,rating\nann,i1,4\nuser,item,rating\nbob,i2,3\n"))
    with pytest.raises(ValueError, match="line 3 holds the names of the columns again"):
        Ratings(write("user,item\nann,i1\nuser,item\nbob,i2\n"), [1, 2, 3])
    # An item may well be called like its column.
    assert Ratings(write("user,item,rating\nann,item,4\nuser,i1,3\n")).item_ids.tolist() == ["i1", "item"]


# Quotes


def reviews(n, place):
    """Lines with free text in the column `place`."""
    lines = []
    for at in range(n):
        fields = [f"u{at}", f"i{at % 7}", str(at % 5 + 1)]
        fields.insert(place, f"a fine film, number {at}")
        lines.append("\t".join(fields))
    names = ["user", "item", "rating"]
    names.insert(place, "text")
    return "\t".join(names), lines


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("stray", [(2,), (2, 29), (2, 3, 29), (39,)])
@pytest.mark.parametrize("text", ['"great film', '"', 'great "film"', '""'])
def test_stray_quotes_swallow_no_rows(write, place, stray, text):
    header, lines = reviews(40, place)
    expected = Ratings(write("\n".join([header, *lines]), "plain.tsv"))
    for at in stray:
        fields = lines[at].split("\t")
        fields[place] = text
        lines[at] = "\t".join(fields)
    R = Ratings(write("\n".join([header, *lines]) + "\n", "ratings.tsv"))
    assert rows(R) == rows(expected)
    assert rows(Ratings(write("\n".join([header, *lines]), "ratings.tsv"), quoting=False)) == rows(expected)


def test_stray_quotes_in_a_large_file(write):
    header, lines = reviews(100_000, 3)
    for at, text in ((2, '"great film'), (51_000, 'a "great" film')):
        lines[at] = "\t".join([*lines[at].split("\t")[:3], text])
    assert len(Ratings(write("\n".join([header, *lines]), "ratings.tsv"))) == 100_000


def test_quotes_that_are_read_as_text_are_not_taken_for_those_of_ids(write):
    path = write('user,item,rating,text\n"u1",i1,3,"a\n"u2",i2,4,b\n')
    with pytest.raises(ValueError, match="column 'user': line 2 is in quotes, but other quotes"):
        Ratings(path)
    with pytest.raises(ValueError, match=r"a double quote in line 2 is not closed .* pass quoting=False"):
        Ratings(path, quoting=True)
    assert Ratings(path, quoting=False).user_ids.tolist() == ['"u1"', '"u2"']


@pytest.mark.parametrize("n", [3, 80_000])
def test_line_breaks_in_quotes_are_read(write, n):
    lines = "".join(f'{k},{k % 99},{k % 5},"line\nbreak, and ""quotes"""\n' for k in range(n))
    R = Ratings(write("user,item,rating,text\n" + lines))
    assert len(R) == n
    assert R.mean == pytest.approx(np.mean(np.arange(n) % 5))
    with pytest.raises(TypeError, match=rf"column 'rating': line {2 * n + 2:,} is 'x'"):
        Ratings(write("user,item,rating,text\n" + lines + "5,5,x,y\n"))


# Numbers


@pytest.mark.parametrize(
    ("bad", "shown"), [("-", "'-'"), ("N/A", "'N/A'"), ("good", "'good'"), ("é", "'é'"), ("1_0", "'1_0'")]
)
def test_what_is_not_a_number_is_named_with_its_line(write, bad, shown):
    lines = [f"{n},{n},3.5\n" for n in range(300)]
    lines[205] = f"205,205,{bad}\n"
    path = write("user,item,rating\n" + "".join(lines))
    with pytest.raises(TypeError, match=f"ratings.csv, column 'rating': line 207 is {shown}; it must be a number"):
        Ratings(path)
    assert len(Ratings(path, missing=bad)) == 299


def test_decimal_commas(write):
    lines = [f"{n};{n};3,5\n" for n in range(300)]
    assert Ratings(write("user;item;rating\n" + "".join(lines))).range == (3.5, 3.5)
    lines[205] = "205;205;3.5\n"
    with pytest.raises(TypeError, match="line 2 is '3,5'; .*write decimal points or decimal commas throughout"):
        Ratings(write("user;item;rating\n" + "".join(lines)))


def test_other_encodings(write):
    text = "user,item,rating\n" + "".join(f"{'Zoé' if n == 205 else n},{n},3\n" for n in range(300))
    path = write(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"column 'user': line 207 is b'Zo\\xe9', .* pass encoding=\"latin-1\""):
        Ratings(path)
    assert "Zoé" in Ratings(path, encoding="latin-1").user_ids
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"):
        assert rows(Ratings(write(text, encoding=encoding))) == rows(Ratings(write(text)))
    with pytest.raises(ValueError, match="encoding is 'klingon'"):
        Ratings(path, encoding="klingon")
    # What is in other columns does not matter.
    path = write("user,item,rating,title\n1,2,3,Amélie\n", encoding="latin-1")
    assert rows(Ratings(path)) == [(1, 2, 3)]


def test_compression_is_found_by_what_a_file_holds(write):
    text = b"user,item,rating\n1,2,3\n"
    expected = rows(Ratings(write(text)))
    for packed in (
        gzip.compress(text),
        bz2.compress(text),
        lzma.compress(text),
        pa.compress(text, "zstd", asbytes=True),
    ):
        assert rows(Ratings(write(packed, "ratings.txt"))) == expected
    whole = gzip.compress(
        ("user,item,rating\n" + "".join(f"{n},{n * 7919 % 1000},3\n" for n in range(50_000))).encode()
    )
    for cut in (20, len(whole) // 2, len(whole) - 4):
        with pytest.raises(ValueError, match=r"cut.csv.gz is cut short or damaged"):
            Ratings(write(whole[:cut], "cut.csv.gz"))


# Layout


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("user::item::rating\n1::2::3\n4::5::6\n", "ratings.csv"),
        ("user item rating\n1   2 3\n4 \t5  6 \n", "ratings.txt"),
        ("user;item;rating\n1;2;3\n4;5;6\n", "ratings.csv"),
        ("user;item, old;rating;item\n1;a, b;3;2\n4;;6;5\n", "ratings.csv"),
        ("user|item|rating\n1|2|3\n4|5|6", "ratings.tsv"),
        ("\n\nuser,item,rating\n\n1,2,3\n4,5,6\n   \n\n", "ratings.csv"),
        ("user,item,rating\r1,2,3\r4,5,6\r", "ratings.csv"),
        ("user,item,rating\r\n1,2,3\r\n4,5,6\r\n", "ratings.csv"),
        ('"user","item\nid","rating"\n1,2,3\n4,5,6\n', "ratings.csv"),
        ("sep=;\nuser;item;rating\n1;2;3\n4;5;6\n", "ratings.csv"),
        ("# made by hand\n% and so on\nuser,item,rating\n1,2,3\n4,5,6\n", "ratings.csv"),
        (",user,item,rating\n0,1,2,3\n1,4,5,6\n", "ratings.csv"),
        ("1::2::3::978300760\n4::5::6::978300761\n", "ratings.dat"),
        ("1\t2\t3\t978300760\n4\t5\t6\t978300761\n", "u.data"),
    ],
)
def test_layouts_are_recognised(write, content, name):
    assert rows(Ratings(write(content, name))) == [(1, 2, 3), (4, 5, 6)]


def test_a_file_without_names_of_columns(write):
    path = write("AQ7,0972683275,4.0,1358035200\nBQ8,0972683275,5.0,1358035201\n")
    with pytest.raises(
        ValueError, match=r"the first line, 'AQ7, 0972683275, 4.0, .*looks like a rating.* pass header=False"
    ):
        Ratings(path)
    with pytest.raises(ValueError, match=r"pass alsx\.Ratings\(R, header=False\) if the order is user, item, rating"):
        read_ratings(path, caller=FIT)
    with pytest.raises(ValueError, match="pass --header=False if the order .* --names=user,item,"):
        read_ratings(path, caller=COMMAND)
    R = Ratings(path, header=False)
    assert rows(R) == [("AQ7", "0972683275", 4), ("BQ8", "0972683275", 5)]
    assert R.timestamps.tolist() == [1358035200, 1358035201]
    assert Ratings(path, names=["item", "user", "rating", "when"]).item_ids.tolist() == ["AQ7", "BQ8"]
    assert rows(Ratings(path, header=False, names=["a", "b", "c", "d"], user="a", item="b", rating="c")) == rows(R)
    assert rows(Ratings(write("#1,2,3\n#4,5,6\n", "marks.csv"), header=False)) == [("#1", 2, 3), ("#4", 5, 6)]
    assert len(Ratings(path, header=True, names=["user", "item", "rating", "when"])) == 1
    with pytest.raises(ValueError, match="names has 2 names; .* has 4 columns"):
        Ratings(path, names=["user", "item"])


def test_separators_that_are_said(write):
    path = write("user~item~rating\n1~2~3\n")
    with pytest.raises(ValueError, match="has one column, 'user~item~rating', .* pass separator="):
        Ratings(path)
    assert rows(Ratings(path, separator="~")) == [(1, 2, 3)]
    assert rows(Ratings(write("user--item--rating\n1--2--3\n"), separator="--")) == [(1, 2, 3)]
    assert rows(Ratings(write("user item rating\n1  2 3\n"), separator=" ")) == [(1, 2, 3)]
    for wrong in ("", "\n", '"', 5):
        with pytest.raises(ValueError, match="separator is "):
            Ratings(path, separator=wrong)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1,2,2005-01-01\n", "layout of the Netflix Prize.*awk"),
        (b"PK\x03\x04...", "a zip archive or an Excel workbook, not CSV or Parquet: unpack it first"),
        ('{"user": 1, "item": 2, "rating": 3}\n', "is JSON, .* pandas.read_json"),
        (b"SQLite format 3\x00", "is a SQLite database"),
        (b"\x00\x01\x02" * 50, "holds a NUL character"),
        ("\n  \n", "is empty; its first line must name the columns"),
        ("user,item,rating", "there are no ratings"),
    ],
)
def test_other_files_are_named(write, content, says):
    with pytest.raises(ValueError, match=says):
        Ratings(write(content))


def test_data_of_other_kinds_is_named_with_what_makes_ratings_of_it(write, monkeypatch):
    path = write("user,item,rating\n1,2,3\n")
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    assert rows(Ratings("~/ratings.csv")) == [(1, 2, 3)]
    table = {"user": [1, 2], "item": [3, 4], "rating": [5, 1]}
    triples = list(zip(*table.values(), strict=True))
    for data, error, says in (
        ("https://example.org/ratings.csv", ValueError, "is an address, not a file: download it first"),
        (table, TypeError, r"data is of type dict, which is not read: pass pandas\.DataFrame\(data\)"),
        (
            io.StringIO("user,item,rating\n"),
            TypeError,
            r"is of type StringIO, .* pass its path, or pandas\.read_csv\(data\)",
        ),
        (triples, ValueError, r"row 0 is \(1, 3, 5\), .* alsx\.Ratings\.from_arrays\(\*zip\(\*data\)\)"),
    ):
        with pytest.raises(error, match=says):
            Ratings(data)
    assert rows(Ratings.from_arrays(*zip(*triples, strict=True))) == triples


def test_a_wide_first_line(write):
    more = [f"a rather long name of column {n}" for n in range(5000)]
    assert rows(Ratings(write(",".join(["user", "item", "rating", *more]) + "\n1,2,3" + ",x" * 5000 + "\n"))) == [
        (1, 2, 3)
    ]


def test_blank_lines_at_the_end_of_many_megabytes(write):
    assert rows(Ratings(write("user,item,rating\n1,2,3\n" + "\n" * 9_000_000))) == [(1, 2, 3)]


def test_a_folder_is_read_as_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="is a folder without files of ratings"):
        Ratings(tmp_path)
    for part in range(2):
        (tmp_path / f"part={part}").mkdir()
        file = tmp_path / f"part={part}" / "a.parquet"
        parquet.write_table(pa.table({"user": [part], "item": [1], "rating": [2.5]}), file)
    (tmp_path / "_SUCCESS").touch()
    assert rows(Ratings(tmp_path)) == rows(Ratings(dataset.dataset(tmp_path))) == [(0, 1, 2.5), (1, 1, 2.5)]
    (tmp_path / "readme.txt").write_text("no ratings")
    assert Ratings(tmp_path).n_ratings == 2
    with pytest.raises(IsADirectoryError, match="is a folder, whose files have no order"):
        FactorALS(2).fit(tmp_path).predict(tmp_path)


# Remedies work where they are given


def test_remedies_are_those_of_the_call():
    frame = pa.table({"user_id": [1, 1], "anime_id": [7, 7], "rating": [1.0, 2.0]})
    for caller, item, twice in (
        (Caller(), 'pass item="anime_id"', 'pass duplicates="last"'),
        (FIT, 'pass alsx.Ratings(R, item="anime_id")', "pass alsx.Ratings(R, duplicates="),
        (COMMAND, "pass --item-column=anime_id", "in Python, pass alsx.Ratings(RATINGS, duplicates="),
    ):
        with pytest.raises(ValueError, match="no column of items is recognised") as error:
            read_ratings(frame, caller=caller)
        assert str(error.value).endswith(item)
        with pytest.raises(ValueError, match="duplicate ratings: row 1") as error:
            read_ratings(frame, caller=caller, item="anime_id")
        assert twice in str(error.value)
    with pytest.raises(ValueError, match=r'pass alsx\.Ratings\(ratings, item="anime_id"\)'):
        train_test_split(frame)
    with pytest.raises(ValueError, match=r'pass alsx\.Ratings\(ratings, item="anime_id"\)'):
        k_fold(frame)
    assert len(Ratings(frame, item="anime_id", duplicates="last")) == 1


def test_messages_name_the_column_as_the_caller_has_it():
    frame = pa.table({"user": [1, 2], "item": [1.5, 2], "rating": [1.0, 2.0]})
    with pytest.raises(TypeError, match=r"^data\['item'\]: row 0 is 1\.5"):
        Ratings(frame)
    with pytest.raises(TypeError, match=r"^R\['item'\]: row 0 is 1\.5"):
        read_ratings(frame, caller=FIT)
    with pytest.raises(TypeError, match=r"^R\[:, 1\]: row 1 is 1\.5"):
        read_ratings([(1, 2), (2, 1.5)], [1, 2], caller=FIT)


# Times


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.float64])
def test_times_in_parts_of_seconds_are_recognised(unit, kind):
    times = np.array([1_588_000_001, 1_588_000_000]) * unit
    R = Ratings.from_arrays([1, 2], [1, 1], [1, 2], timestamps=times.astype(kind))
    np.testing.assert_allclose(R.timestamps, [1_588_000_001, 1_588_000_000], atol=0 if kind != np.float64 else 1)


def test_times_of_two_units_are_refused():
    with pytest.raises(
        ValueError, match="row 0 is 1588000000000, the year 52,292 if it is in seconds, while row 1 is 0"
    ):
        Ratings.from_arrays([1, 2], [1, 1], [1, 2], timestamps=[1_588_000_000_000, 0])


def test_times_that_nobody_needs_are_not_looked_at(write):
    path = write("user,item,rating,date\n1,2,3,Jan 3\n1,4,3,Jan 4\n2,2,1,\n")
    with pytest.warns(UserWarning, match="timestamps are left out, .* line 2 is 'Jan 3'.*timestamp=False"):
        assert Ratings(path).timestamps is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(train_test_split(path, 0.5)[0]) == 1
        assert len(read_ratings(path, caller=FIT)) == 3
        assert Ratings(path, timestamp=False).timestamps is None
    for call in (lambda: Ratings(path, timestamp="date"), lambda: train_test_split(path, by="time")):
        with pytest.raises(TypeError, match="column 'date': line 2 is 'Jan 3' .*; times must be integers"):
            call()


def test_dates_of_iso_8601_in_frames():
    pd = pytest.importorskip("pandas")
    dates = ["2020-01-01", "2020-01-01 10:00:00"]
    for column in (dates, np.array(dates), pd.Series(dates), pa.array(dates), pa.array(dates).dictionary_encode()):
        assert Ratings.from_arrays([1, 2], [1, 1], [1, 2], timestamps=column).timestamps.tolist() == [
            1577836800,
            1577872800,
        ]
    with pytest.raises(TypeError, match="timestamps: row 1 is 'soon' .string.; times must be"):
        Ratings.from_arrays([1, 2], [1, 1], [1, 2], timestamps=["2020-01-01", "soon"])


def test_dates_of_iso_8601(write):
    path = write("user,item,rating,date\n1,2,3,2020-01-01\n1,4,3,2020-01-01 10:00:00.5\n1,5,3,2021-01-01T10:00\n")
    assert Ratings(path).timestamps.tolist() == [1577836800, 1577872800, 1609495200]
    path = write("user,item,rating,date\n1,2,3,2020-01-01T00:00:00Z\n1,4,3,2020-01-01T10:00:00+02:00\n")
    assert Ratings(path).timestamps.tolist() == [1577836800, 1577865600]


# Ratings that stand for none


@pytest.mark.parametrize(
    ("code", "others"),
    [(-1, range(1, 11)), (99, np.linspace(-10, 10, 41)), (-1, np.arange(1, 11) / 2), (999, range(101))],
)
def test_a_code_for_not_rated_is_suspected(code, others):
    values = np.r_[np.full(20, code), np.resize(np.array(others, float), 60)]
    columns = np.arange(80), np.zeros(80, int), values
    with pytest.warns(UserWarning, match=f"ratings: {code} is there 20 times, far off .* pass missing={code}"):
        assert len(Ratings.from_arrays(*columns)) == 80
    R = Ratings.from_arrays(*columns, missing=code, timestamps=np.arange(80), sample_weight=np.arange(80.0))
    assert len(R) == 60
    assert code not in R.by_user.values
    assert R.timestamps.tolist() == list(range(20, 80))
    assert R.by_user.weights.tolist() == list(range(20, 80))


def test_zeros_that_are_most_ratings_are_suspected():
    values = np.r_[np.zeros(120), np.resize(np.arange(1, 11), 100)]
    with pytest.warns(UserWarning, match="ratings: 0 is there 120 times, more often .* pass missing=0"):
        Ratings.from_arrays(np.arange(220), np.zeros(220, int), values)
    matrix = scipy.sparse.coo_array((values, (np.arange(220), np.zeros(220, int))))
    assert len(Ratings(matrix, missing=0)) == 100
    # Likes and dislikes are ratings.
    Ratings.from_arrays(np.arange(220), np.zeros(220, int), np.minimum(values, 1))


def test_missing_in_every_kind_of_input(write):
    pd = pytest.importorskip("pandas")
    table = {"user": [1, 2, 3], "item": [7, 7, 8], "rating": [-1.0, 4.0, float("nan")]}
    for data in (pd.DataFrame(table), pa.table(table), pa.table(table | {"rating": [-1.0, 4.0, None]})):
        assert rows(Ratings(data, missing=[-1, None])) == [(2, 7, 4)]
    assert rows(Ratings([(1, 7), (2, 7)], [-1, 4], missing=-1)) == [(2, 7, 4)]
    path = write("user,item,rating\n1,7,-1\n2,7,4\n3,8,\n4,8,N/A\n5,8,99\n")
    assert rows(Ratings(path, missing=[-1, "", "N/A", 99])) == [(2, 7, 4)]
    with pytest.raises(ValueError, match=r"line 4 is empty: take such rows out first, or pass missing=\"\""):
        Ratings(path)
    assert len(Ratings(Ratings([(1, 7), (2, 7)], [-1, 4]), missing=-1)) == 1
    with pytest.raises(ValueError, match="there are no ratings: all of y are missing"):
        Ratings([(1, 7)], [5], missing=5)
    with pytest.raises(TypeError, match=r"missing is \{.*\} \(dict\)"):
        Ratings([(1, 7)], [5], missing={})
    # Places are those of the input.
    with pytest.raises(ValueError, match="row 3 rates user 1, item 7 again, after row 1"):
        Ratings.from_arrays([1, 1, 2, 1], [7, 7, 7, 7], [-1, 3, 4, 5], missing=-1)


# Weights


def test_the_mean_of_doubled_ratings_counts_as_two():
    columns = [1, 1, 2], [1, 1, 1], [1.0, 3.0, 5.0]
    plain = Ratings.from_arrays(*columns, duplicates="mean")
    weighted = Ratings.from_arrays(*columns, duplicates="mean", sample_weight=[1, 1, 1])
    assert plain.mean == weighted.mean == 3
    np.testing.assert_array_equal(plain.by_item.weights, weighted.by_item.weights)


def test_weights_of_a_coordinate_matrix_are_in_the_order_of_its_csr_form():
    matrix = scipy.sparse.coo_array(([4.0, 2, 3, 1], ([1, 0, 1, 0], [1, 1, 0, 0])))
    weights = [100, 1, 1, 1]
    assert Ratings(matrix, sample_weight=weights).mean == Ratings(matrix.tocsr(), sample_weight=weights).mean
    assert Ratings(matrix, sample_weight=weights).mean == pytest.approx(1.0583, abs=1e-4)
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((200, 100)) < 0.1, rng.integers(1, 6, (200, 100)), 0)
    coo = scipy.sparse.coo_array(dense)
    order = rng.permutation(coo.nnz)
    shuffled = scipy.sparse.coo_array((coo.data[order], tuple(x[order] for x in coo.coords)), shape=dense.shape)
    weights = rng.random(coo.nnz)
    expected = Ratings(coo.tocsr(), sample_weight=weights)
    for form in (shuffled, coo.todok(), coo.tolil(), coo.tocsc(), coo.tobsr((2, 2))):
        found = Ratings(form, sample_weight=weights)
        np.testing.assert_array_equal(found.by_user.weights, expected.by_user.weights)
        np.testing.assert_array_equal(found.by_user.values, expected.by_user.values)


def test_weights_that_are_all_zero_in_the_end():
    with pytest.raises(ValueError, match="all weights that are left are 0"):
        Ratings.from_arrays([1, 1], [1, 1], [1, 2], sample_weight=[1, 0], duplicates="last")
    R = Ratings.from_arrays([1, 2], [1, 1], [1, 2], sample_weight=[1, 0])
    with pytest.raises(ValueError, match="which selects only ratings of weight 0"):
        R.select([1])


def test_merged_ratings_do_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 5, 3000), rng.integers(0, 4, 3000)
    values, weights = rng.normal(size=3000) * 10.0 ** rng.integers(-8, 8, 3000), rng.random(3000)
    for how in ("mean", "sum"):
        for w in (None, weights):
            found = set()
            for _ in range(5):
                order = rng.permutation(3000)
                R = Ratings.from_arrays(
                    users[order], items[order], values[order], duplicates=how, dtype="float64",
                    sample_weight=None if w is None else w[order],
                )  # fmt: skip
                bits = [R.by_user.values.tobytes(), R.mean]
                found.add((*bits, None if R.by_user.weights is None else R.by_user.weights.tobytes()))
            assert len(found) == 1


# Frames


def test_pivot_tables_and_ids_in_the_index():
    pd = pytest.importorskip("pandas")
    long = pd.DataFrame({"user": [1, 1, 2], "item": [7, 8, 7], "rating": [1.0, 2.0, 3.0]})
    expected = rows(Ratings(long))
    pivot = long.pivot(index="user", columns="item", values="rating")
    with pytest.raises(
        ValueError, match=r"pass data\.melt\(ignore_index=False\)\.dropna\(\)\.reset_index\(\)"
    ) as error:
        Ratings(pivot)
    assert len(str(error.value)) <= 300
    assert rows(Ratings(pivot.melt(ignore_index=False).dropna().reset_index())) == expected
    wide = pd.DataFrame(np.ones((5, 3000)), columns=[f"a film with a long title {n}" for n in range(3000)])
    with pytest.raises(ValueError, match="data has 3,000 columns") as error:
        Ratings(wide)
    assert len(str(error.value)) <= 300
    with pytest.raises(ValueError, match=r"data has 3,001 columns .*pass data.melt\(\"user\"\)") as error:
        Ratings(wide.assign(user=range(5))[["user", *wide.columns]])
    for frame in (long.set_index(["user", "item"]), long.set_index("user")):
        with pytest.raises(ValueError, match=r"in its index, not in a column: pass data\.reset_index\(\)"):
            Ratings(frame)
        assert rows(Ratings(frame.reset_index())) == expected
    with pytest.raises(ValueError, match="no column of users is recognised") as error:
        Ratings(pd.DataFrame(np.ones((2, 40)), columns=[f"another long name {n}" for n in range(40)]))
    assert len(str(error.value)) <= 300


def test_frames_that_stream_and_frames_that_are_not_read_yet():
    pl = pytest.importorskip("polars")
    table = pa.table({"user": [1, 2], "item": [3, 4], "rating": [1.0, 2.0]})
    expected = rows(Ratings(table))
    for data in (table.to_reader(), dataset.dataset(table), dataset.Scanner.from_batches(table.to_reader())):
        if hasattr(data, "__arrow_c_stream__") or hasattr(data, "schema"):
            assert rows(Ratings(data)) == expected
    with pytest.raises(
        TypeError, match=r"data is a LazyFrame of polars, which is not read yet: pass data\.collect\(\)"
    ):
        Ratings(pl.from_arrow(table).lazy())
    with pytest.raises(TypeError, match=r"X is a LazyFrame of polars"):
        id_pairs(pl.from_arrow(table).lazy(), Caller("X", options="Ratings"))

    class DataFrame:
        """What Dask has."""

        def compute(self):
            return table

    DataFrame.__module__ = "dask.dataframe.core"
    with pytest.raises(TypeError, match=r"data is a DataFrame of dask, which is not read yet: pass data\.compute\(\)"):
        Ratings(DataFrame())


def test_integers_that_arrow_does_not_have():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"user": pl.Series([5, 6], dtype=pl.Int128), "item": [1, 2], "rating": [1.0, 2.0]})
    assert Ratings(frame).user_ids.tolist() == [5, 6]


def test_decimals_without_fraction_are_integers(tmp_path):
    values = [decimal.Decimal(5), decimal.Decimal(2**63 + 1)]
    table = pa.table({"user": pa.array(values, pa.decimal128(38, 0)), "item": [1, 2], "rating": [1, 2]})
    parquet.write_table(table, tmp_path / "ratings.parquet")
    for data in (table, tmp_path / "ratings.parquet"):
        assert Ratings(data).user_ids.tolist() == [5, 2**63 + 1]
    assert Ratings.from_arrays(values, [1, 2], [1, 2]).user_ids.tolist() == [5, 2**63 + 1]
    with pytest.raises(ValueError, match="row 0 is 1180591620717411303424; .* pass strings"):
        Ratings.from_arrays(pa.array([decimal.Decimal(2**70)], pa.decimal128(38, 0)), [1], [1])


# Predictions


def test_pairs_of_files_and_frames_come_in_their_order(write):
    path = write("user,item,rating\n3,2,3\n1,4,3\n2,2,1\n")
    users, items = id_pairs(path)
    assert users.tolist() == [3, 1, 2]
    assert items.tolist() == [2, 4, 2]
    users, items = id_pairs(path, id_types="strings")
    assert alsx.ratings.Ids(["1", "2", "3"]).codes(users).tolist() == [2, 0, 1]
    with pytest.raises(TypeError, match="X is a Ratings, whose entries are not in the order of your rows"):
        id_pairs(Ratings(path), Caller("X", options="Ratings"))
    with pytest.raises(TypeError, match="X is a sparse matrix"):
        id_pairs(scipy.sparse.eye_array(3), Caller("X", options="Ratings"))


# Corrupt arrays


def test_sparse_matrices_with_arrays_of_another_kind_are_refused():
    def csr():
        return scipy.sparse.csr_array(np.eye(3))

    def changed(matrix, **arrays):
        for name, array in arrays.items():
            setattr(matrix, name, array)
        return matrix

    masked = np.ma.array([0, 1, 2, 3], mask=[0, 1, 0, 0])
    bsr = scipy.sparse.bsr_array(np.kron(np.eye(3), np.ones((2, 2))))
    lil = scipy.sparse.lil_array(np.eye(3))
    lil.rows[1] = [1, 2, 2, 2, 2, 2]
    dia = scipy.sparse.dia_array(np.eye(3))
    for matrix, says in (
        (changed(csr(), indptr=masked), "its indptr is masked at place 1"),
        (changed(csr(), indices=masked[:3]), "its indices is masked at place 1"),
        (changed(csr(), data=np.ma.array([1.0, 2, 3], mask=[1, 0, 0])), "its data is masked at place 0"),
        (changed(csr(), indptr=np.array([0, np.nan, 2, 3])), "its indptr is of float64"),
        (changed(csr(), indices=np.array([0.0, 1, 2])), "its indices is of float64"),
        (changed(csr(), indices=np.zeros((3, 1), int)), r"its indices is of int64 and shape \(3, 1\)"),
        (changed(csr(), data=np.ones((3, 1))), r"its data has shape \(3, 1\)"),
        (changed(csr(), indptr=np.array([0, 2**63 - 1, -(2**63), 3])), "its indptr falls after row 1"),
        (changed(csr(), indptr=np.array([], int)), "its indptr has 0 values"),
        (changed(bsr.copy(), indptr=np.array([0, 99, 2, 3], np.int32)), "its indptr falls after block row 1"),
        (changed(bsr.copy(), indices=np.array([0, 99, 2], np.int32)), "stored entry 1 has block column 99"),
        (changed(bsr.copy(), data=np.ones((3, 5, 2))), "blocks of .5, 2. do not make a matrix of shape"),
        (changed(bsr.copy(), data=np.ones(3)), r"its data has shape \(3,\), not .blocks, rows, columns."),
        (lil, "row 1 has not one list of columns and one of as many values"),
        (changed(dia, offsets=np.array([0.5])), "its offsets is of float64"),
    ):
        with pytest.raises(ValueError, match=f"data is malformed: {says}"):
            Ratings(matrix)


def test_arrow_columns_whose_buffers_lie_are_refused():
    codes, texts = pa.array([0, 9], pa.int32()), pa.array(["a", "b"])
    wrong = pa.DictionaryArray.from_arrays(codes, texts, safe=False)
    with pytest.raises(ValueError, match="users: row 1 has index 9 in a dictionary of 2 values"):
        Ratings.from_arrays(wrong, [1, 2], [1, 2])
    offsets, letters = pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"users: b'\\xff' is not valid UTF-8"):
        Ratings.from_arrays(pa.Array.from_buffers(pa.string(), 2, [None, offsets, letters]), [1, 2], [1, 2])


def test_arrays_at_odd_addresses_are_copied():
    def misaligned(array):
        room = np.zeros(array.nbytes + 1, np.uint8)
        odd = room[1:].view(array.dtype)
        odd[:] = array
        assert not odd.flags.aligned
        return odd

    users, items, values = np.arange(5), np.arange(5)[::-1], np.arange(5.0)
    expected = rows(Ratings.from_arrays(users, items, values))
    found = Ratings.from_arrays(misaligned(users), misaligned(items), misaligned(values), timestamps=misaligned(users))
    assert rows(found) == expected
    np.testing.assert_array_equal(found.user_codes(misaligned(users)), users)
    # Arrow takes such a column without a copy, and gives it back as it was.
    buffers = [pa.array(misaligned(x)) for x in (users, items, values)]
    assert not buffers[0].to_numpy().flags.aligned
    assert rows(Ratings.from_arrays(*buffers)) == expected
    assert encode(buffers[0], "users", 1).codes.raw.flags.aligned
    record = np.zeros(5, np.dtype([("flag", "u1"), ("user", "i8"), ("item", "i4"), ("rating", "f8")]))
    record["user"], record["item"], record["rating"] = users, items, values
    assert rows(Ratings.from_arrays(record["user"], record["item"], record["rating"])) == expected
    matrix = scipy.sparse.csr_array(np.eye(5))
    matrix.indptr, matrix.indices = misaligned(matrix.indptr), misaligned(matrix.indices)
    assert len(Ratings(matrix)) == 5


def test_parquet_files_that_cannot_be_read_are_named(write, tmp_path):
    for content in (b"PAR1abc", b"PAR1" + b"\0" * 100 + b"PAR1"):
        with pytest.raises(ValueError, match=r"broken.parquet (cannot be read|is cut short or damaged)"):
            Ratings(write(content, "broken.parquet"))
    parquet.write_table(pa.table({"user": [1], "item": [1], "rating": [1]}), tmp_path / "a.parquet")
    with pytest.raises(TypeError, match="separator is given, but .* is a Parquet file"):
        Ratings(tmp_path / "a.parquet", separator=",")
    # By what it holds, not by its name.
    assert len(Ratings((tmp_path / "a.parquet").rename(tmp_path / "a.csv"))) == 1

"""Ratings from CSV and Parquet files: the same as from the same columns in memory."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import alsx


def same(a, b):
    assert a.user_ids.tolist() == b.user_ids.tolist()
    assert a.item_ids.tolist() == b.item_ids.tolist()
    for x, y in zip((*a.by_user, *a.by_item, a.timestamps), (*b.by_user, *b.by_item, b.timestamps), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.by_user.values.dtype == b.by_user.values.dtype


def columns(users=(5, 3, 3), items=(7, 7, 9), ratings=(4.0, 3.5, 0.1)):
    return {"userId": list(users), "movieId": list(items), "rating": list(ratings), "timestamp": [30, 10, 20]}


def text(table, delimiter=","):
    rows = [table.keys(), *zip(*table.values(), strict=True)]
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids", [(5, 3, 3), (2**40, -1, -1), ("b", "a", "a"), ("1", "x", "x")])
@pytest.mark.parametrize("kind", [".csv", ".CSV", ".tsv", ".csv.gz", ".parquet"])
def test_a_file_is_what_it_holds(tmp_path, kind, ids, dtype):
    table, path = columns(users=ids), tmp_path / f"ratings{kind}"
    if kind == ".parquet":
        parquet.write_table(pa.table(table), path, row_group_size=1)
    else:
        content = text(table, "\t" if kind == ".tsv" else ",").encode()
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    expected = alsx.Ratings(pa.table(table), dtype=dtype)
    same(alsx.Ratings(path, dtype=dtype), expected)
    same(alsx.Ratings(str(path), dtype=dtype), expected)


def test_unsigned_ids_of_parquet(tmp_path):
    table = pa.table({"user": pa.array([2, 2**63 + 1], pa.uint64()), "item": [1, 1], "rating": [3, 4]})
    parquet.write_table(table, tmp_path / "ratings.parquet", row_group_size=1)
    same(alsx.Ratings(tmp_path / "ratings.parquet"), alsx.Ratings(table))


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_other_delimiters_are_found(tmp_path, delimiter):
    path = tmp_path / "ratings.csv"
    path.write_text(text(columns(), delimiter))
    same(alsx.Ratings(path), alsx.Ratings(pa.table(columns())))


def test_quotes_byte_order_mark_and_other_columns(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text('\ufeff"User-ID","comment","ISBN","Book-Rating"\r\n"276726","a, b",0155,5\r\n276729,,"x""y",3\r\n')
    R = alsx.Ratings(path)
    assert R.user_ids.tolist() == [276726, 276729]
    assert R.item_ids.tolist() == ["0155", 'x"y']


@pytest.mark.parametrize("late", [2**31, "x17"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_kind_of_id_that_only_a_late_line_shows(tmp_path, late, kind):
    n = 300_000
    users = np.arange(n) if isinstance(late, int) else np.arange(n).astype(str)
    table = {"user": [*users.tolist(), late], "item": [1] * (n + 1), "rating": [3.0] * (n + 1)}
    path = tmp_path / f"ratings.{kind}"
    if kind == "csv":
        path.write_text(text(table))
    else:
        parquet.write_table(pa.table(table), path, row_group_size=n)
    same(alsx.Ratings(path), alsx.Ratings(pa.table(table)))


def test_named_columns_and_y(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("who,what,stars\nann,7,4.5\nbob,7,3\n")
    R = alsx.Ratings(path, user="who", item="what", rating="stars")
    assert R.user_ids.tolist() == ["ann", "bob"]
    (tmp_path / "pairs.csv").write_text("who,what\nann,7\nbob,7\n")
    same(alsx.Ratings(tmp_path / "pairs.csv", [4.5, 3]), R)
    with pytest.raises(ValueError, match="no column of users is recognised; the columns are 'who', 'what', 'stars'"):
        alsx.Ratings(path)


def test_timestamps_are_taken_or_left(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(text(columns()))
    assert alsx.Ratings(path).timestamps.tolist() == [10, 20, 30]
    assert alsx.Ratings(path, timestamp=False).timestamps is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "ratings.csv is empty; its first line must name the columns"),
        ("user,item,rating\n", "there are no ratings"),
        ("user,item,rating\n1,2,3\n1,2\n", "line 3 has 2 columns, not 3: '1,2'; mend it, or pass separator="),
        ("user,item,rating\n1,2,3\n,3,4\n", "column 'user': line 3 is empty: take rows without an id out first"),
        (
            "user,item,rating\n1,2,3\n1.5,3,4\n",
            "column 'user': line 3 is '1.5'; ids must be .* pass id_types=.strings.",
        ),
        ("user,item,rating\n1,2,3\n2,2,nan\n", "column 'rating': line 3 is nan; it must be a finite number"),
        ("user,item,rating\n1,2,3\n2,2,inf\n", "column 'rating': line 3 is inf; it must be a finite number"),
        ("user,item,rating\n1,2,3\n2,2,good\n", "column 'rating': line 3 is 'good'; it must be a number: mend it, or"),
        ("user,item,rating\n1,2,3\n1,2,4\n", "in .*ratings.csv: line 3 rates user 1, item 2 again, after line 2"),
    ],
)
def test_files_refused(tmp_path, content, sentence):
    path = tmp_path / "ratings.csv"
    path.write_text(content)
    with pytest.raises((ValueError, TypeError), match=sentence):
        alsx.Ratings(path)


def test_paths_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*none.csv"):
        alsx.Ratings(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="is a folder without files of ratings"):
        alsx.Ratings(tmp_path)
    (tmp_path / "ratings.xlsx").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match="a zip archive or an Excel workbook, not CSV or Parquet: unpack it first"):
        alsx.Ratings(tmp_path / "ratings.xlsx")
    (tmp_path / "ratings.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(ValueError, match="ratings.parquet cannot be read"):
        alsx.Ratings(tmp_path / "ratings.parquet")


def test_a_model_is_fitted_to_a_file(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(text(columns()))
    model = alsx.BiasALS().fit(path)
    assert model.predict(3, 9) == alsx.BiasALS().fit(pa.table(columns())).predict(3, 9)

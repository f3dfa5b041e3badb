"""Inputs of every shape: what hypothesis makes of tables, files and arrays, and some of the random ones of `fuzzing`."""

import csv
import io

import fuzzing
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from alsx import Ratings
from alsx.ratings import Ids

# Text without line breaks of other systems, half surrogate pairs, and the end that NumPy would cut.
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
WORDS = st.text(LETTERS, min_size=1, max_size=8).filter(lambda x: x.strip() == x and x[0] not in "[{")
ID_KINDS = (
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.integers(0, 30),
    st.integers(2**63, 2**64 - 2),
    WORDS,
    st.from_regex(r"0[0-9]{1,4}", fullmatch=True),
)
VALUES = st.integers(-1000, 1000).map(lambda x: x / 4)


@st.composite
def tables(draw):
    """Distinct pairs of ids of any kind, with ratings and times."""
    users, items = draw(st.sampled_from(ID_KINDS)), draw(st.sampled_from(ID_KINDS))
    rows = draw(
        st.lists(
            st.tuples(users, items, VALUES, st.integers(0, 2**31)), min_size=1, max_size=30, unique_by=lambda x: x[:2]
        )
    )
    return [list(column) for column in zip(*rows, strict=True)]


def same(found, columns):
    """A Ratings holds these columns."""
    expected = {(u, i): r for u, i, r in zip(*columns[:3], strict=True)}
    assert fuzzing.triples(found) == expected
    fuzzing.consistent(found)


@settings(max_examples=150)
@given(tables(), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_whatever_is_written_as_csv_is_read_as_it_was(tmp_path_factory, columns, separator, ending, is_quoted, data):
    users, items, ratings, times = columns
    for column in (users, items):
        if isinstance(column[0], str):
            # Texts that are all written as integers are integers, and some texts a reader must ask about.
            assume(not fuzzing.is_integers(column))
            assume(not any(_is_refused(x) for x in column))
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=ending, quoting=quoting)
    writer.writerow(["user", "item", "rating", "timestamp"])
    writer.writerows(zip(*columns, strict=True))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    path = tmp_path_factory.mktemp("csv") / "ratings.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    found = Ratings(path, dtype="float64")
    same(found, columns)
    assert found.timestamps is not None
    assert sorted(found.timestamps.tolist()) == sorted(times)
    assert len(ratings) == len(found)


def _is_refused(text):
    """Whether a text may make a column that is refused: a decimal number, what stands for nothing, a column's name."""
    from alsx.ratings import texts

    return bool(texts.DECIMAL.fullmatch(text)) or text.lower() in {*texts.NOTHING, "user", "item"}


@settings(max_examples=60)
@given(tables(), st.integers(1, 30), st.booleans())
def test_whatever_is_written_as_parquet_is_read_as_it_was(tmp_path_factory, columns, row_group_size, is_encoded):
    path = tmp_path_factory.mktemp("parquet") / "ratings.parquet"
    table = pa.table({name: _arrow(x) for name, x in zip(("user", "item", "rating", "time"), columns, strict=True)})
    if is_encoded:
        table = table.set_column(0, "user", table["user"].dictionary_encode())
    parquet.write_table(table, path, row_group_size=row_group_size)
    same(Ratings(path, dtype="float64"), columns)
    same(Ratings(table, dtype="float64"), columns)


def _arrow(column):
    is_large = isinstance(column[0], int) and max(column) >= 2**63
    return pa.array(column, pa.uint64() if is_large else None)


def _numpy(column):
    if isinstance(column[0], str):
        return np.array(column, object)
    return np.array(column, np.uint64 if isinstance(column[0], int) and max(column) >= 2**63 else None)


@settings(max_examples=100)
@given(tables(), st.lists(st.integers(0, 10**6), min_size=4, max_size=4))
def test_frames_and_columns_of_any_library_hold_what_lists_hold(columns, numbers):
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    arrays = [_numpy(x) for x in columns]
    given_ = [fuzzing.wrapped(x, np.random.default_rng(n)) for x, n in zip(arrays, numbers, strict=True)]
    found = fuzzing.attempt(lambda: Ratings.from_arrays(*given_[:3], dtype="float64", timestamps=given_[3]))
    if found is not None:
        same(found, columns)


@settings(max_examples=100)
@given(st.data())
def test_sparse_matrices_of_any_arrays_are_refused_or_hold_what_they_say(data):
    numbers = st.integers(-3, 9) | st.sampled_from([2**31, 2**63 - 1, -(2**63)])
    indptr = np.array(data.draw(st.lists(numbers, max_size=6)), np.int64)
    indices = np.array(data.draw(st.lists(numbers, max_size=8)), np.int64)
    values = np.array(data.draw(st.lists(st.floats(allow_nan=True), max_size=8)))
    matrix = data.draw(st.sampled_from([sp.csr_array, sp.csc_array]))((4, 5))
    matrix.indptr, matrix.indices, matrix.data = indptr, indices, values
    found = fuzzing.attempt(lambda: Ratings(matrix, duplicates="last", dtype="float64"))
    if found is not None:
        fuzzing.consistent(found)
        rows = {}
        for row in range(len(indptr) - 1):
            for at in range(indptr[row], indptr[row + 1]):
                pair = (row, indices[at]) if isinstance(matrix, sp.csr_array) else (indices[at], row)
                rows[tuple(map(int, pair))] = values[at]
        assert fuzzing.triples(found) == rows


@given(st.lists(WORDS, min_size=1, max_size=20, unique=True), st.lists(WORDS, max_size=20))
def test_codes_of_columns_of_any_library(values, asked):
    pl = pytest.importorskip("polars")
    values = sorted(values)
    ids = Ids(values)
    expected = [values.index(x) if x in values else -1 for x in asked]
    for column in (asked, pa.array(asked, pa.string()), pl.Series(asked, dtype=pl.String), np.array(asked, object)):
        assert ids.codes(column).tolist() == expected


@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_random_inputs(target, tmp_path):
    read = sum(fuzzing.try_input(target, number, tmp_path) for number in range(400))
    assert 40 < read < 360


def test_a_byte_order_mark_within_a_file_is_part_of_an_id(tmp_path):
    """Arrow takes one away that its input begins with, also where a line of names came before."""
    (tmp_path / "r.csv").write_bytes(b"user,item,rating\n\xef\xbb\xbfann,1,2\nbob,1,3\n")
    assert Ratings(tmp_path / "r.csv").user_ids.tolist() == ["bob", "\ufeffann"]
    (tmp_path / "r.csv").write_bytes(b"\xef\xbb\xbfuser,item,rating\nann,1,2\nbob,1,3\n")
    assert Ratings(tmp_path / "r.csv").user_ids.tolist() == ["ann", "bob"]

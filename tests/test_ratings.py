"""The door for data: every accepted and every refused kind, and the sort against scipy and a slow twin."""

import datetime
import decimal
import doctest
import io
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import alsx
from alsx import Ratings, _core, ratings
from alsx.ratings import CSR, Ids, container, sorting

pa = pytest.importorskip("pyarrow")

# users, items, ratings of five entries in no order
U, ITEMS, V = [4, 2, 7, 4, 2], [7, 9, 7, 5, 5], [0.0, 1.0, 2.0, 4.5, 3.0]
T = [50, 10, 40, 30, 20]


def twin(users, items, values, weights=None):
    """By user and by item in plain Python: sorted dictionaries of sorted pairs."""
    user_ids, item_ids = sorted(set(users)), sorted(set(items))
    rows = sorted(zip(users, items, values, weights or [None] * len(users), strict=True))
    sides = []
    for ids, own, other, other_ids in ((user_ids, 0, 1, item_ids), (item_ids, 1, 0, user_ids)):
        rows.sort(key=lambda row, own=own, other=other: (row[own], row[other]))
        indptr = [sum(row[own] < x for row in rows) for x in ids] + [len(rows)]
        sides.append(
            (indptr, [other_ids.index(row[other]) for row in rows], [r[2] for r in rows], [r[3] for r in rows])
        )
    return user_ids, item_ids, *sides


def assert_same(R, users, items, values, weights=None):
    user_ids, item_ids, by_user, by_item = twin(users, items, values, weights)
    assert R.user_ids.tolist() == user_ids
    assert R.item_ids.tolist() == item_ids
    for found, wanted in ((R.by_user, by_user), (R.by_item, by_item)):
        assert found.indptr.dtype == np.int64
        assert found.indices.dtype == np.int32
        assert found.indptr.tolist() == wanted[0]
        assert found.indices.tolist() == wanted[1]
        np.testing.assert_array_equal(found.values, np.array(wanted[2], R.dtype))
        if weights is None:
            assert found.weights is None
        else:
            np.testing.assert_array_equal(found.weights, np.array(wanted[3], R.dtype))
    assert R.range == (R.by_user.values.min(), R.by_user.values.max())


def assert_identical(A, B):
    for side in ("by_user", "by_item"):
        for x, y in zip(getattr(A, side), getattr(B, side), strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)
    for x, y in ((A.user_ids, B.user_ids), (A.item_ids, B.item_ids)):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert (A.timestamps is None) == (B.timestamps is None)
    if A.timestamps is not None:
        np.testing.assert_array_equal(A.timestamps, B.timestamps)
    assert A.range == B.range


# Accepted: arrays


def columns():
    """Ways to give a column of integers."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    return {
        "list": list,
        "tuple": tuple,
        "range-like": lambda x: iter(list(x)),
        "objects": lambda x: np.array(x, object),
        "strided": lambda x: np.repeat(np.array(x), 2)[::2],
        "reversed": lambda x: np.array(x[::-1])[::-1],
        "big-endian": lambda x: np.array(x, ">i8"),
        "pandas": pd.Series,
        "pandas shuffled index": lambda x: pd.Series(x, index=np.arange(len(x))[::-1]),
        "pandas Int64": lambda x: pd.Series(x, dtype="Int64"),
        "pandas arrow": lambda x: pd.Series(x, dtype="int64[pyarrow]"),
        "pandas category": lambda x: pd.Series(x).astype("category"),
        "pandas Index": pd.Index,
        "pandas object": lambda x: pd.Series(x, dtype=object),
        "polars": pl.Series,
        "arrow": pa.array,
        "chunked": lambda x: pa.chunked_array([x[:2], x[2:2], x[2:]], pa.int64()),
        "dictionary": lambda x: pa.array(x).dictionary_encode(),
    } | {kind: lambda x, kind=kind: np.array(x, kind) for kind in "bBhHiIlLqQ"}


INTEGERS = columns()


@pytest.mark.parametrize("kind", INTEGERS)
def test_integer_ids_in_any_column(kind):
    R = Ratings.from_arrays(INTEGERS[kind](U), INTEGERS[kind](ITEMS), V)
    assert_same(R, U, ITEMS, V)
    assert R.user_ids.dtype == R.item_ids.dtype == np.int64
    np.testing.assert_array_equal(R.user_codes(INTEGERS[kind]([7, 3, 2])), [2, -1, 0])


def texts():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    kinds = {
        "list": list,
        "U": np.array,
        "objects": lambda x: np.array(x, object),
        "big-endian U": lambda x: np.array(x).astype(np.array(x).dtype.newbyteorder(">")),
        "pandas": pd.Series,
        "pandas object": lambda x: pd.Series(x, dtype=object),
        "pandas string": lambda x: pd.Series(x, dtype="string"),
        "pandas category": lambda x: pd.Series(x).astype("category"),
        "polars": pl.Series,
        "polars categorical": lambda x: pl.Series(x, dtype=pl.Categorical),
        "arrow": pa.array,
        "large": lambda x: pa.array(x, pa.large_string()),
        "view": lambda x: pa.array(x, pa.string_view()),
        "chunked": lambda x: pa.chunked_array([x[:2], x[2:2], x[2:]], pa.string()),
        "dictionary": lambda x: pa.array(x).dictionary_encode(),
        "chunked dictionary": lambda x: pa.chunked_array(
            [pa.array(x[:1]).dictionary_encode(), pa.array(x[1:]).dictionary_encode()]
        ),
        "large dictionary": lambda x: pa.array(x, pa.large_string()).dictionary_encode(),
    }
    if hasattr(np.dtypes, "StringDType"):
        kinds["StringDType"] = lambda x: np.array(x, np.dtypes.StringDType())
    return kinds


TEXTS = texts()
NAMES = ["é", "b", "", "é", "b"]


@pytest.mark.parametrize("kind", TEXTS)
def test_string_ids_in_any_column(kind):
    items = [str(x) for x in ITEMS]
    R = Ratings.from_arrays(TEXTS[kind](NAMES), TEXTS[kind](items), V)
    assert_same(R, NAMES, items, V)
    assert R.user_ids.dtype.kind == "U"
    np.testing.assert_array_equal(R.user_codes(TEXTS[kind](["é", "nobody", "", "b"])), [2, -1, 0, 1])
    many = ["é", "nobody", "", "b"] * 50
    np.testing.assert_array_equal(R.user_codes(TEXTS[kind](many)), [2, -1, 0, 1] * 50)


def test_dictionaries_may_hold_unused_and_repeated_strings():
    for kind in (pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        users = pa.DictionaryArray.from_arrays(pa.array([3, 1, 0, 3], kind), ["x", "y", "unused\0", "x", None])
        R = Ratings.from_arrays(users, [1, 1, 2, 3], [1, 2, 3, 4])
        assert_same(R, ["x", "y", "x", "x"], [1, 1, 2, 3], [1, 2, 3, 4])


def test_ids_of_a_wide_range_are_hashed():
    low, high = -(2**63), 2**63 - 1
    R = Ratings.from_arrays([high, low, 0, high], [2**40, 5, 5, 5], [1, 2, 3, 4])
    assert_same(R, [high, low, 0, high], [2**40, 5, 5, 5], [1, 2, 3, 4])
    np.testing.assert_array_equal(R.user_codes([low, low + 1, high - 1, high, 0]), [0, -1, -1, 2, 1])


def test_unsigned_ids_above_int64():
    big = np.array([2**64 - 1, 1, 2**63, 2**63 + 1], np.uint64)
    R = Ratings.from_arrays(big, [1, 1, 1, 1], [1, 2, 3, 4])
    assert R.user_ids.dtype == np.uint64
    assert R.user_ids.tolist() == [1, 2**63, 2**63 + 1, 2**64 - 1]
    np.testing.assert_array_equal(R.user_codes(big), [3, 0, 1, 2])
    # Neighbours that doubles could not tell apart, and signed numbers asked of unsigned ids.
    np.testing.assert_array_equal(R.user_codes(np.array([2**64 - 2, 2**63 + 2], np.uint64)), [-1, -1])
    np.testing.assert_array_equal(R.user_codes([-1, 1, 2**63 - 1]), [-1, 0, -1])
    signed = Ratings.from_arrays([-1, 5], [1, 1], [1, 2])
    np.testing.assert_array_equal(signed.user_codes(np.array([2**64 - 1, 5], np.uint64)), [-1, 1])


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f8", "g", "i1", "u8", "list", "decimal", "Decimal", "objects"])
def test_ratings_of_any_numeric_kind(kind):
    values = [1, 2, 3, 4, 5]
    given_ = {
        "list": values,
        "decimal": pa.array([decimal.Decimal(x) for x in values], pa.decimal128(5, 1)),
        "Decimal": [decimal.Decimal(x) for x in values],
        "objects": np.array(values, object),
    }
    R = Ratings.from_arrays(U, ITEMS, given_[kind] if kind in given_ else np.array(values, kind))
    assert_same(R, U, ITEMS, values)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float64, np.dtype("float32")])
def test_dtype(dtype):
    R = Ratings.from_arrays(U, ITEMS, np.array(V) / 3, dtype=dtype)
    assert R.dtype == R.by_user.values.dtype == R.by_item.values.dtype == np.dtype(dtype)
    assert_same(R, U, ITEMS, [R.dtype.type(x / 3) for x in V])


@pytest.mark.parametrize("times", ["list", "i4", "f8", "datetime64", "pandas", "arrow", "date", "zone"])
def test_timestamps_are_seconds_in_the_order_by_user(times):
    pd = pytest.importorskip("pandas")
    stamps = pd.to_datetime(np.array(T), unit="s")
    day = 86400
    given_ = {
        "list": T,
        "i4": np.array(T, "i4"),
        "f8": np.array(T) + 0.75,
        "datetime64": np.array(T, "datetime64[s]").astype("datetime64[ns]"),
        "pandas": pd.Series(stamps),
        "arrow": pa.array(np.array(T, "datetime64[s]")).cast(pa.timestamp("us")),
        "date": pa.array([datetime.date(1970, 1, 1) + datetime.timedelta(days=x) for x in T]),
        "zone": pd.Series(stamps.tz_localize("UTC").tz_convert("Asia/Tokyo")),
    }
    R = Ratings.from_arrays(U, ITEMS, V, timestamps=given_[times])
    scale = day if times == "date" else 1
    assert R.timestamps.dtype == np.int64
    assert R.timestamps.tolist() == [x * scale for x in (20, 10, 30, 50, 40)]
    assert_same(R, U, ITEMS, V)


def test_weights():
    weights = [0.5, 2, 0, 1, 3]
    R = Ratings.from_arrays(U, ITEMS, V, sample_weight=weights)
    assert_same(R, U, ITEMS, V, weights)
    assert R.mean == pytest.approx(np.average(V, weights=weights), rel=1e-15)
    variance = np.average((np.array(V) - R.mean) ** 2, weights=weights)
    assert R.std == pytest.approx(np.sqrt(variance), rel=1e-15)


def test_mean_and_std_are_in_double_precision():
    rng = np.random.default_rng(0)
    values = 1e6 + rng.random(300_000)
    R = Ratings.from_arrays(np.arange(300_000), np.zeros(300_000, int), values, dtype="float64")
    assert R.mean == pytest.approx(values.mean(), rel=1e-15)
    assert R.std == pytest.approx(values.std(), rel=1e-12)


# Accepted: pairs


@pytest.mark.parametrize("kind", ["array", "strings", "objects", "list", "lists", "pandas", "polars", "arrow"])
def test_pairs(kind):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    users, items = U, ITEMS
    if kind == "strings":
        users, items = [str(x) for x in U], [str(x) for x in ITEMS]
    elif kind in ("list", "objects"):
        users = [str(x) for x in U]
    pairs = list(zip(users, items, strict=True))
    names = {"first": users, "second": items}
    data = {
        "array": lambda: np.array(pairs),
        "strings": lambda: np.array(pairs),
        "objects": lambda: np.array(pairs, object),
        "list": lambda: pairs,
        "lists": lambda: [list(pair) for pair in pairs],
        "pandas": lambda: pd.DataFrame(names),
        "polars": lambda: pl.DataFrame(names),
        "arrow": lambda: pa.table(names),
    }[kind]()
    assert_same(Ratings(data, V), users, items, V)


def test_two_columns_with_recognised_names_may_come_in_any_order():
    pd = pytest.importorskip("pandas")
    assert_same(Ratings(pd.DataFrame({"item": ITEMS, "user": U}), pd.Series(V)), U, ITEMS, V)
    assert_same(Ratings(pd.DataFrame({"item": ITEMS, "who": U}), V), U, ITEMS, V)


# Accepted: frames


def frames():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")

    class Stream:
        """Whatever else has a stream (DuckDB, DataFusion ...)."""

        def __init__(self, columns):
            self.table = pa.table(columns)

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    return {
        "pandas": pd.DataFrame,
        "pandas arrow": lambda x: pd.DataFrame(x).convert_dtypes(dtype_backend="pyarrow"),
        "pandas nullable": lambda x: pd.DataFrame(x).convert_dtypes(),
        "pandas index": lambda x: pd.DataFrame(x, index=list("edcba")),
        "polars": pl.DataFrame,
        "arrow": pa.table,
        "batch": lambda x: pa.RecordBatch.from_pydict(x),
        "stream": Stream,
    }


FRAMES = frames()


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind):
    R = Ratings(FRAMES[kind]({"userId": U, "title": list("abcde"), "movieId": ITEMS, "rating": V, "timestamp": T}))
    assert_same(R, U, ITEMS, V)
    assert R.timestamps.tolist() == [20, 10, 30, 50, 40]


@pytest.mark.parametrize("user", ["user", "userId", "user_id", "uid", "UserId", "USER", "User-ID", "user id"])
@pytest.mark.parametrize("item", ["item", "itemId", "movie", "movieId", "movie_id", "iid", "product_id", "ISBN"])
@pytest.mark.parametrize("rating", ["rating", "Score", "stars", "value", "Book-Rating"])
def test_recognised_columns(user, item, rating):
    assert_same(Ratings(pa.table({rating: V, user: U, item: ITEMS})), U, ITEMS, V)


@pytest.mark.parametrize("time", ["timestamp", "time", "ts", "Date"])
def test_recognised_time(time):
    table = pa.table({"user": U, "item": ITEMS, "rating": V, time: T})
    assert Ratings(table).timestamps is not None
    assert Ratings(table, timestamp=False).timestamps is None


def test_named_columns():
    pd = pytest.importorskip("pandas")
    table = {"a": U, "b": ITEMS, "c": V, "d": T, "user": V}
    for frame in (pa.table(table), pd.DataFrame(table)):
        R = Ratings(frame, user="a", item="b", rating="c", timestamp="d")
        assert_same(R, U, ITEMS, V)
        assert R.timestamps is not None
    assert_same(Ratings(pd.DataFrame({0: U, 1: ITEMS, 2: V}), user=0, item=1, rating=2), U, ITEMS, V)


def test_columns_that_are_not_asked_for_are_not_converted():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"user": U, "item": ITEMS, "rating": V, "mixed": ["x", 1, None, object(), 2.0]})
    assert_same(Ratings(frame), U, ITEMS, V)


# Accepted: sparse


@pytest.mark.parametrize("make", ["array", "matrix"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "dok", "lil"])
def test_sparse_of_any_format(form, make):
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((7, 5)) < 0.4, rng.integers(1, 11, (7, 5)) / 2, 0)
    dense[3], dense[:, 2] = 0, 0  # an empty user, an empty item
    matrix = getattr(scipy.sparse, f"coo_{make}")(dense).asformat(form)
    R = Ratings(matrix)
    assert R.shape == (7, 5)
    assert R.user_ids.tolist() == list(range(7))
    np.testing.assert_array_equal(R.to_csr().toarray(), dense)
    other = scipy.sparse.csc_array(dense)
    np.testing.assert_array_equal(R.by_item.indptr, other.indptr)
    np.testing.assert_array_equal(R.by_item.indices, other.indices)
    np.testing.assert_array_equal(R.by_item.values, other.data)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", [np.int8, np.uint64, np.int32, np.float32, np.float64, np.longdouble])
def test_sparse_index_widths_unsorted_explicit_zeros(form, index, kind):
    matrix = scipy.sparse.csr_array(
        (np.array([5, 0, 3, 1], kind), np.array([2, 0, 1, 0], index), np.array([0, 2, 2, 4], index)), shape=(3, 4)
    )
    if form != "csr":
        matrix = matrix.asformat(form)
    R = Ratings(matrix)
    assert R.shape == (3, 4)
    users, items, values = R.triples()
    assert [*zip(users.tolist(), items.tolist(), values.tolist(), strict=True)] == [
        (0, 0, 0.0), (0, 2, 5.0), (2, 0, 1.0), (2, 1, 3.0)
    ]  # fmt: skip


def test_zeros_of_padded_formats_are_no_ratings():
    dense = np.array([[1.0, 0, 0, 0], [0, 0, 2, 3]])
    assert len(Ratings(scipy.sparse.bsr_array(dense, blocksize=(2, 2)))) == 3
    assert len(Ratings(scipy.sparse.dia_array(dense))) == 3


def test_sparse_weights_come_in_csr_order():
    # A CSR's own entries: (0, 2), (0, 0), (1, 1); those of other formats by row, and within a row by column, as in tocsr().
    csr = scipy.sparse.csr_array(([5.0, 4, 3], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    R = Ratings(csr, sample_weight=[1, 2, 3])
    np.testing.assert_array_equal(R.by_user.weights, [2, 1, 3])
    np.testing.assert_array_equal(R.by_item.weights, [2, 3, 1])
    coo = scipy.sparse.coo_array(([3.0, 5, 4], ([1, 0, 0], [1, 2, 0])), shape=(2, 3))
    np.testing.assert_array_equal(Ratings(coo, sample_weight=[1, 2, 3]).by_user.weights, [1, 2, 3])
    np.testing.assert_array_equal(Ratings(csr.tocsc(), sample_weight=[1, 2, 3]).by_user.weights, [1, 2, 3])


# Ratings again


def test_ratings_of_ratings():
    R = Ratings.from_arrays(U, ITEMS, V, timestamps=T)
    assert_identical(Ratings(R), R)
    double = Ratings(R, dtype="float64", sample_weight=[1, 2, 3, 4, 5])
    assert double.dtype == np.float64
    np.testing.assert_array_equal(double.by_user.weights, [1, 2, 3, 4, 5])
    by_item = scipy.sparse.csr_array((double.by_user.weights, *double.by_user[1::-1]), shape=R.shape).tocsc()
    np.testing.assert_array_equal(double.by_item.weights, by_item.data)
    back = Ratings(double)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back.by_item.weights, double.by_item.weights)
    huge = Ratings.from_arrays([1], [1], [1e300], dtype="float64")
    with pytest.raises(ValueError, match=r"ratings: row 0 is 1e\+300, beyond what float32 can hold"):
        Ratings(huge)


# Duplicates


TWICE = {"users": [1, 2, 1, 1, 2], "items": [8, 8, 9, 8, 8], "ratings": [1, 5, 2, 4, 3]}


def test_duplicates_are_refused_with_the_first_row():
    with pytest.raises(ValueError, match=r"row 3 rates user 1, item 8 again, after row 0: pass duplicates=\"last\""):
        Ratings.from_arrays(**TWICE)
    with pytest.raises(ValueError, match=r"row 2 rates user 'b', item 1 again, after row 1"):
        Ratings.from_arrays(["z", "b", "b", "z"], [1, 1, 1, 1], [1, 1, 1, 1], timestamps=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"stored entry 1 rates user 0, item 2 again, after stored entry 0"):
        Ratings(scipy.sparse.coo_array(([1.0, 1], ([0, 0], [2, 2])), shape=(1, 3)))


@pytest.mark.parametrize(
    ("how", "values", "times"),
    [("last", [4, 2, 3], [7, 9, 5]), ("mean", [2.5, 2, 4], [8, 9, 6]), ("sum", [5, 2, 8], [8, 9, 6])],
)
def test_duplicates_are_merged(how, values, times):
    R = Ratings.from_arrays(**TWICE, timestamps=[8, 6, 9, 7, 5], duplicates=how)
    assert R.timestamps.tolist() == times
    # The mean of two ratings counts as two, as it does where their weights are given.
    counts = [2, 1, 2] if how == "mean" else None
    assert_same(Ratings.from_arrays(**TWICE, duplicates=how), [1, 1, 2], [8, 9, 8], values, counts)


@pytest.mark.parametrize(
    ("how", "values", "weights"),
    [("last", [4, 2, 3], [3, 1, 0]), ("mean", [(1 + 3 * 4) / 4, 2, 4], [4, 1, 0]), ("sum", [5, 2, 8], [2, 1, 0])],
)
def test_duplicates_are_merged_with_weights(how, values, weights):
    R = Ratings.from_arrays(**TWICE, sample_weight=[1, 0, 1, 3, 0], duplicates=how)
    assert_same(R, [1, 1, 2], [8, 9, 8], values, weights)


def test_sums_that_overflow_are_refused():
    with pytest.raises(ValueError, match=r'under duplicates="sum": sorted pair 0 is 6e\+38, beyond what float32'):
        Ratings.from_arrays([1, 1], [1, 1], [3e38, 3e38], duplicates="sum")


def test_equal_triples_of_sparse_input_are_merged():
    coo = scipy.sparse.coo_array(([1.0, 2, 4], ([0, 0, 1], [2, 2, 0])), shape=(2, 3))
    np.testing.assert_array_equal(Ratings(coo, duplicates="sum").to_csr().toarray(), [[0, 0, 3], [4, 0, 0]])
    assert coo.nnz == 3


# Refused


NAN = float("nan")


@pytest.mark.parametrize(
    ("ids", "error", "sentence"),
    [
        (
            [1.0, 2.0],
            TypeError,
            r'users: row 0 is 1\.0 \(float\); ids must be integers or strings: .*\.astype\("int64"\)',
        ),
        (np.array([1.0, 2.0]), TypeError, r'row 0 is 1\.0 \(float64\).*\.astype\("int64"\)'),
        ([1, 2.5], TypeError, r"row 1 is 2\.5 \(float\)"),
        ([1, NAN], ValueError, "row 1 is missing"),
        ([True, False], TypeError, r"row 0 is True \(bool\)"),
        (np.array([True, False]), TypeError, r"row 0 is True \(bool\)"),
        ([1, True], TypeError, r"row 1 is True \(bool\)"),
        (np.array(["2020", "2021"], "M8[Y]"), TypeError, r"row 0 is datetime\.date\(2020, 1, 1\)"),
        ([datetime.date(2020, 1, 1)] * 2, TypeError, r"row 0 is datetime\.date\(2020, 1, 1\)"),
        ([1, None], ValueError, r"row 1 is missing \(None\): take rows without an id out first"),
        (["a", None], ValueError, "row 1 is missing"),
        (["a", 1], TypeError, "mix integers and strings: row 0 is 'a', row 1 is 1"),
        ([b"a", b"b"], TypeError, "row 0 is b'a'.*decode"),
        (np.array([b"a", b"b"]), TypeError, "row 0 is b'a'.*decode"),
        ([-1, 2**63], ValueError, "row 1 is 9223372036854775808; .* int64, or all into uint64: pass strings"),
        ([1, -(2**70)], ValueError, "row 1 is -1180591620717411303424; "),
        ([(1, 2), (3, 4)], TypeError, r"row 0 is \(1, 2\) \(tuple\)"),
        (["a", "b\0"], ValueError, r"row 1 is 'b\\x00', which ends in a NUL"),
        (["a", "\ud800"], ValueError, r"row 1 is '\\ud800'.*surrogate"),
        (np.array([1j, 2]), TypeError, "row 0 is 1j"),
        (pa.array([1, None]), ValueError, r"row 1 is missing \(null\)"),
        (pa.chunked_array([["a"], [None]]), ValueError, "row 1 is missing"),
        (pa.array([1.0, 2.0]), TypeError, r"row 0 is 1\.0 \(double\)"),
        (pa.array([True, False]), TypeError, r"\(bool\)"),
        (pa.array([b"a", b"b"]), TypeError, r"\(binary\); ids must be integers or strings: decode"),
        (pa.array([None, None]), ValueError, "row 0 is missing"),
        (pa.array([1.0, 2.0]).dictionary_encode(), TypeError, "float"),
        (pa.array(["a", "b\0"]), ValueError, "row 1 is .*NUL"),
        (pa.DictionaryArray.from_arrays([1, 0], ["b\0", "a"]), ValueError, "row 1 is .*NUL"),
        (pa.DictionaryArray.from_arrays([1, 0], [None, "a"]), ValueError, "row 1 is missing"),
        (pa.DictionaryArray.from_arrays([0, None], ["b", "a"]), ValueError, "row 1 is missing"),
        (pa.array([datetime.date(2020, 1, 1)] * 2), TypeError, "date32"),
        (np.ma.array([1, 2], mask=[False, True]), ValueError, "row 1 is masked"),
        (np.array([[1], [2]]), ValueError, r"users has shape \(2, 1\); it must have one dimension"),
        ("ab", TypeError, r"users is 'ab' \(str\); it must be an array with one value per row"),
        (3, TypeError, r"users is 3 \(int\); it must be an array"),
        ({1: 2, 3: 4}, TypeError, "users is a dict, which has no rows"),
        ({1, 2}, TypeError, "users is a set, which has no rows"),
        (None, TypeError, "users is None"),
        (scipy.sparse.eye_array(2), TypeError, "users is a sparse matrix"),
    ],
)
def test_ids_refused(ids, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings.from_arrays(ids, [1, 2], [1, 2])
    with pytest.raises(error, match=sentence.replace("users", "items")):
        Ratings.from_arrays([1, 2], ids, [1, 2])


def test_ids_refused_in_frames():
    pd = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"data\['user'\]: row 0 is 1\.0 \(float64\); ids must be"):
        Ratings(pd.DataFrame({"user": [1, np.nan], "item": [1, 2], "rating": [1, 2]}))
    with pytest.raises(TypeError, match=r"data\['user'\] mix integers and strings: row 0 is 1, row 1 is 'x'"):
        Ratings(pd.DataFrame({"user": [1, "x"], "item": [1, 2], "rating": [1, 2]}))
    with pytest.raises(ValueError, match=r"data\['user'\]: row 1 is missing"):
        Ratings(pd.DataFrame({"user": pd.array([1, None], "Int64"), "item": [1, 2], "rating": [1, 2]}))
    with pytest.raises(ValueError, match=r"data\['user'\]: row 1 is missing"):
        Ratings(pd.DataFrame({"user": pd.Series(["a", None]), "item": [1, 2], "rating": [1, 2]}))
    with pytest.raises(ValueError, match=r"data\['user'\]: row 1 is missing"):
        Ratings(pd.DataFrame({"user": pd.Series(["a", None]).astype("category"), "item": [1, 2], "rating": [1, 2]}))


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ([1, NAN], ValueError, "ratings: row 1 is nan; it must be a finite number"),
        ([float("-inf"), 1], ValueError, "row 0 is -inf"),
        ([1, None], ValueError, "row 1 is missing"),
        ([1, "2"], TypeError, r"row 1 is '2' \(str\).*\.astype\(\"float32\"\)"),
        (np.array(["1", "2"]), TypeError, r"ratings: row 0 is '1' \(.*\); it must be a number"),
        ([True, False], TypeError, r"row 0 is True \(bool\); it must be a number: say what true is worth"),
        (np.array([True, False]), TypeError, "row 0 is True"),
        (np.array([1j, 2]), TypeError, "row 0 is 1j"),
        ([1, 10**400], ValueError, "row 1 is 1000.*beyond what a float can hold"),
        ([1, 1e39], ValueError, r'row 1 is 1e\+39, beyond what float32 can hold: pass dtype="float64"'),
        (pa.array([1, None]), ValueError, r"row 1 is missing \(null\)"),
        (pa.array([True, False]), TypeError, r"\(bool\)"),
        (pa.array(["1", "2"]), TypeError, "row 0 is '1'"),
        (np.ones((2, 1)), ValueError, r"ratings has shape \(2, 1\)"),
        (np.array(["2020", "2021"], "M8[Y]"), TypeError, "ratings: row 0 is datetime.*; it must be a number"),
    ],
)
def test_ratings_refused(values, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings.from_arrays([1, 2], [1, 2], values)


@pytest.mark.parametrize(
    ("weights", "error", "sentence"),
    [
        ([1, -0.5], ValueError, "sample_weight: row 1 is -0.5; it must not be negative"),
        ([NAN, 1], ValueError, "sample_weight: row 0 is nan"),
        ([1], ValueError, "sample_weight has 1 values for 2 ratings"),
        ([0, 0], ValueError, "sample_weight is 0 in every row"),
        ([1e-60, 0], ValueError, "sample_weight is 0 in every row, as float32 holds it"),
        (["1", "2"], TypeError, "sample_weight: row 0 is '1' .*; it must be a number"),
        ("weight", TypeError, "sample_weight is 'weight' .*; it must be an array"),
        ([1e39, 0], ValueError, "beyond what float32 can hold"),
    ],
)
def test_weights_refused(weights, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings.from_arrays([1, 2], [1, 2], [1, 2], sample_weight=weights)


@pytest.mark.parametrize(
    ("times", "error", "sentence"),
    [
        (["a", "b"], TypeError, "timestamps: row 0 is 'a' .*; times must be integers"),
        (pa.array(["a", "b"]), TypeError, "timestamps: row 0 is 'a' .*; times must be integers"),
        (pa.array([1, None]), ValueError, "timestamps: row 1 is missing"),
        (np.array(["2020", "NaT"], "M8[s]"), ValueError, "row 1 is missing"),
        ([1.0, NAN], ValueError, "row 1 is nan"),
        ([1, 2, 3], ValueError, "lengths differ: users 2, items 2, ratings 2, timestamps 3; row 2"),
        (np.array([1, 2**63], np.uint64), ValueError, "row 1 is 9223372036854775808, beyond"),
    ],
)
def test_timestamps_refused(times, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings.from_arrays([1, 2], [1, 2], [1, 2], timestamps=times)


def test_lengths_and_nothing_refused():
    with pytest.raises(ValueError, match="lengths differ: users 2, items 3, ratings 2; row 2 is the first"):
        Ratings.from_arrays([1, 2], [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"lengths differ: data\[:, 0\] 2, data\[:, 1\] 2, y 1"):
        Ratings(np.array([[1, 2], [3, 4]]), [1])
    for nothing in ([], np.array([]), np.array([], int)):
        with pytest.raises(ValueError, match="there are no ratings"):
            Ratings.from_arrays(nothing, nothing, nothing)
    with pytest.raises(ValueError, match="there are no ratings"):
        Ratings([], [])
    with pytest.raises(ValueError, match="there are no ratings"):
        Ratings(
            pa.table(
                {
                    "user": pa.array([], pa.string()),
                    "item": pa.array([], pa.null()),
                    "rating": pa.array([], pa.float32()),
                }
            )
        )
    with pytest.raises(ValueError, match="there are no ratings: the sparse matrix data stores no entries"):
        Ratings(scipy.sparse.csr_array((3, 4)))
    with pytest.raises(ValueError, match="there are no ratings"):
        Ratings(scipy.sparse.coo_array((0, 0)))


@pytest.mark.parametrize(
    ("columns", "named", "sentence"),
    [
        (
            {"a": U, "item": ITEMS, "rating": V},
            {},
            "no column of users is recognised; the columns are 'a', 'item', 'rating': pass user=\"a\"",
        ),
        ({"user": U, "b": ITEMS, "rating": V}, {}, "no column of items is recognised"),
        ({"user": U, "item": ITEMS}, {}, "no column of ratings is recognised"),
        (
            {"user": U, "item": ITEMS, "movieId": ITEMS, "rating": V},
            {},
            "column of items is ambiguous: 'item', 'movieId'",
        ),
        (
            {"user": U, "item": ITEMS, "rating": V, "time": T, "ts": T},
            {},
            "column of timestamps is ambiguous: 'time', 'ts'",
        ),
        ({"user": U, "item": ITEMS, "rating": V}, {"user": "who"}, "user='who' is not a column; the columns are"),
        ({"user": U, "item": ITEMS, "rating": V}, {"item": "user"}, "'user' would be both user and item"),
        ({"user": U, "item": ITEMS, "rating": V}, {"timestamp": True}, "no column of timestamps is recognised"),
    ],
)
def test_columns_refused(columns, named, sentence):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for frame in (pd.DataFrame, pl.DataFrame, pa.table):
        with pytest.raises(ValueError, match=sentence):
            Ratings(frame(columns), **named)


def test_column_names_twice_refused():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame([[1, 1, 1, 1]], columns=["user", "user", "item", "rating"])
    with pytest.raises(ValueError, match="ambiguous: 'user', 'user'"):
        Ratings(frame)


@pytest.mark.parametrize(
    ("data", "y", "error", "sentence"),
    [
        (
            np.ones((3, 4)),
            None,
            ValueError,
            r"dense array of shape \(3, 4\), which cannot say which ratings are missing",
        ),
        (np.ones((3, 4)), [1, 2, 3], ValueError, "dense array"),
        (np.ones((3, 3)), None, ValueError, "from_arrays"),
        (np.ones(3), None, ValueError, r"shape \(3,\)"),
        (np.ones((3, 2)), [1, 2, 3], TypeError, "float"),
        (np.ones((3, 2), int), None, TypeError, "y, their ratings, is missing"),
        ([(1, 2), (3, 4)], None, TypeError, "y, their ratings, is missing"),
        ([(1, 2), (3,)], [1, 2], ValueError, r"row 1 is \(3,\), which is not a pair"),
        (["ab", "cd"], [1, 2], ValueError, "row 0 is 'ab', which is not a pair"),
        ([1, 2], [1, 2], ValueError, "row 0 is 1, which is not a pair"),
        ({"user": [1]}, None, TypeError, "data is of type dict"),
        ("ratings", None, FileNotFoundError, "there is no file ratings; give the path of a CSV or Parquet file"),
        (b"ratings.csv", None, TypeError, "bytes"),
        (None, None, TypeError, "NoneType"),
        (np.zeros(2, [("user", int), ("item", int)]), None, TypeError, "structured array"),
        (scipy.sparse.eye_array(3), [1, 2, 3], TypeError, "y is given, but data is a sparse matrix"),
        (scipy.sparse.eye_array(3, dtype=bool), None, TypeError, "sparse matrix of bool"),
        (scipy.sparse.eye_array(3, dtype=complex), None, TypeError, "sparse matrix of complex"),
        (scipy.sparse.coo_array(np.ones(3)), None, ValueError, "two dimensions"),
        (scipy.sparse.coo_array((2**31, 3)), None, ValueError, r"2,147,483,648 rows \(users\), more than 2\*\*31 - 1"),
        (scipy.sparse.coo_array((3, 2**31)), None, ValueError, r"2,147,483,648 columns \(items\), more than"),
        (scipy.sparse.csr_array([[1, NAN]]), None, ValueError, "data: stored entry 1 is nan"),
    ],
)
def test_data_refused(data, y, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings(data, y)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_dense_matrix_refused():
    with pytest.raises(ValueError, match=r"dense array of shape \(3, 2\)"):
        Ratings(np.asmatrix(np.ones((3, 2), int)), [1, 2, 3])


def test_options_refused():
    matrix = scipy.sparse.eye_array(3)
    with pytest.raises(ValueError, match="duplicates is 'first'; it must be one of 'raise', 'last', 'mean', 'sum'"):
        Ratings(matrix, duplicates="first")
    for dtype in ("float16", "int32", "nonsense", None):
        with pytest.raises(ValueError, match="dtype"):
            Ratings(matrix, dtype=dtype)
    with pytest.raises(TypeError, match="user='a' names a column, but data is a sparse matrix"):
        Ratings(matrix, user="a")
    with pytest.raises(TypeError, match="item='a' names a column, but data is an array of pairs"):
        Ratings([(1, 2)], [1], item="a")
    with pytest.raises(TypeError, match="both y and rating='rating'"):
        Ratings(pa.table({"user": U, "item": ITEMS, "rating": V}), V, rating="rating")
    with pytest.raises(ValueError, match="n_jobs"):
        Ratings(matrix, n_jobs=0)
    with pytest.raises(
        TypeError, match=r"data is a LazyFrame of polars, which is not read yet: pass data\.collect\(\)"
    ):
        Ratings(pytest.importorskip("polars").DataFrame({"user": U, "item": ITEMS, "rating": V}).lazy())


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_malformed_sparse_refused(form):
    def broken(part, place, value):
        matrix = scipy.sparse.coo_array(([1.0, 2, 3], ([0, 1, 2], [1, 0, 2])), shape=(3, 3)).asformat(form).copy()
        array = getattr(matrix, part) if form != "coo" else {"indices": matrix.col, "rows": matrix.row}[part]
        array[place] = value
        return matrix

    other = {"csr": "column", "csc": "row", "coo": "column"}[form]
    for value in (-1, 3):
        with pytest.raises(ValueError, match=f"stored entry 1 has {other} {value}, but {other}s run from 0 to 2"):
            Ratings(broken("indices", 1, value))
    if form == "coo":
        with pytest.raises(ValueError, match="stored entry 2 has row -7"):
            Ratings(broken("rows", 2, -7))
    else:
        with pytest.raises(ValueError, match="indptr falls after"):
            Ratings(broken("indptr", 1, 3))
        with pytest.raises(ValueError, match="data is malformed"):
            Ratings(broken("indptr", 3, 9))
        with pytest.raises(ValueError, match="data is malformed"):
            Ratings(broken("indptr", 0, 1))


# Nothing is changed


def test_inputs_may_be_read_only_and_are_never_changed():
    arrays = [np.array(x, kind) for x, kind in ((U, "i4"), (ITEMS, "i8"), (V, "f4"), (T, "i8"))]
    for array in arrays:
        array.flags.writeable = False
    before = [array.copy() for array in arrays]
    R = Ratings.from_arrays(*arrays[:3], timestamps=arrays[3], sample_weight=arrays[2])
    for array, was in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, was)
    assert_same(R, U, ITEMS, V, V)
    matrix = scipy.sparse.csr_array(([5.0, 4, 3], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    Ratings(matrix)
    assert matrix.indices.tolist() == [2, 0, 1]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 1, 3, 0, 2]])
@pytest.mark.parametrize("times", [None, T])
def test_a_ratings_never_changes(order, times):
    users, items, values = (np.array(x)[order] for x in (U, ITEMS, V))
    times = None if times is None else np.array(times)[order]
    values = values.astype(np.float32)
    R = Ratings.from_arrays(users, items, values, timestamps=times)
    users[:], items[:], values[:] = 0, 0, 0
    if times is not None:
        times[:] = 0
        assert R.timestamps.tolist() == [20, 10, 30, 50, 40]
    assert_same(R, U, ITEMS, V)
    for array in (R.user_ids, R.item_ids, *R.by_user[:3], *R.by_item[:3], *R.triples()[1:]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    R.to_csr().data[:] = 9
    assert_same(R, U, ITEMS, V)


# Ways out


def test_triples_select_to_csr():
    R = Ratings.from_arrays(U, ITEMS, V, timestamps=T, sample_weight=[1, 2, 3, 4, 5])
    users, items, values = R.triples()
    assert users.dtype == items.dtype == np.int32
    again = Ratings.from_arrays(
        R.user_ids[users], R.item_ids[items], values, timestamps=R.timestamps, sample_weight=R.by_user.weights
    )
    assert_identical(again, R)
    matrix = R.to_csr()
    assert matrix.shape == R.shape
    assert matrix.nnz == len(R) == 5
    np.testing.assert_array_equal(matrix.data, values)
    part = R.select([4, 1])
    assert_identical(part, R.select(np.array([False, True, False, False, True])))
    assert part.shape == R.shape
    assert part.user_ids is R.user_ids or np.shares_memory(part.user_ids, R.user_ids)
    assert [x.tolist() for x in part.triples()] == [[0, 2], [2, 1], [1.0, 2.0]]
    assert part.timestamps.tolist() == [10, 40]
    assert part.by_item.indptr.tolist() == [0, 0, 1, 2]
    assert part.by_item.weights.tolist() == [3, 2]
    assert part.range == (1, 2)
    assert part.mean == pytest.approx((2 * 1 + 3 * 2) / 5)
    assert_identical(R.select(np.ones(5, bool)), R)


@pytest.mark.parametrize(
    ("which", "error", "sentence"),
    [
        ([True], IndexError, "mask of 1 for 5 ratings"),
        ([0, 5], IndexError, "row 1 is 5; positions run from 0 to 4"),
        ([-1], IndexError, "row 0 is -1"),
        ([1, 1], ValueError, "twice"),
        ([], ValueError, "selects no rating"),
        ([False] * 5, ValueError, "selects no rating"),
        ([1.0], TypeError, "float64"),
        ([[1]], TypeError, "one dimension"),
    ],
)
def test_select_refused(which, error, sentence):
    with pytest.raises(error, match=sentence):
        Ratings.from_arrays(U, ITEMS, V).select(which)


def test_pickle_keeps_all_and_stays_read_only():
    R = Ratings.from_arrays(NAMES, ITEMS, V, timestamps=T, sample_weight=[1, 2, 3, 4, 5])
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(R, protocol))
        assert_identical(again, R)
        assert isinstance(again.by_user, CSR)
        assert not again.by_user.values.flags.writeable
        assert again.user_codes("b") == R.user_codes("b")
        assert again.mean == R.mean


def test_repr():
    assert repr(Ratings.from_arrays(U, ITEMS, V)) == "Ratings(3 users x 3 items, 5 ratings from 0 to 4.5, density 56 %)"
    assert (
        repr(Ratings.from_arrays([1], ["a"], [-2])) == "Ratings(1 user x 1 item, 1 rating from -2 to -2, density 100 %)"
    )
    # Not quite all, and not "100 %".
    items = np.arange(1000)
    almost = Ratings.from_arrays(np.append(items * 0, items[1:] * 0 + 1), np.append(items, items[1:]), np.arange(1999))
    assert repr(almost) == "Ratings(2 users x 1,000 items, 1,999 ratings from 0 to 1998, density 99.95 %)"


# Ids


def test_ids_scalars_and_kinds():
    ids = Ids([3, 5, 9])
    assert (ids.kind, len(ids)) == ("integers", 3)
    assert repr(ids) == "Ids(3 integers from 3 to 9)"
    for one in (5, np.int8(5), np.uint64(5), np.array(5)):
        code = ids.codes(one)
        assert code == 1
        assert np.ndim(code) == 0
        assert code.dtype == np.int32
    assert ids.codes(4) == -1
    assert ids.codes([]).tolist() == []
    assert ids.codes(-(2**63)) == ids.codes(2**63 - 1) == ids.codes(np.uint64(2**64 - 1)) == -1
    with pytest.raises(TypeError, match="these ids are integers, but row 0 is '5'"):
        ids.codes("5")
    for wrong in (5.0, True, None, b"5", np.float32(5), [5.0], np.datetime64("2020")):
        with pytest.raises((TypeError, ValueError), match="row 0"):
            ids.codes(wrong)
    names = Ids(["1", "2", "é"])
    assert names.kind == "strings"
    assert names.codes("é") == names.codes(np.str_("é")) == names.codes(np.array("é")) == 2
    assert names.codes(["1", "11", "1\0"[:1], "a longer one"]).tolist() == [0, -1, 0, -1]
    with pytest.raises(TypeError, match="these ids are strings, but row 0 is 1"):
        names.codes(1)


def test_ids_must_ascend():
    with pytest.raises(ValueError, match="row 2 is 5, after 5; ids must be ascending"):
        Ids([3, 5, 5])
    with pytest.raises(ValueError, match="users: row 1 is 'a', after 'b'; ids must be ascending"):
        Ids(["b", "a"], "users")


def test_ids_round_trip_through_npz_without_pickle():
    for users in (
        ["1", "x" * 500, "é\U0001f3ac", ""],
        [5, -3, 2**40, 0],
        np.array([2**64 - 1, 2**63, 1, 0], np.uint64),
    ):
        R = Ratings.from_arrays(users, [1, 2, 3, 4], [1, 2, 3, 4])
        file = io.BytesIO()
        np.savez(file, users=R.user_ids)
        file.seek(0)
        ids = Ids(np.load(file, allow_pickle=False)["users"])
        assert ids.values.dtype == R.user_ids.dtype
        np.testing.assert_array_equal(ids.values, R.user_ids)
        np.testing.assert_array_equal(ids.codes(users), R.user_codes(users))
        np.testing.assert_array_equal(ids.values[ids.codes(users)], users)


def test_one_very_long_id_is_refused_before_memory_is():
    users = [str(x) for x in range(5000)]
    users[17] = "x" * 100_000
    with pytest.raises(ValueError, match=r"users: the id 'xxx.* has 100,000 characters.*hash"):
        Ratings.from_arrays(users, range(5000), np.ones(5000))


@given(
    st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, unique=True).filter(lambda x: min(x) >= 0 or max(x) < 2**63),
    st.lists(st.integers(0, 2**64 - 1)),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
)
def test_integer_codes_against_a_dictionary(values, unsigned, signed):
    values = sorted(values)
    ids = Ids(np.array(values, np.int64 if max(values) < 2**63 else np.uint64))
    known = {x: code for code, x in enumerate(values)}
    for asked, kind in ((unsigned, np.uint64), (signed, np.int64)):
        assert ids.codes(np.array(asked, kind)).tolist() == [known.get(x, -1) for x in asked]
        near = [x for x in values if np.iinfo(kind).min <= x <= np.iinfo(kind).max]
        assert ids.codes(np.array(near, kind)).tolist() == [known[x] for x in near]


@given(st.lists(st.integers(-50, 50), min_size=1, unique=True), st.lists(st.integers(-60, 60)))
def test_near_integer_codes_against_a_dictionary(values, asked):
    values = sorted(values)
    known = {x: code for code, x in enumerate(values)}
    assert Ids(values).codes(np.array(asked, np.int64)).tolist() == [known.get(x, -1) for x in asked]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda x: not x.endswith("\0"))


@given(st.lists(TEXT, min_size=1, unique=True), st.lists(TEXT))
def test_string_codes_against_a_dictionary(values, asked):
    values = sorted(values)
    known = {x: code for code, x in enumerate(values)}
    ids = Ids(values)
    for few_or_many in (asked + values, (asked + values) * 65):
        assert ids.codes(few_or_many).tolist() == [known.get(x, -1) for x in few_or_many]


# The sort


PAIRS = st.lists(
    st.tuples(st.integers(-3, 12), st.integers(0, 9), st.integers(-8, 8).map(lambda x: x / 2)),
    min_size=1,
    max_size=60,
    unique_by=lambda x: x[:2],
)


@given(PAIRS, st.randoms(use_true_random=False))
def test_any_order_of_the_rows_gives_the_same_ratings(rows, random):
    first = Ratings.from_arrays(*zip(*rows, strict=True))
    assert_same(first, *zip(*rows, strict=True))
    users, items, values = first.triples()
    orders = [sorted(rows), sorted(rows, key=lambda x: x[0]), sorted(rows, key=lambda x: x[1]), rows[:]]
    random.shuffle(orders[-1])
    for order in orders:
        assert_identical(Ratings.from_arrays(*zip(*order, strict=True)), first)
    strings = Ratings.from_arrays([f"{x[0] + 3:02}" for x in rows], [str(x[1]) for x in rows], [x[2] for x in rows])
    np.testing.assert_array_equal(strings.by_item.indices, first.by_item.indices)
    again = Ratings.from_arrays(first.user_ids[users], first.item_ids[items], values)
    assert_identical(again, first)


def big(rng, n, n_users, n_items, kind=np.int64):
    """n distinct pairs, one user and one item having far more than the others."""
    users = (n_users * rng.random(2 * n) ** 4).astype(kind)
    items = (n_items * rng.random(2 * n) ** 3).astype(kind)
    _, first = np.unique(users.astype(np.int64) * n_items + items, return_index=True)
    first = rng.permutation(first)[:n]
    return users[first], items[first], rng.integers(1, 11, len(first)) / 2


@pytest.mark.parametrize("arrangement", ["any", "by user", "sorted", "by item"])
@pytest.mark.parametrize("kinds", [(np.int32, np.int32), (np.int64, np.int64), (np.int32, np.int64)])
def test_sort_against_scipy_for_any_number_of_threads(arrangement, kinds, monkeypatch):
    monkeypatch.setattr(sorting, "MIN_PART_ENTRIES", 1)
    rng = np.random.default_rng(3)
    users, items, values = big(rng, 200_000, 3000, 1500)
    order = {
        "any": slice(None),
        "by user": np.argsort(users, kind="stable"),
        "sorted": np.lexsort((items, users)),
        "by item": np.argsort(items, kind="stable"),
    }[arrangement]
    users, items, values = users[order].astype(kinds[0]), items[order].astype(kinds[1]), values[order]
    results = [Ratings.from_arrays(users, items, values, n_jobs=n) for n in (1, 2, 5)]
    user_ids, u = np.unique(users, return_inverse=True)
    item_ids, i = np.unique(items, return_inverse=True)
    matrix = scipy.sparse.csr_array((values, (u, i)))
    turned = matrix.tocsc()
    for R in results:
        np.testing.assert_array_equal(R.user_ids, user_ids)
        np.testing.assert_array_equal(R.item_ids, item_ids)
        for found, wanted in ((R.by_user, matrix), (R.by_item, turned)):
            np.testing.assert_array_equal(found.indptr, wanted.indptr)
            np.testing.assert_array_equal(found.indices, wanted.indices)
            np.testing.assert_array_equal(found.values, wanted.data.astype(np.float32))
    # With more to carry the number of the row travels instead of the rating.
    times, weights = rng.integers(0, 10**9, len(users)), rng.random(len(users))
    carried = [
        Ratings.from_arrays(users, items, values, timestamps=times, sample_weight=weights, n_jobs=n) for n in (1, 2, 5)
    ]
    for R in carried:
        assert_identical(R, carried[0])
        order = np.lexsort((i, u))
        np.testing.assert_array_equal(R.by_user.indices, results[0].by_user.indices)
        np.testing.assert_array_equal(R.timestamps, times[order])
        np.testing.assert_array_equal(R.by_user.weights, weights[order].astype(np.float32))
        np.testing.assert_array_equal(R.by_item.weights, weights[np.lexsort((u, i))].astype(np.float32))


@pytest.mark.parametrize("raw", [np.int32, np.int64])
@pytest.mark.parametrize("payload", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_kernels_against_plain_numpy(raw, payload, n_parts):
    rng = np.random.default_rng(4)
    n, low = 1000, -7
    users, items = rng.integers(0, 40, n), rng.integers(0, 25, n)
    user_table, item_table = rng.permutation(40).astype(np.int32), rng.permutation(25).astype(np.int32)
    values = rng.integers(-9, 9, n).astype(payload)
    args = ((users + low).astype(raw), low, user_table), ((items).astype(raw), 0, item_table)
    for array in (args[0][0], args[1][0], user_table, item_table, values):
        array.flags.writeable = False

    seen = np.zeros((n_parts, 40), np.uint8)
    _core.mark_ids(*args[0][:2], seen)
    np.testing.assert_array_equal(seen.any(axis=0), np.isin(np.arange(40), users))

    u, i = user_table[users], item_table[items]
    counts = np.zeros((n_parts, 40), np.int64)
    _core.count_ids(*args[0], counts)
    bounds = [n // n_parts * t + n % n_parts * t // n_parts for t in range(n_parts + 1)]
    for part, (start, stop) in enumerate(itertools.pairwise(bounds)):
        np.testing.assert_array_equal(counts[part], np.bincount(u[start:stop], minlength=40))

    def places(counts):
        return np.cumsum(np.append(0, counts.sum(axis=0)))[:-1] + np.cumsum(counts, axis=0) - counts

    indices, moved = np.empty(n, np.int32), np.empty(n, payload)
    _core.move_ids(*args[0], *args[1], values, places(counts), indices, moved)
    order = np.argsort(u, kind="stable")
    np.testing.assert_array_equal(indices, i[order])
    np.testing.assert_array_equal(moved, values[order])

    indptr = np.append(0, np.cumsum(np.bincount(u, minlength=40)))
    counts = np.zeros((n_parts, 25), np.int64)
    _core.count_codes(indices, counts)
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(i, minlength=25))
    rows, turned = np.empty(n, np.int32), np.empty(n, payload)
    _core.transpose_rows(indptr, indices, moved, places(counts), rows, turned)
    again = np.argsort(i[order], kind="stable")
    np.testing.assert_array_equal(rows, u[order][again])
    np.testing.assert_array_equal(turned, values[order][again])

    indptr = np.append(0, np.cumsum(np.bincount(i, minlength=25)))
    pairs = np.stack([np.repeat(np.arange(25), np.diff(indptr)), rows])
    assert _core.count_descents(indptr, rows, n_parts) == n - len(np.unique(pairs, axis=1).T) > 0


@pytest.mark.parametrize(
    ("users", "items", "state"),
    [
        ([0, 0, 1], [1, 2, 0], 2),
        ([0, 0, 1], [2, 2, 0], 2),
        ([0, 0, 1], [2, 1, 0], 1),
        ([0, 1, 0], [0, 0, 1], 0),
        ([0], [0], 2),
    ],
)
def test_sorted_state(users, items, state):
    table = np.arange(3, dtype=np.int32)
    for kind in (np.int32, np.int64):
        assert _core.sorted_state(np.array(users, kind), 0, table, np.array(items, kind), 0, table) == state


def test_one_user_with_everything_and_empty_rows():
    items = np.arange(100_000)[::-1].copy()
    R = Ratings.from_arrays(np.zeros(100_000, int), items, items % 5)
    assert R.shape == (1, 100_000)
    np.testing.assert_array_equal(R.by_user.indices, np.arange(100_000))
    np.testing.assert_array_equal(R.by_item.indptr, np.arange(100_001))
    lonely = Ratings(scipy.sparse.coo_array(([2.5], ([70_000], [3])), shape=(100_000, 90_000)))
    assert lonely.shape == (100_000, 90_000)
    assert np.diff(lonely.by_user.indptr).nonzero()[0].tolist() == [70_000]
    assert np.diff(lonely.by_item.indptr).nonzero()[0].tolist() == [3]


@settings(max_examples=30)
@given(PAIRS.flatmap(lambda rows: st.tuples(st.just(rows), st.lists(st.sampled_from(rows), max_size=20))))
def test_merging_against_a_dictionary(both):
    rows = both[0] + [(u, i, r + 1) for u, i, r in both[1]]
    groups = {}
    for u, i, r in rows:
        groups.setdefault((u, i), []).append(r)
    for how, merge in (("last", lambda x: x[-1]), ("sum", sum), ("mean", lambda x: sum(x) / len(x))):
        R = Ratings.from_arrays(*zip(*rows, strict=True), duplicates=how, dtype="float64")
        u, i, r = R.triples()
        found = dict(zip(zip(R.user_ids[u].tolist(), R.item_ids[i].tolist(), strict=True), r.tolist(), strict=True))
        assert found == pytest.approx({pair: merge(x) for pair, x in groups.items()})
    if both[1]:
        with pytest.raises(ValueError, match=r"duplicate ratings: row \d+ rates user"):
            Ratings.from_arrays(*zip(*rows, strict=True))


# The module


def test_integer_arrays_and_few_string_codes_need_no_arrow():
    code = (
        "import sys; sys.modules['pyarrow'] = None; import alsx, scipy.sparse;"
        "R = alsx.Ratings.from_arrays([1, 2], [3, 4], [5, 1]); R.user_codes([1]); alsx.Ratings(R.to_csr());"
        "alsx.ratings.Ids(['a', 'b']).codes(['b'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_docstrings():
    assert alsx.Ratings is ratings.Ratings
    found = doctest.testmod(container)
    assert found.attempted > 3
    assert not found.failed


def test_a_sorted_csr_matrix_is_copied_or_shared():
    R = scipy.sparse.random_array((30, 20), density=0.3, format="csr", dtype=np.float32, rng=0)
    R.sort_indices()
    copied, shared = alsx.Ratings(R), alsx.Ratings(R, copy=False)
    for mine, theirs in zip(copied.by_user[1:3], (R.indices, R.data), strict=True):
        assert not np.shares_memory(mine, theirs)
    for mine, theirs in zip(shared.by_user[1:3], (R.indices, R.data), strict=True):
        assert np.shares_memory(mine, theirs)
        assert not mine.flags.writeable
    assert R.data.flags.writeable
    for a, b in zip((*copied.by_user, *copied.by_item), (*shared.by_user, *shared.by_item), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "unsorted"])
def test_other_sparse_formats_share_nothing(form):
    R = scipy.sparse.random_array((30, 20), density=0.3, format="csr", dtype=np.float32, rng=0)
    R.sort_indices()
    expected = alsx.Ratings(R)
    if form == "unsorted":
        for row in range(30):
            part = slice(R.indptr[row], R.indptr[row + 1])
            R.indices[part], R.data[part] = R.indices[part][::-1].copy(), R.data[part][::-1].copy()
        other = R
    else:
        other = R.asformat(form)
    found = alsx.Ratings(other, copy=False)
    for a, b in zip((*expected.by_user, *expected.by_item), (*found.by_user, *found.by_item), strict=True):
        np.testing.assert_array_equal(a, b)
    if form != "lil":
        assert not np.shares_memory(found.by_user.values, other.data)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_weights_of_a_sorted_csr_matrix(index):
    R = scipy.sparse.random_array((30, 20), density=0.3, format="csr", dtype=np.float64, rng=0)
    R.sort_indices()
    R.indices, R.indptr = R.indices.astype(index), R.indptr.astype(index)
    weights = np.random.default_rng(0).random(R.nnz)
    coo = R.tocoo()
    expected = alsx.Ratings.from_arrays(*coo.coords, coo.data, sample_weight=weights)
    found = alsx.Ratings(R, sample_weight=weights)
    np.testing.assert_array_equal(found.by_user.weights, expected.by_user.weights)
    np.testing.assert_array_equal(found.by_item.weights, expected.by_item.weights)
    np.testing.assert_array_equal(found.by_item.values, expected.by_item.values)


def test_with_ids_keeps_the_ratings():
    R = Ratings([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0], sample_weight=[1, 2, 3])
    more = R.with_ids(Ids(["al", "ann", "ben", "bob", "cat"]), Ids([1, 3, 5, 7]))
    assert more.shape == (5, 4)
    assert more.user_ids[more.triples()[0]].tolist() == ["ann", "ann", "bob"]
    assert more.item_ids[more.triples()[1]].tolist() == [3, 7, 7]
    np.testing.assert_array_equal(more.triples()[2], R.triples()[2])
    assert np.diff(more.by_item.indptr).tolist() == [0, 1, 0, 2]
    assert more.user_ids[more.by_item.indices].tolist() == ["ann", "ann", "bob"]
    np.testing.assert_array_equal(more.by_item.weights, R.by_item.weights)
    assert R.with_ids().shape == R.shape
    with pytest.raises(ValueError, match="users lacks 'bob', which has ratings"):
        R.with_ids(users=Ids(["ann"]))

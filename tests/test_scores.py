"""Predictions and top-n against their slow twins, at every instruction set and dtype."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import reference
from conftest import LEVELS, TOLERANCE
from hypothesis import HealthCheck, given, settings

from alsx import _core, _regression, _scores
from alsx._models.top_n import Bounds, merge_slices
from alsx._solver.rows import packed_entries, packed_width
from alsx._solver.tables import aligned, factor_table, workspace

pytestmark = pytest.mark.usefixtures("everything_shared")


@pytest.mark.parametrize("k", [0, 1, 15, 16, 20, 33, 64])
def test_predict_pairs(simd, dtype, k):
    rng = np.random.default_rng(k)
    user_table, item_table = factor_table(9, k, np.dtype(dtype)), factor_table(11, k, np.dtype(dtype))
    for table in (user_table, item_table):
        table.base[:] = np.nan
        table[:, : k + 1] = rng.normal(size=(len(table), k + 1))
        table.setflags(write=False)
    users = rng.integers(-1, 9, 200).astype(np.int32)
    items = rng.integers(-1, 11, 200).astype(np.int32)
    expected = reference.predict_pairs(users, items, user_table, item_table, k, 3.5)
    results = []
    for n_threads in (1, 2, 5):
        out = np.empty(200)
        _scores.predict_pairs(users, items, user_table, item_table, k, 3.5, n_threads, out)
        results.append(out)
        np.testing.assert_array_equal(out, results[0])
    np.testing.assert_allclose(results[0], expected, atol=TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 5000])
def test_squared_errors(simd, dtype, n, weighted):
    rng = np.random.default_rng(n)
    user_table, item_table = factor_table(9, 4, np.dtype(dtype)), factor_table(11, 4, np.dtype(dtype))
    for table in (user_table, item_table):
        table.base[:] = np.nan
        table[:, :5] = rng.normal(size=(len(table), 5))
    users, items = rng.integers(-1, 9, n).astype(np.int32), rng.integers(-1, 11, n).astype(np.int32)
    values, weights = rng.normal(3, 1, n), rng.uniform(0, 2, n if weighted else 0)
    predicted = np.clip(3.5 + 0.8 * reference.predict_pairs(users, items, user_table, item_table, 4, 0.0), 1, 5)
    squares = (weights if weighted else 1) * ((values - predicted) / 0.8) ** 2
    squares[(users < 0) | (items < 0)] = 0
    expected = [squares[begin : begin + 2048].sum() for begin in range(0, n, 2048)]
    results = []
    for n_threads in (1, 2, 5):
        out = np.empty(_regression.n_chunks(n))
        _scores.squared_errors(
            users, items, values, weights, user_table, item_table, 4, 3.5, 0.8, 1.0, 5.0, n_threads, out
        )  # fmt: skip
        results.append(out)
        np.testing.assert_array_equal(out, results[0])
    np.testing.assert_allclose(results[0], expected, rtol=TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("k", [0, 1, 20])
@pytest.mark.parametrize("n_items", [1, 383, 384, 385, 1000])
def test_pack_items(dtype, k, n_items):
    rng = np.random.default_rng(0)
    table = factor_table(n_items, k, np.dtype(dtype))
    table[:] = rng.normal(size=table.shape)
    table.setflags(write=False)
    block = _scores.top_n_block()
    n_blocks = -(-n_items // block)
    expected = np.zeros((n_blocks * block, k), dtype)
    expected[:n_items] = table[:, :k]
    for n_threads in (1, 2, 5):
        packed = np.zeros((n_blocks, k, block), dtype)
        _scores.pack_items(table, k, packed, n_threads)
        np.testing.assert_array_equal(packed, expected.reshape(n_blocks, block, k).transpose(0, 2, 1))


def best(k, dtype, n, users, n_threads=1, exclude=True, forbidden=(), n_items=1000, ties=False, n_slices=1):
    """top_n on whole numbers, whose sums are exact in any order, and its expectation."""
    rng = np.random.default_rng(k)
    dtype = np.dtype(dtype)
    table, items = factor_table(150, k, dtype), factor_table(n_items, k, dtype)
    high = 2 if ties else 50
    table[:, :k], items[:, :k] = rng.integers(-high, high, (150, k)), rng.integers(-high, high, (n_items, k))
    bias = rng.integers(-high, high, n_items).astype(dtype)
    bias[list(forbidden)] = -np.inf
    block = _scores.top_n_block()
    n_blocks = -(-n_items // block)
    packed = aligned(n_blocks * max(k, 1), block, dtype)[: n_blocks * k].reshape(n_blocks, k, block)
    _scores.pack_items(items, k, packed, n_threads)
    padded = np.full(n_blocks * block, -np.inf, dtype)
    padded[:n_items] = bias
    seen = [np.sort(rng.choice(n_items, rng.integers(0, min(400, n_items)), replace=False)) for _ in range(150)]
    seen[2] = np.arange(n_items)
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in seen])]).astype(np.int64)
    found = np.empty((n_slices * len(users), n), np.int32)
    scores = np.empty((n_slices * len(users), n), dtype)
    work = workspace(n_threads, _scores.top_n_workspace(k), dtype)
    _scores.top_n(users, table, packed, padded, indptr if exclude else indptr[:0],
                np.concatenate(seen).astype(np.int32), n_slices, work, found, scores)  # fmt: skip
    found, scores = merge_slices(found, scores, n_slices)
    all_scores = table[users][:, :k].astype(np.float64) @ items[:, :k].T.astype(np.float64) + bias
    if exclude:
        for row, user in enumerate(users):
            all_scores[row, seen[user]] = -np.inf
    return found, scores, *reference.top_n(all_scores, n)


@pytest.mark.parametrize("k", [0, 1, 7, 20, 33])
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("ties", [False, True])
def test_top_n(simd, dtype, k, exclude, ties):
    users = np.random.default_rng(0).integers(0, 150, 201).astype(np.int32)
    users[7] = 2
    found, scores, items, expected = best(k, dtype, 13, users, exclude=exclude, forbidden=range(0, 900, 3), ties=ties)
    np.testing.assert_array_equal(found, items)
    np.testing.assert_array_equal(scores, expected)
    if exclude:
        assert (found[7] == -1).all()


def test_top_n_of_fewer_items_than_asked_for(simd, dtype):
    users = np.arange(5, dtype=np.int32)
    found, _, items, _ = best(4, dtype, 30, users, n_items=30, forbidden=range(20))
    np.testing.assert_array_equal(found, items)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    k=st.integers(0, 20), n=st.integers(1, 40), m=st.integers(1, 140), n_items=st.integers(1, 800),
    forbidden=st.integers(0, 800), exclude=st.booleans(), ties=st.booleans(), n_threads=st.integers(1, 3),
    level=st.sampled_from(LEVELS), dtype=st.sampled_from(["float32", "float64"]), n_slices=st.integers(1, 3),
)  # fmt: skip
def test_top_n_of_any_shape(
    restored_simd, k, n, m, n_items, forbidden, exclude, ties, n_threads, level, dtype, n_slices
):
    _core.set_simd_level(level)
    n = min(n, n_items)
    users = np.random.default_rng(m).integers(0, 150, m).astype(np.int32)
    found, scores, items, expected = best(
        k, dtype, n, users, n_threads, exclude, range(min(forbidden, n_items)), n_items, ties, n_slices
    )
    np.testing.assert_array_equal(found, items)
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("k", [0, 3, 20, 33])
def test_top_n_depends_neither_on_threads_nor_on_company(simd, dtype, k):
    rng = np.random.default_rng(1)
    dtype = np.dtype(dtype)
    table, items = factor_table(150, k, dtype), factor_table(1000, k, dtype)
    table[:], items[:] = rng.normal(size=table.shape), rng.normal(size=items.shape)
    block = _scores.top_n_block()
    packed = aligned(3 * max(k, 1), block, dtype)[: 3 * k].reshape(3, k, block)
    _scores.pack_items(items, k, packed, 1)
    bias = np.full(3 * block, -np.inf, dtype)
    bias[:1000] = items[:, k]
    indptr = np.arange(0, 150 * 200 + 1, 200, dtype=np.int64)
    seen = np.concatenate([np.sort(rng.choice(1000, 200, replace=False)) for _ in range(150)]).astype(np.int32)
    for array in (table, items, packed, bias, indptr, seen):
        array.setflags(write=False)

    def run(users, n_threads, n_slices=1):
        found = np.empty((n_slices * len(users), 10), np.int32)
        scores = np.empty((n_slices * len(users), 10), dtype)
        work = workspace(n_threads, _scores.top_n_workspace(k), dtype)
        _scores.top_n(users, table, packed, bias, indptr, seen, n_slices, work, found, scores)
        return merge_slices(found, scores, n_slices)

    users = rng.permutation(150).astype(np.int32)
    found, scores = run(users, 1)
    for n_threads in (2, 5):
        for a, b in zip((found, scores), run(users, n_threads), strict=True):
            np.testing.assert_array_equal(a, b)
    # Groups of other sizes, down to one user alone.
    for size, n_threads in ((1, 1), (1, 3), (2, 1), (7, 1), (8, 2), (9, 1), (63, 1), (64, 1), (65, 1), (129, 1)):
        first = rng.integers(0, 150 - size)
        part = slice(first, first + size)
        for n_slices in (1, 2, 3):
            for a, b in zip((found, scores), run(users[part], n_threads, n_slices), strict=True):
                np.testing.assert_array_equal(a[part], b)


# Covariances: forms of pairs, and lists by limits

# Below, at and above the columns that one or two vectors of each instruction set hold.
FORM_RANKS = [0, 1, 3, 4, 5, 8, 15, 16, 17, 20, 31, 32, 33, 64, 100]


def covariances(n, k, dtype, seed):
    """n packed covariances, and the matrices."""
    rng = np.random.default_rng(seed)
    half = rng.normal(0, 1, (n, k + 1, k + 3))
    rows = reference.packed(half @ half.swapaxes(1, 2) + np.eye(k + 1))
    out = aligned(n + 1, packed_width(k, np.dtype(dtype)), np.dtype(dtype))
    out.base[:] = np.nan  # what lies behind is nobody's
    out = out[:n]
    out[:, : rows.shape[1]] = rows
    return out, reference.symmetric(out.astype(np.float64), k + 1)


def with_one(table, k):
    """The rows z = [factors ; 1] of a table."""
    return np.hstack([table[:, :k].astype(np.float64), np.ones((len(table), 1))])


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(-1, 6), max_size=40))
def test_group_pairs(rows):
    rows = np.array(rows, np.int32)
    indptr, places = np.empty(9, np.int64), np.empty(len(rows), np.int64)
    _scores.group_pairs(rows, indptr, places)
    groups = [list(np.flatnonzero(rows == row)) for row in (*range(7), -1)]
    assert [list(places[a:b]) for a, b in itertools.pairwise(indptr)] == groups


@pytest.mark.parametrize("k", FORM_RANKS)
def test_pair_forms(simd, dtype, k):
    rng = np.random.default_rng(k)
    packed, matrices = covariances(7, k, dtype, k)
    table, unknown = factor_table(11, k, np.dtype(dtype)), factor_table(1, k, np.dtype(dtype))
    for z in (table, unknown):
        z.base[:] = np.nan
        z[:, : k + 1] = rng.normal(size=(len(z), k + 1))
    n = 5000
    rows, partners = rng.integers(-1, 6, n).astype(np.int32), rng.integers(-1, 11, n).astype(np.int32)
    indptr, places = np.empty(8, np.int64), np.empty(n, np.int64)
    _scores.group_pairs(rows, indptr, places)
    z = with_one(np.vstack([table, unknown]), k)[partners]
    expected = np.einsum("ij,ijk,ik->i", z, matrices[rows], z)
    results = []
    for n_threads in (1, 2, 5):
        out = np.full(n, 0.5)
        _scores.pair_forms(indptr, places, partners, packed, table, unknown[0], k, n_threads, out)
        results.append(out)
        np.testing.assert_array_equal(out, results[0])
    np.testing.assert_allclose(results[0], 0.5 + expected, rtol=TOLERANCE[dtype] * 10)
    # A pair's bits do not depend on the pairs that it comes with.
    for e in range(3):
        alone = np.full(1, 0.5)
        _scores.group_pairs(rows[e : e + 1], indptr, places[:1])
        _scores.pair_forms(indptr, places[:1], partners[e : e + 1], packed, table, unknown[0], k, 1, alone)
        assert alone[0] == results[0][e]


@pytest.mark.parametrize("n_std", [-1.5, 0.0, 2.0])
@pytest.mark.parametrize("k", [0, 1, 7, 20, 33])
def test_lists_by_limits(simd, dtype, k, n_std):
    """More items than a block, users of whole strips and a single one, rows that are not determined, items that must not appear."""
    rng = np.random.default_rng(k)
    dtype, m, n, sigma2 = np.dtype(dtype), 35, 450, 0.3
    table, items = factor_table(m, k, dtype), factor_table(n, k, dtype)
    table[:, : k + 1], items[:, : k + 1] = rng.normal(0, 0.5, (m, k + 1)), rng.normal(0, 0.5, (n, k + 1))
    (of_users, users), (of_items, others) = (covariances(size, k, dtype, size) for size in (m, n))
    of_items[[5, 401]] = np.nan
    block = _scores.top_n_block()
    packed = aligned(2 * max(k, 1), block, dtype)[: 2 * k].reshape(2, k, block)
    _scores.pack_items(items, k, packed, 1)
    bias = np.full(2 * block, -np.inf, dtype)
    bias[:n] = items[:, k]
    bias[100:110] = -np.inf
    variances = reference.pair_variances(users, others, with_one(table, k), with_one(items, k), sigma2)
    variances[:, [5, 401]] = np.inf
    expected = table[:, :k].astype(float) @ items[:, :k].T.astype(float) + bias[:n]
    if n_std:
        expected += n_std * np.sqrt(variances)
    seen = np.sort(rng.choice(n, 60, replace=False)).astype(np.int32)
    expected[:, seen] = -np.inf
    bounds = Bounds(of_users, of_items, *packed_entries(k), n_std, sigma2)
    results = []
    for n_threads, n_slices in ((1, 1), (3, 1), (2, 2)):
        found, scores = np.empty((n_slices * m, 400), np.int32), np.empty((n_slices * m, 400), dtype)
        work = workspace(n_threads, _scores.top_n_workspace(k, True), dtype)
        _scores.top_n(
            np.arange(m, dtype=np.int32), table, packed, bias, np.arange(m + 1) * len(seen), np.tile(seen, m), n_slices, work,
            found, scores, bounds,
        )  # fmt: skip
        results.append(merge_slices(found, scores, n_slices))
    for found, scores in results[1:]:
        np.testing.assert_array_equal(found, results[0][0])
        np.testing.assert_array_equal(scores, results[0][1])
    found, scores = results[0]
    ascending = -np.sort(-expected, axis=1)[:, :400]
    np.testing.assert_allclose(scores, ascending, rtol=1e-5 if dtype == np.float32 else 1e-10, atol=1e-5)
    listed = found >= 0
    np.testing.assert_array_equal(listed, ascending > -np.inf)
    for row in range(m):
        np.testing.assert_allclose(
            expected[row, found[row][listed[row]]], scores[row][listed[row]], rtol=1e-5, atol=1e-5
        )
    # One user alone has the same bits.
    alone = np.empty((1, 400), np.int32), np.empty((1, 400), dtype)
    one = bounds._replace(users=of_users[3:4])
    work = workspace(1, _scores.top_n_workspace(k, True), dtype)
    _scores.top_n(np.zeros(1, np.int32), table[3:4], packed, bias, np.array([0, 60]), seen, 1, work, *alone, one)
    np.testing.assert_array_equal(alone[0][0], found[3])
    np.testing.assert_array_equal(alone[1][0], scores[3])

"""The compiled module against its slow twin, at every instruction set and dtype; threads; failures."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import scipy.stats
from conftest import LEVELS, TOLERANCE

from alsx import _core, _regression
from alsx._solver.regression import SparseOperator, packed_width
from alsx._solver.rows import KernelRows, RowBase
from alsx._solver.rows import packed_width as covariance_width
from alsx._solver.tables import aligned, factor_table, kernel_precision, workspace

pytestmark = pytest.mark.usefixtures("everything_shared")

RANKS = [0, 1, 2, 3, 7, 8, 15, 16, 17, 20, 24, 25, 31, 32, 33, 63, 64, 65, 100, 128, 200]


class Problem:
    """Rows of every kind: none, one, few, many ratings, one with everything; more than a panel holds."""

    def __init__(self, k, dtype, weighted=False, seed=0, counts=None):
        rng = np.random.default_rng(seed)
        n_rows, n_other = 23, max(300, *(counts or (0,)))
        if counts is None:
            counts = rng.integers(0, 90, n_rows)
            counts[[3, 5, 6, 7]] = 0, 300, 1, 257
        n_rows = len(counts)
        self.k, self.dtype = k, np.dtype(dtype)
        self.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.indices = np.concatenate([np.sort(rng.choice(n_other, c, replace=False)) for c in counts]).astype(np.int32)
        self.values = rng.normal(3, 1, len(self.indices)).astype(dtype)
        self.weights = rng.uniform(0.1, 2, len(self.indices)).astype(dtype) if weighted else None
        self.table = factor_table(n_other, k, self.dtype)
        # What is beyond the factors and the bias is nobody's: nothing in it may reach a result.
        self.table.base[:] = np.nan
        self.table[:, : k + 1] = rng.normal(0, 0.5, (n_other, k + 1))
        self.row_scale = np.sqrt(np.add(counts, 1.0))
        self.reg, self.reg_bias, self.offset, self.scale = 1.3, 0.4, 3.0, 0.7
        self.order = rng.permutation(n_rows).astype(np.int32)

    def solve(self, n_threads=1, starts=None, order=None, **changes):
        if starts is None:
            starts = 0, 7, 8, 15, len(self.order)
        new = {name: changes.get(name, value) for name, value in vars(self).items()}
        none = self.table[:0]
        out = np.full((len(self.indptr) - 1, self.table.shape[1]), 7, self.dtype)
        loss = np.full((len(out), 2), 7.0)
        work = workspace(n_threads, _core.row_workspace(self.k, self.dtype.itemsize), self.dtype)
        weights = new["weights"] if new["weights"] is not None else self.values[:0]
        rows = KernelRows(
            new["indptr"], new["indices"], new["values"], weights, new["offset"], new["scale"], new["table"], self.k,
            new["reg"], new["reg_bias"], new["row_scale"], 1.0, changes.get("precision", none), changes.get("means", none),
            changes.get("base"),
        )  # fmt: skip
        failed = _core.solve_rows(
            rows, np.array(starts, np.int64), self.order if order is None else order, work, out, loss,
            changes.get("noise", 0.0), changes.get("seed", 3), changes.get("draw_index", 5),
        )  # fmt: skip
        assert (out[:, self.k + 1 :] == 7).all()
        return failed, out[:, : self.k + 1], loss

    def expected(self):
        return reference.solve_rows(
            self.indptr, self.indices, self.values, self.weights, self.offset, self.scale, self.table, self.k, self.reg,
            self.reg_bias, self.row_scale,
        )  # fmt: skip


# A panel holds 32 to 256 ratings, a multiple of 16, depending on k; without panels (small k) ratings are taken by 64 and 512:
# rows that end around one.
AROUND = (1, 15, 16, 17, *(16 * m + d for m in (2, 3, 4, 6, 8, 12, 16, 32, 36, 64) for d in (-1, 0, 1)), 288, 300)


@functools.cache
def solved(k, dtype, weighted, counts=None):
    """A problem that nobody may change, and its expectation, the same for every instruction set."""
    problem = Problem(k, dtype, weighted, counts=counts)
    return problem, *problem.expected()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", RANKS)
def test_solve_rows(simd, dtype, k, weighted):
    problem, solutions, losses = solved(k, dtype, weighted)
    failed, out, loss = problem.solve()
    assert failed == 0
    np.testing.assert_allclose(out, solutions, atol=TOLERANCE[dtype] * np.abs(solutions).max())
    np.testing.assert_allclose(loss, losses, atol=TOLERANCE[dtype] * losses.max())
    assert not out[3].any()  # no ratings: the prior


@pytest.mark.parametrize("k", [0, 5, 20, 64, 128])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_end_around_a_panel(simd, dtype, k, weighted):
    problem, solutions, losses = solved(k, dtype, weighted, AROUND)
    failed, out, loss = problem.solve()
    assert failed == 0
    np.testing.assert_allclose(out, solutions, atol=TOLERANCE[dtype] * np.abs(solutions).max())
    np.testing.assert_allclose(loss, losses, atol=TOLERANCE[dtype] * losses.max())


def prior_means(problem, seed=5):
    """Prior means of every row, in a table as kernels read it."""
    means = factor_table(len(problem.indptr) - 1, problem.k, problem.dtype)
    means.base[:] = np.nan
    means[:, : problem.k + 1] = np.random.default_rng(seed).normal(0, 0.7, (len(means), problem.k + 1))
    return means


def a_precision(k, dtype, seed=6):
    """A precision matrix of factors and bias that are correlated."""
    half = np.random.default_rng(seed).normal(0, 1, (k + 1, k + 3))
    return (half @ half.T / (k + 1) + np.eye(k + 1)).astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("k", [0, 1, 5, 8, 20, 31, 64, 100])
def test_prior_means_and_precisions(simd, dtype, k, full, weighted):
    problem = solved(k, dtype, weighted)[0]
    means = prior_means(problem)
    matrix = a_precision(k, problem.dtype)
    changes = {"precision": kernel_precision(matrix, problem.dtype)} if full else {}
    failed, out, loss = problem.solve(means=means, **changes)
    assert failed == 0
    expected, losses = np.empty(out.shape), np.empty(loss.shape)
    for row in range(len(out)):
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        s = problem.row_scale[row]
        Lambda = matrix if full else np.diag(np.append(np.full(k, s * problem.reg), s * problem.reg_bias))
        m = means[row, : k + 1].astype(np.float64)
        x, _, z, t, w = reference.row_posterior(
            problem.values[part], problem.weights[part] if weighted else None, problem.offset, problem.scale,
            problem.table[problem.indices[part]], k, Lambda, m,
        )  # fmt: skip
        expected[row] = x
        losses[row] = (w * (t - z @ x) ** 2).sum(), (x - m) @ Lambda @ (x - m)
    np.testing.assert_allclose(out, expected, atol=TOLERANCE[dtype] * np.abs(expected).max())
    np.testing.assert_allclose(loss, losses, atol=2 * TOLERANCE[dtype] * losses.max())
    np.testing.assert_array_equal(out[3], means[3, : k + 1])  # no ratings: the prior


def test_dual_rows_at_ranks_behind_a_vector_with_prior_means(simd, dtype):
    problem = Problem(130, dtype, weighted=True, counts=(1, 15, 16, 17, 40, 41, 63, 95, 112, 113))
    means = prior_means(problem)
    failed, out, loss = problem.solve(means=means, starts=(0, 4, len(problem.order)))
    assert failed == 0
    for row, (m, scale) in enumerate(zip(means[:, :131].astype(np.float64), problem.row_scale, strict=True)):
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        Lambda = scale * np.append(np.full(130, problem.reg), problem.reg_bias)
        x, _, z, t, w = reference.row_posterior(
            problem.values[part], problem.weights[part], problem.offset, problem.scale,
            problem.table[problem.indices[part]], 130, np.diag(Lambda), m,
        )  # fmt: skip
        np.testing.assert_allclose(out[row], x, atol=2 * TOLERANCE[dtype] * np.abs(x).max())
        expected = (w * (t - z @ x) ** 2).sum(), (Lambda * (x - m) ** 2).sum()
        np.testing.assert_allclose(loss[row], expected, rtol=10 * TOLERANCE[dtype])


def test_rows_that_the_dual_form_loses_take_the_other_one(simd, dtype):
    # Rows of the table that are all the same: Z Z' has large entries and one large eigenvalue, Z'Z small ones and the same.
    problem = Problem(72, dtype, counts=(5, 7))
    problem.table[:, :73] = 0.5
    problem.row_scale[:] = 1
    ridge = 2 * np.finfo(dtype).eps * 72 * 0.5**2
    failed, out, _ = problem.solve(starts=(0, 2), reg=ridge)
    assert failed == 0
    assert np.isfinite(out).all()
    failed, out, loss = problem.solve(starts=(0, 2), reg=0.0)
    assert failed == 2
    assert (out == 7).all()
    assert np.isnan(loss).all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("k", [0, 1, 5, 20, 64])
def test_draws(simd, dtype, k, full):
    problem = solved(k, dtype, False)[0]
    means, matrix, noise = prior_means(problem), a_precision(k, problem.dtype), 0.6
    changes = {"precision": kernel_precision(matrix, problem.dtype)} if full else {}
    failed, out, loss = problem.solve(means=means, noise=noise, seed=11, draw_index=2**40 + 3, **changes)
    assert failed == 0
    eps = np.empty((len(out), k + 1))
    _core.normals(11, 2**40 + 3, eps)
    expected, errors = np.empty(out.shape), np.empty(len(out))
    for row in range(len(out)):
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        s = problem.row_scale[row]
        Lambda = matrix if full else np.diag(np.append(np.full(k, s * problem.reg), s * problem.reg_bias))
        mean, A, z, t, _ = reference.row_posterior(
            problem.values[part], None, problem.offset, problem.scale, problem.table[problem.indices[part]], k, Lambda,
            means[row, : k + 1].astype(np.float64),
        )  # fmt: skip
        # The kernel eliminates the bias last, so it comes first in the triangle.
        bias_first = np.roll(np.arange(k + 1), 1)
        drawn = reference.draw(A[np.ix_(bias_first, bias_first)], mean[bias_first], noise * eps[row, bias_first])
        expected[row, bias_first] = drawn
        errors[row] = ((t - z @ expected[row]) ** 2).sum()
    np.testing.assert_allclose(out, expected, atol=2 * TOLERANCE[dtype] * np.abs(expected).max())
    np.testing.assert_allclose(loss[:, 0], errors, atol=4 * TOLERANCE[dtype] * errors.max())


def test_draws_of_rows_without_a_solution(simd, dtype):
    # Rows that are drawn together with those that have none are drawn as by themselves.
    problem = Problem(8, dtype, counts=(3, 40, 0, 50, 60, 8, 70))
    changes = {"precision": kernel_precision(np.zeros((9, 9)), problem.dtype), "noise": 0.5}
    failed, out, loss = problem.solve(starts=(0, 7), order=np.arange(7, dtype=np.int32), **changes)
    assert failed == 3
    singular = np.array([True, False, True, False, False, True, False])
    np.testing.assert_array_equal(np.isnan(loss).all(1), singular)
    assert (out[singular] == 7).all()
    _, alone, losses = problem.solve(starts=range(8), order=np.arange(7, dtype=np.int32), **changes)
    np.testing.assert_array_equal(out[~singular], alone[~singular])
    np.testing.assert_array_equal(loss[~singular], losses[~singular])


def a_base(problem, seed=7):
    """Rows that are missing from every row, their weights and targets, and what they add up to as kernels read it."""
    rng, k = np.random.default_rng(seed), problem.k
    z = np.hstack([rng.normal(0, 0.5, (40, k)), np.ones((40, 1)), rng.normal(-1, 0.3, (40, 1))])
    v, scale = rng.uniform(0.1, 0.5, 40), rng.uniform(0, 2, len(problem.indptr) - 1)
    return z, v, scale, RowBase((z.T * v) @ z, scale).kernel_arrays(problem.dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("k", RANKS)
def test_a_base_is_shared_by_all_rows(simd, dtype, k, means, weighted):
    problem = solved(k, dtype, weighted)[0]
    missing, v, scale, arrays = a_base(problem)
    given = {"means": prior_means(problem)} if means else {}
    failed, out, loss = problem.solve(base=arrays, **given)
    assert failed == 0
    expected, losses = np.zeros(out.shape), np.zeros(loss.shape)
    for row in range(len(out)):
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        m = given["means"][row, : k + 1].astype(np.float64) if means else np.zeros(k + 1)
        expected[row] = m
        if part.start == part.stop:
            continue
        Lambda = problem.row_scale[row] * np.diag(np.append(np.full(k, problem.reg), problem.reg_bias))
        _, A, z, t, w = reference.row_posterior(
            problem.values[part], problem.weights[part] if weighted else None, problem.offset, problem.scale,
            problem.table[problem.indices[part]], k, Lambda, m,
        )  # fmt: skip
        z0, t0, w0 = missing[:, : k + 1], missing[:, k + 1], scale[row] * v
        A = A + (z0.T * w0) @ z0
        x = expected[row] = np.linalg.solve(A, z.T @ (w * t) + z0.T @ (w0 * t0) + Lambda @ m)
        losses[row] = (w * (t - z @ x) ** 2).sum() + (w0 * (t0 - z0 @ x) ** 2).sum(), (x - m) @ Lambda @ (x - m)
    np.testing.assert_allclose(out, expected, atol=TOLERANCE[dtype] * np.abs(expected).max())
    np.testing.assert_allclose(loss, losses, atol=2 * TOLERANCE[dtype] * losses.max())


@pytest.mark.parametrize("k", [0, 5, 20, 64])
def test_quadratic_forms_with_a_base(simd, dtype, k):
    problem = solved(k, dtype, False)[0]
    missing, v, scale, arrays = a_base(problem)
    rows, partners, z = requests(problem)
    failed, found = asked(problem, rows, partners, z, bordered=True, base=arrays)
    assert failed == 0
    for row, mine, values in zip(rows, partners, found, strict=True):
        if row < 0:
            continue
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        z0 = missing[:, : k + 1]
        Lambda = problem.row_scale[row] * np.diag(np.append(np.full(k, problem.reg), problem.reg_bias))
        A = reference.row_posterior(
            problem.values[part], None, 0.0, 1.0, problem.table[problem.indices[part]], k,
            Lambda + scale[row] * (z0.T * v) @ z0, np.zeros(k + 1),
        )[1]  # fmt: skip
        expected = reference.quadratic_forms(A, z[mine, : k + 1])
        np.testing.assert_allclose(values, expected, rtol=TOLERANCE[dtype], atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", RANKS)
def test_gram_rows(simd, dtype, k, weighted):
    problem = solved(k, dtype, weighted)[0]
    results = []
    for n_threads in (1, 3):
        out = np.zeros((len(problem.indptr) - 1, k + 2, k + 2))
        none = problem.table[:0]
        rows = KernelRows(
            problem.indptr, problem.indices, problem.values, problem.weights if weighted else problem.values[:0],
            problem.offset, problem.scale, problem.table, k, 0.0, 0.0, problem.row_scale, 1.0, none, none,
        )  # fmt: skip
        work = workspace(n_threads, _core.row_workspace(k, problem.dtype.itemsize), problem.dtype)
        _core.gram_rows(rows, work, out)
        results.append(out)
    np.testing.assert_array_equal(*results)
    for row, matrix in enumerate(results[0]):
        part = slice(problem.indptr[row], problem.indptr[row + 1])
        _, _, z, t, w = reference.row_posterior(
            problem.values[part], problem.weights[part] if weighted else None, problem.offset, problem.scale,
            problem.table[problem.indices[part]], k, np.eye(k + 1), np.zeros(k + 1),
        )  # fmt: skip
        z = np.hstack([z, t[:, None]])
        expected = np.tril((z.T * w) @ z)
        np.testing.assert_allclose(matrix, expected, atol=TOLERANCE[dtype] * max(1, np.abs(expected).max()))


# The scale of a row without ratings that is none of the problem's.
EMPTY_SCALE = 1.7


def asked(
    problem, rows, partners, z, *, bordered, n_threads=1, starts=None, order=None, full=None, weighted=False, **changes
):
    """The quadratic forms of rows with lists of partners, one a request."""
    m, none = len(rows), problem.table[:0]
    partner_indptr = np.concatenate([[0], np.cumsum([len(p) for p in partners])]).astype(np.int64)
    out = np.full(partner_indptr[-1], 7.0)
    systems = KernelRows(
        problem.indptr, problem.indices, problem.values[:0], problem.weights if weighted else problem.values[:0], 0.0, 1.0,
        problem.table, problem.k, changes.get("reg", problem.reg), changes.get("reg_bias", problem.reg_bias),
        problem.row_scale, EMPTY_SCALE, none if full is None else full, none, changes.get("base"),
    )  # fmt: skip
    failed = _core.quadratic_forms(
        systems, np.array([0, m] if starts is None else starts, np.int64),
        np.arange(m, dtype=np.int32) if order is None else order, rows, partner_indptr,
        np.concatenate(partners).astype(np.int32), z, bordered,
        workspace(n_threads, _core.quadratic_forms_workspace(problem.k, problem.dtype.itemsize), problem.dtype), out,
    )  # fmt: skip
    return failed, np.split(out, partner_indptr[1:-1])


def requests(problem, seed=2):
    """Rows of every kind, one of them twice, one without ratings; none, one, some partners, more than a pass serves."""
    rng = np.random.default_rng(seed)
    rows = np.array([3, 5, 0, -1, 6, 7, 5, *range(8, 23)], np.int32)
    counts = [2, 1, 0, 3, 64, 65, 130, *rng.integers(1, 9, 15)]
    z = factor_table(50, problem.k, problem.dtype)
    z.base[:] = np.nan
    z[:, : problem.k + 1] = rng.normal(0, 0.7, (50, problem.k + 1))
    return rows, [rng.integers(0, 50, c).astype(np.int32) for c in counts], z


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("k", RANKS)
def test_quadratic_forms(simd, dtype, k, bordered, full):
    problem = solved(k, dtype, False)[0]
    rows, partners, z = requests(problem)
    matrix = a_precision(k, problem.dtype)
    failed, found = asked(
        problem, rows, partners, z, bordered=bordered, full=kernel_precision(matrix, problem.dtype) if full else None
    )
    assert failed == 0
    for row, mine, values in zip(rows, partners, found, strict=True):
        part = slice(problem.indptr[row], problem.indptr[row + 1]) if row >= 0 else slice(0, 0)
        s = problem.row_scale[row] if row >= 0 else EMPTY_SCALE
        Lambda = matrix if full else np.diag(np.append(np.full(k, s * problem.reg), s * problem.reg_bias))
        A = reference.row_posterior(
            problem.values[part], None, 0.0, 1.0, problem.table[problem.indices[part]], k, Lambda, np.zeros(k + 1)
        )[1]
        vectors = z[mine, : k + 1].astype(np.float64)
        if not bordered:
            vectors[:, k] = 1
        np.testing.assert_allclose(values, reference.quadratic_forms(A, vectors), rtol=TOLERANCE[dtype], atol=1e-7)


@pytest.mark.parametrize("k", [0, 5, 20, 64])
def test_quadratic_forms_of_weighted_ratings(simd, dtype, k):
    problem = solved(k, dtype, True)[0]
    rows, partners, z = requests(problem)
    failed, found = asked(problem, rows, partners, z, bordered=True, weighted=True)
    assert failed == 0
    for row, mine, values in zip(rows, partners, found, strict=True):
        part = slice(problem.indptr[row], problem.indptr[row + 1]) if row >= 0 else slice(0, 0)
        s = problem.row_scale[row] if row >= 0 else EMPTY_SCALE
        Lambda = np.diag(np.append(np.full(k, s * problem.reg), s * problem.reg_bias))
        A = reference.row_posterior(
            problem.values[part], problem.weights[part], 0.0, 1.0, problem.table[problem.indices[part]], k, Lambda,
            np.zeros(k + 1),
        )[1]  # fmt: skip
        expected = reference.quadratic_forms(A, z[mine, : k + 1])
        np.testing.assert_allclose(values, expected, rtol=TOLERANCE[dtype], atol=1e-7)


def test_rows_of_which_none_has_ratings(simd, dtype):
    problem = Problem(20, dtype, counts=[0] * 5)
    means = prior_means(problem)
    failed, out, loss = problem.solve(means=means, starts=(0, 5))
    assert failed == 0
    np.testing.assert_array_equal(out, means[:, :21])
    assert not loss.any()
    failed, drawn, _ = problem.solve(means=means, starts=(0, 5), noise=1.0)
    assert failed == 0
    assert (drawn != out).all()
    rows, partners = np.array([-1, 2], np.int32), [np.arange(3, dtype=np.int32)] * 2
    z = factor_table(3, 20, problem.dtype)
    z[:, :21] = 1
    failed, found = asked(problem, rows, partners, z, bordered=False)
    assert failed == 0
    for values, s in zip(found, (EMPTY_SCALE, problem.row_scale[2]), strict=True):
        np.testing.assert_allclose(values, (20 / problem.reg + 1 / problem.reg_bias) / s, rtol=TOLERANCE[dtype])


def test_quadratic_forms_give_the_same_bits_for_any_threads_and_partners(dtype):
    problem = Problem(20, dtype)
    rows, partners, z = requests(problem)
    first = asked(problem, rows, partners, z, bordered=False)[1]
    order = np.random.default_rng(0).permutation(len(rows)).astype(np.int32)
    other = asked(problem, rows, partners, z, bordered=False, n_threads=3, starts=[0, 2, 9, len(rows)], order=order)[1]
    alone = asked(problem, rows, [p[:1] for p in partners], z, bordered=False)[1]
    for x, y, one in zip(first, other, alone, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(x[:1], one)


def test_quadratic_forms_of_singular_rows_are_infinite(simd, dtype):
    problem = Problem(8, dtype)
    rows, partners, z = requests(problem)
    failed, found = asked(problem, rows, partners, z, bordered=False, reg=0.0, reg_bias=0.0)
    few = [row < 0 or problem.indptr[row + 1] - problem.indptr[row] < 9 for row in rows]
    singular = [x and len(p) > 0 for x, p in zip(few, partners, strict=True)]
    assert failed == sum(singular)
    for x, values in zip(singular, found, strict=True):
        assert np.isinf(values).all() if x else np.isfinite(values).all()


def packed_covariances(problem, rows, n_threads=1, full=None, reg=None):
    """The packed covariances of rows, and how many were singular."""
    none = problem.table[:0]
    systems = KernelRows(
        problem.indptr, problem.indices, problem.values[:0], problem.values[:0], 0.0, 1.0, problem.table, problem.k,
        problem.reg if reg is None else reg, problem.reg_bias if reg is None else reg, problem.row_scale, EMPTY_SCALE,
        none if full is None else full, none,
    )  # fmt: skip
    out = aligned(len(rows) + 1, covariance_width(problem.k, problem.dtype), problem.dtype)[: len(rows)]
    work = workspace(n_threads, _core.quadratic_forms_workspace(problem.k, problem.dtype.itemsize), problem.dtype)
    order = np.random.default_rng(n_threads).permutation(len(rows)).astype(np.int32)
    failed = _core.covariances(systems, np.array([0, 2, 9, len(rows)]), order, rows, work, out)
    return out, failed


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("k", RANKS)
def test_covariances(simd, dtype, k, full):
    problem = solved(k, dtype, False)[0]
    rows, matrix = requests(problem)[0], a_precision(k, problem.dtype)
    precision = kernel_precision(matrix, problem.dtype) if full else None
    found, failed = packed_covariances(problem, rows, full=precision)
    assert failed == 0
    np.testing.assert_array_equal(found, packed_covariances(problem, rows, 3, full=precision)[0])
    A = []
    for row in rows:
        part = slice(problem.indptr[row], problem.indptr[row + 1]) if row >= 0 else slice(0, 0)
        s = problem.row_scale[row] if row >= 0 else EMPTY_SCALE
        Lambda = matrix if full else np.diag(np.append(np.full(k, s * problem.reg), s * problem.reg_bias))
        A.append(
            reference.row_posterior(
                problem.values[part], None, 0.0, 1.0, problem.table[problem.indices[part]], k, Lambda, np.zeros(k + 1)
            )[1]
        )
    expected = reference.packed(np.array(A))
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=TOLERANCE[dtype] * np.abs(expected).max())


def test_covariances_of_singular_rows_are_no_numbers(simd, dtype):
    problem = Problem(8, dtype)
    rows = requests(problem)[0]
    found, failed = packed_covariances(problem, rows, reg=0.0)
    singular = [row < 0 or problem.indptr[row + 1] - problem.indptr[row] < 9 for row in rows]
    assert failed == sum(singular) > 0
    np.testing.assert_array_equal(np.isnan(found[:, :45]).all(1), singular)
    assert np.isfinite(found[~np.array(singular)]).all()


def test_draws_depend_on_seed_draw_index_and_row_alone(dtype):
    problem = Problem(20, dtype)
    first = problem.solve(noise=1.0, n_threads=1)[1]
    np.testing.assert_array_equal(first, problem.solve(noise=1.0, n_threads=3, order=problem.order[::-1].copy())[1])
    for changes in ({"seed": 4}, {"draw_index": 6}):
        assert (first != problem.solve(noise=1.0, **changes)[1]).all()


def test_philox_gives_the_words_that_its_authors_publish():
    out = np.empty(4, np.uint32)
    for counter, key, words in (
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ):
        _core.philox(np.array(counter, np.uint32), np.array(key, np.uint32), out)
        assert out.tolist() == words


def test_normals_are_normal():
    out = np.empty((4000, 25))
    _core.normals(1, 2, out)
    assert scipy.stats.kstest(out.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(out.T) - np.eye(25)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)
    again = np.empty((4000, 3))
    _core.normals(1, 2, again)
    np.testing.assert_array_equal(again, out[:, :3])


def test_normals_are_box_and_mullers():
    seed, draw_index, row = 2**33 + 5, 2**34 + 7, 1999
    out = np.empty((2000, 12))
    _core.normals(seed, draw_index, out)
    for block in range(3):
        words = np.empty(4, np.uint32)
        counter = np.array([block, row, draw_index % 2**32, draw_index >> 32], np.uint32)
        _core.philox(counter, np.array([5, 2], np.uint32), words)
        u = (words + 0.5) / 2**32
        radius, angle = np.sqrt(-2 * np.log(u[::2])), 2 * np.pi * u[1::2] - np.pi / 4
        expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()
        np.testing.assert_allclose(out[row, 4 * block : 4 * block + 4], expected, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [0, 1, 7, 20, 64, 71, 72, 150])
def test_sparse_product(simd, dtype, k, weighted):
    rng = np.random.default_rng(k)
    matrix = sp.random_array((40, 90), density=0.2, random_state=rng, format="csr", dtype=dtype)
    matrix.data[:] = rng.normal(0, 1, matrix.nnz)
    if not weighted:
        matrix.data[:] = 1
    table, minus = factor_table(90, k, np.dtype(dtype)), factor_table(40, k, np.dtype(dtype))
    table.base[:] = np.nan
    table[:, : k + 1], minus[:, : k + 1] = rng.normal(0, 1, (90, k + 1)), rng.normal(0, 1, (40, k + 1))
    row_scale = rng.uniform(0.5, 2, 40)
    rows = SparseOperator.of(matrix, np.dtype(dtype))
    if not weighted:
        rows = rows._replace(values=rows.values[:0])
    for extra, n_threads in (({}, 1), ({"ridge": 0.7, "minus": minus}, 3)):
        out = np.full((40, table.shape[1]), 7, dtype)
        rows.times(table, k + 1, row_scale, n_threads, out, **extra)
        expected = matrix.astype(float) @ table[:, : k + 1].astype(float)
        if extra:
            expected -= 0.7 * minus[:, : k + 1]
        np.testing.assert_allclose(out[:, : k + 1], row_scale[:, None] * expected, atol=TOLERANCE[dtype] * 20)
        assert (out[:, k + 1 :] == 7).all()


def test_what_conjugate_gradients_need_of_tables(dtype):
    rng = np.random.default_rng(0)
    x, y, total, out = (rng.normal(0, 1, (5000, 24)).astype(dtype) for _ in range(4))
    row_scale, a, b = rng.uniform(0, 2, 5000), rng.normal(0, 1, 21), rng.normal(0, 1, 21)
    parts = [np.empty((_regression.n_chunks(5000), 21)) for _ in range(2)]
    for n_threads, part in zip((1, 3), parts, strict=True):
        _regression.column_products(x, y, row_scale, 21, n_threads, part)
    np.testing.assert_array_equal(*parts)
    exact = (row_scale[:, None] * x.astype(float) * y)[:, :21].sum(0)
    np.testing.assert_allclose(parts[0].sum(0), exact, rtol=1e-9, atol=1e-6)
    before = out.copy()
    _regression.scaled_difference(x, y, row_scale, 21, 2, out)
    np.testing.assert_allclose(out[:, :21], row_scale[:, None] * (x - y)[:, :21], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out[:, 21:], before[:, 21:])
    expected = a * x[:, :21] + b * y[:, :21]
    sums = total[:, :21] + expected
    _regression.axpby(a, x, b, 2, y, total)
    np.testing.assert_allclose(y[:, :21], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(total[:, :21], sums, rtol=1e-5, atol=1e-5)


def step_work(n_threads, columns, dtype):
    blocks = -(-columns // _regression.PACKED_COLUMNS)
    return workspace(n_threads, _regression.STEP_WORK_ROWS * blocks * _regression.PACKED_COLUMNS, np.dtype(dtype))


def of_packed(packed, columns, dtype):
    return packed[:, :columns] if np.dtype(dtype) == np.float64 or columns == 1 else reference.unpacked(packed, columns)


def random_table(rng, n, k, dtype):
    """A table, with nothing but its own columns worth reading."""
    table = factor_table(n, k, np.dtype(dtype))
    table.base[:] = np.nan
    table[:, : k + 1] = rng.normal(0, 1, (n, k + 1))
    return table


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [0, 1, 15, 16, 20, 31, 32, 64, 95, 96, 200])
def test_steps_of_regressions(simd, dtype, k, weighted):
    rng = np.random.default_rng(k)
    columns, n, f = k + 1, 300, 140
    matrix = sp.random_array((n, f), density=0.3, random_state=rng, format="csr", dtype=dtype)
    matrix.data[:] = rng.uniform(0.5, 2, matrix.nnz) if weighted else 1
    forward, backward = (SparseOperator.of(x, np.dtype(dtype)) for x in (matrix, matrix.T.tocsr()))
    if not weighted:
        forward, backward = (x._replace(values=x.values[:0]) for x in (forward, backward))
    rows, means, last_rows = (random_table(rng, n, k, dtype) for _ in range(3))
    coefficients, last = (random_table(rng, f, k, dtype) for _ in range(2))
    scale, factor, row_scale, counts = (rng.uniform(0.5, 2, n) for _ in range(4))
    row_scale[::7] = 0
    inverse, (precision, information, shared) = rng.uniform(0.5, 2, f), rng.uniform(0, 2, (3, columns))
    found = []
    for n_threads in (1, 3):
        work = step_work(n_threads, columns, dtype)
        work[:] = np.nan
        residuals, steps = (
            aligned(length, packed_width(columns, np.dtype(dtype)), np.dtype(dtype)) for length in (n, f)
        )
        residuals[:] = steps[:] = np.nan
        change, coefficients_after, last_after = means.copy(), coefficients.copy(), last.copy()
        _regression.packed_difference(rows, means, scale, columns, work, residuals)
        sums = np.full((len(backward.tasks.starts) - 1, 5, columns), np.nan)
        _regression.packed_direction(
            backward.tasks.starts, backward.tasks.order, backward.indptr, backward.indices, backward.values, residuals,
            inverse, 0.7, coefficients, last, work, steps, sums,
        )  # fmt: skip
        more = np.full((len(forward.tasks.starts) - 1, 3, columns), np.nan)
        _regression.packed_change(
            forward.tasks.starts, forward.tasks.order, forward.indptr, forward.indices, forward.values, steps, factor,
            last_rows, row_scale, counts, precision, information, shared, work, change, more,
        )  # fmt: skip
        _regression.packed_axpby(precision, steps, information, work, last_after, coefficients_after)
        found.append([of_packed(residuals, columns, dtype), of_packed(steps, columns, dtype), sums.sum(0), more.sum(0)])
        found[-1] += [x[:, :columns] for x in (change, last_after, coefficients_after)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    residuals, steps, sums, more, change, last_after, coefficients_after = found[0]
    rows, means, last_rows, coefficients, last = (
        x[:, :columns].astype(float) for x in (rows, means, last_rows, coefficients, last)
    )
    rounding = 2.0**-8 if np.dtype(dtype) == np.float32 else 1e-12
    np.testing.assert_allclose(residuals, scale[:, None] * (rows - means), rtol=rounding)
    np.testing.assert_array_equal(residuals, reference.bfloat16(residuals))
    slope, step, expected = reference.step_direction(
        matrix.T.astype(float), residuals, inverse, 0.7, coefficients, last
    )
    tolerance = TOLERANCE[dtype] * 20
    np.testing.assert_allclose(steps, step, rtol=rounding, atol=tolerance)
    np.testing.assert_array_equal(steps, reference.bfloat16(steps))
    np.testing.assert_allclose(sums[1], expected[1], atol=100 * tolerance)
    for place, (x, y) in {0: (slope, steps), 2: (steps, steps), 3: (steps, last), 4: (last, last)}.items():
        np.testing.assert_allclose(sums[place], (x * y.astype(float)).sum(0), rtol=1e-4, atol=100 * tolerance)
    expected, products = reference.step_change(
        matrix.astype(float), steps, factor, last_rows, row_scale, counts, precision, information, shared
    )
    np.testing.assert_allclose(change, expected, atol=tolerance)
    np.testing.assert_allclose(more, products, rtol=1e-4, atol=100 * tolerance)
    expected = precision * steps + information * last
    np.testing.assert_allclose(last_after, expected, atol=tolerance)
    np.testing.assert_allclose(coefficients_after, coefficients + expected, atol=tolerance)


def test_ratings_without_weight_change_nothing(simd, dtype):
    problem = Problem(20, dtype, weighted=True)
    problem.weights[::3] = 0
    problem.weights[problem.indptr[5] : problem.indptr[6]] = 0
    failed, out, loss = problem.solve()
    solutions, losses = problem.expected()
    assert failed == 0
    np.testing.assert_allclose(out, solutions, atol=TOLERANCE[dtype] * np.abs(solutions).max())
    np.testing.assert_allclose(loss, losses, atol=TOLERANCE[dtype] * losses.max())
    assert not out[5].any()
    assert not loss[5].any()


def test_a_weight_of_two_is_the_rating_twice(simd, dtype):
    once = Problem(20, dtype, weighted=True)
    once.weights[:] = np.random.default_rng(1).integers(0, 3, len(once.weights))
    times = once.weights.astype(int)
    twice = Problem(20, dtype)
    twice.table, twice.row_scale, twice.order = once.table, once.row_scale, once.order
    twice.indptr = np.concatenate([[0], np.cumsum(times)])[once.indptr].astype(np.int64)
    twice.indices, twice.values = np.repeat(once.indices, times), np.repeat(once.values, times)
    for a, b in zip(once.solve()[1:], twice.solve()[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE[dtype] * np.abs(b).max())


def test_a_call_solves_its_own_rows_only(simd, dtype):
    problem = Problem(20, dtype)
    _, whole, losses = problem.solve()
    # As the pool of Python threads does it: the tasks in several calls.
    for starts in ((0, 7, 8), (8, 15), (15, 23)):
        failed, out, loss = problem.solve(starts=starts)
        rows = np.isin(np.arange(23), problem.order[starts[0] : starts[-1]])
        assert failed == 0
        np.testing.assert_array_equal(out[rows], whole[rows])
        np.testing.assert_array_equal(loss[rows], losses[rows])
        assert (out[~rows] == 7).all()
        assert (loss[~rows] == 7).all()


@pytest.mark.parametrize("k", [0, 5, 20, 64, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_tasks_and_order_change_no_bit(simd, dtype, k, weighted):
    problem = Problem(k, dtype, weighted)
    _, once, loss = problem.solve()
    for n_threads, starts, order in (
        (2, (0, 7, 8, 15, 23), None),
        (5, tuple(range(24)), None),
        (2, (0, 23), np.arange(23, dtype=np.int32)),
        (2, (0, 5, 5, 5, 23), np.arange(23, dtype=np.int32)[::-1].copy()),
        (40, tuple(range(24)), None),
    ):
        _, again, other = problem.solve(n_threads, starts, order)
        np.testing.assert_array_equal(once, again)
        np.testing.assert_array_equal(loss, other)


@pytest.mark.parametrize("k", [0, 1, 20, 64, 200])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.skipif(len(LEVELS) == 1, reason="this machine has one instruction set only")
def test_levels_agree(restored_simd, dtype, k, weighted):
    problem = Problem(k, dtype, weighted)
    results = {}
    for level in LEVELS:
        _core.set_simd_level(level)
        results[level] = problem.solve()[1]
    for level in LEVELS:
        scale = np.abs(results["base"]).max()
        np.testing.assert_allclose(results[level], results["base"], atol=TOLERANCE[dtype] * scale)


def test_inputs_may_be_read_only(simd, dtype):
    problem = Problem(8, dtype, weighted=True)
    for array in (problem.indptr, problem.indices, problem.values, problem.weights, problem.table, problem.row_scale):
        array.setflags(write=False)
    assert problem.solve(order=np.arange(23, dtype=np.int32))[0] == 0


def test_singular_rows_are_counted_and_left_alone(simd, dtype):
    problem = Problem(20, dtype)
    failed, out, loss = problem.solve(reg=0.0, reg_bias=0.0)
    counts = np.diff(problem.indptr)
    singular = (counts > 0) & (counts < 21)
    assert failed == singular.sum() > 0
    assert (out[singular] == 7).all()
    assert np.isnan(loss[singular]).all()
    assert np.isfinite(out[~singular]).all()
    assert np.isfinite(loss[~singular]).all()


def test_pivots_of_rounding_errors_are_vanished_ones(simd, dtype):
    # Two factors are the same: what is left of the second pivot is rounding, of either sign.
    problem = Problem(2, dtype, counts=[*range(3, 100)])
    problem.table[:, 1] = problem.table[:, 0]
    failed, out, loss = problem.solve(reg=0.0, reg_bias=0.0)
    assert failed == len(out)
    assert (out == 7).all()
    assert np.isnan(loss).all()


def test_a_nan_is_a_failed_row_and_no_other(simd, dtype):
    problem = Problem(20, dtype)
    table = factor_table(300, 20, problem.dtype)
    table[:, :21] = problem.table[:, :21]
    table[problem.indices[problem.indptr[6]], 0] = np.nan
    failed, out, loss = problem.solve(table=table)
    touched = [np.isin(problem.indices[problem.indptr[6]], problem.indices[a:b]) for a, b in
               zip(problem.indptr[:-1], problem.indptr[1:], strict=True)]  # fmt: skip
    assert failed == sum(touched) >= 1
    assert np.isnan(loss[touched]).all()
    assert np.isfinite(out).all()


def test_peak_counts_operations(simd):
    assert _core.peak_flops(1000, 2) == 2 * _core.peak_flops(1000, 1) > 0


def test_unknown_levels_are_refused(restored_simd):
    _core.set_simd_level("base")
    for name in ("v5", "V3", "avx2"):
        with pytest.raises(ValueError, match=rf"ALSX_SIMD is '{name}'; .* base, v3, v4"):
            _core.set_simd_level(name)
        assert _core.simd_level() == "base"


def test_a_level_is_a_cap(restored_simd):
    for cap in ("base", "v3", "v4"):
        assert (
            _core.set_simd_level(cap) == _core.simd_level() == max(x for x in LEVELS if x in ("base", cap) or x < cap)
        )
    assert _core.set_simd_level(None) == _core.set_simd_level("") == LEVELS[-1]


def in_a_process(level):
    code = "import alsx; print(alsx._core.simd_level())"
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, "ALSX_SIMD": level}, capture_output=True,
                          text=True, check=False)  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_caps_the_level(level):
    assert in_a_process(level).stdout.strip() == level


def test_an_unknown_level_in_the_environment_is_told():
    done = in_a_process("sse9")
    assert done.returncode != 0
    assert "ALSX_SIMD is 'sse9'; it caps the instruction set and must be one of base, v3, v4" in done.stderr

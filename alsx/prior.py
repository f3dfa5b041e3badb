"""Learned prior means: M = F W, with F what is known of a side's rows and W a ridge regression of the tables on it.

In the notation of ``_core.pyx``: a row's prior is N(m, (s Lambda)^-1) with m = W' f, f the row of F, and W has the penalty
ridge tr(W' W Lambda). Lambda is diagonal, so W falls apart into one ridge regression a column of the table,

    minimise over w    sum_rows s (x - f' w)^2 + ridge |w|^2,

which lowers the models' objective with both tables fixed. F is a sparse matrix of features, or who rated what: a row of
ones where the row has ratings, divided by the root of their number (SVD++ and its flipped twin, see `alsx.FactorALS`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from alsx import _core

Array = NDArray[Any]

# Tasks of equal work that the rows of one side are cut into: enough that 64 threads end together, few enough that
# handing them out costs nothing.
N_TASKS = 4096

# Rows with fewer ratings than this are regularised as if they had so many: the less a row has told, the less it may move.
# 10 to 50 are equally good on MovieLens 100k and latest-small, and better than none (benchmarks/NOTES.md).
LEAST = 30.0

# The most columns of features whose normal equations are solved exactly; beyond, conjugate gradients.
EXACT = 1500

# Entries of a sparse matrix that NumPy works on at a time.
SOME = 2**22


def aligned(n_rows: int, width: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros of shape (n_rows, width) that begin at a 64-byte boundary, with room for a whole vector behind."""
    spare = 64 // dtype.itemsize
    buffer = np.zeros(n_rows * width + spare + _core.PAD, dtype)
    first = (-buffer.ctypes.data % 64) // dtype.itemsize
    return buffer[first : first + n_rows * width].reshape(n_rows, width)


def masses(indptr: Array, weights: Array | None) -> NDArray[np.float64]:
    """The (weighted) number of ratings of each row: a rating of weight 2 counts like two ratings."""
    counts = np.diff(indptr)
    mass = counts.astype(np.float64)
    if weights is not None:
        # Summed row by row: a difference of running sums would lose the light rows behind heavy ones.
        mass[counts > 0] = np.add.reduceat(weights, indptr[:-1][counts > 0], dtype=np.float64)
    return mass


def scales(mass: Array, exponent: float) -> NDArray[np.float64]:
    """The scale s of each row's regularisation, from its (weighted) number of ratings."""
    return np.asarray(np.maximum(mass, LEAST) ** exponent)


class Tasks(NamedTuple):
    """The order rows are worked on, heaviest first, and where each task of about equal work begins in it."""

    order: NDArray[np.int32]
    starts: NDArray[np.int64]


def tasks(counts: NDArray[np.int64], per_entry: float, per_row: float) -> Tasks:
    """Cut rows into tasks, heaviest rows first, so that no thread is left with a long row at the end."""
    order = np.argsort(-counts, kind="stable").astype(np.int32)
    work = np.cumsum(counts[order] * per_entry + per_row)
    n_tasks = max(1, min(N_TASKS, len(counts)))
    shares = work[-1] * np.arange(1, n_tasks) / n_tasks if len(work) else []
    starts = np.unique(np.concatenate([[0], np.searchsorted(work, shares), [len(counts)]])).astype(np.int64)
    return Tasks(order, starts)


def row_tasks(counts: NDArray[np.int64], k: int) -> Tasks:
    """The tasks of row solves of rank k, by what a rating and a row cost."""
    width = k + 1
    return tasks(counts, float(width * (width + 32)), float(width) ** 3 + 500.0)


def column_sums(x: Array, y: Array, scaling: Array, columns: int, n_threads: int) -> NDArray[np.float64]:
    """Sum of scaling x y over the rows, by column."""
    out = np.empty((_core.n_chunks(len(x)), columns))
    _core.column_products(x, y, scaling, columns, n_threads, out)
    return np.asarray(out.sum(0))


class Rows(NamedTuple):
    """A sparse matrix by row, with the tasks its rows are cut into; without values all entries are 1."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Array
    tasks: Tasks

    @classmethod
    def of(cls, matrix: Any, dtype: np.dtype[Any]) -> Rows:
        """From a scipy CSR matrix."""
        indptr = matrix.indptr.astype(np.int64)
        return cls(indptr, matrix.indices.astype(np.int32), matrix.data.astype(dtype), tasks(np.diff(indptr), 1.0, 4.0))

    def times(
        self,
        table: Array,
        columns: int,
        scaling: Array,
        n_threads: int,
        out: Array,
        ridge: float = 0.0,
        minus: Array | None = None,
    ) -> None:
        """Set out to diag(scaling) (matrix @ table - ridge * minus)."""
        minus = table[:0] if minus is None else minus
        _core.sparse_product(
            self.tasks.starts, self.tasks.order, self.indptr, self.indices, self.values, table, columns, scaling, ridge,
            minus, n_threads, out,
        )  # fmt: skip


class Map:
    """
    One block of what is known of a side's rows, F, and the map W from it to their prior means.

    Parameters
    ----------
    forward, backward : Rows
        F by row, (n, f), and by column, (f, n), both without `factor`.
    factor : ndarray of float64, shape (n,)
        What each row of F is multiplied by.
    ridge : float
        Penalty of W, in numbers of rows of mean scale.
    scaling : ndarray of float64, shape (n,)
        The scale s of each row's prior, 0 for rows that W must not learn from.
    columns, ld : int
        Columns of the tables, and how many reals a row of them takes.
    """

    def __init__(
        self,
        forward: Rows,
        backward: Rows,
        factor: Array,
        ridge: float,
        scaling: Array,
        columns: int,
        ld: int,
        dtype: np.dtype[Any],
    ) -> None:
        n, f = len(factor), len(backward.indptr) - 1
        self.forward, self.backward, self.columns = forward, backward, columns
        self.factor = np.asarray(factor, np.float64)
        self.features: Any = None
        self.ridge_given = ridge
        rated = scaling > 0
        self.ridge = ridge * float(scaling[rated].mean()) if rated.any() else ridge
        self.scaling = scaling
        self.weights = aligned(f, ld, dtype)
        self.step = aligned(f, ld, dtype)
        self.change = aligned(n, ld, dtype)
        self.ones = np.ones(f)
        self.factorised: Any = None
        if f <= EXACT and len(forward.values):
            self.factorised = scipy.linalg.cho_factor(self._normal_matrix())
            return
        # Jacobi's preconditioner: the diagonal of F' S F + ridge.
        square = self.factor**2 * scaling
        self.diagonal = np.full(f, self.ridge)
        busy = np.flatnonzero(np.diff(backward.indptr))
        # Some millions of entries at a time: all of them at once would be the largest arrays of a fit.
        part = backward.indptr[busy] // SOME
        for rows in np.split(busy, np.flatnonzero(np.diff(part)) + 1) if len(busy) else []:
            first, last = backward.indptr[rows[0]], backward.indptr[rows[-1] + 1]
            entries = square[backward.indices[first:last]]
            if len(backward.values):
                entries *= backward.values[first:last].astype(np.float64) ** 2
            self.diagonal[rows] += np.add.reduceat(entries, backward.indptr[rows] - first)
        # All sums are in this unit, or heavy weights would make the squares of sums overflow; a power of two changes no bit.
        largest = float(self.diagonal.max(initial=np.finfo(np.float64).tiny))
        self.unit = 2.0 ** math.floor(math.log2(largest)) if math.isfinite(largest) else 1.0
        # The last direction, and what it did to the means: a second direction, that makes one step a sweep worth many.
        self.last_step, self.last_change = aligned(f, ld, dtype), aligned(n, ld, dtype)
        self.last_length = np.zeros(columns)

    def _normal_matrix(self) -> Array:
        """F' S F + ridge (f, f), in double precision."""
        matrix = scipy.sparse.csr_array(
            (self.forward.values.astype(np.float64), self.forward.indices, self.forward.indptr),
            shape=(len(self.factor), len(self.weights)),
        )
        scaled = scipy.sparse.diags_array(self.scaling * self.factor**2) @ matrix
        return np.asarray((matrix.T @ scaled).toarray() + self.ridge * np.eye(len(self.weights)))

    def improve(self, table: Array, means: Array, n_threads: int) -> Array:
        """
        Lower sum s (x - m)^2 + ridge |w|^2 of every column, and update the means.

        Returns
        -------
        fall : ndarray of float64, shape (columns,)
            By how much it fell.
        """
        columns, change, step = self.columns, self.change, self.step
        # F' S (X - M) - ridge W, the steepest way down
        _core.scaled_difference(table, means, self.scaling * self.factor, columns, n_threads, change)
        if self.factorised is not None:
            self.backward.times(change, columns, self.ones, n_threads, step, self.ridge, self.weights)
            slope = step[:, :columns].astype(np.float64)
            solution = scipy.linalg.cho_solve(self.factorised, slope)
            step[:, :columns] = solution
            self.forward.times(step, columns, self.factor, n_threads, change)
            means[:, :columns] += change[:, :columns]
            self.weights[:, :columns] += step[:, :columns]
            return np.asarray(np.einsum("ij,ij->j", slope, solution))
        self.backward.times(change, columns, 1.0 / self.diagonal, n_threads, step, self.ridge, self.weights)
        self.forward.times(step, columns, self.factor, n_threads, change)

        def products(x: Array, y: Array, scaling: Array) -> Array:
            return column_sums(x, y, scaling, columns, n_threads) / self.unit

        # The best combination of the preconditioned slope and the last direction: exact for every column.
        last = self.last_step
        slope_new, slope_last = products(step, step, self.diagonal), products(last, step, self.diagonal)
        ridges = self.ridge * self.ones
        new = products(change, change, self.scaling) + products(step, step, ridges)
        both = products(change, self.last_change, self.scaling) + products(step, last, ridges)
        old = self.last_length
        determinant = new * old - both**2
        plain = ~(determinant > 1e-6 * new * old)
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.where(plain, slope_new / new, (old * slope_new - both * slope_last) / determinant)
            b = np.where(plain, 0.0, (new * slope_last - both * slope_new) / determinant)
        a[~(new > 0)] = 0.0
        b[~(new > 0)] = 0.0
        _core.axpby(a, step, b, n_threads, last, self.weights)
        _core.axpby(a, change, b, n_threads, self.last_change, means)
        self.last_length = a * a * new + 2 * a * b * both + b * b * old
        return np.asarray((a * slope_new + b * slope_last) * self.unit)

    def squares(self) -> Array:
        """|w|^2 of every column."""
        weights = self.weights[:, : self.columns].astype(np.float64)
        return np.asarray(np.einsum("ij,ij->j", weights, weights))


class PriorMean:
    """
    The prior means of a side's rows, the sum of several maps.

    Parameters
    ----------
    maps : list of Map
        At least one.
    means : ndarray, shape (n, ld)
        Zeros; the means from now on.
    """

    def __init__(self, maps: list[Map], means: Array) -> None:
        self.maps, self.means = maps, means

    def improve(self, table: Array, precision: Array, n_threads: int) -> float:
        """Lower the objective with respect to every map in turn; return by how much, precision-weighted."""
        return sum(float(part.improve(table, self.means, n_threads) @ precision) for part in self.maps)

    def penalty(self, precision: Array) -> float:
        """The penalty of the maps themselves."""
        return sum(part.ridge * float(part.squares() @ precision) for part in self.maps)


class Prior(NamedTuple):
    """
    What is expected of a side's rows, in rating units: for rows that come after the fit.

    Parameters
    ----------
    reg, reg_bias, exponent : float
        The precision diag(reg ... reg, reg_bias) times a row's number of ratings to the power `exponent`.
    precision : ndarray of float64, shape (k+1, k+1), or None
        The precision of every row, instead of the above; relative to that of the ratings' noise.
    mean : ndarray of float64, shape (k+1,), or None
        The part of the mean that all rows share; None for 0.
    implicit : ndarray, shape (n_other, k+1), or None
        What each row of the other side that is rated adds to the mean, over the root of their number.
    features : ndarray, shape (f, k+1), or None
        What each feature adds to the mean of rows with ratings.
    cold : ndarray, shape (f, k+1), or None
        What each feature adds to rows without ratings.
    unknown : ndarray of float64, shape (k+1,), or None
        A row of which nothing is known: the mean of all rows, where means are learned from who rated what; None for 0.
    few : float
        A number of ratings that hardly any row of the fit was below. What fewer ratings say by being there is
        extrapolated, so that it is mixed with `unknown`.
    """

    reg: float = 0.0
    reg_bias: float = 0.0
    exponent: float = 0.0
    precision: Array | None = None
    mean: Array | None = None
    implicit: Array | None = None
    features: Array | None = None
    cold: Array | None = None
    unknown: Array | None = None
    few: float = 1.0

    def means(self, indptr: Array, indices: Array, features: Any, k: int) -> Array:
        """
        Prior means of rows.

        Parameters
        ----------
        indptr, indices : ndarray
            The rows of the other side that each row rated, or was rated by, by CSR offsets.
        features : scipy CSR matrix, shape (n, f), or None
            Features of the rows; a row of zeros is not known.
        k : int
            Rank.

        Returns
        -------
        means : ndarray of float64, shape (n, k+1)
        """
        n = len(indptr) - 1
        counts = np.diff(indptr)
        means = np.zeros((n, k + 1))
        if self.mean is not None:
            means += self.mean
        if self.implicit is not None and len(indices):
            ones = scipy.sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(n, len(self.implicit)))
            means += (ones @ self.implicit.astype(np.float64)) / np.sqrt(np.maximum(counts, 1))[:, None]
        if self.unknown is not None:
            share = (counts / np.maximum(counts + self.few - 1, 1))[:, None]
            means = share * means + (1 - share) * self.unknown
        if features is not None and self.features is not None and self.cold is not None:
            rated = features @ self.features.astype(np.float64)
            means += np.where(counts[:, None] > 0, rated, 0.0)
            alone = (counts == 0) & (np.diff(features.indptr) > 0)
            means[alone] = features[np.flatnonzero(alone)] @ self.cold.astype(np.float64)
        return means


def indicators(
    rows: Any,
    columns: Any,
    row_tasks: Tasks,
    column_tasks: Tasks,
    ridge: float,
    scaling: Array,
    n_columns: int,
    ld: int,
    dtype: np.dtype[Any],
) -> Map:
    """Who rated what: a map from the rated ones of the other side, each row divided by the root of their number."""
    none = np.empty(0, dtype)
    counts = np.diff(rows.indptr)
    return Map(
        Rows(rows.indptr, rows.indices, none, row_tasks),
        Rows(columns.indptr, columns.indices, none, column_tasks),
        1.0 / np.sqrt(np.maximum(counts, 1)),
        ridge, scaling, n_columns, ld, dtype,
    )  # fmt: skip


def feature_map(
    features: scipy.sparse.csr_array, ridge: float, scaling: Array, columns: int, ld: int, dtype: np.dtype[Any]
) -> Map:
    """A map from features of the rows, a CSR matrix (n, f)."""
    forward, backward = Rows.of(features, dtype), Rows.of(features.T.tocsr(), dtype)
    part = Map(forward, backward, np.ones(features.shape[0]), ridge, scaling, columns, ld, dtype)
    part.features = features
    return part


def ridge_regression(features: scipy.sparse.csr_array, table: Array, weights: Array, ridge: float) -> Array:
    """
    The map W that minimises sum_rows weight |x - W' f|^2 + ridge |W|^2, in double precision.

    Parameters
    ----------
    features : scipy CSR array, shape (n, f)
    table : ndarray, shape (n, columns)
    weights : ndarray of float64, shape (n,)
    ridge : float

    Returns
    -------
    W : ndarray of float64, shape (f, columns)
    """
    scaled = scipy.sparse.diags_array(weights) @ features
    target = scaled.T @ table.astype(np.float64)
    f = features.shape[1]
    if f <= EXACT:
        normal = (features.T @ scaled).toarray() + ridge * np.eye(f)
        return np.asarray(scipy.linalg.solve(normal, target, assume_a="pos"))
    diagonal = np.asarray((features.multiply(features)).T @ weights).ravel() + ridge
    normal = scipy.sparse.linalg.LinearOperator((f, f), lambda x: features.T @ (scaled @ x) + ridge * x)
    inverse = scipy.sparse.linalg.LinearOperator((f, f), lambda x: x / diagonal)
    found = [scipy.sparse.linalg.cg(normal, column, rtol=1e-6, maxiter=500, M=inverse)[0] for column in target.T]
    return np.column_stack(found)

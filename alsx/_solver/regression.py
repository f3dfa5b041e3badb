"""Learned prior means: M = F W, where W is a ridge regression of a table on F, what is known of its rows.

In the notation of ``_core.pyx``: a row's prior is N(m, (s Lambda)^-1) with m = W' f, f the row of F, and W has the penalty
ridge tr(W' W Lambda). Lambda is diagonal, so W falls apart into one ridge regression per column of the table,

    minimise over w    sum_rows s (x - f' w)^2 + ridge |w|^2,

which lowers the models' objective with both tables fixed. F is a sparse matrix of features, or the rated-item sets: ones
where a row has ratings, divided by the root of their number (SVD++ for users; for items the same with their raters). Weights
of ratings stand instead of the ones, and their sum instead of the number, so that a rating of weight 2 is one that is there
twice, and one of weight 0 is none.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from alsx import _core, _regression
from alsx._solver.tables import Tasks, aligned, equal_tasks, workspace
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]

# The most columns of features whose normal equations are solved exactly; beyond, conjugate gradients.
MAX_EXACT_FEATURES = 1500

# Entries of a sparse matrix that NumPy works on at a time.
CHUNK_ENTRIES = 2**22

# Columns that a step takes at a time: the tables that it works on are so much smaller. With 32 of them, more passes over the
# ratings cost a tenth of an iteration at k = 64 (benchmarks/NOTES.md).
STEP_COLUMNS = 64

# Below this share of the product of two lengths, two directions count as parallel and the step is taken along one.
MIN_INDEPENDENT_SHARE = 1e-6

# How much more a rating is taken to tell of a row than the mean square of what it multiplies. A step is then shorter than if
# columns were independent, which they are not: on MovieLens 100k and latest-small 1 and 1.4 are as fast where they work,
# and now and then lead too far, so that a half-sweep is done again (benchmarks/NOTES.md).
INFORMATION_MARGIN = 2.0


def column_sums(x: Array, y: Array, row_scale: Array, columns: int, n_threads: int) -> Floats:
    """Return the sum of row_scale x y over the rows, by column."""
    out = np.empty((_regression.n_chunks(len(x)), columns))
    _regression.column_products(x, y, row_scale, columns, n_threads, out)
    return np.asarray(out.sum(0))


class SparseOperator(NamedTuple):
    """A sparse matrix by row, and the tasks its rows are cut into; without values all entries are 1.

    Parameters
    ----------
    indptr, indices, values : ndarray
        The matrix in CSR form; `values` may be empty.
    tasks : Tasks
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Array
    tasks: Tasks

    @classmethod
    def of(cls, matrix: Any, dtype: np.dtype[Any]) -> SparseOperator:
        """Return the operator of a scipy CSR matrix."""
        indptr = matrix.indptr.astype(np.int64)
        tasks = equal_tasks(np.diff(indptr), 1.0, 4.0)
        return cls(indptr, matrix.indices.astype(np.int32), matrix.data.astype(dtype), tasks)

    @classmethod
    def pattern(cls, indptr: Array, indices: Array, dtype: np.dtype[Any]) -> SparseOperator:
        """Return the operator of a matrix of ones."""
        return cls(indptr, indices, np.empty(0, dtype), equal_tasks(np.diff(indptr), 1.0, 4.0))

    @classmethod
    def of_ratings(cls, ratings: CSR, weight_unit: float, tasks: Tasks, dtype: np.dtype[Any]) -> SparseOperator:
        """Return the operator of rated-item sets: the weights of the ratings in this unit, or ones."""
        if ratings.weights is None:
            values = np.empty(0, dtype)
        else:
            values = ratings.weights if weight_unit == 1 else ratings.weights / dtype.type(weight_unit)
        return cls(ratings.indptr, ratings.indices, values, tasks)

    def times(
        self,
        table: Array,
        columns: int,
        row_scale: Array,
        n_threads: int,
        out: Array,
        ridge: float = 0.0,
        minus: Array | None = None,
    ) -> None:
        """Set `out` to diag(row_scale) (matrix @ table - ridge * minus)."""
        minus = table[:0] if minus is None else minus
        _regression.sparse_product(
            self.tasks.starts, self.tasks.order, self.indptr, self.indices, self.values, table, columns, row_scale, ridge,
            minus, n_threads, out,
        )  # fmt: skip


class Scratch:
    """Tables that the regressions of a fit use within a step, each for itself, and that say nothing afterwards."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def clear(self) -> None:
        """Give the memory back."""
        self._buffers.clear()

    def table(self, name: str, n_rows: int, width: int, dtype: np.dtype[Any]) -> Array:
        """Return a table (n_rows, width) of what its last user left, zeros at first."""
        size = n_rows * width
        if name not in self._buffers or self._buffers[name].size < size:
            # A table of one row begins on a cache line too.
            self._buffers[name] = aligned(1, size, dtype)
        return self._buffers[name][0, :size].reshape(n_rows, width)


def packed_width(columns: int, dtype: np.dtype[Any]) -> int:
    """Return how many reals a packed row of so many columns takes; see ``_regression.pyx``."""
    if dtype == np.float64 or columns == 1:
        return columns
    return -(-columns // _regression.PACKED_COLUMNS) * _regression.PACKED_COLUMNS // 2


def column_blocks(columns: int) -> list[slice]:
    """Return the columns that a step takes at a time: up to `STEP_COLUMNS`, a single one behind whole packed blocks by itself."""
    last = columns - 1 if columns % _regression.PACKED_COLUMNS == 1 else columns
    starts = [*range(0, last, STEP_COLUMNS), *range(last, columns)]
    return [slice(*pair) for pair in itertools.pairwise([*starts, columns])]


class Evidence(NamedTuple):
    """What the ratings tell of a side's rows, on which the length of a step depends.

    Parameters
    ----------
    counts : ndarray of float64, shape (n,)
        (Weighted) numbers of ratings.
    precision : ndarray of float64, shape (columns,)
        The diagonal of Lambda.
    information : ndarray of float64, shape (columns,)
        What a rating adds to the precision of a row.
    shared : ndarray of float64, shape (columns,)
        What every row has besides.
    """

    counts: Floats
    precision: Floats
    information: Floats
    shared: Floats

    @classmethod
    def unlimited(cls, n: int, columns: int) -> Evidence:
        """Return evidence with which a step is the best one for the rows as they stand."""
        return cls(np.zeros(n), np.zeros(columns), np.ones(columns), np.ones(columns))


class PriorRegression:
    """The ridge regression W of a side's table on one block F of what is known of its rows.

    Parameters
    ----------
    forward, backward : SparseOperator
        F by row, (n, f), and by column, (f, n), both without `factor`.
    factor : ndarray of float64, shape (n,)
        What each row of F is multiplied by.
    ridge : float or None
        Penalty of W, in numbers of rows of mean scale; None: it is chosen once the rows have been solved, see `regularise`.
    row_scale : ndarray of float64, shape (n,)
        The scale s of each row's prior, 0 for rows that W must not learn from.
    columns, ld : int
        Columns of the tables, and how many reals a row of them takes.
    dtype : dtype
    features : scipy CSR matrix, default=None
        F itself where it is a matrix of features.
    scratch : Scratch, default=None
        Shared with other regressions; None for one of its own.

    Attributes
    ----------
    coefficients : ndarray, shape (f, width)
        W, in no more columns than it takes.
    ridge, relative_ridge : float
        The penalty of W as it is used, in units of `scale_unit`, and in numbers of rows of mean scale.
    chooses_ridge, awaits_ridge : bool
        Whether the ridge was left to the fit, and whether it has still to be chosen; W is 0 so long.
    scale_unit : float
        The unit of `row_scale` and `ridge`.
    cholesky : tuple or None
        SciPy's factorisation of F' S F + ridge where F has few columns and the ridge is known.
    is_exact : bool
        Whether F has few columns: each step is then exact.
    diagonal : ndarray of float64, shape (f,)
        The diagonal of F' S F + ridge, where there is no factorisation.
    last_step, last_change : ndarray, shapes (f, width) and (n, width)
        The direction of the last step, and what it does to the means; `improve` goes on from it.
    """

    def __init__(
        self,
        forward: SparseOperator,
        backward: SparseOperator,
        factor: Array,
        ridge: float | None,
        row_scale: Array,
        columns: int,
        ld: int,
        dtype: np.dtype[Any],
        features: Any = None,
        scratch: Scratch | None = None,
    ) -> None:
        n, f = len(factor), len(backward.indptr) - 1
        self.forward, self.backward, self.columns = forward, backward, columns
        self.factor = np.asarray(factor, np.float64)
        self.features = features
        self.scratch = Scratch() if scratch is None else scratch
        self.chooses_ridge = self.awaits_ridge = ridge is None
        rated = row_scale > 0
        self.mean_scale = mean_scale = float(row_scale[rated].mean()) if rated.any() else 1.0
        # Scales and ridge are in this unit, or those of heavy weights would lead out of the range of float32. A power of 4, whose
        # root is exact, changes no bit.
        self.scale_unit = power_of_4(mean_scale)
        self.row_scale = row_scale / self.scale_unit
        self.ld, width = ld, -(-columns // 4) * 4
        # Whole rows of it are read one after the other, so that it need not be laid out as the tables are.
        self.coefficients = aligned(f, width, dtype)
        self.ones = np.ones(f)
        self.cholesky: Any = None
        self.is_exact = features is not None and f <= MAX_EXACT_FEATURES
        self.relative_ridge = 0.0 if ridge is None else ridge
        self.ridge = self.relative_ridge * mean_scale / self.scale_unit
        if self.is_exact:
            if ridge is not None:
                self.regularise(ridge)
            return
        self.diagonal = self._diagonal()
        # All sums are in this unit, or heavy weights would make the squares of sums overflow. A power of two changes no bit.
        largest = float(self.diagonal.max(initial=np.finfo(np.float64).tiny))
        self.unit = 2.0 ** math.floor(math.log2(largest)) if math.isfinite(largest) else 1.0
        self.last_step, self.last_change = aligned(f, width, dtype), aligned(n, width, dtype)

    def regularise(self, ridge: float) -> None:
        """Set the ridge, in numbers of rows of mean scale, of a regression on few features."""
        self.relative_ridge, self.ridge = ridge, ridge * self.mean_scale / self.scale_unit
        self.awaits_ridge = False
        self.cholesky = scipy.linalg.cho_factor(self.normal_matrix())

    @property
    def step(self) -> Array:
        """Scratch of the shape of W, (f, width)."""
        f, width = self.coefficients.shape
        return self.scratch.table("step", f, width, self.coefficients.dtype)

    @property
    def change(self) -> Array:
        """Scratch of the shape of the means, (n, ld)."""
        return self.scratch.table("change", len(self.factor), self.ld, self.coefficients.dtype)

    def go_on_from(self, coefficients: Array, means: Array, n_threads: int) -> None:
        """Go on from the W of an earlier fit, and add what it says to the means.

        Parameters
        ----------
        coefficients : ndarray, shape (f, columns)
        means : ndarray, shape (n, ld)
            The sum of the side's regressions.
        """
        columns, change = self.columns, self.change
        self.coefficients[:, :columns] = coefficients
        self.forward.times(self.coefficients, columns, self.factor, n_threads, change)
        means[:, :columns] += change[:, :columns]

    def _diagonal(self) -> Floats:
        """Return the diagonal of F' S F + ridge, shape (f,): Jacobi's preconditioner."""
        backward, square = self.backward, self.factor**2 * self.row_scale
        diagonal = np.full(len(self.coefficients), self.ridge)
        filled = np.flatnonzero(np.diff(backward.indptr))
        # Some millions of entries at a time: all of them at once would be the largest arrays of a fit.
        chunk = backward.indptr[filled] // CHUNK_ENTRIES
        for rows in np.split(filled, np.flatnonzero(np.diff(chunk)) + 1) if len(filled) else []:
            first, last = backward.indptr[rows[0]], backward.indptr[rows[-1] + 1]
            entries = square[backward.indices[first:last]]
            if len(backward.values):
                entries *= backward.values[first:last].astype(np.float64) ** 2
            diagonal[rows] += np.add.reduceat(entries, backward.indptr[rows] - first)
        return diagonal

    def normal_matrix(self) -> Floats:
        """Return F' S F + ridge (f, f), in double precision."""
        f = len(self.coefficients)
        matrix = scipy.sparse.csr_array(
            (self.forward.values.astype(np.float64), self.forward.indices, self.forward.indptr),
            shape=(len(self.factor), f),
        )
        scaled = scipy.sparse.diags_array(self.row_scale * self.factor**2) @ matrix
        return np.asarray((matrix.T @ scaled).toarray() + self.ridge * np.eye(f))

    def improve(self, table: Array, means: Array, n_threads: int, evidence: Evidence | None = None) -> None:
        """Lower sum s (x - m)^2 + ridge |w|^2 of every column, and update the means.

        One step a call: the exact one where F has few columns, else the best combination of the preconditioned slope and
        the last direction. That is a locally optimal step in the plane of both, as in LOBPCG, and with a table that does not
        change it is the conjugate-gradient method; tables change little from sweep to sweep.

        Parameters
        ----------
        table, means : ndarray, shape (n, ld)
            X, which stays, and M.
        n_threads : int
            It changes no bit of the result.
        evidence : Evidence, default=None
            By how much the rows will follow their means once they are solved again. They do the more, the less ratings
            tell of them, and the best step for rows that follow is longer than the best one for rows that stay: a scale
            s lambda is then worth no more than s lambda n v / (s lambda + n v). Such a step may lead too far, see
            `take_back`. Default: the best step for rows that stay. The step of a regression on few features is always that.

        References
        ----------
        A. Knyazev, "Toward the optimal preconditioned eigensolver: locally optimal block preconditioned conjugate gradient
        method", SIAM Journal on Scientific Computing 23(2), 2001, pages 517-541.
        """
        if not self.is_exact:
            self._two_direction_step(table, means, n_threads, evidence)
        else:
            self._exact_step(table, means, n_threads)

    def _exact_step(self, table: Array, means: Array, n_threads: int) -> None:
        """Solve the normal equations."""
        columns, step, change = self.columns, self.step, self.change
        # S (X - M), whose product with F' is, less ridge W, the steepest way down
        _regression.scaled_difference(table, means, self.row_scale * self.factor, columns, n_threads, change)
        self.backward.times(change, columns, self.ones, n_threads, step, self.ridge, self.coefficients)
        step[:, :columns] = scipy.linalg.cho_solve(self.cholesky, step[:, :columns].astype(np.float64))
        self.forward.times(step, columns, self.factor, n_threads, change)
        means[:, :columns] += change[:, :columns]
        self.coefficients[:, :columns] += step[:, :columns]

    def _two_direction_step(self, table: Array, means: Array, n_threads: int, evidence: Evidence | None) -> None:
        """Step in the plane of the preconditioned slope and the last direction, some columns after the others."""
        evidence = Evidence.unlimited(len(means), self.columns) if evidence is None else evidence
        for part in column_blocks(self.columns):
            self._step_of_columns(part, table, means, n_threads, evidence)

    def _step_of_columns(self, part: slice, table: Array, means: Array, n_threads: int, evidence: Evidence) -> None:
        """Step for some columns: each is a regression of its own, and what they need meanwhile are the largest arrays of a fit."""
        n, f, first, columns, dtype = (
            len(means),
            len(self.coefficients),
            part.start,
            part.stop - part.start,
            means.dtype,
        )
        scratch, forward, backward = self.scratch, self.forward, self.backward
        width, step_width = -(-columns // _core.PAD) * _core.PAD, packed_width(columns, dtype)
        room = scratch.table("change", 1, n * width + f * step_width, dtype)[0]
        change, steps = room[: n * width].reshape(n, width), room[n * width :].reshape(f, step_width)
        # The residuals have been read when the change is written in their place.
        residuals = room[: n * step_width].reshape(n, step_width)
        blocks = -(-columns // _regression.PACKED_COLUMNS)
        work = workspace(n_threads, _regression.STEP_WORK_ROWS * blocks * _regression.PACKED_COLUMNS, dtype)
        _regression.packed_difference(table, means, self.row_scale * self.factor, columns, work, residuals, first)
        sums = np.zeros((len(backward.tasks.starts) - 1, 5, columns))
        _regression.packed_direction(
            backward.tasks.starts, backward.tasks.order, backward.indptr, backward.indices, backward.values, residuals,
            1.0 / self.diagonal, self.ridge, self.coefficients, self.last_step, work, steps, sums, first,
        )  # fmt: skip
        slope_new, slope_last, *squares = sums.sum(axis=0) / self.unit
        sums = np.zeros((len(forward.tasks.starts) - 1, 3, columns))
        _regression.packed_change(
            forward.tasks.starts, forward.tasks.order, forward.indptr, forward.indices, forward.values, steps, self.factor,
            self.last_change, self.row_scale, evidence.counts / self.scale_unit, evidence.precision[part],
            evidence.information[part], evidence.shared[part] / self.scale_unit, work, change, sums, first,
        )  # fmt: skip
        # The normal matrix of the two directions, 2 x 2 for every column.
        new, both, old = sums.sum(axis=0) / self.unit + self.ridge * np.stack(squares)
        determinant = new * old - both**2
        parallel = ~(determinant > MIN_INDEPENDENT_SHARE * new * old)
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.where(parallel, slope_new / new, (old * slope_new - both * slope_last) / determinant)
            b = np.where(parallel, 0.0, (new * slope_last - both * slope_new) / determinant)
        # A column whose slope is 0 is solved.
        a[~(new > 0)] = 0.0
        b[~(new > 0)] = 0.0
        _regression.packed_axpby(a, steps, b, work, self.last_step, self.coefficients, first)
        _regression.axpby(a, change, b, n_threads, self.last_change, means, first)

    def take_back(self, means: Array) -> None:
        """Undo the last step, but for rounding, and forget its direction."""
        columns = self.columns
        self.coefficients[:, :columns] -= self.last_step[:, :columns]
        means[:, :columns] -= self.last_change[:, :columns]
        self.last_step[:, :columns] = 0
        self.last_change[:, :columns] = 0

    def forget_steps(self) -> None:
        """Give back what only further steps would need."""
        self.scratch.clear()
        if not self.is_exact:
            # Copies, since a part of an array keeps all of it.
            self.last_step, self.last_change = self.last_step[:0].copy(), self.last_change[:0].copy()

    def squares(self, n_threads: int) -> Floats:
        """Return |w|^2 of every column."""
        return column_sums(self.coefficients, self.coefficients, self.ones, self.columns, n_threads)


class PriorMeans:
    """The prior means of a side's rows: the sum of several regressions.

    Parameters
    ----------
    regressions : list of PriorRegression
        At least one; that on rated-item sets, if there is one, is the first.
    means : ndarray, shape (n, ld)
        Zeros; the means from now on.

    Attributes
    ----------
    rated : PriorRegression or None
        The regression on rated-item sets.
    margin : float
        How much more than it is a rating is taken to tell of a row, see `INFORMATION_MARGIN`.
    """

    def __init__(self, regressions: list[PriorRegression], means: Array) -> None:
        self.regressions, self.means = regressions, means
        self.rated = regressions[0] if regressions[0].features is None else None
        self.margin = INFORMATION_MARGIN

    def improve(self, table: Array, n_threads: int, evidence: Evidence | None) -> None:
        """Improve the regressions on features, and that on rated-item sets where there is evidence."""
        for part in self.regressions:
            if part is not self.rated:
                part.improve(table, self.means, n_threads)
        # The last one, so that it can be taken back.
        if self.rated is not None and evidence is not None:
            self.rated.improve(table, self.means, n_threads, evidence)

    def take_back(self) -> None:
        """Undo the last step on rated-item sets; later ones are shorter."""
        assert self.rated is not None
        self.rated.take_back(self.means)
        self.margin *= 4

    def end_sweeps(self) -> None:
        """Give back what only further sweeps would need: the coefficients are left."""
        for part in self.regressions:
            part.forget_steps()
        self.means = self.means[:0].copy()

    def penalty(self, precision: Array, n_threads: int) -> float:
        """Return the penalty of the coefficients."""
        parts = self.regressions
        return sum(part.scale_unit * part.ridge * float(part.squares(n_threads) @ precision) for part in parts)


def rated_item_regression(
    own: CSR,
    other: CSR,
    own_tasks: Tasks,
    other_tasks: Tasks,
    weight_sum: Array,
    ridge: float,
    row_scale: Array,
    columns: int,
    ld: int,
    dtype: np.dtype[Any],
    scratch: Scratch | None = None,
    prior_count: float = 0.0,
) -> PriorRegression:
    """Return the regression on the rated-item sets of SVD++: each row divided by the root of the set's weight sum.

    Parameters
    ----------
    own, other : CSR
        The ratings by this side's rows, and by those of the other side.
    own_tasks, other_tasks : Tasks
        Of their rows.
    weight_sum : ndarray of float64, shape (n,)
        The (weighted) number of ratings of each of this side's rows.
    ridge, row_scale, columns, ld, dtype, scratch
        As of `PriorRegression`.
    prior_count : float, default=0
        Added to the weight sums.
    """
    n = len(own.indices)
    # Weights are in this unit, so that sums of heavy ones times table rows stay in range.
    weight_unit = 1.0 if own.weights is None or not n else power_of_4(float(weight_sum.sum()) / n)
    return PriorRegression(
        SparseOperator.of_ratings(own, weight_unit, own_tasks, dtype),
        SparseOperator.of_ratings(other, weight_unit, other_tasks, dtype),
        weight_unit * inverse_root(weight_sum, prior_count),
        ridge, row_scale, columns, ld, dtype, None, scratch,
    )  # fmt: skip


def power_of_4(x: float) -> float:
    """Return the power of 4 next below a number, and 1 where there is none."""
    return 4.0 ** math.floor(math.log2(x) / 2) if 0 < x < math.inf else 1.0


def inverse_root(weight_sum: Array, prior_count: float = 0.0) -> Floats:
    """Return (weight_sum + prior_count)^-1/2, and 0 where the sum is 0: what rated-item sets are multiplied by."""
    root = np.sqrt(weight_sum + prior_count)
    return np.divide(1.0, root, out=np.zeros(len(weight_sum)), where=weight_sum > 0)


def feature_regression(
    features: scipy.sparse.csr_array,
    ridge: float | None,
    row_scale: Array,
    columns: int,
    ld: int,
    dtype: np.dtype[Any],
    scratch: Scratch | None = None,
) -> PriorRegression:
    """Return the regression on features of the rows, a CSR matrix (n, f); the rest is as of `PriorRegression`."""
    forward, backward = SparseOperator.of(features, dtype), SparseOperator.of(features.T.tocsr(), dtype)
    factor = np.ones(features.shape[0])
    return PriorRegression(forward, backward, factor, ridge, row_scale, columns, ld, dtype, features, scratch)


def ridge_regression(features: scipy.sparse.csr_array, table: Array, weights: Array, ridge: float) -> Floats:
    """Return the W that minimises sum_rows weight |x - W' f|^2 + ridge |W|^2, in double precision.

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
    if f <= MAX_EXACT_FEATURES:
        normal = (features.T @ scaled).toarray() + ridge * np.eye(f)
        return np.asarray(scipy.linalg.solve(normal, target, assume_a="pos"))
    diagonal = np.asarray((features.multiply(features)).T @ weights).ravel() + ridge
    operator = scipy.sparse.linalg.LinearOperator((f, f), lambda x: features.T @ (scaled @ x) + ridge * x)
    inverse = scipy.sparse.linalg.LinearOperator((f, f), lambda x: x / diagonal)
    solved = [scipy.sparse.linalg.cg(operator, column, rtol=1e-6, maxiter=500, M=inverse)[0] for column in target.T]
    return np.column_stack(solved)

"""The row systems A x = h, which every model here solves: the only module that calls the row kernels.

With z = [q ; 1] of a rated row of the other side, w and t a rating's weight and target, and N(m, (s Lambda)^-1) the row's prior,

    A = sum w z z' + s Lambda        h = sum w t z + s Lambda m        t = (value - offset) / unit - bias of the other side

A base that all rows share can be added: with v and t the weights and targets of missing ratings, a row's system has besides

    A += b sum v z z'               h += b sum v t z               over all rows of the other side, b the row's own factor.

Solved, a row is A^-1 h; drawn, it comes from N(A^-1 h, v A^-1) with v the variance of the noise. z' A^-1 z is what the
variance of a prediction is made of, and z' A^-1 w t z_e is what a single rating e contributes to a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from alsx import _core
from alsx._solver.tables import LINE_BYTES, Tasks, aligned, kernel_precision, solve_tasks, solve_work, workspace
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]


# Multiply-adds of a call of the kernel where there is work for many of them: about a second.
PIECE_WORK = 1e11

# Rows that a task has on average, where there are so many tasks for every thread: within a task the next row's ratings are asked
# for in time, and draws are made of many rows at once (`_simd/batch.inc`).
ROWS_A_TASK, TASKS_A_THREAD = 128, 8


class SingularRowError(np.linalg.LinAlgError):
    """The normal equations of rows have no unique solution.

    Attributes
    ----------
    side : {"user", "item"}
        Whose rows.
    row, count : int
        The first such row, and how many there are.
    """

    def __init__(self, side: str, row: int, count: int) -> None:
        super().__init__(side, row, count)
        self.side, self.row, self.count = side, row, count


class RowPrior(NamedTuple):
    """The prior N(m, (s Lambda)^-1) of each row.

    Parameters
    ----------
    reg, reg_bias : float
        Lambda = diag(reg ... reg, reg_bias).
    row_scale : ndarray of float64, shape (n,)
        s of each row.
    empty_scale : float, default=1.0
        s of a row without ratings that is not one of these.
    precision : ndarray of float64, shape (k+1, k+1), default=None
        A full Lambda, the same for all rows, with s = 1; it stands instead of the three above.
    means : ndarray, shape (n, ld), default=None
        The table of prior means m; None is 0.
    """

    reg: float
    reg_bias: float
    row_scale: Floats
    empty_scale: float = 1.0
    precision: Array | None = None
    means: Array | None = None

    def matrix(self, row: int, k: int) -> Floats:
        """Return s Lambda of a row, (k+1, k+1), in double precision."""
        if self.precision is not None:
            return np.asarray(self.precision, np.float64)
        return np.diag(self.row_scale[row] * np.append(np.full(k, self.reg), self.reg_bias))


class RowBase(NamedTuple):
    """What the system of every row with ratings has besides them and the prior: sums over all rows of the other side.

    Parameters
    ----------
    gram : ndarray of float64, shape (k+2, k+2)
        sum v z z' with z = [q ; 1 ; t]; symmetric. See `RowSystems.gram_sum`.
    scale : ndarray of float64, shape (n,)
        How many times each row has it.
    """

    gram: Floats
    scale: Floats

    def kernel_arrays(self, dtype: np.dtype[Any]) -> tuple[Array, Floats, Floats]:
        """Return it as kernels read it: a matrix with zeros from column k on, the sums of v, v t and v t^2, and the scales."""
        k = len(self.gram) - 2
        matrix = aligned(k + 2, -(-k // _core.PAD) * _core.PAD + _core.PAD, dtype)
        matrix[:, :k] = self.gram[:, :k]
        sums = np.array([self.gram[k, k], self.gram[k + 1, k], self.gram[k + 1, k + 1]])
        return matrix, sums, self.scale


class Contributions(NamedTuple):
    """What a linear form z'x of a solved row x is made of: ``ratings.sum() + missing + prior`` is z'x.

    Parameters
    ----------
    ratings : ndarray of float64, shape (n,)
        z' A^-1 w t z_e of each rating of the row, in the order of its CSR entries.
    prior : float
        z' A^-1 s Lambda m.
    prior_weights : ndarray of float64, shape (k+1,)
        z' A^-1 s Lambda: its product with a part of the prior mean m is what that part contributes.
    missing : float
        z' A^-1 b sum v t z: what pairs without ratings, the base, contribute.
    """

    ratings: Floats
    prior: float
    prior_weights: Floats
    missing: float = 0.0


class KernelRows(NamedTuple):
    """What the kernels read; see `_core.solve_rows` for shapes. Empty arrays stand for what is missing."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Array
    weights: Array
    offset: float
    scale: float
    table: Array
    k: int
    reg: float
    reg_bias: float
    row_scale: Floats
    empty_scale: float
    precision: Array
    means: Array
    base: tuple[Array, Floats, Floats] | None = None


@dataclass(frozen=True, eq=False)
class RowSystems:
    """The systems of many rows: their ratings, the other side's table, their prior, and the units of the targets.

    Parameters
    ----------
    ratings : CSR
        By row; `indices` are rows of `other`.
    other : ndarray, shape (n_other, ld)
        The other side's table, as `factor_table` makes it.
    k : int
        Rank.
    prior : RowPrior
    offset, unit : float
        The target of a rating is (value - offset) / unit, less the bias of the other side's row.
    side : {"user", "item"}
        Whose rows these are, for errors.
    tasks : Tasks, default=None
        The order in which rows are worked on; rows that are not in it stay as they are. Default: all rows.
    base : RowBase, default=None
        Default: none.
    """

    ratings: CSR
    other: Array
    k: int
    prior: RowPrior
    offset: float
    unit: float = 1.0
    side: str = "user"
    tasks: Tasks | None = None
    base: RowBase | None = None

    def __len__(self) -> int:
        return len(self.ratings.indptr) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many ratings each row has, shape (n,)."""
        return np.diff(self.ratings.indptr)

    def solve(
        self,
        out: Array,
        loss: Floats,
        n_threads: int,
        work: Array | None = None,
        report: Callable[[float], None] | None = None,
    ) -> None:
        """Set rows of `out` to A^-1 h.

        Parameters
        ----------
        out : ndarray, shape (n, ld)
            This side's table. A row without ratings becomes its prior mean.
        loss : ndarray of float64, shape (n, 2)
            Becomes the weighted squared error and the prior's penalty of each row; NaN where singular.
        n_threads : int
            It changes no bit of the result.
        work : ndarray, default=None
            The kernels' workspace, for callers who solve often (see `solve_workspace`).
        report : callable, default=None
            ``report(share)`` is called now and then where there is work for many seconds, with the share that is done.

        Raises
        ------
        SingularRowError
            Where a row has no unique solution; such rows stay as they were.
        """
        self._run(out, loss, 0.0, 0, 0, n_threads, work, report)

    def draw(
        self,
        out: Array,
        loss: Floats,
        noise: float,
        seed: int,
        draw_index: int,
        n_threads: int,
        work: Array | None = None,
        report: Callable[[float], None] | None = None,
    ) -> None:
        """Set rows of `out` to draws from N(A^-1 h, noise^2 A^-1), also those of rows without ratings.

        A draw depends on `seed`, `draw_index` and the row's number, not on threads or on other rows. Parameters and errors
        as of `solve`.
        """
        self._run(out, loss, noise, seed, draw_index, n_threads, work, report)

    def _run(
        self,
        out: Array,
        loss: Floats,
        noise: float,
        seed: int,
        draw_index: int,
        n_threads: int,
        work: Array | None,
        report: Callable[[float], None] | None,
    ) -> None:
        """Run the kernel over all tasks."""
        tasks = solve_tasks(self.counts, self.k) if self.tasks is None else self.tasks
        if not len(tasks.order):
            return
        if work is None:
            work = solve_workspace(min(n_threads, len(tasks.order)), self.k, self.other.dtype)
        rows = self._kernel_rows()

        tasks = tasks.of_rows(ROWS_A_TASK, TASKS_A_THREAD * len(work))
        failed, n_tasks = 0, len(tasks.starts) - 1
        step = self._tasks_at_a_time(tasks)
        for first in range(0, n_tasks, step):
            starts = tasks.starts[first : first + step + 1]
            failed += _core.solve_rows(rows, starts, tasks.order, work, out, loss, noise, seed, draw_index)
            if report is not None and step < n_tasks:
                report(min(1.0, (first + step) / n_tasks))
        if failed:
            raise SingularRowError(self.side, int(np.flatnonzero(np.isnan(loss[:, 0]))[0]), failed)

    def _tasks_at_a_time(self, tasks: Tasks) -> int:
        """Return how many tasks a call of the kernel takes: all, but where there is work for many seconds.

        Between calls Python hears an interruption, and progress can be shown.
        """
        work, n_tasks = solve_work(len(self.ratings.indices), len(tasks.order), self.k), len(tasks.starts) - 1
        pieces = 1 if work < 5 * PIECE_WORK else int(work / PIECE_WORK)
        return max(1, n_tasks // pieces)

    def _kernel_rows(self) -> KernelRows:
        """Return the systems as kernels read them."""
        ratings, prior, none = self.ratings, self.prior, self.other[:0]
        precision = none if prior.precision is None else kernel_precision(prior.precision, self.other.dtype)
        return KernelRows(
            ratings.indptr, ratings.indices, ratings.values,
            ratings.values[:0] if ratings.weights is None else ratings.weights,
            self.offset, 1.0 / self.unit, self.other, self.k, prior.reg, prior.reg_bias, prior.row_scale,
            prior.empty_scale, precision, none if prior.means is None else prior.means,
            None if self.base is None else self.base.kernel_arrays(self.other.dtype),
        )  # fmt: skip

    def gram_sum(self, n_threads: int, work: Array | None = None) -> Floats:
        """Return sum w z z' over the ratings of all rows, z = [q ; 1 ; t], shape (k+2, k+2): symmetric.

        A row is summed by one thread, so that their number changes no bit.
        """
        if work is None:
            work = solve_workspace(n_threads, self.k, self.other.dtype)
        width = self.k + 2
        out = np.zeros((len(self), width, width))
        _core.gram_rows(self._kernel_rows(), work, out)
        total = out.sum(axis=0)
        return np.asarray(np.where(np.tri(width, dtype=bool), total, total.T))

    def quadratic_forms(
        self,
        requested: Array,
        partner_indptr: Array,
        partners: Array,
        z: Array,
        n_threads: int,
        *,
        bordered: bool = False,
    ) -> Floats:
        """Return z' A^-1 z for partners of rows; infinite where neither the prior nor the ratings determine it.

        Parameters
        ----------
        requested : ndarray of int32, shape (m,)
            Rows; -1 is a row without ratings.
        partner_indptr, partners : ndarray
            The rows of `z` for each of them, by CSR offsets.
        z : ndarray, shape (., ld)
            Rows like those of the other side's table.
        n_threads : int
        bordered : bool, default=False
            The last entry of z is taken as it is; else it is 1.

        Returns
        -------
        forms : ndarray of float64, shape (len(partners),)
        """
        k, dtype = self.k, self.other.dtype
        out = np.empty(len(partners))
        if not len(requested):
            return out
        requested, partners = requested.astype(np.int32), partners.astype(np.int32)
        partner_indptr = partner_indptr.astype(np.int64)
        counts = np.where(requested >= 0, self.counts[requested], 0) if len(self) else np.zeros(len(requested), int)
        tasks = solve_tasks(counts + np.diff(partner_indptr), k)
        n_threads = min(n_threads, len(requested))
        work = workspace(n_threads, _core.quadratic_forms_workspace(k, dtype.itemsize), dtype)
        rows = self._kernel_rows()
        _core.quadratic_forms(
            rows, tasks.starts, tasks.order, requested, partner_indptr, partners, z, bordered, work, out
        )
        return out

    def covariances(self, requested: Array, n_threads: int) -> Array:
        """Return A^-1 of rows, packed as by `packed_entries`; NaN where neither the prior nor the ratings determine a row.

        Parameters
        ----------
        requested : ndarray of int32, shape (m,)
            Rows; -1 is a row without ratings.
        n_threads : int

        Returns
        -------
        packed : ndarray, shape (m, ld)
            What is left of a matrix's diagonal is there twice as large, since it stands for what is right of it, too: a packed
            matrix times the packed z z' is z' A^-1 z.
        """
        k, dtype = self.k, self.other.dtype
        # Kernels load whole vectors, up to two behind the last row's entries.
        out = aligned(len(requested) + 1, packed_width(k, dtype), dtype)[: len(requested)]
        if not len(requested):
            return out
        requested = requested.astype(np.int32)
        counts = np.where(requested >= 0, self.counts[requested], 0) if len(self) else np.zeros(len(requested), int)
        tasks = solve_tasks(counts, k)
        work = workspace(min(n_threads, len(requested)), _core.quadratic_forms_workspace(k, dtype.itemsize), dtype)
        _core.covariances(self._kernel_rows(), tasks.starts, tasks.order, requested, work, out)
        return out

    def contributions(self, row: int, z: Floats) -> Contributions:
        """Take the linear form z'x of a row's solution x apart, in double precision.

        Parameters
        ----------
        row : int
        z : ndarray of float64, shape (k+1,)
            For a prediction: the factors of the other side's row, and 1.

        Raises
        ------
        SingularRowError
            If the row has no unique solution.
        """
        width, ratings = self.k + 1, self.ratings
        part = slice(ratings.indptr[row], ratings.indptr[row + 1])
        mean = np.zeros(width) if self.prior.means is None else self.prior.means[row, :width].astype(np.float64)
        if part.start == part.stop:  # the solution is the prior mean, also where the prior's precision is 0
            return Contributions(np.empty(0), float(z @ mean), z)
        rated = self.other[ratings.indices[part], :width].astype(np.float64)
        targets = (ratings.values[part].astype(np.float64) - self.offset) / self.unit - rated[:, self.k]
        weights = np.ones(len(rated)) if ratings.weights is None else ratings.weights[part].astype(np.float64)
        rated[:, self.k] = 1.0
        precision = self.prior.matrix(row, self.k)
        matrix, missing = rated.T * weights @ rated + precision, np.zeros(width)
        if self.base is not None:
            base = self.base.scale[row] * self.base.gram
            matrix += base[:width, :width]
            missing += base[width, :width]
        try:
            solution = scipy.linalg.solve(matrix, z, assume_a="pos")  # A^-1 z (k+1,)
        except np.linalg.LinAlgError:
            raise SingularRowError(self.side, row, 1) from None
        prior_weights = precision @ solution
        return Contributions(
            weights * targets * (rated @ solution),
            float(prior_weights @ mean),
            prior_weights,
            float(missing @ solution),
        )


def packed_entries(k: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return rows and columns of the entries of a packed covariance (k+1, k+1): its lower triangle, row by row."""
    rows, columns = np.tril_indices(k + 1)
    return rows.astype(np.int32), columns.astype(np.int32)


def packed_width(k: int, dtype: np.dtype[Any]) -> int:
    """Return how many reals a packed covariance of rank k takes: whole cache lines, and no fewer than two vectors."""
    per_line = LINE_BYTES // dtype.itemsize
    return max(-(-((k + 1) * (k + 2) // 2) // per_line) * per_line, 2 * _core.PAD)


def solve_workspace(n_threads: int, k: int, dtype: np.dtype[Any]) -> Array:
    """Return the workspace of row solves of rank k, one slice per thread."""
    return workspace(n_threads, _core.row_workspace(k, dtype.itemsize), dtype)
